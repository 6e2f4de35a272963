"""The closed loop: load → plant → signals → the controllers' arithmetic → replicas → plant."""

from collections import OrderedDict
from dataclasses import dataclass, field

from planning.twin.oracle import needed_replicas
from planning.twin.plant_api import Api, ApiSpec
from planning.twin.plant_bank import Breaker
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerGroup
from planning.twin.plant_pods import Pods
from planning.twin.plant_stack import Stack, Workload
from planning.twin.scenarios import Scenario
from planning.twin.signals import ApiHistory, MovingMean, Signals
from planning.twin.simulation_scaler import Scaler, make_scaler

SYNC_SECONDS = 15
"""Period of the HPA controller (``--horizontal-pod-autoscaler-sync-period``)."""
_KEPT_RUNS = 12
"""A day of six workloads holds about 4 MiB; a command compares a handful of runs."""
WARM_UP_SECONDS = 600
"""Time at the scenario's first load before its start, so that it starts from what the autoscalers hold there."""


@dataclass(slots=True)
class Track:
    """What one workload did, one entry for each step."""

    workload: Workload
    replicas: list[int] = field(default_factory=list)
    """``spec.replicas``."""
    pods: list[int] = field(default_factory=list)
    """Pods that exist: ready and starting."""
    ready: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    """Requests/s or messages/s that arrive."""
    capacity: list[float] = field(default_factory=list)
    """What the ready pods can keep up with, in the same unit."""
    lag: list[float] = field(default_factory=list)
    """Messages; consumers only."""
    p99_seconds: list[float] = field(default_factory=list)
    """APIs only."""
    refused_share: list[float] = field(default_factory=list)
    """Share of calls that the breaker refuses; APIs only."""
    lost: list[bool] = field(default_factory=list)
    """Whether the step missed the objective."""
    binding: list[str] = field(default_factory=list)
    """What bounds an API's capacity: cpu, database-pool or bank; APIs only."""
    over_request: list[bool] = field(default_factory=list)
    """Whether an API's pods use more cpu than they request, which only a node with room to spare gives."""
    capped: list[bool] = field(default_factory=list)
    """Whether the scaler wanted more than its maximum."""
    pool_use: list[float] = field(default_factory=list)
    """Share of the database connections in use; APIs only."""
    memory_share: list[float] = field(default_factory=list)
    """Memory of a pod as a share of its limit; APIs only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One scenario on one stack."""

    stack: Stack
    scenario: Scenario
    tracks: tuple[Track, ...]


@dataclass(slots=True)
class _Actor:
    """A workload's pods under load, and its scaler."""

    workload: Workload
    pods: Pods
    plant: Api | ConsumerGroup
    scaler: Scaler
    track: Track
    capped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one workload really is at a moment: the run goes on from there."""

    replicas: int
    lag: float | None
    """Messages of a group of consumers, over all partitions; ``None``: as the run has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Redeployment:
    """Somebody deploys another version of the stack in the middle of a run."""

    at_seconds: float
    stack: Stack
    """The same workloads: their limits change at once, anything else of them with a rollout of their pods."""
    measured: tuple[tuple[str, Measured], ...] = ()
    """Workloads whose state at that moment is known."""


_kept: OrderedDict[tuple[str, str, str], Run] = OrderedDict()


def simulate(stack: Stack, scenario: Scenario, redeployment: Redeployment | None = None) -> Run:
    """Run a scenario over every workload of a stack, or give the same run again; nobody may change it.

    A forecast, a bill and a report ask for the same day of the same stack. Raises what ``simulate_anew`` raises.
    """
    key = (repr(stack), repr(scenario), repr(redeployment))  # data throughout: equal texts are equal inputs
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = simulate_anew(stack, scenario, redeployment)
        if len(_kept) > _KEPT_RUNS:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return found


