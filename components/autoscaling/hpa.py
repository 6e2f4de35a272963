"""The policy as an ``autoscaling/v2`` HorizontalPodAutoscaler, the plan's literal form."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from components.autoscaling.policy import DeadBand, Direction, Role, ScalingPolicy, Trigger
from components.base.manifests import Manifest, metadata


def plan_hpa(policy: ScalingPolicy, *, namespace: str, labels: Mapping[str, str]) -> Manifest:
    """``<workload>-hpa`` with every metric and both directions written out.

    A dead band becomes tolerances (Kubernetes 1.35 and newer), which hold for all metrics of the object: the rate
    floor is therefore left out here. Under the band's wide tolerance it would cost two fifths more pods.
    """
    resources = {"cpu": policy.cpu_target_percent, "memory": policy.memory_target_percent}
    metrics = [_resource(name, percent) for name, percent in resources.items() if percent is not None]
    metrics += [_external(trigger) for trigger in policy.triggers if trigger.role is not Role.FLOOR]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(hpa_name(policy.workload), labels=labels, namespace=namespace),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": policy.workload},
            "minReplicas": policy.min_replicas,
            "maxReplicas": policy.max_replicas,
            "metrics": metrics,
            "behavior": plan_behavior(policy, policy.band),
        },
    }


def hpa_name(workload: str) -> str:
    """Name of a workload's HorizontalPodAutoscaler, whoever writes it."""
    return f"{workload}-hpa"


def plan_behavior(policy: ScalingPolicy, band: DeadBand | None) -> dict[str, Any]:
    """Both directions in full: KEDA compares them with what the API server has filled in.

    With a band, tolerances: up at once above T (0), down only below the lower edge.
    """
    up, down = _direction(policy.scale_up), _direction(policy.scale_down)
    if band is not None:
        share_below = 1 - Decimal(band.remove_below) / band.add_above
        up["tolerance"], down["tolerance"] = "0", f"{int(share_below * 1000)}m"
    return {"scaleUp": up, "scaleDown": down}


def _resource(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _external(trigger: Trigger) -> dict[str, Any]:
    identifier = {"name": trigger.metric, "selector": {"matchLabels": dict(trigger.labels)}}
    if trigger.target_per_pod is None:
        target = {"type": "Value", "value": "1"}
    else:
        target = {"type": "AverageValue", "averageValue": str(trigger.target_per_pod)}
    return {"type": "External", "external": {"metric": identifier, "target": target}}


def _direction(direction: Direction) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": direction.stabilization_seconds,
        "selectPolicy": direction.select,
        "policies": [
            {"type": step.kind, "value": step.value, "periodSeconds": step.period_seconds} for step in direction.steps
        ],
    }
