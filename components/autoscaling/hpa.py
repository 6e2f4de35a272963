"""The policy as an ``autoscaling/v2`` HorizontalPodAutoscaler."""

from collections.abc import Mapping
from typing import Any

from components.autoscaling.policy import Direction, ExternalMetric, ScalingPolicy
from components.base.manifests import Manifest, metadata


def plan_hpa(policy: ScalingPolicy, *, namespace: str, labels: Mapping[str, str]) -> Manifest:
    """``<workload>-hpa`` with every metric and both directions written out."""
    resources = {"cpu": policy.cpu_target_percent, "memory": policy.memory_target_percent}
    metrics = [_resource(name, percent) for name, percent in resources.items() if percent is not None]
    metrics += [_external(metric) for metric in policy.external_metrics]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(f"{policy.workload}-hpa", labels=labels, namespace=namespace),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": policy.workload},
            "minReplicas": policy.min_replicas,
            "maxReplicas": policy.max_replicas,
            "metrics": metrics,
            "behavior": {"scaleUp": _direction(policy.scale_up), "scaleDown": _direction(policy.scale_down)},
        },
    }


def _resource(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _external(metric: ExternalMetric) -> dict[str, Any]:
    identifier: dict[str, Any] = {"name": metric.name}
    if metric.match_labels:
        identifier["selector"] = {"matchLabels": dict(metric.match_labels)}
    target = {"type": "AverageValue", "averageValue": str(metric.average_value)}
    return {"type": "External", "external": {"metric": identifier, "target": target}}


def _direction(direction: Direction) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": direction.stabilization_seconds,
        "selectPolicy": direction.select,
        "policies": [
            {"type": step.kind, "value": step.value, "periodSeconds": step.period_seconds} for step in direction.steps
        ],
    }
