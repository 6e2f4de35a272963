"""Small manifests and observations for the tests of the controllers' arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

from planning.twin.hpa import Controller, ControllerFlags, Decision, HpaSpec, Observation, Pod, UniformPods, metric_key

LAG = metric_key("lag", {"group": "payments"})


def deployment(cpu: str | None = "500m", memory: str | None = "1Gi", **template: Any) -> dict[str, Any]:
    """A Deployment with one container, ``app``."""
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value is not None}
    pod = {"containers": [{"name": "app", "resources": {"requests": requests}}], **template}
    return {"metadata": {"name": "payment"}, "spec": {"template": {"spec": pod}}}


def cpu(percent: int = 70, container: str | None = None) -> dict[str, Any]:
    """A cpu utilisation metric."""
    return utilization("cpu", percent, container)


def utilization(name: str, percent: int, container: str | None = None) -> dict[str, Any]:
    """A utilisation metric of the pod, or of a container."""
    source = {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}
    if container is None:
        return {"type": "Resource", "resource": source}
    return {"type": "ContainerResource", "containerResource": source | {"container": container}}


def lag(target: str = "1000") -> dict[str, Any]:
    """An external metric with a target per pod."""
    return external({"type": "AverageValue", "averageValue": target})


def external(target: Mapping[str, Any], name: str = "lag") -> dict[str, Any]:
    """An external metric with any target."""
    identifier = {"name": name, "selector": {"matchLabels": {"group": "payments"}}}
    return {"type": "External", "external": {"metric": identifier, "target": dict(target)}}


def hpa(
    *metrics: Mapping[str, Any],
    lowest: int = 1,
    highest: int = 100,
    behavior: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A HorizontalPodAutoscaler of the Deployment ``payment``."""
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payment"},
        "minReplicas": lowest,
        "maxReplicas": highest,
        "metrics": list(metrics),
    }
    if behavior is not None:
        spec["behavior"] = dict(behavior)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "payment-hpa", "namespace": "payments"},
        "spec": spec,
    }


# Everything at once: windows of 0 s and policies that never bind, so that a test sees the metrics alone.
AT_ONCE: Mapping[str, Any] = {
    direction: {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1}],
    }
    for direction in ("scaleUp", "scaleDown")
}


def controller(
    *metrics: Mapping[str, Any],
    lowest: int = 1,
    highest: int = 100,
    behavior: Mapping[str, Any] | None = AT_ONCE,
    flags: ControllerFlags | None = None,
) -> Controller:
    """A controller of the Deployment ``payment``."""
    manifest = hpa(*metrics, lowest=lowest, highest=highest, behavior=behavior)
    return Controller(HpaSpec.from_manifest(manifest, target=deployment()), flags)


def observe(
    now: float = 10_000.0,
    *,
    spec: int,
    status: int | None = None,
    pods: Sequence[Pod] | UniformPods | None = None,
    lag_messages: float | None = None,
    **others: Any,
) -> Observation:
    """An observation; the pods are as many ready ones as there should be unless they are given."""
    if lag_messages is not None:
        others["external"] = {LAG: [round(lag_messages * 1000)]}
    return Observation(
        now_seconds=now,
        spec_replicas=spec,
        status_replicas=spec if status is None else status,
        pods=UniformPods(ready=spec) if pods is None else pods,
        **others,
    )


def busy(ready: int, cpu_millicores: int, **others: Any) -> UniformPods:
    """Ready pods with this cpu use each."""
    return UniformPods(ready=ready, cpu_millicores=cpu_millicores, **others)


def follow(subject: Controller, *, replicas: int, lags: Sequence[float], step_seconds: float = 15.0) -> list[int]:
    """Replicas after each synchronisation when every wish is granted at once."""
    sequence = []
    for index, messages in enumerate(lags):
        replicas = subject.sync(observe(index * step_seconds, spec=replicas, lag_messages=messages)).desired_replicas
        sequence.append(replicas)
    return sequence


def decide(*metrics: Mapping[str, Any], on: Observation) -> Decision:
    """What a controller that remembers nothing decides, windows and policies aside."""
    return controller(*metrics).sync(on)
