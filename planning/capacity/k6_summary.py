"""What a k6 summary says about capacity: the JSON of ``handleSummary`` and that of ``--summary-export``."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from planning.capacity.measured import MeasuredCapacity, MeasuredError
from settings.loadtest import LoadScenario


def measured_capacities(
    text: str,
    *,
    source: str,
    scenario: str,
    load: LoadScenario,
    pods: Mapping[str, int],
    taken_at: datetime,
) -> list[MeasuredCapacity]:
    """One capacity for each service of ``pods`` (service → API pods during the test).

    A passed run followed its rise to the end; its rates are those at the full rate, not the averages with the rise.
    A summary without figures by service is taken for one service, and refused for several. Raises ``MeasuredError``.
    """
    metrics = _metrics(text, source)
    passed = all(_thresholds(metrics))
    dropped = int(_value(metrics, "dropped_iterations", "count", source, absent=0.0))
    all_reached = _value(metrics, "http_reqs", "rate", source)
    found = []
    for service, count in pods.items():
        suffix = f"{{service:{service}}}"
        if f"http_reqs{suffix}" not in metrics:
            if len(pods) > 1:
                raise MeasuredError(
                    f"{source}: no figures of {service} apart from the others; "
                    "fix: name one service, or use the script of this repository"
                )
            suffix = ""
        average = _value(metrics, f"http_reqs{suffix}", "rate", source)
        # The mix gives each service its share of the rate.
        wanted = load.requests_per_second * (average / all_reached if average else 1)
        found.append(
            MeasuredCapacity(
                service=service,
                scenario=scenario,
                taken_at=taken_at,
                pods=count,
                wanted_requests_per_second=wanted,
                requests_per_second=min(wanted, at_full_rate(average, load)) if passed else average,
                p99_milliseconds=_value(metrics, f"http_req_duration{suffix}", "p(99)", source),
                failed_share=_failed(metrics, suffix, source),
                dropped_iterations=dropped,
                passed=passed,
            )
        )
    return found


def at_full_rate(average: float, load: LoadScenario) -> float:
    """Requests/s while the full rate was held, from the average over the run: a rise from nothing sends half of it."""
    seconds = load.ramp_seconds + load.duration_seconds
    return average * seconds / (load.ramp_seconds / 2 + load.duration_seconds)


def _metrics(text: str, source: str) -> dict[str, dict[str, Any]]:
    try:
        metrics = json.loads(text)["metrics"]
    except (ValueError, KeyError, TypeError):
        raise MeasuredError(f"{source}: not a summary of k6: no JSON object with 'metrics'") from None
    if not isinstance(metrics, dict) or not all(isinstance(one, dict) for one in metrics.values()):
        raise MeasuredError(f"{source}: not a summary of k6: 'metrics' is no mapping of names to figures")
    return metrics


def _thresholds(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[bool]:
    """Whether each threshold held. The two formats say the opposite: ``{"ok": true}``, and ``true`` for crossed."""
    for metric in metrics.values():
        for result in (metric.get("thresholds") or {}).values():
            yield bool(result["ok"]) if isinstance(result, dict) and "ok" in result else result is False


def _value(
    metrics: Mapping[str, Mapping[str, Any]], name: str, key: str, source: str, *, absent: float | None = None
) -> float:
    metric = metrics.get(name)
    if metric is None:
        if absent is not None:
            return absent
        raise MeasuredError(f"{source}: the summary has no {name}; fix: run the script of this repository")
    value = metric.get("values", metric).get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MeasuredError(
            f"{source}: {name} has no {key}; fix: let summaryTrendStats of the script hold p(99), as ours does"
        )
    return float(value)


def _failed(metrics: Mapping[str, Mapping[str, Any]], suffix: str, source: str) -> float:
    """Share of failed requests: ``rate`` in one format, ``value`` in the other."""
    name = f"http_req_failed{suffix}"
    metric = metrics.get(name, {})
    key = "rate" if "rate" in metric.get("values", metric) else "value"
    return _value(metrics, name, key, source)
