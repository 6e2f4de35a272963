"""The two kinds of scaler, HorizontalPodAutoscaler and KEDA's ScaledObject, read into one shape."""

from dataclasses import dataclass

from policies.objects import KubernetesObject
from policies.values import UNKNOWN, elements, number, read, scalar, text

SCALER_KINDS = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
SCALED_RESOURCES = frozenset({"cpu", "memory"})
# What the API server (HPA) and the operator (KEDA) assume where the field is not set.
_HPA_MINIMUM_DEFAULT = 1.0
_KEDA_MINIMUM_DEFAULT = 0.0
_KEDA_MAXIMUM_DEFAULT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """One scaler. Counts are replicas, cpu is a percentage of the request; None stands for not set or not
    known.

    `resources` are the resource metrics (cpu, memory) that need a request on every container; where
    `container` is set the metric reads that container only.
    """

    subject: KubernetesObject
    target_kind: str
    target_name: object
    minimum: float | None
    maximum: float | None
    cpu_percent: float | None
    resources: tuple[tuple[str, str | None], ...]


def parse_scaler(subject: KubernetesObject) -> Scaler | None:
    """Return the scaler behind an object, or None if it is another kind of object."""
    if subject.kind == "HorizontalPodAutoscaler" and subject.group == "autoscaling":
        return _hpa(subject)
    if subject.kind == "ScaledObject" and subject.group == "keda.sh":
        return _scaled_object(subject)
    return None


def _count(value: object, default: float | None) -> float | None:
    return default if value is None else number(value)


def _hpa(subject: KubernetesObject) -> Scaler:
    spec = read(subject.props, "spec")
    cpu = number(read(spec, "targetCPUUtilizationPercentage"))  # autoscaling/v1
    resources: list[tuple[str, str | None]] = [] if cpu is None else [("cpu", None)]
    for metric in elements(read(spec, "metrics")):
        container: str | None = None
        source = read(metric, "resource")
        if read(metric, "type") == "ContainerResource":
            source = read(metric, "containerResource")
            container = text(read(source, "container"))
        name = text(read(source, "name"))
        utilization = number(read(source, "target", "averageUtilization"))
        if name not in SCALED_RESOURCES:
            continue
        if read(source, "target", "type") != "AverageValue":
            resources.append((name, container))
        if name == "cpu" and utilization is not None:
            cpu = utilization
    return Scaler(
        subject=subject,
        target_kind=text(read(spec, "scaleTargetRef", "kind")) or "Deployment",
        target_name=scalar(read(spec, "scaleTargetRef", "name")),
        minimum=_count(read(spec, "minReplicas"), _HPA_MINIMUM_DEFAULT),
        maximum=_count(read(spec, "maxReplicas"), None),
        cpu_percent=cpu,
        resources=tuple(resources),
    )


def _scaled_object(subject: KubernetesObject) -> Scaler:
    spec = read(subject.props, "spec")
    minimum = _count(read(spec, "minReplicaCount"), _KEDA_MINIMUM_DEFAULT)
    idle = number(read(spec, "idleReplicaCount"))
    if idle is not None and minimum is not None:
        minimum = min(minimum, idle)
    cpu: float | None = None
    resources: list[tuple[str, str | None]] = []
    for trigger in elements(read(spec, "triggers")):
        name = text(read(trigger, "type"))
        metadata = read(trigger, "metadata")
        metric_type = read(trigger, "metricType")
        if name not in SCALED_RESOURCES or metric_type is UNKNOWN or metric_type == "AverageValue":
            continue
        resources.append((name, text(read(metadata, "containerName"))))
        if name == "cpu":
            cpu = number(read(metadata, "value"))
    return Scaler(
        subject=subject,
        target_kind=text(read(spec, "scaleTargetRef", "kind")) or "Deployment",
        target_name=scalar(read(spec, "scaleTargetRef", "name")),
        minimum=minimum,
        maximum=_count(read(spec, "maxReplicaCount"), _KEDA_MAXIMUM_DEFAULT),
        cpu_percent=cpu,
        resources=tuple(resources),
    )
