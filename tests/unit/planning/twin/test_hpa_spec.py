"""Reading a HorizontalPodAutoscaler: the API server's defaults, requests of pods, and refusals."""

from typing import Any

import pytest

from planning.twin.hpa import HpaSpec, ManifestError
from planning.twin.requests import request_milli
from planning.twin.spec import DEFAULT_SCALE_UP, PolicyKind, ResourceMetric, Select, ValueMetric
from tests.unit.planning.twin.examples import cpu, deployment, external, hpa, lag, utilization


def read(manifest: dict[str, Any], target: dict[str, Any] | None = None) -> HpaSpec:
    return HpaSpec.from_manifest(manifest, target=target or deployment())


def test_everything_that_is_missing_gets_the_api_servers_default() -> None:
    manifest = hpa(behavior={})
    del manifest["spec"]["minReplicas"]
    spec = read(manifest)
    assert spec.min_replicas == 1
    (metric,) = spec.metrics
    assert isinstance(metric, ResourceMetric)
    assert (metric.resource, metric.target_percent, metric.request_milli) == ("cpu", 80, 500)
    assert spec.scale_up is not None
    assert spec.scale_down is not None
    assert [(each.kind, each.value, each.period_seconds) for each in spec.scale_up.policies] == [
        (PolicyKind.PODS, 4, 15),
        (PolicyKind.PERCENT, 100, 15),
    ]
    assert (spec.scale_up.stabilization_seconds, spec.scale_up.select) == (0, Select.MAX)
    assert [(each.kind, each.value, each.period_seconds) for each in spec.scale_down.policies] == [
        (PolicyKind.PERCENT, 100, 15)
    ]
    assert (spec.scale_down.stabilization_seconds, spec.scale_down.tolerance) == (None, None)


def test_no_behavior_is_not_the_default_behavior() -> None:
    spec = read(hpa(lag()))
    assert spec.scale_up is None
    assert spec.scale_down is None


def test_one_direction_given_fills_the_other_and_its_own_gaps() -> None:
    spec = read(hpa(lag(), behavior={"scaleDown": {"selectPolicy": "Min", "tolerance": "500m"}}))
    assert spec.scale_up == DEFAULT_SCALE_UP
    assert spec.scale_down is not None
    assert (spec.scale_down.select, spec.scale_down.tolerance) == (Select.MIN, 0.5)
    assert spec.scale_down.policies[0].value == 100


def test_t4_lag_is_an_external_metric_with_a_target_per_pod() -> None:
    (metric,) = read(hpa(lag("1k"))).metrics
    assert metric == ValueMetric(
        key="lag{group=payments}", external=True, per_pod=True, target_milli=1_000_000, title="external metric lag"
    )


def test_targets_of_every_kind_are_read_in_milli_units() -> None:
    object_source = {
        "describedObject": {"kind": "Service", "name": "payment-service-svc"},
        "metric": {"name": "requests"},
        "target": {"type": "Value", "value": "1500"},
    }
    pods_source = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "2500m"}}
    memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Mi"}}
    metrics = read(
        hpa(
            external({"type": "Value", "value": "500m"}),
            {"type": "Object", "object": object_source},
            {"type": "Pods", "pods": pods_source},
            {"type": "Resource", "resource": memory},
            utilization("memory", 80, "app"),
        )
    ).metrics
    assert isinstance(metrics[0], ValueMetric)
    assert (metrics[0].per_pod, metrics[0].target_milli) == (False, 500)
    assert isinstance(metrics[1], ValueMetric)
    assert (metrics[1].key, metrics[1].external) == ("Service/payment-service-svc/requests", False)
    assert [metrics[index].target_milli for index in (1, 2, 3)] == [1_500_000, 2500, 2**20 * 1000]
    assert isinstance(metrics[4], ResourceMetric)
    assert (metrics[4].container, metrics[4].request_milli) == ("app", 2**30 * 1000)


def test_sidecars_count_and_other_init_containers_do_not() -> None:
    target = deployment(
        initContainers=[
            {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
            {"name": "migrate", "resources": {"requests": {"cpu": "2"}}},
        ]
    )
    assert request_milli(target, "cpu") == 600
    assert request_milli(target, "cpu", "proxy") == 100


def test_a_limit_stands_in_for_a_missing_request_and_the_pods_own_request_wins() -> None:
    target = deployment(containers=[{"name": "app", "resources": {"limits": {"cpu": "1"}}}])
    assert request_milli(target, "cpu") == 1000
    target = deployment(resources={"requests": {"cpu": "3"}})
    assert request_milli(target, "cpu") == 3000
    assert request_milli(target, "cpu", "app") == 500


def test_a_cpu_target_without_requests_says_which_container_lacks_what() -> None:
    with pytest.raises(ManifestError) as refused:
        read(hpa(cpu()), deployment(cpu=None))
    message = str(refused.value)
    assert "Deployment payment: spec.template.spec.containers[app].resources.requests.cpu is missing" in message
    assert "HorizontalPodAutoscaler payment-hpa" in message


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"minReplicas": 0}, "spec.minReplicas"),
        ({"minReplicas": 5, "maxReplicas": 4}, "spec.minReplicas"),
        ({"scaleTargetRef": {"name": "other"}}, "spec.scaleTargetRef.name"),
        ({"metrics": [{"type": "Latency"}]}, "spec.metrics[0].type"),
        (
            {"metrics": [{"type": "External", "external": {"metric": {"name": "lag"}}}]},
            "spec.metrics[0] lacks 'target'",
        ),
        ({"metrics": [utilization("disk", 70)]}, "spec.metrics[0].resource.name is 'disk'; allowed: cpu or memory"),
        ({"metrics": [external({"type": "Value"})]}, "spec.metrics[0].external.target"),
        ({"metrics": [lag("0")]}, "spec.metrics[0].external.target.averageValue"),
        ({"metrics": [lag("many")]}, "spec.metrics[0].external.target.averageValue"),
        ({"metrics": [utilization("cpu", 0)]}, "spec.metrics[0].resource.target.averageUtilization"),
        ({"metrics": [utilization("cpu", 70, "ghost")]}, "spec.template.spec.containers"),
        ({"behavior": {"scaleUp": {"policies": []}}}, "spec.behavior.scaleUp.policies"),
        ({"behavior": {"scaleUp": {"selectPolicy": "Best"}}}, "spec.behavior.scaleUp.selectPolicy"),
        ({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}}, "spec.behavior.scaleDown.stabilization"),
        (
            {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}},
            "spec.behavior.scaleDown.policies",
        ),
    ],
)
def test_what_the_api_server_refuses_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    manifest = hpa(lag())
    manifest["spec"].update(change)
    with pytest.raises(ManifestError) as refused:
        read(manifest)
    assert path in str(refused.value)


def test_another_kind_of_object_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"is autoscaling/v1 HorizontalPodAutoscaler; allowed: autoscaling/v2"):
        read(hpa(lag()) | {"apiVersion": "autoscaling/v1"})


def test_match_expressions_are_refused_because_the_twin_cannot_match_them() -> None:
    metric = lag()
    metric["external"]["metric"]["selector"] = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    with pytest.raises(ManifestError, match="matchExpressions"):
        read(hpa(metric))
