"""From rendered manifests and settings to the workloads that are simulated."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planning.twin.plant_api import ApiSpec
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerSpec
from planning.twin.plant_pods import PodTiming
from settings.capacity import PLAN_NEEDS
from settings.platform import Settings
from settings.quantities import parse_quantity
from settings.scaling import BreakerHold, LatencyTrigger, PerPodTrigger, PoolTrigger
from settings.services import Consumer, Service
from settings.signals import LatencySource

Manifest = Mapping[str, Any]

PLAN_P99_OBJECTIVE_SECONDS = 1.0
"""The plan's alert on API p99."""
_PERCENT = 100


class StackError(ValueError):
    """The rendered stack cannot be simulated; the message names the object and what is wrong with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One autoscaled Deployment."""

    name: str
    spec: ApiSpec | ConsumerSpec
    deployment: Manifest
    scaler: Manifest
    """HorizontalPodAutoscaler or ScaledObject."""
    timing: PodTiming
    min_replicas: int
    max_replicas: int
    cpu_target: float | None
    """Cpu use that the scaler aims at, as a share of the request."""
    targets_per_pod: tuple[float, ...]
    """Requests/s per pod that the scaler aims at."""
    ratio_caps: Mapping[str, float]
    """Highest value of each ratio signal, by its record name."""
    ratio_objectives: Mapping[str, float]
    """What each ratio signal is a ratio to: seconds, or a share of the pool or of the calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Everything that is simulated, and the load that the stack promises to carry."""

    name: str
    workloads: tuple[Workload, ...]
    promised_requests_per_second: int
    horizon: str
    entry_service: str
    constants: PlantConstants


def read_stack(
    name: str, manifests: Iterable[Manifest], settings: Settings, constants: PlantConstants | None = None
) -> Stack:
    """Pair every scaler with its Deployment; ``constants`` replace the assumptions. Raises ``StackError``."""
    objects = list(manifests)
    deployments = {m["metadata"]["name"]: m for m in objects if m["kind"] == "Deployment"}
    scalers = _scalers(objects, deployments)
    roles = _roles(settings)
    unknown = sorted(scalers.keys() - roles.keys())
    if unknown:
        message = f"{', '.join(unknown)}: scaled, but no service of the settings declares it"
        raise StackError(message)
    assumed = constants or PlantConstants()
    workloads = [
        _workload(deployments[target], scaler, roles[target], settings, assumed) for target, scaler in scalers.items()
    ]
    if not workloads:
        message = f"{name}: no autoscaler among the rendered objects; nothing to simulate"
        raise StackError(message)
    return Stack(
        name=name,
        workloads=tuple(workloads),
        promised_requests_per_second=PLAN_NEEDS[settings.capacity.horizon].peak_requests_per_second,
        horizon=str(settings.capacity.horizon),
        entry_service=settings.capacity.entry_service,
        constants=assumed,
    )


