"""Which limit stands in the way, at which load, and why."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planning.twin.plant_api import ApiSpec
from planning.twin.plant_consumers import ConsumerSpec
from planning.twin.simulation import Run, Track

SUSTAINED_SECONDS = 60
"""A limit counts as broken when it stays broken for so long: one noisy sample is not a limit."""
LATE = "time: pods were still to come"
_BACKLOG = "backlog of an earlier shortage"
_LIMITS = {"cpu": "cpu limit", "database-pool": "database pool"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenLimit:
    """The first load at which one limit of a workload no longer holds."""

    workload: str
    limit: str
    """cpu request, pods, cpu limit, database-pool, bank, consumers, partitions or objective."""
    requests_per_second: float | None
    """At the entry service; ``None`` when the ramp never got there."""
    meaning: str


def limit_at(run: Run, track: Track, index: int) -> str:
    """What stands in the way of a workload at one step, in words."""
    workload, spec = track.workload, track.workload.spec
    at_maximum = track.replicas[index] >= workload.max_replicas
    short = track.rate[index] > track.capacity[index]
    if isinstance(spec, ConsumerSpec):
        return _consumer_limit(run, track, spec, index) if short else _BACKLOG
    if track.binding[index] == "bank":
        return "the bank is slow: more pods do not help"
    if at_maximum and short:
        return f"pods: max {workload.max_replicas}, each at its {_LIMITS[track.binding[index]]}"
    return LATE if short or track.ready[index] < track.replicas[index] else _BACKLOG


def _consumer_limit(run: Run, track: Track, spec: ConsumerSpec, index: int) -> str:
    each = spec.messages_per_second * run.stack.constants.capacity_ratio
    ready = track.ready[index]
    if track.rate[index] > each * spec.partitions:
        return f"partitions: {spec.partitions} of {spec.topic}, one consumer each"
    if track.replicas[index] >= track.workload.max_replicas and ready >= track.replicas[index]:
        return f"consumers: max {track.workload.max_replicas}"
    if 0 < ready < spec.partitions and track.rate[index] <= each * ready:
        return f"uneven partitions: the busiest of {ready} consumers reads {-(-spec.partitions // ready)}"
    return LATE


def causes_of_loss(run: Run, track: Track) -> dict[int, str]:
    """Step → cause, for every step that misses the objective; a backlog counts for what piled it up."""
    causes: dict[int, str] = {}
    last = LATE
    for index, lost in enumerate(track.lost):
        if lost or track.rate[index] > track.capacity[index]:
            cause = limit_at(run, track, index)
            last = last if cause == _BACKLOG else cause
        if lost:
            causes[index] = last
    return causes


def binding_limit(run: Run, track: Track) -> str | None:
    """The cause of most of the lost time; ``None`` when none was lost."""
    causes = Counter(causes_of_loss(run, track).values())
    return causes.most_common(1)[0][0] if causes else None


def first_loss(run: Run) -> tuple[float, str, str] | None:
    """Requests/s at the entry service, workload and limit when an objective is first missed; ``None``: never."""
    losses = [
        (index, track.workload.name, cause)
        for track in run.tracks
        for index, cause in causes_of_loss(run, track).items()
    ]
    if not losses:
        return None
    index, name, cause = min(losses)
    return run.scenario.load.requests_per_second[index], name, cause


def broken_limits(ramp: Run) -> list[BrokenLimit]:
    """Every limit of every workload, from a run of the ramp."""
    return [broken for track in ramp.tracks for broken in _of_track(ramp, track)]


def _of_track(ramp: Run, track: Track) -> Iterator[BrokenLimit]:
    workload, spec, constants = track.workload, track.workload.spec, ramp.stack.constants
    short = [rate > capacity for rate, capacity in zip(track.rate, track.capacity, strict=True)]
    full = [count >= workload.max_replicas for count in track.replicas]
    overrun = [a and b for a, b in zip(short, full, strict=True)]

    def found(limit: str, broken: Sequence[bool], meaning: str) -> BrokenLimit:
        load = _first_load(ramp, broken)
        return BrokenLimit(workload=workload.name, limit=limit, requests_per_second=load, meaning=meaning)

    if isinstance(spec, ApiSpec):
        yield found("cpu request", track.over_request, "beyond it only a node with room to spare carries the load")
        yield found("pods", track.capped, f"the autoscaler asks for more than {workload.max_replicas}")
        binding = track.binding[-1]
        yield found(binding, overrun, f"{workload.max_replicas} pods cannot serve the rate")
    else:
        each = spec.messages_per_second * constants.capacity_ratio
        yield found("consumers", track.capped, f"the autoscaler asks for more than {workload.max_replicas}")
        yield found(
            "partitions",
            [rate > each * spec.partitions for rate in track.rate],
            f"one consumer on each of {spec.partitions} partitions cannot keep up",
        )
    causes = causes_of_loss(ramp, track)
    yield found("objective", track.lost, causes[min(causes)] if causes else "kept")


def _first_load(ramp: Run, broken: Sequence[bool]) -> float | None:
    needed = max(1, SUSTAINED_SECONDS // ramp.scenario.load.step_seconds)
    lasted = 0
    for index, value in enumerate(broken):
        lasted = lasted + 1 if value else 0
        if lasted == needed:
            return ramp.scenario.load.requests_per_second[index - needed + 1]
    return None
