"""What the sandbox's metrics API answers: one file, read anew when it changes, and the arithmetic on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandbox.files import read_json, write_json

_DEFAULTS: dict[str, Any] = {
    # A fresh sandbox is calm: every metric exists and is 0, so that each autoscaler rests at its minimum.
    "external_default": 0,
    "external": {},
    "resource_default": {"cpu_percent_of_request": 40, "memory_percent_of_request": 50},
    "resource": {},
    "custom": {},
}
# The forms in which the API server returns quantities; binary ones first, because "Mi" ends with no decimal suffix.
_SUFFIXES = {
    **{f"{prefix}i": Decimal(2 ** (10 * power)) for power, prefix in enumerate("KMGTPE", start=1)},
    **{prefix: Decimal(10 ** (3 * power)) for power, prefix in enumerate("kMGTPE", start=1)},
    "m": Decimal("0.001"),
    "u": Decimal("0.000001"),
    "n": Decimal("0.000000001"),
}


def read_values(path: Path) -> dict[str, Any]:
    """The file's content over the defaults; a file that is not there, or broken, means the defaults."""
    return {**_DEFAULTS, **(read_json(path) or {})}


def set_external(path: Path, metric: str, value: int | None, labels: Mapping[str, str] | None = None) -> None:
    """Set one series of an external metric; a series with the same labels is replaced.

    ``None`` makes the series absent: the API then answers with no item, as an adapter without data does. A series
    without labels answers every selector that no other series matches.
    """
    values = read_values(path)
    given = {"value": value, "labels": dict(labels or {})}
    others = [series for series in _series(values, metric) if series.get("labels", {}) != given["labels"]]
    write_json(path, {**values, "external": {**values["external"], metric: [*others, given]}})


def set_resource(path: Path, workload: str, *, cpu_percent: int, memory_percent: int) -> None:
    """Set what each pod of a workload uses, in percent of its requests."""
    values = read_values(path)
    use = {"cpu_percent_of_request": cpu_percent, "memory_percent_of_request": memory_percent}
    write_json(path, {**values, "resource": {**values["resource"], workload: use}})


def set_custom(path: Path, metric: str, described: str, value: int | None) -> None:
    """Set a metric of each pod of a workload, or of the one object with that name; ``None`` makes it absent."""
    values = read_values(path)
    known = {**values["custom"].get(metric, {}), described: value}
    write_json(path, {**values, "custom": {**values["custom"], metric: known}})


def custom_value(values: Mapping[str, Any], metric: str, described: str) -> int | None:
    """A custom metric of a workload's pods or of an object; ``None`` when nobody set it."""
    value = values["custom"].get(metric, {}).get(described)
    return None if value is None else int(value)


def external_value(values: Mapping[str, Any], metric: str, selector: Mapping[str, str]) -> int | None:
    """Value of a metric for a selector (``matchLabels``); ``None`` when it has no data.

    Several series that match are added up by the autoscaler itself; here each selector gets one number, their sum.
    """
    known = _series(values, metric)
    labelled = [series for series in known if series.get("labels")]
    matching = [series for series in labelled if selector.items() <= series["labels"].items()]
    chosen = matching or [series for series in known if not series.get("labels")]
    if not chosen:
        default = values["external_default"]
        return None if default is None else int(default)
    numbers = [int(series["value"]) for series in chosen if series["value"] is not None]
    return sum(numbers) if numbers else None


def _series(values: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    """The series of a metric; a file written by hand may hold a single one without a list."""
    found = values["external"].get(metric, [])
    return [found] if isinstance(found, dict) else list(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one container uses: nanocores and bytes."""

    cpu_nanocores: int
    memory_bytes: int


def container_usage(values: Mapping[str, Any], workload: str, requests: Mapping[str, str]) -> Usage:
    """The configured share of a container's requests; a container without requests uses nothing."""
    share = values["resource"].get(workload, values["resource_default"])
    cpu = parse_quantity(requests.get("cpu", "0")) * Decimal(share["cpu_percent_of_request"]) / 100
    memory = parse_quantity(requests.get("memory", "0")) * Decimal(share["memory_percent_of_request"]) / 100
    return Usage(cpu_nanocores=int(cpu * 10**9), memory_bytes=int(memory))


def parse_quantity(text: str) -> Decimal:
    """A quantity as the API server writes it, in units: ``500m`` is 0.5, ``1Ki`` is 1024."""
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            return Decimal(text.removesuffix(suffix)) * factor
    return Decimal(text)
