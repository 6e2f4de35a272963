"""Autoscalers and disruption budgets of every workload."""

from typing import Any

import pytest

from tests.unit.stacks import STACKS, manifest, of_kind, resource

pytestmark = pytest.mark.parametrize("stack", STACKS)

SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 30},
        {"type": "Pods", "value": 4, "periodSeconds": 30},
    ],
}
API_DOWN = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Min",
    "policies": [
        {"type": "Pods", "value": 1, "periodSeconds": 60},
        {"type": "Percent", "value": 10, "periodSeconds": 60},
    ],
}
CONSUMER_DOWN = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
}
BOUNDS = {
    "payment-service": (3, 20),
    "wallet-service": (5, 15),
    "gateway-service": (2, 10),
    "payment-processors": (3, 24),
    "wallet-processors": (3, 16),
    "gateway-processors": (2, 12),
}
PARTITIONS = {"payment-processors": 24, "wallet-processors": 16, "gateway-processors": 12}
LOGICAL = {
    **{name: f"{name}-api" for name in BOUNDS if name.endswith("-service")},
    **{name: f"{name.removesuffix('-processors')}-service-consumer" for name in PARTITIONS},
}


def utilization(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def external(name: str, per_pod: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metric: dict[str, Any] = {"name": name, **({"selector": {"matchLabels": labels}} if labels else {})}
    return {
        "type": "External",
        "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": per_pod}},
    }


def lag(group: str, per_consumer: str) -> dict[str, Any]:
    return external("kafka_consumer_lag", per_consumer, {"consumergroup": group})


def metrics(stack: str) -> dict[str, list[dict[str, Any]]]:
    literal = [lag("payment-service-group", "1000")] if stack == "dev" else []
    return {
        "payment-service": [
            utilization("cpu", 70),
            utilization("memory", 80),
            *literal,
            external("http_requests_per_second", "1000", {"service": "payment-service"}),
            external("payment_queue_messages", "5000"),
        ],
        "wallet-service": [utilization("cpu", 60), external("wallet_operations_per_second", "2000")],
        "gateway-service": [utilization("cpu", 80), external("external_calls_per_second", "500")],
        "payment-processors": [lag("payment-service-group", "1000")],
        "wallet-processors": [lag("wallet-service-group", "2000")],
        "gateway-processors": [lag("gateway-service-group", "1000")],
    }


@pytest.mark.parametrize("workload", list(BOUNDS))
def test_s2_the_autoscaler_is_complete(stack: str, workload: str) -> None:
    minimum, maximum = BOUNDS[workload]
    hpa = manifest(stack, "HorizontalPodAutoscaler", f"{workload}-hpa")
    assert hpa["apiVersion"] == "autoscaling/v2"
    assert hpa["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "metrics": metrics(stack)[workload],
        "behavior": {"scaleUp": SCALE_UP, "scaleDown": CONSUMER_DOWN if workload in PARTITIONS else API_DOWN},
    }


def test_each_workload_has_one_autoscaler(stack: str) -> None:
    targets = [hpa["spec"]["scaleTargetRef"]["name"] for hpa in of_kind(stack, "HorizontalPodAutoscaler").values()]
    assert sorted(targets) == sorted(of_kind(stack, "Deployment"))


def test_t04_lag_is_an_external_metric_per_pod_and_no_metric_is_of_type_pods(stack: str) -> None:
    found = [m for hpa in of_kind(stack, "HorizontalPodAutoscaler").values() for m in hpa["spec"]["metrics"]]
    assert {metric["type"] for metric in found} == {"Resource", "External"}
    lags = [
        m["external"]
        for m in found
        if m["type"] == "External" and m["external"]["metric"]["name"] == "kafka_consumer_lag"
    ]
    assert len(lags) == (4 if stack == "dev" else 3)
    assert {item["target"]["type"] for item in lags} == {"AverageValue"}
    assert all("consumergroup" in item["metric"]["selector"]["matchLabels"] for item in lags)


def test_t16_every_external_target_is_per_pod(stack: str) -> None:
    targets = [
        metric["external"]["target"]
        for hpa in of_kind(stack, "HorizontalPodAutoscaler").values()
        for metric in hpa["spec"]["metrics"]
        if metric["type"] == "External"
    ]
    assert len(targets) >= 7
    assert all(set(target) == {"type", "averageValue"} and target["type"] == "AverageValue" for target in targets)


@pytest.mark.parametrize("workload", list(BOUNDS))
def test_t05_replicas_start_at_the_minimum_and_are_then_the_scalers(stack: str, workload: str) -> None:
    minimum = manifest(stack, "HorizontalPodAutoscaler", f"{workload}-hpa")["spec"]["minReplicas"]
    assert manifest(stack, "Deployment", workload)["spec"]["replicas"] == minimum
    registered = resource(stack, f"{LOGICAL[workload]}-deployment", "Deployment")
    assert registered.ignore_changes == ("spec.replicas",)


def test_t06_memory_scales_the_payment_api_and_no_consumer(stack: str) -> None:
    on_memory = {
        hpa["spec"]["scaleTargetRef"]["name"]
        for hpa in of_kind(stack, "HorizontalPodAutoscaler").values()
        if any(m["type"] == "Resource" and m["resource"]["name"] == "memory" for m in hpa["spec"]["metrics"])
    }
    assert on_memory == {"payment-service"}


@pytest.mark.parametrize("workload", list(PARTITIONS))
def test_t07_consumers_never_outnumber_partitions_even_while_rolling(stack: str, workload: str) -> None:
    hpa = manifest(stack, "HorizontalPodAutoscaler", f"{workload}-hpa")
    surge = manifest(stack, "Deployment", workload)["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert hpa["spec"]["maxReplicas"] + surge <= PARTITIONS[workload]


@pytest.mark.parametrize("workload", list(BOUNDS))
def test_t31_the_budget_allows_exactly_one_eviction_at_the_minimum(stack: str, workload: str) -> None:
    budget = manifest(stack, "PodDisruptionBudget", workload)["spec"]
    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"app": workload}},
    }
    assert BOUNDS[workload][0] - budget["maxUnavailable"] >= 1


def test_there_is_one_budget_for_each_deployment(stack: str) -> None:
    assert set(of_kind(stack, "PodDisruptionBudget")) == set(of_kind(stack, "Deployment"))


def test_the_order_of_a_triggers_labels_does_not_matter(stack: str) -> None:
    path = "services/wallet-service/api/scaling/triggers/0/match_labels"
    one = manifest(stack, "HorizontalPodAutoscaler", "wallet-service-hpa", {path: {"a": "1", "b": "2"}})
    other = manifest(stack, "HorizontalPodAutoscaler", "wallet-service-hpa", {path: {"b": "2", "a": "1"}})
    assert one == other
    selector = one["spec"]["metrics"][1]["external"]["metric"]["selector"]
    assert selector == {"matchLabels": {"a": "1", "b": "2"}}
