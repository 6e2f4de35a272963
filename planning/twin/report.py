"""What a run amounts to, in the figures that people decide by."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planning.twin.oracle import replica_seconds
from planning.twin.plant_api import ApiSpec
from planning.twin.plant_consumers import ConsumerSpec
from planning.twin.report_limits import binding_limit, first_loss
from planning.twin.simulation import Run, Track

_HOUR_SECONDS = 3600.0
_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadReport:
    """One workload in one scenario."""

    name: str
    kind: str
    """api or consumers."""
    changes: int
    """Changes of ``spec.replicas``."""
    reversals: int
    """Changes in the other direction than the one before."""
    fewest_replicas: int
    most_replicas: int
    highest_lag: float | None
    """Messages; consumers only."""
    mean_lag: float | None
    drain_minutes: float | None
    """Longest time from lag per consumer above T until below T/2; up to the end when it never came back."""
    highest_p99_seconds: float | None
    """APIs only."""
    objective: str
    """What loses the objective."""
    slo_minutes_lost: float
    binding_limit: str | None
    """What stood in the way for most of the lost time."""
    breaker_minutes: float
    """Time in which the breaker refuses calls."""
    minutes_over_request: float
    """Time in which an API uses more cpu than it requests."""
    minutes_at_maximum: float
    pod_hours: float
    oracle_pod_hours: float

    @property
    def oracle_ratio(self) -> float:
        """Pod-hours in units of the oracle's."""
        return self.pod_hours / self.oracle_pod_hours


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One scenario on one stack."""

    stack: str
    scenario: str
    summary: str
    horizon: str
    promised_requests_per_second: int
    peak_requests_per_second: float
    """Of the scenario's shape, without noise."""
    beyond_promise: bool
    breaks_at_requests_per_second: float | None
    """Load at the entry service when an objective is first missed; ``None``: never."""
    breaks_first: str | None
    """Workload that misses it."""
    breaks_because: str | None
    """The limit that binds it."""
    workloads: tuple[WorkloadReport, ...]

    @property
    def slo_minutes_lost(self) -> float:
        """Sum over the workloads."""
        return sum(workload.slo_minutes_lost for workload in self.workloads)

    @property
    def pod_hours(self) -> float:
        """Sum over the workloads."""
        return sum(workload.pod_hours for workload in self.workloads)

    @property
    def oracle_ratio(self) -> float:
        """Pod-hours of all workloads in units of the oracle's."""
        return self.pod_hours / sum(workload.oracle_pod_hours for workload in self.workloads)

    @property
    def breaks_promise(self) -> bool:
        """Whether the objective is missed at a load that the horizon promises to carry."""
        return self.slo_minutes_lost > 0 and not self.beyond_promise

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the sums."""
        document = asdict(self)
        for row, workload in zip(document["workloads"], self.workloads, strict=True):
            row["oracle_ratio"] = workload.oracle_ratio
        document |= {
            "slo_minutes_lost": self.slo_minutes_lost,
            "pod_hours": self.pod_hours,
            "oracle_ratio": self.oracle_ratio,
            "breaks_promise": self.breaks_promise,
        }
        return document


def report(run: Run) -> Report:
    """The figures of a run."""
    stack, scenario = run.stack, run.scenario
    load, workload, limit = first_loss(run) or (None, None, None)
    return Report(
        stack=stack.name,
        scenario=scenario.name,
        summary=scenario.summary,
        horizon=stack.horizon,
        promised_requests_per_second=stack.promised_requests_per_second,
        peak_requests_per_second=scenario.nominal_peak,
        beyond_promise=scenario.nominal_peak > stack.promised_requests_per_second,
        breaks_at_requests_per_second=load,
        breaks_first=workload,
        breaks_because=limit,
        workloads=tuple(_of_workload(run, track) for track in run.tracks),
    )


def _of_workload(run: Run, track: Track) -> WorkloadReport:
    workload, step = track.workload, run.scenario.load.step_seconds
    minutes = step / _MINUTE_SECONDS
    changes = replica_changes(track.replicas)
    return WorkloadReport(
        name=workload.name,
        kind="api" if isinstance(workload.spec, ApiSpec) else "consumers",
        changes=len(changes),
        reversals=direction_reversals(changes),
        fewest_replicas=min(track.replicas),
        most_replicas=max(track.replicas),
        highest_lag=max(track.lag) if track.lag else None,
        mean_lag=sum(track.lag) / len(track.lag) if track.lag else None,
        drain_minutes=_drain_steps(track) * minutes if track.lag else None,
        highest_p99_seconds=max(track.p99_seconds) if track.p99_seconds else None,
        objective=objective(workload.spec),
        slo_minutes_lost=sum(track.lost) * minutes,
        binding_limit=binding_limit(run, track),
        breaker_minutes=sum(share > 0 for share in track.refused_share) * minutes,
        minutes_over_request=sum(track.over_request) * minutes,
        minutes_at_maximum=sum(count >= workload.max_replicas for count in track.replicas) * minutes,
        pod_hours=sum(track.pods) * step / _HOUR_SECONDS,
        oracle_pod_hours=replica_seconds(workload, run.scenario, run.stack.constants) / _HOUR_SECONDS,
    )


def objective(spec: ApiSpec | ConsumerSpec) -> str:
    """What a workload is held to, in words."""
    if isinstance(spec, ApiSpec):
        return f"p99 ≤ {spec.objective_seconds:g} s"
    return f"lag ≤ {spec.lag_objective:,}"


def replica_changes(replicas: Sequence[int]) -> list[int]:
    """Differences between neighbours, without zeros."""
    return [after - before for before, after in itertools.pairwise(replicas) if after != before]


def direction_reversals(changes: Sequence[int]) -> int:
    """Changes whose sign differs from that of the change before."""
    return sum((before > 0) != (after > 0) for before, after in itertools.pairwise(changes))


def _drain_steps(track: Track) -> int:
    spec = track.workload.spec
    assert isinstance(spec, ConsumerSpec)  # noqa: S101 # only consumers have a lag
    longest = since = 0
    behind = False
    for lag, replicas in zip(track.lag, track.replicas, strict=True):
        band = spec.add_above_lag * replicas
        if not behind and lag > band:
            behind, since = True, 0
        elif behind and lag < band / 2:
            behind = False
        since += 1
        if behind:
            longest = max(longest, since)
    return longest
