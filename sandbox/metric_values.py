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
}
_SUFFIXES = {"m": Decimal("0.001"), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}


def read_values(path: Path) -> dict[str, Any]:
    """The file's content over the defaults; a file that is not there, or broken, means the defaults."""
    return {**_DEFAULTS, **(read_json(path) or {})}


def set_external(path: Path, metric: str, value: int | None, labels: Mapping[str, str] | None = None) -> None:
    """Set an external metric; ``None`` removes it, so that the API answers with no series at all."""
    values = read_values(path)
    series = {**values["external"], metric: {"value": value, "labels": dict(labels or {})}}
    write_json(path, {**values, "external": series})


def set_resource(path: Path, workload: str, *, cpu_percent: int, memory_percent: int) -> None:
    """Set what each pod of a workload uses, in percent of its requests."""
    values = read_values(path)
    use = {"cpu_percent_of_request": cpu_percent, "memory_percent_of_request": memory_percent}
    write_json(path, {**values, "resource": {**values["resource"], workload: use}})


def external_value(values: Mapping[str, Any], metric: str, selector: Mapping[str, str]) -> int | None:
    """Value of a metric for a selector; ``None`` when no series matches."""
    series = values["external"].get(metric)
    if series is None:
        default = values["external_default"]
        return None if default is None else int(default)
    labels = series.get("labels", {})
    matches = all(labels.get(key, value) == value for key, value in selector.items())
    return None if series["value"] is None or not matches else int(series["value"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one container uses: nanocores and bytes."""

    cpu_nanocores: int
    memory_bytes: int


def container_usage(values: Mapping[str, Any], workload: str, requests: Mapping[str, str]) -> Usage:
    """The configured share of a container's requests; a container without requests uses nothing."""
    share = values["resource"].get(workload, values["resource_default"])
    cpu = _quantity(requests.get("cpu", "0")) * Decimal(share["cpu_percent_of_request"]) / 100
    memory = _quantity(requests.get("memory", "0")) * Decimal(share["memory_percent_of_request"]) / 100
    return Usage(cpu_nanocores=int(cpu * 10**9), memory_bytes=int(memory))


def _quantity(text: str) -> Decimal:
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            return Decimal(text.removesuffix(suffix)) * factor
    return Decimal(text)
