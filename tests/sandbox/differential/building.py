"""Building blocks of the traces: rendered autoscalers with one thing changed, metrics, and the trace itself."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from tests.sandbox.differential.rendered import Manifest, Scaler, metric_key, scalers
from tests.sandbox.differential.scenario import Branch, Step, Trace, stepwise

GRID_SECONDS = 1.5
"""Multiples keep half a second clear of 1, 2, 4, 8 and 20 s, the windows and periods of compressed traces."""
DEFAULTS_GRID_SECONDS = 1.6
"""Multiples keep more than half a second clear of 4, 15 and 20 s: where the API server's defaults count."""
SIDECAR = "cache"
FREE = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 1000, "periodSeconds": 1800}],
}
"""No window and no pace: the replicas follow the metrics at every sync."""


def trace(
    name: str,
    scaler: Scaler,
    steps: Sequence[Step],
    *branches: Branch,
    start: int,
    expect: Mapping[int, int] | Sequence[int] = (),
    path: Sequence[int] = (),
    reasons: Iterable[str] = (),
    grid_seconds: float = GRID_SECONDS,
) -> Trace:
    """A trace of steps. ``expect``: replicas after each sync from the first on, or only after some."""
    plan, count = stepwise(scaler, steps)
    expected = expect if isinstance(expect, Mapping) else dict(enumerate(expect))
    return Trace(
        name=name,
        scaler=scaler,
        branches=frozenset(branches),
        plan=plan,
        syncs=count,
        start_replicas=start,
        grid_seconds=grid_seconds,
        expected=expected,
        path=tuple(path),
        reasons=frozenset(reasons),
    )


def rendered(name: str) -> Scaler:
    """An autoscaler as rendered, on the compressed clock."""
    return scalers()[name].compressed()


def free(name: str = "dev/payment-service", *metrics: str) -> Scaler:
    """A rendered autoscaler without windows and paces, and with only some of its metrics."""
    scaler = rendered(name)
    kept = [metric for metric in scaler.metrics if not metrics or metric_key(metric) in metrics]
    assert len(kept) >= len(metrics), f"{name} has no metrics {metrics}"
    return scaler.changed(metrics=kept, behavior={"scaleUp": FREE, "scaleDown": FREE})


def measuring(*metrics: Manifest, name: str = "dev/payment-service") -> Scaler:
    """A rendered autoscaler without windows and paces, and with other metrics."""
    return free(name).changed(metrics=list(metrics))


def resource(name: str, *, container: str | None = None, **target: Any) -> Manifest:
    """A Resource metric, or one container's."""
    kind = "Utilization" if "averageUtilization" in target else "AverageValue"
    source = {"name": name, "target": {"type": kind, **target}}
    if container is None:
        return {"type": "Resource", "resource": source}
    return {"type": "ContainerResource", "containerResource": {**source, "container": container}}


def external(name: str, **target: str) -> Manifest:
    """An External metric with ``averageValue`` or ``value``."""
    return {"type": "External", "external": {"metric": {"name": name}, "target": _target(target)}}


def of_pods(name: str, average_value: str) -> Manifest:
    """A Pods metric."""
    target = {"type": "AverageValue", "averageValue": average_value}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def of_object(name: str, **target: str) -> Manifest:
    """A metric of the payment service's Service."""
    described = {"apiVersion": "v1", "kind": "Service", "name": "payment-service-svc"}
    source = {"metric": {"name": name}, "describedObject": described, "target": _target(target)}
    return {"type": "Object", "object": source}


def policies(*each: tuple[str, int, int], select: str = "Max", window: int = 0) -> dict[str, Any]:
    """Rules of one direction: ``("Pods", value, period in seconds)``."""
    listed = [{"type": kind, "value": value, "periodSeconds": period} for kind, value, period in each]
    return {"stabilizationWindowSeconds": window, "selectPolicy": select, "policies": listed}


def with_sidecars(scaler: Scaler) -> Scaler:
    """Another container, and an init container that keeps running: both have requests."""
    deployment = deepcopy(scaler.deployment)
    pod = deployment["spec"]["template"]["spec"]
    small = {"image": "cache:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    pod["containers"] = [*pod["containers"], {"name": SIDECAR, **small}]
    pod["initContainers"] = [{"name": "proxy", "restartPolicy": "Always", **small}]
    return replace(scaler, deployment=deployment)


def _target(target: Mapping[str, str]) -> Manifest:
    kind = "Value" if "value" in target else "AverageValue"
    return {"type": kind, **target}
