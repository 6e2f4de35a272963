"""Service level objectives: the error budget, and alerts on how fast it is spent.

Windows and factors are those of the SRE Workbook, chapter 5, "multiwindow, multi-burn-rate alerts": a short window
beside each long one ends the alert soon after the errors end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.observability.model import Alert, Area, Severity, Surroundings, record_rule
from settings.observability import Objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Burn:
    """One pair of windows: ``factor`` times the budget's even pace, seen in both."""

    factor: float
    long: str
    short: str
    lasts: str
    severity: Severity


BURNS = (
    Burn(factor=14.4, long="1h", short="5m", lasts="2m", severity=Severity.CRITICAL),
    Burn(factor=6, long="6h", short="30m", lasts="15m", severity=Severity.CRITICAL),
    Burn(factor=3, long="1d", short="2h", lasts="1h", severity=Severity.WARNING),
    Burn(factor=1, long="3d", short="6h", lasts="3h", severity=Severity.WARNING),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
OBJECTIVE = "service_slo:objective:ratio"
AVAILABILITY, LATENCY = "availability", "latency"


def error_ratio(window: str) -> str:
    """Name under which the bad share of a window is recorded, by ``service`` and ``slo``."""
    return f"service_slo:errors:ratio_rate{window}"


def plan_objectives(around: Surroundings) -> dict[str, list[dict[str, Any]]]:
    """Group → recording rules: the bad share of every window, and the promise itself."""
    promised, bad = [], []
    for service in sorted(around.services):
        objective = around.observability.objective_of(service)
        for slo, percent in _promises(objective).items():
            labels = {"service": service, "slo": slo}
            promised.append(record_rule(OBJECTIVE, f"vector({percent / 100:g})", labels))
            bad += [
                record_rule(error_ratio(window), _bad_share(service, slo, objective, window), labels)
                for window in WINDOWS
            ]
    return {"payments-objectives": [*promised, *bad]}


def burn_alerts(around: Surroundings) -> Iterator[Alert]:
    """Four alerts for each promise of each service."""
    for service in sorted(around.services):
        for slo, percent in _promises(around.observability.objective_of(service)).items():
            for burn in BURNS:
                yield _burn_alert(service, slo, percent, burn)


def _promises(objective: Objective) -> dict[str, float]:
    return {AVAILABILITY: objective.availability_percent, LATENCY: objective.latency_percent}


def _bad_share(service: str, slo: str, objective: Objective, window: str) -> str:
    chosen = f'service="{service}"'
    if slo == AVAILABILITY:
        every = f"sum(rate(http_requests_total{{{chosen}}}[{window}]))"
        failed = f'sum(rate(http_requests_total{{{chosen},code=~"5.."}}[{window}]))'
        return f"({failed} or 0 * {every}) / ({every} > 0)"
    name, bound = "http_request_duration_seconds", objective.latency_milliseconds / 1000
    fast = f'sum(rate({name}_bucket{{{chosen},le=~"{_le(bound)}"}}[{window}]))'
    return f"1 - {fast} / (sum(rate({name}_count{{{chosen}}}[{window}])) > 0)"


def _le(seconds: float) -> str:
    """The bound as Prometheus 2 and 3 write it: since 3.0 a whole number ends in ``.0``."""
    return f"{seconds:g}|{seconds:g}\\\\.0" if seconds == int(seconds) else f"{seconds:g}"


def _burn_alert(service: str, slo: str, percent: float, burn: Burn) -> Alert:
    budget = round(1 - percent / 100, 6)
    allowed = f"{burn.factor:g} * {budget:g}"
    chosen = f'{{service="{service}",slo="{slo}"}}'
    return Alert(
        name="ErrorBudgetBurn",
        expression=(f"{error_ratio(burn.long)}{chosen} > {allowed} and {error_ratio(burn.short)}{chosen} > {allowed}"),
        lasts=burn.lasts,
        severity=burn.severity,
        area=Area.SERVICES,
        subject=service,
        summary=f"{service} spends the error budget of its {slo} ({percent:g} %) {burn.factor:g} times too fast: "
        f"{{{{ $value | humanizePercentage }}}} of the requests of the last {burn.long} were bad",
        action="find the release, the dependency or the load that it began with; roll back first, explain later",
        runbook="error-budget.md#the-budget-burns",
        labels={"slo": slo, "long_window": burn.long, "short_window": burn.short},
    )