def simulate_anew(stack: Stack, scenario: Scenario, redeployment: Redeployment | None = None) -> Run:
    """Run a scenario over every workload of a stack. The same input gives the same result.

    Raises ``SignalError`` for a signal that the plant does not have, and the controllers' own errors for a manifest
    that they cannot read.
    """
    load = scenario.load
    step = load.step_seconds
    actors, signals = _actors(stack, scenario)
    per_sync = SYNC_SECONDS // step
    warm_up = -(WARM_UP_SECONDS // step)
    rates = load.requests_per_second
    for index in range(warm_up, len(rates)):
        now = float(index * step)
        if scenario.rollout_seconds is not None and 0.0 <= now - scenario.rollout_seconds < step:
            for actor in actors:
                actor.pods.roll_out()
        if redeployment is not None and 0.0 <= now - redeployment.at_seconds < step:
            _redeploy(actors, redeployment)
        _move(actors, now, step, rates[max(index, 0)], _bank_seconds(scenario, stack.constants, now))
        signals.record()
        if (index + 1) % per_sync == 0:
            outage = scenario.metrics_outage is not None and scenario.metrics_outage.holds(now)
            for actor in actors:
                actor.pods.replicas, actor.capped = actor.scaler.decide(now + step, metrics_down=outage)
        if index >= 0:
            for actor in actors:
                _note(actor)
    return Run(stack=stack, scenario=scenario, tracks=tuple(actor.track for actor in actors))


def _redeploy(actors: list[_Actor], redeployment: Redeployment) -> None:
    workloads = {workload.name: workload for workload in redeployment.stack.workloads}
    measured = dict(redeployment.measured)
    for actor in actors:
        if actor.workload.name in measured:
            _set_to(actor, measured[actor.workload.name])
        workload = workloads[actor.workload.name]
        actor.scaler.set_limits(lowest=workload.min_replicas, highest=workload.max_replicas)
        plant, spec = actor.plant, workload.spec
        if isinstance(plant, Api) and isinstance(spec, ApiSpec) and plant.spec != spec:
            plant.spec = spec
            actor.pods.roll_out()


def _set_to(actor: _Actor, measured: Measured) -> None:
    pods, plant, count = actor.pods, actor.plant, measured.replicas
    pods.replicas = count
    pods.high_water = [*pods.high_water, *[0.0] * count][:count]
    pods.starting, pods.settling = [], []
    if isinstance(plant, ConsumerGroup):
        plant.members = count
        if measured.lag is not None:
            plant.lags = [measured.lag / len(plant.lags)] * len(plant.lags)


def _bank_seconds(scenario: Scenario, constants: PlantConstants, now: float) -> float:
    slow = scenario.slow_bank is not None and scenario.slow_bank.holds(now)
    return scenario.slow_bank_mean_seconds if slow else constants.bank_mean_seconds


def _actors(stack: Stack, scenario: Scenario) -> tuple[list[_Actor], Signals]:
    first = scenario.load.requests_per_second[0]
    step, constants = scenario.load.step_seconds, stack.constants
    signals = Signals()
    built: list[tuple[Workload, Pods, Api | ConsumerGroup]] = []
    for workload in stack.workloads:
        pods = Pods.settled(workload.timing, needed_replicas(workload, first, constants))
        spec = workload.spec
        plant: Api | ConsumerGroup
        if isinstance(spec, ApiSpec):
            breaker = Breaker(constants) if spec.calls_bank else None
            plant = Api(spec=spec, constants=constants, pods=pods, breaker=breaker)
            signals.apis[workload.name] = (workload, plant, ApiHistory.empty(constants, step))
        else:
            plant = ConsumerGroup(spec=spec, constants=constants, pods=pods)
            signals.groups[spec.group] = (plant, MovingMean(constants.offset_window_seconds, step))
        built.append((workload, pods, plant))
    actors = [
        _Actor(
            workload=workload,
            pods=pods,
            plant=plant,
            scaler=make_scaler(workload, pods, plant, signals),
            track=Track(workload=workload),
        )
        for workload, pods, plant in built
    ]
    return actors, signals


def _move(actors: list[_Actor], now: float, seconds: int, entry_rate: float, bank_seconds: float) -> None:
    for actor in actors:
        plant = actor.plant
        actor.pods.advance(now)
        if isinstance(plant, Api):
            plant.step(now, seconds, entry_rate * plant.spec.requests_per_entry_request, bank_seconds)
        else:
            plant.step(now, seconds, entry_rate * plant.spec.events_per_entry_request)


def _note(actor: _Actor) -> None:
    track, pods, plant = actor.track, actor.pods, actor.plant
    track.replicas.append(pods.replicas)
    track.pods.append(pods.status_replicas)
    track.ready.append(pods.ready)
    track.capped.append(actor.capped)
    if isinstance(plant, Api):
        state, spec = plant.state, plant.spec
        track.rate.append(state.rate)
        track.capacity.append(state.capacity)
        track.p99_seconds.append(state.p99_seconds)
        track.refused_share.append(state.refused_share)
        track.binding.append(state.binding)
        track.pool_use.append(state.pool_use)
        track.memory_share.append(state.memory_bytes_per_pod / spec.memory_limit_bytes)
        track.over_request.append(state.cpu_cores_per_pod > spec.cpu_request_cores)
        track.lost.append(state.p99_seconds > spec.objective_seconds or state.dropped > 0.0)
    else:
        track.rate.append(plant.rate)
        track.capacity.append(plant.sustainable_rate(plant.members))
        track.lag.append(plant.lag)
        track.lost.append(plant.lag > plant.spec.lag_objective)
