"""The autoscaler that KEDA's operator writes, on small ScaledObjects and on those that the program renders."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from planning.twin.hpa import HpaSpec, ManifestError
from planning.twin.keda import ScaledObject, hpa_from_scaled_object
from planning.twin.spec import ResourceMetric, ValueMetric
from tests.unit.planning.twin.examples import deployment

GOLDEN = Path(__file__).parents[3] / "golden" / "prod"
RENDERED = sorted(GOLDEN.glob("*-scaledobject-*.yaml"))


def kafka(**metadata: Any) -> dict[str, Any]:
    base = {"consumerGroup": "g", "topic": "payment.events", "lagThreshold": "1000"}
    return {"type": "kafka", "name": "lag", "metadata": base | metadata}


def resource(kind: str, value: str, metric_type: str = "Utilization", **metadata: str) -> dict[str, Any]:
    return {"type": kind, "metricType": metric_type, "metadata": {"value": value} | metadata}


def scaled(*triggers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "payment", "namespace": "payments", "labels": {"owner": "payments"}}
    if annotations is not None:
        metadata["annotations"] = annotations
    body = {"scaleTargetRef": {"name": "payment"}, "minReplicaCount": 3, "triggers": list(triggers)} | spec
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": body}


def written(*triggers: dict[str, Any], **others: Any) -> dict[str, Any]:
    return hpa_from_scaled_object(scaled(*triggers, **others), deployment())


def external(name: str, target: dict[str, str]) -> dict[str, Any]:
    identifier = {"name": name, "selector": {"matchLabels": {"scaledobject.keda.sh/name": "payment"}}}
    return {"type": "External", "external": {"metric": identifier, "target": target}}


def test_names_labels_limits_and_target() -> None:
    hpa = written(kafka())
    assert hpa["metadata"] == {
        "name": "keda-hpa-payment",
        "namespace": "payments",
        "labels": {
            "app.kubernetes.io/name": "keda-hpa-payment",
            "app.kubernetes.io/version": "2.20.2",
            "app.kubernetes.io/part-of": "payment",
            "app.kubernetes.io/managed-by": "keda-operator",
            "owner": "payments",
        },
    }
    assert hpa["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payment"},
        "minReplicas": 3,
        "maxReplicas": 100,
        "metrics": [external("s0-kafka-payment-events", {"type": "AverageValue", "averageValue": "1k"})],
    }


def test_metrics_are_sorted_by_type_and_keep_the_index_of_their_trigger() -> None:
    prometheus = {"type": "prometheus", "metricType": "Value", "metadata": {"query": "q", "threshold": "0.5"}}
    workload = {"type": "kubernetes-workload", "metadata": {"podSelector": "app=x", "value": "2"}}
    metrics = written(
        resource("cpu", "70"), kafka(), resource("memory", "80", containerName="app"), prometheus, workload
    )["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["ContainerResource", *["External"] * 3, "Resource"]
    assert metrics[0]["containerResource"]["container"] == "app"
    assert metrics[1:4] == [
        external("s1-kafka-payment-events", {"type": "AverageValue", "averageValue": "1k"}),
        external("s3-prometheus", {"type": "Value", "value": "500m"}),
        external("s4-workload-payments", {"type": "AverageValue", "averageValue": "2"}),
    ]
    assert metrics[4]["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}


def test_a_formula_leaves_one_external_metric_and_drops_resources_of_containers() -> None:
    modifiers = {"formula": "lag * 2", "target": "1500"}
    metrics = written(
        kafka(),
        resource("memory", "1Gi", "AverageValue"),
        resource("cpu", "70", containerName="app"),
        advanced={"scalingModifiers": modifiers},
    )["spec"]["metrics"]
    assert metrics == [
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        external("composite-metric", {"type": "AverageValue", "averageValue": "1500"}),
    ]


def test_a_target_of_a_formula_is_cut_to_milli_units() -> None:
    (metric,) = written(kafka(), advanced={"scalingModifiers": {"formula": "lag", "target": "1.5"}})["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "1500m"}


def test_behavior_is_handed_on_and_annotations_may_disable_a_direction() -> None:
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 0}}
    config = {"horizontalPodAutoscalerConfig": {"name": "payment-hpa", "behavior": behavior}}
    hpa = written(kafka(), advanced=config)
    assert (hpa["metadata"]["name"], hpa["spec"]["behavior"]) == ("payment-hpa", behavior)
    paused = {"autoscaling.keda.sh/paused-scale-in": "true", "autoscaling.keda.sh/paused-scale-out": "false"}
    hpa = written(kafka(), advanced=config, annotations=paused)
    assert hpa["metadata"]["annotations"] == paused
    assert hpa["spec"]["behavior"] == behavior | {"scaleDown": {"selectPolicy": "Disabled"}}
    assert behavior == {"scaleUp": {"stabilizationWindowSeconds": 0}}


def test_labels_may_be_excluded_and_a_long_name_is_cut_to_a_label() -> None:
    config = {"horizontalPodAutoscalerConfig": {"name": "a" * 62 + "-hpa"}}
    excluded = {"scaledobject.keda.sh/hpa-excluded-labels": "owner,team"}
    labels = written(kafka(), advanced=config, annotations=excluded)["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "a" * 62
    assert "owner" not in labels


@pytest.mark.parametrize(
    ("trigger", "spec", "problem"),
    [
        (kafka(lagThreshold="0"), {}, "spec.triggers[0].metadata.lagThreshold is '0'"),
        (kafka(lagThreshold=1000), {}, "spec.triggers[0].metadata.lagThreshold is 1000; allowed: a string"),
        (kafka() | {"metricType": "Utilization"}, {}, "spec.triggers[0].metricType is 'Utilization'"),
        ({"type": "cron", "metadata": {}}, {}, "spec.triggers[0].type is 'cron'; allowed: cpu, memory, kafka"),
        (resource("cpu", "70", ""), {}, "spec.triggers[0].metricType is ''"),
        (resource("cpu", "many"), {}, "spec.triggers[0].metadata.value is 'many'"),
        (resource("cpu", "70") | {"useCachedMetrics": True}, {}, "KEDA refuses it for cpu"),
        (resource("cpu", "70", containerName="ghost"), {}, "has no 'ghost'; allowed: one of: app"),
        ({"type": "prometheus", "metadata": {"query": "q"}}, {}, "spec.triggers[0].metadata.threshold is None"),
        ({"type": "prometheus", "metadata": {"threshold": "1"}}, {}, "spec.triggers[0].metadata.query is missing"),
        (kafka(), {"minReplicaCount": 0}, "spec.minReplicaCount is 0"),
        (kafka(), {"idleReplicaCount": 0}, "without idleReplicaCount"),
        (kafka(), {"maxReplicaCount": 2}, "at most maxReplicaCount, 2"),
        (kafka(), {"triggers": []}, "spec.triggers is empty"),
        (kafka(), {"scaleTargetRef": {"name": "other"}}, "spec.scaleTargetRef.name is 'other'"),
        (kafka(), {"fallback": {"failureThreshold": 3}}, "both given"),
        (
            kafka(),
            {"fallback": {"failureThreshold": 3, "replicas": 3, "behavior": "never"}},
            "spec.fallback.behavior is 'never'; allowed: static, currentReplicas",
        ),
        (
            kafka(),
            {"advanced": {"scalingModifiers": {"formula": "lag +", "target": "1"}}},
            "spec.advanced.scalingModifiers.formula is refused (formula 'lag +', character 6",
        ),
        (kafka(), {"advanced": {"scalingModifiers": {"formula": "lag"}}}, "scalingModifiers.target is None"),
        (
            kafka() | {"name": "max"},
            {"advanced": {"scalingModifiers": {"formula": "1", "target": "1"}}},
            "trigger name 'max' is a word of the formula language",
        ),
        (
            kafka() | {"name": ""},
            {"advanced": {"scalingModifiers": {"formula": "1", "target": "1"}}},
            "spec.triggers[0].name is missing",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_path(trigger: dict[str, Any], spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ManifestError) as refused:
        written(trigger, **spec)
    assert problem in str(refused.value)


def test_a_percentage_needs_requests() -> None:
    with pytest.raises(ManifestError, match=r"containers\[app\]\.resources\.requests\.cpu is missing"):
        hpa_from_scaled_object(scaled(resource("cpu", "70")), deployment(cpu=None))


def test_a_paused_object_is_refused() -> None:
    with pytest.raises(ManifestError, match="nothing would scale"):
        written(kafka(), annotations={"autoscaling.keda.sh/paused": "true"})


def rendered_target(name: str) -> dict[str, Any]:
    (path,) = GOLDEN.glob(f"*-deployment-{name}.yaml")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def test_the_program_renders_scaled_objects() -> None:
    assert len(RENDERED) == 6


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem.split("scaledobject-")[1])
def test_t6_and_t14_what_the_program_renders_becomes_an_autoscaler_that_is_readable(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    target = rendered_target(manifest["metadata"]["name"])
    hpa = hpa_from_scaled_object(manifest, target)
    assert hpa["metadata"]["name"] == f"{manifest['metadata']['name']}-hpa"
    spec = HpaSpec.from_manifest(hpa, target=target)
    assert spec.scale_up is not None
    values = [metric for metric in spec.metrics if isinstance(metric, ValueMetric)]
    scaled_object = ScaledObject.from_manifest(manifest)
    if scaled_object.modifiers is not None:
        assert [metric.key for metric in values] == [scaled_object.composite_key]
        # Memory of a heap that does not shrink must not pin consumers.
        assert not [metric for metric in spec.metrics if isinstance(metric, ResourceMetric)]
    else:
        assert {metric.key for metric in values} == {trigger.key for trigger in scaled_object.external}
