"""API pods: the rate at which each target of the autoscaler is reached, and the one that is reached first."""

import math
from collections.abc import Mapping

from planning.capacity.inputs import Inputs, limit_to_request, rate_targets
from planning.capacity.model import Change, Demand, Figure, Status
from planning.twin.plant_queueing import wait_percentile_seconds
from settings.capacity import PLAN_NEEDS
from settings.quantities import parse_quantity
from settings.scaling import LatencyTrigger, PoolTrigger
from settings.services import Service
from settings.signals import LatencySource

PODS_ORDER, LIMITS_ORDER = 50, 40
_PLAN_POOL_PERCENT = 80
_BISECTIONS = 40


def pod_figure(name: str, demand: Demand, inputs: Inputs) -> Figure:
    """Pods of one API at the demand's peak."""
    service = inputs.settings.services[name]
    scaling = service.api.scaling
    rate = demand.peak_requests_per_second * inputs.requests_of(name)
    targets = target_rates(name, inputs)
    binding = min(targets, key=lambda key: (targets[key], key))
    needed = max(math.ceil(rate / targets[binding] - 1e-9), scaling.min_replicas)
    hard, hard_binding = hard_rate(name, inputs)
    status = _status(needed, rate, scaling.max_replicas, hard)
    planned = _plan_pods(name, demand, inputs)
    return Figure(
        key=f"pods/{name}",
        needed=float(needed),
        unit="pods",
        formula="max(ceil(peak × requests_per_entry_request / rate_per_pod), min_replicas)",
        inputs={
            "peak_requests_per_second": demand.peak_requests_per_second,
            "requests_per_entry_request": inputs.requests_of(name),
            "rate_per_pod": targets[binding],
            "min_replicas": float(scaling.min_replicas),
            **{f"rate_at_{key}": value for key, value in targets.items()},
            f"rate_limit_of_{hard_binding}": hard,
        },
        binding="min_replicas" if needed == scaling.min_replicas and rate < needed * targets[binding] else binding,
        available=float(scaling.max_replicas),
        plan=planned,
        status=status,
        note=_note(status, rate, scaling.max_replicas, service, inputs.rate_at_request(name)),
        changes=_changes(name, scaling.max_replicas, max(needed, int(planned or 0)), status, rate),
    )


def target_rates(name: str, inputs: Inputs) -> Mapping[str, float]:
    """Constraint → requests/s of one pod at which it is reached."""
    service, constants = inputs.settings.services[name], inputs.constants
    at_request = inputs.rate_at_request(name)
    scaling = service.api.scaling
    found = {"cpu_target": at_request * (scaling.cpu_target_percent or 100) / 100, **rate_targets(service)}
    if scaling.memory_target_percent is not None:
        room = scaling.memory_target_percent / 100 - constants.idle_memory_share
        found["memory_target"] = max(0.0, room) / constants.memory_share_per_planned_load * at_request
    pool = service.api.database_connections_per_pod / constants.database_hold_seconds
    if pool:
        percents = [trigger.use_percent for trigger in scaling.triggers if isinstance(trigger, PoolTrigger)]
        found["database_pool"] = pool * min(percents, default=_PLAN_POOL_PERCENT) / 100
    for trigger in scaling.triggers:
        if isinstance(trigger, LatencyTrigger) and trigger.source is LatencySource.HTTP:
            objective = trigger.objective_milliseconds / 1000
            found["latency_objective"] = _rate_within(
                objective, at_request * limit_to_request(service), inputs, service
            )
    return {key: value for key, value in found.items() if value > 0}


def hard_rate(name: str, inputs: Inputs) -> tuple[float, str]:
    """Most requests/s that one pod serves at all, and what stops it."""
    service, constants = inputs.settings.services[name], inputs.constants
    rates = {"cpu_limit": inputs.rate_at_request(name) * limit_to_request(service)}
    if service.api.database_connections_per_pod:
        rates["database_pool"] = service.api.database_connections_per_pod / constants.database_hold_seconds
    if any(isinstance(t, LatencyTrigger) and t.source is LatencySource.EXTERNAL for t in service.api.scaling.triggers):
        rates["bank_calls"] = constants.bank_workers_per_pod / constants.bank_mean_seconds
    binding = min(rates, key=lambda key: (rates[key], key))
    return rates[binding], binding


def _rate_within(objective_seconds: float, capacity: float, inputs: Inputs, service: Service) -> float:
    """Highest rate of one pod whose p99 keeps the objective, by the twin's own queueing formula."""
    left = objective_seconds - inputs.constants.service_time_p99_seconds
    cores = max(1, round(float(parse_quantity(service.api.resources.limits.cpu))))
    if left <= 0:
        return 0.0
    low, high = 0.0, capacity
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if wait_percentile_seconds(middle, cores, cores / capacity) <= left:
            low = middle
        else:
            high = middle
    return low


def _status(needed: int, rate: float, maximum: int, hard: float) -> Status:
    if needed <= maximum:
        return Status.CARRIED
    return Status.TIGHT if rate < maximum * hard else Status.SHORT


def _plan_pods(name: str, demand: Demand, inputs: Inputs) -> float | None:
    if name != inputs.settings.capacity.entry_service:
        return None
    return next((float(row.api_pods) for key, row in PLAN_NEEDS.items() if key == demand.name), None)


def _note(status: Status, rate: float, maximum: int, service: Service, at_request: float) -> str:
    if status is Status.TIGHT:
        each = rate / maximum
        of_request = f"{100 * each / at_request:.0f} % of its cpu request"
        return f"{maximum} pods at {each:,.0f} requests/s use {of_request}: nodes need room to spare"
    if status is Status.SHORT:
        return (
            f"{maximum} pods at their limit of {limit_to_request(service):g} × the request cannot serve {rate:,.0f}/s"
        )
    return ""


def _changes(name: str, maximum: int, wanted: int, status: Status, rate: float) -> tuple[Change, ...]:
    if status is Status.CARRIED:
        return ()
    why = f"{rate:,.0f} requests/s at the autoscaler's targets"
    return (
        Change(
            order=LIMITS_ORDER,
            path=f"policies/config: scaling-limits.limits.{name}.maxReplicas",
            before=float(maximum),
            after=float(wanted),
            why="the pack refuses more than its owners have allowed",
        ),
        Change(
            order=PODS_ORDER,
            path=f"services.{name}.api.scaling.max_replicas",
            before=float(maximum),
            after=float(wanted),
            why=why,
        ),
    )


def memory_floor(share_of_request: float, target: float, maximum: int) -> int:
    """Pods below which an autoscaler on memory never goes, once each pod holds ``share_of_request``.

    The heap does not shrink, so the controller's ``ceil(pods × use / target)`` has a fixed point, and use within a
    tenth of the target changes nothing at all.
    """
    pods = maximum
    while pods > 1:
        ratio = share_of_request / target
        if abs(ratio - 1.0) <= 0.1:  # noqa: PLR2004 # the controller's default tolerance
            return pods
        wanted = math.ceil(pods * ratio - 1e-9)
        if wanted >= pods:
            return pods
        pods = wanted
    return pods


def memory_share(spec_rate: float, at_request: float, inputs: Inputs) -> float:
    """Memory of a pod that has seen a rate, as a share of its request; the twin's assumption."""
    constants = inputs.constants
    return constants.idle_memory_share + constants.memory_share_per_planned_load * spec_rate / at_request
