"""A scaler's bounds and targets in words, for pictures: the same for both kinds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RESOURCES = ("cpu", "memory")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalerSummary:
    """Bounds as ``3–20 pods``; targets such as ``cpu 70 %`` and ``kafka_consumer_lag 1000 per pod``."""

    target: str
    bounds: str
    resource_targets: tuple[str, ...]
    external_targets: tuple[str, ...]


def summarize_scaler(scaler: Mapping[str, Any]) -> ScalerSummary:
    """Read a HorizontalPodAutoscaler or a ScaledObject."""
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        targets = [_of_trigger(trigger) for trigger in spec["triggers"] if trigger["type"] != "kubernetes-workload"]
        bounds = (spec["minReplicaCount"], spec["maxReplicaCount"])
    else:
        targets = [_of_metric(metric) for metric in spec["metrics"]]
        bounds = (spec["minReplicas"], spec["maxReplicas"])
    return ScalerSummary(
        target=spec["scaleTargetRef"]["name"],
        bounds=f"{bounds[0]}–{bounds[1]} pods",
        resource_targets=tuple(text for name, text in targets if name in _RESOURCES),
        external_targets=tuple(text for name, text in targets if name not in _RESOURCES),
    )


def _of_metric(metric: Mapping[str, Any]) -> tuple[str, str]:
    if metric["type"] == "Resource":
        name = metric["resource"]["name"]
        return name, f"{name} {metric['resource']['target']['averageUtilization']} %"
    external = metric["external"]
    return _external(external["metric"]["name"], external["target"].get("averageValue"))


def _of_trigger(trigger: Mapping[str, Any]) -> tuple[str, str]:
    name, values = trigger["type"], trigger["metadata"]
    if name in _RESOURCES:
        return name, f"{name} {values['value']} %"
    if name == "kafka":
        return _external("lag", values["lagThreshold"])
    metric = values["query"].partition("{")[0]
    return _external(metric, values["threshold"] if trigger["metricType"] == "AverageValue" else None)


def _external(name: str, per_pod: str | None) -> tuple[str, str]:
    return name, f"{name} {per_pod} per pod" if per_pod is not None else f"{name}, of present pods"
