"""What the twin expects of a change: the same load, before and after."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planning.bottlenecks.findings import Finding, Series
from planning.bottlenecks.sources import LOOK_SECONDS, looks_of
from planning.twin.plant_stack import Stack
from planning.twin.report import report
from planning.twin.scenarios import Scenario, recorded, scenario
from planning.twin.simulation import Run, simulate
from planning.twin.workload import Load, step_for

FALLBACK_SCENARIO = "flash-sale"
"""Load of the forecast when the source does not tell the load: from a fifth of the promised peak to all of it."""
_NOT_MODELLED = {
    "DB_CONNECTIONS": "the twin does not model the database's nodes",
    "MEMORY_PRESSURE": "the twin scales a pod's memory with its request; use is expected to fall by the limits' ratio",
}
_BETTER_SHARE = 0.95
"""Fewer minutes or a lower value by less than a twentieth are noise."""
_NOT_SEEN = (
    "the twin does not see the finding under this load: something is not as the settings believe it, for example what "
    "one pod or consumer can do"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One run of the twin, seen through the finding."""

    over_threshold_minutes: float
    highest: float
    at_end: float
    slo_minutes_lost: float
    """Of all workloads."""
    pod_hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The same load with the present settings and with the changed ones."""

    load: str
    metric: str
    subject: str
    threshold: float
    before: Outcome
    after: Outcome
    not_modelled: str | None
    """Why the twin cannot tell: then a person decides, and nothing is done unattended."""

    @property
    def helps(self) -> bool:
        """Whether the finding is shorter or clearly lower with the change."""
        if self.not_modelled is not None:
            return True
        before, after = self.before, self.after
        shorter = after.over_threshold_minutes <= _BETTER_SHARE * before.over_threshold_minutes
        lower = after.highest <= _BETTER_SHARE * before.highest
        return shorter or (lower and after.over_threshold_minutes <= before.over_threshold_minutes)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "helps": self.helps}


def observed_load(points: Sequence[tuple[float, float]], *, hold_seconds: int) -> Scenario | None:
    """The load that a source told, and its last value for as long as the change has to prove itself.

    ``None`` for fewer than two points: nothing could be replayed.
    """
    if len(points) < 2:  # noqa: PLR2004 # one point is no course
        return None
    start, end = points[0][0], points[-1][0]
    duration = int(end - start) + hold_seconds
    step = step_for(duration)
    rates: list[float] = []
    index = 0
    for moment in range(0, max(duration, LOOK_SECONDS), step):
        while index + 1 < len(points) and points[index + 1][0] - start <= moment:
            index += 1
        rates.append(points[index][1])
    load = recorded("observed", Load(step_seconds=step, requests_per_second=tuple(rates)))
    return replace(load, summary=f"the observed load, its last value held for {hold_seconds} s more")


def forecast(before: Stack, after: Stack, finding: Finding, threshold: float, observed: Scenario | None) -> Forecast:
    """Simulate both stacks; ``threshold`` is the finding's warning threshold. Raises the twin's own errors."""
    chosen = observed or scenario(FALLBACK_SCENARIO, seed=1, promised=before.promised_requests_per_second)
    outcomes = [
        _outcome(simulate(stack, chosen), (finding.metric, finding.subject), threshold) for stack in (before, after)
    ]
    return Forecast(
        load=chosen.summary,
        metric=finding.metric,
        subject=finding.subject,
        threshold=threshold,
        before=outcomes[0],
        after=outcomes[1],
        not_modelled=_NOT_MODELLED.get(finding.kind, None if outcomes[0].over_threshold_minutes else _NOT_SEEN),
    )


def _outcome(run: Run, series: Series, threshold: float) -> Outcome:
    values = [value for look in looks_of(run) if (value := look.values.get(series)) is not None]
    found = report(run)
    return Outcome(
        over_threshold_minutes=sum(value >= threshold for value in values) * LOOK_SECONDS / 60,
        highest=max(values, default=0.0),
        at_end=values[-1] if values else 0.0,
        slo_minutes_lost=found.slo_minutes_lost,
        pod_hours=found.pod_hours,
    )
