"""KEDA 2.20.2: the autoscaler that its operator writes for a ScaledObject, and the values that its adapter serves.

hpa = hpa_from_scaled_object(scaled_object_manifest, deployment_manifest)
spec, state = ScaledObject.from_manifest(scaled_object_manifest), State()
observation.external = metric_values(spec, sources, state)
"""

from collections.abc import Mapping
from typing import Any

from planning.twin.kafka_scaler import KafkaLag, KafkaReading, PartitionOffsets
from planning.twin.keda_values import Sources, State, metric_values
from planning.twin.quantity import format_milli
from planning.twin.requests import ManifestError, request_milli
from planning.twin.scaled_object import (
    COMPOSITE_METRIC,
    OWNER_LABEL,
    ExternalTrigger,
    FallbackBehavior,
    ResourceTrigger,
    ScaledObject,
)

__all__ = [
    "FallbackBehavior",
    "KafkaLag",
    "KafkaReading",
    "ManifestError",
    "PartitionOffsets",
    "ScaledObject",
    "Sources",
    "State",
    "hpa_from_scaled_object",
    "metric_values",
]

_PAUSE_SCALE_IN = "autoscaling.keda.sh/paused-scale-in"
_PAUSE_SCALE_OUT = "autoscaling.keda.sh/paused-scale-out"
_EXCLUDED_LABELS = "scaledobject.keda.sh/hpa-excluded-labels"
_LABEL_LENGTH = 63


def hpa_from_scaled_object(
    scaled_object: Mapping[str, Any], deployment: Mapping[str, Any], *, keda_version: str = "2.20.2"
) -> dict[str, Any]:
    """The ``autoscaling/v2`` manifest that the operator creates, without the owner reference (it needs a uid).

    Quantities are canonical, as the API server stores them; one for cpu or memory stays as written.
    ``keda_version`` is what the operator was built with (a label; ``main`` when nobody set it). Raises
    ``ManifestError`` also when a utilisation has no requests to refer to.
    """
    spec = ScaledObject.from_manifest(scaled_object)
    given = (deployment.get("metadata") or {}).get("name")
    if spec.target_name != given:
        where = f"ScaledObject {spec.name}"
        raise ManifestError(where, "spec.scaleTargetRef.name", f"is '{spec.target_name}'", f"'{given}', the Deployment")
    for trigger in spec.resources:
        if not trigger.per_pod:
            request_milli(deployment, trigger.resource, trigger.container, user=f"ScaledObject {spec.name}")
    metadata, body = scaled_object["metadata"], scaled_object["spec"]
    target = body["scaleTargetRef"]
    config = (body.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    name = config.get("name") or f"keda-hpa-{spec.name}"
    hpa: dict[str, Any] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name,
            "namespace": spec.namespace,
            "labels": _labels(name, metadata, keda_version),
            **({"annotations": dict(metadata["annotations"])} if metadata.get("annotations") else {}),
        },
        "spec": {
            "scaleTargetRef": {
                "apiVersion": target.get("apiVersion") or "apps/v1",
                "kind": target.get("kind") or "Deployment",
                "name": spec.target_name,
            },
            "minReplicas": spec.min_replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": _metrics(spec),
        },
    }
    behavior = _behavior(config.get("behavior"), metadata.get("annotations") or {})
    if behavior is not None:
        hpa["spec"]["behavior"] = behavior
    return hpa


def _labels(hpa_name: str, metadata: Mapping[str, Any], keda_version: str) -> dict[str, str]:
    annotations = metadata.get("annotations") or {}
    excluded = set(str(annotations.get(_EXCLUDED_LABELS, "")).split(","))
    short = hpa_name[:_LABEL_LENGTH]
    while len(hpa_name) > _LABEL_LENGTH and short and not short[-1].isalnum():
        short = short[:-1]
    return {
        "app.kubernetes.io/name": short,
        "app.kubernetes.io/version": keda_version,
        "app.kubernetes.io/part-of": metadata["name"],
        "app.kubernetes.io/managed-by": "keda-operator",
        **{label: value for label, value in (metadata.get("labels") or {}).items() if label not in excluded},
    }


def _behavior(given: Mapping[str, Any] | None, annotations: Mapping[str, str]) -> dict[str, Any] | None:
    """The behaviour as it stands, with a direction disabled where an annotation pauses it."""
    behavior = None if given is None else {direction: dict(rules) for direction, rules in given.items()}
    for annotation, direction in ((_PAUSE_SCALE_IN, "scaleDown"), (_PAUSE_SCALE_OUT, "scaleUp")):
        # Go's ParseBool; what is no truth value counts as true.
        if annotations.get(annotation, "false") not in {"0", "f", "F", "false", "FALSE", "False"}:
            behavior = behavior or {}
            behavior.setdefault(direction, {})["selectPolicy"] = "Disabled"
    return behavior


def _metrics(spec: ScaledObject) -> list[dict[str, Any]]:
    """By type, in the order of the triggers; with a formula one composite metric after the pods' resources.

    A resource of one container is dropped beside a formula: the operator keeps whole pods only.
    """
    containers = [_resource(trigger) for trigger in spec.resources if trigger.container]
    pods = [_resource(trigger) for trigger in spec.resources if not trigger.container]
    if spec.modifiers is None:
        return containers + [_external(spec, trigger) for trigger in spec.external] + pods
    # The operator cuts the target to whole milli-units.
    target = format_milli(int(spec.modifiers.target * 1000))
    return [*pods, _external_metric(spec, COMPOSITE_METRIC, target, per_pod=spec.modifiers.per_pod)]


def _resource(trigger: ResourceTrigger) -> dict[str, Any]:
    if trigger.per_pod:
        target: dict[str, Any] = {"type": "AverageValue", "averageValue": trigger.value}
    else:
        target = {"type": "Utilization", "averageUtilization": int(trigger.value)}
    source = {"name": trigger.resource, "target": target}
    if trigger.container:
        return {"type": "ContainerResource", "containerResource": source | {"container": trigger.container}}
    return {"type": "Resource", "resource": source}


def _external(spec: ScaledObject, trigger: ExternalTrigger) -> dict[str, Any]:
    target = format_milli(trigger.target_milli)
    return _external_metric(spec, trigger.metric_name, target, per_pod=trigger.per_pod)


def _external_metric(spec: ScaledObject, name: str, target: str, *, per_pod: bool) -> dict[str, Any]:
    identifier = {"name": name, "selector": {"matchLabels": {OWNER_LABEL: spec.name}}}
    kind, field = ("AverageValue", "averageValue") if per_pod else ("Value", "value")
    return {"type": "External", "external": {"metric": identifier, "target": {"type": kind, field: target}}}
