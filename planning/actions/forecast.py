"""What the twin expects of a change: the same load and the same past, without and with it from now on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planning.bottlenecks.findings import Finding, Series, Values
from planning.bottlenecks.sources import LOOK_SECONDS, looks_of
from planning.twin.plant_consumers import ConsumerSpec
from planning.twin.plant_stack import Stack
from planning.twin.scenarios import Scenario, recorded, scenario
from planning.twin.simulation import Measured, Redeployment, Run, simulate
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
    "the twin does not see the finding under this load from now on: something is not as the settings believe it, for "
    "example what one pod or consumer can do"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One run of the twin from the decision on, seen through the finding: nothing helps the time before it."""

    over_threshold_minutes: float
    highest: float
    at_end: float
    slo_minutes_lost: float
    """Of all workloads."""
    pod_hours: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A load, and the second of it at which the change is deployed."""

    scenario: Scenario
    decided_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """The same load with the present settings and with the changed ones."""

    load: str
    metric: str
    subject: str
    threshold: float
    before: Outcome
    after: Outcome
    assumed: str
    """What one pod or consumer of the subject can do, as the twin believes and nobody has measured for it."""
    not_modelled: str | None
    """Why the twin cannot tell: then a person decides, and nothing is done unattended."""

    @property
    def helps(self) -> bool:
        """Whether the rest of the finding is shorter or clearly lower with the change."""
        if self.not_modelled is not None:
            return True
        before, after = self.before, self.after
        shorter = after.over_threshold_minutes <= _BETTER_SHARE * before.over_threshold_minutes
        lower = after.highest <= _BETTER_SHARE * before.highest
        return shorter or (lower and after.over_threshold_minutes <= before.over_threshold_minutes)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "helps": self.helps}


def observed_load(points: Sequence[tuple[float, float]], *, hold_seconds: int) -> Replay | None:
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
    return Replay(
        scenario=replace(load, summary=f"the observed load, its last value held for {hold_seconds} s more"),
        decided_seconds=int(end - start),
    )


def forecast(
    before: Stack,
    after: Stack,
    finding: Finding,
    threshold: float,
    observed: Replay | None,
    *,
    latest: Values | None = None,
) -> Forecast:
    """Simulate the load as it was with the stack as it is, and from the decision on both ways.

    At the decision the twin is set to what is measured then (``latest``): replicas and lag. ``threshold`` is the
    finding's warning threshold. Without an observed load nothing is known of the past, and the change is there from
    the start. Raises the twin's own errors.
    """
    promised = before.promised_requests_per_second
    replay = observed or Replay(scenario=scenario(FALLBACK_SCENARIO, seed=1, promised=promised), decided_seconds=0)
    series = (finding.metric, finding.subject)
    measured = _measured(before, latest or {}) if observed is not None else ()
    ways = [Redeployment(at_seconds=replay.decided_seconds, stack=one, measured=measured) for one in (before, after)]
    runs = [simulate(before, replay.scenario, way) for way in ways]
    outcomes = [_outcome(run, series, threshold, replay.decided_seconds) for run in runs]
    # Set to the measured lag every twin has the finding; one that never came to it by itself believes something else.
    believed = _outcome(simulate(before, replay.scenario), series, threshold, from_seconds=0)
    seen = believed.over_threshold_minutes > 0 and outcomes[0].over_threshold_minutes > 0
    return Forecast(
        load=replay.scenario.summary,
        metric=finding.metric,
        subject=finding.subject,
        threshold=threshold,
        before=outcomes[0],
        after=outcomes[1],
        assumed=_assumed(before, finding.subject),
        not_modelled=_NOT_MODELLED.get(finding.kind, None if seen else _NOT_SEEN),
    )


def _assumed(stack: Stack, subject: str) -> str:
    spec = next(workload.spec for workload in stack.workloads if workload.name == subject)
    if isinstance(spec, ConsumerSpec):
        each = spec.messages_per_second * stack.constants.capacity_ratio
        return f"one consumer handles {each:g} messages/s, as messages_per_second_per_consumer says"
    return f"a pod uses its CPU request at {spec.planned_rate_per_pod:g} requests/s"


def _measured(stack: Stack, latest: Values) -> tuple[tuple[str, Measured], ...]:
    found = []
    for workload in stack.workloads:
        share = latest.get(("replicas_of_maximum", workload.name))
        replicas = 0 if share is None else round(share * workload.max_replicas)
        if replicas > 0:
            each = latest.get(("lag_per_consumer", workload.name))
            lag = None if each is None else each * replicas
            found.append((workload.name, Measured(replicas=replicas, lag=lag)))
    return tuple(found)


def _outcome(run: Run, series: Series, threshold: float, from_seconds: int) -> Outcome:
    step = run.scenario.load.step_seconds
    looks = [look for look in looks_of(run, every_seconds=step) if look.time_seconds >= from_seconds]
    values = [value for look in looks if (value := look.values.get(series)) is not None]
    first = from_seconds // step
    return Outcome(
        over_threshold_minutes=sum(value >= threshold for value in values) * step / 60,
        highest=max(values, default=0.0),
        at_end=values[-1] if values else 0.0,
        slo_minutes_lost=sum(sum(track.lost[first:]) for track in run.tracks) * step / 60,
        pod_hours=sum(sum(track.pods[first:]) for track in run.tracks) * step / 3600,
    )