def _scalers(objects: Iterable[Manifest], deployments: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """Deployment name → its one scaler."""
    found: dict[str, Manifest] = {}
    for manifest in objects:
        if manifest["kind"] not in {"HorizontalPodAutoscaler", "ScaledObject"}:
            continue
        target = manifest["spec"]["scaleTargetRef"]["name"]
        where = f"{manifest['kind']} {manifest['metadata']['name']}"
        if target not in deployments:
            message = f"{where}: scales Deployment {target}, which is not among the rendered objects"
            raise StackError(message)
        if target in found:
            message = f"{where}: Deployment {target} has a scaler already; two of them stop each other"
            raise StackError(message)
        found[target] = manifest
    return found


def _roles(settings: Settings) -> dict[str, tuple[str, Service, Consumer | None]]:
    """Deployment name → service name, service, and the consumer when it is one."""
    found: dict[str, tuple[str, Service, Consumer | None]] = {}
    for name, service in settings.services.items():
        found[name] = (name, service, None)
        if service.consumer is not None:
            found[service.consumer.name] = (name, service, service.consumer)
    return found


def _workload(
    deployment: Manifest,
    scaler: Manifest,
    role: tuple[str, Service, Consumer | None],
    settings: Settings,
    constants: PlantConstants,
) -> Workload:
    service_name, service, consumer = role
    spec: ApiSpec | ConsumerSpec
    if consumer is None:
        spec = _api_spec(service_name, service, deployment, settings, constants)
    else:
        spec = _consumer_spec(consumer, settings, constants)
    bounds = scaler["spec"]
    ratios = {} if consumer is not None else {name: (cap, objective) for name, cap, objective in _ratios(service)}
    return Workload(
        name=deployment["metadata"]["name"],
        spec=spec,
        deployment=deployment,
        scaler=scaler,
        timing=_timing(deployment, constants),
        min_replicas=int(bounds.get("minReplicas", bounds.get("minReplicaCount", 1))),
        max_replicas=int(bounds.get("maxReplicas", bounds.get("maxReplicaCount", 100))),
        cpu_target=_cpu_target(scaler),
        targets_per_pod=_rates(service) if consumer is None else (),
        ratio_caps={name: cap for name, (cap, _) in ratios.items()},
        ratio_objectives={name: objective for name, (_, objective) in ratios.items()},
    )


def _ratios(service: Service) -> Iterator[tuple[str, float, float]]:
    """Record name, cap and objective (seconds or a share) of each ratio signal of an API."""
    for trigger in service.api.scaling.triggers:
        if isinstance(trigger, LatencyTrigger):
            yield trigger.metric, trigger.cap_percent / _PERCENT, trigger.objective_milliseconds / 1000
        elif isinstance(trigger, PoolTrigger):
            yield trigger.metric, trigger.cap_percent / _PERCENT, trigger.use_percent / _PERCENT
        elif isinstance(trigger, BreakerHold):
            yield trigger.metric, 1.0, trigger.open_percent / _PERCENT


def _api_spec(
    name: str, service: Service, deployment: Manifest, settings: Settings, constants: PlantConstants
) -> ApiSpec:
    resources = _container(deployment)["resources"]
    triggers = service.api.scaling.triggers
    bank = [t for t in triggers if isinstance(t, LatencyTrigger) and t.source is LatencySource.EXTERNAL]
    is_entry = name == settings.capacity.entry_service
    return ApiSpec(
        name=name,
        planned_rate_per_pod=constants.requests_per_second_per_pod if is_entry else _own_rate(service, constants),
        cpu_request_cores=float(parse_quantity(resources["requests"]["cpu"])),
        cpu_limit_cores=float(parse_quantity(resources["limits"]["cpu"])),
        memory_request_bytes=float(parse_quantity(resources["requests"]["memory"])),
        memory_limit_bytes=float(parse_quantity(resources["limits"]["memory"])),
        database_connections_per_pod=service.api.database_connections_per_pod,
        calls_bank=bool(bank),
        objective_seconds=max([PLAN_P99_OBJECTIVE_SECONDS, *(t.objective_milliseconds / 1000 for t in bank)]),
        requests_per_entry_request=1.0 if is_entry else constants.requests_per_entry_request,
    )


def _own_rate(service: Service, constants: PlantConstants) -> float:
    """The plan gives other services no capacity; their own per-pod rate trigger says what a pod is meant to do."""
    return max(_rates(service), default=constants.requests_per_second_per_pod)


def _rates(service: Service) -> tuple[float, ...]:
    """Targets of the per-pod triggers that count requests, operations or calls."""
    return tuple(
        float(trigger.target_per_pod)
        for trigger in service.api.scaling.triggers
        if isinstance(trigger, PerPodTrigger) and trigger.metric.endswith("_per_second")
    )


def _cpu_target(scaler: Manifest) -> float | None:
    for metric in scaler["spec"].get("metrics", ()):
        if metric["type"] == "Resource" and metric["resource"]["name"] == "cpu":
            return float(metric["resource"]["target"]["averageUtilization"]) / _PERCENT
    for trigger in scaler["spec"].get("triggers", ()):
        if trigger["type"] == "cpu":
            return float(trigger["metadata"]["value"]) / _PERCENT
    return None


def _consumer_spec(consumer: Consumer, settings: Settings, constants: PlantConstants) -> ConsumerSpec:
    scaling = consumer.scaling
    return ConsumerSpec(
        name=consumer.name,
        group=consumer.group,
        topic=consumer.topic,
        partitions=settings.topics[consumer.topic].partitions,
        messages_per_second=scaling.messages_per_second_per_consumer,
        add_above_lag=scaling.add_above_lag_per_consumer,
        rate_floor_share=scaling.rate_floor_use_percent / _PERCENT,
        lag_objective=scaling.add_above_lag_per_consumer * scaling.max_replicas,
        events_per_entry_request=constants.events_per_entry_request,
    )


def _timing(deployment: Manifest, constants: PlantConstants) -> PodTiming:
    container, pod = _container(deployment), deployment["spec"]["template"]["spec"]
    rolling = deployment["spec"].get("strategy", {}).get("rollingUpdate", {})
    surge = str(rolling.get("maxSurge", "25%"))
    probe_period = float(container.get("readinessProbe", {}).get("periodSeconds", 10))
    pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    # A consumer closes within a poll, an API right after its preStop sleep; the grace period is the ceiling.
    leave = min(float(pre_stop) + 5.0, float(pod.get("terminationGracePeriodSeconds", 30)))
    return PodTiming(
        ready_after_seconds=constants.start_seconds + probe_period,
        leave_seconds=leave,
        surge_percent=int(surge.rstrip("%")) if surge.endswith("%") else 0,
        max_unavailable=int(rolling.get("maxUnavailable", 0)),
        sampled_after_seconds=constants.cpu_window_seconds,
    )


def _container(deployment: Manifest) -> Manifest:
    container: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return container
