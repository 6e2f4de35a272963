"""Autoscalers and disruption budgets of every workload."""

from typing import Any

import pytest

from tests.unit.stacks import STACKS, manifest, of_kind, resource

on_both_stacks = pytest.mark.parametrize("stack", STACKS)

API_UP = {
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
CONSUMER_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
}
# What the twin says a group at 5,000 requests/s needs (docs/scaling.md).
PROD_UP = {
    "stabilizationWindowSeconds": 30,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 8, "periodSeconds": 15}],
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


GROUPS = {name: f"{name.removesuffix('-processors')}-service-group" for name in PARTITIONS}
TOPICS = {name: f"{name.removesuffix('-processors')}-events" for name in PARTITIONS}
LAG_PER_CONSUMER = {"payment-processors": 1000, "wallet-processors": 2000, "gateway-processors": 1000}
CPU = {"payment-service": 70, "wallet-service": 60, "gateway-service": 80}
# Metric → target per pod; None is a ratio of the present pods.
API_TRIGGERS: dict[str, dict[str, int | None]] = {
    "payment-service": {"http_requests_per_second": 1000, "payment_queue_messages": 5000, "http_latency_ratio": None},
    "wallet-service": {"wallet_operations_per_second": 2000, "database_pool_ratio": None},
    "gateway-service": {"external_calls_per_second": 500, "response_time_ratio": None, "breaker_hold": None},
}
RATIOS = {"http_latency_ratio", "response_time_ratio", "database_pool_ratio", "breaker_hold"}


def utilization(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def external(name: str, per_pod: int | None, labels: dict[str, str]) -> dict[str, Any]:
    per_pod_target = {"type": "AverageValue", "averageValue": str(per_pod)}
    return {
        "type": "External",
        "external": {
            "metric": {"name": name, "selector": {"matchLabels": labels}},
            "target": per_pod_target if per_pod is not None else {"type": "Value", "value": "1"},
        },
    }


def literal_metrics(workload: str) -> list[dict[str, Any]]:
    """What the plan states, in its own form: the lag also scales the API of the group's service."""
    if workload in PARTITIONS:
        return [external("kafka_consumer_lag", LAG_PER_CONSUMER[workload], {"consumergroup": GROUPS[workload]})]
    of_lag = {"payment-service": 1000, "wallet-service": 2000}
    group = {"consumergroup": f"{workload}-group"}
    return [
        utilization("cpu", CPU[workload]),
        *([utilization("memory", 80)] if workload == "payment-service" else []),
        *([external("kafka_consumer_lag", of_lag[workload], group)] if workload in of_lag else []),
        *(external(name, per_pod, {"service": workload}) for name, per_pod in API_TRIGGERS[workload].items()),
    ]


def behavior(workload: str, stack: str = "dev") -> dict[str, Any]:
    if workload in PARTITIONS:
        return {"scaleUp": CONSUMER_UP if stack == "dev" else PROD_UP, "scaleDown": CONSUMER_DOWN}
    return {"scaleUp": API_UP, "scaleDown": API_DOWN}


@pytest.mark.parametrize("workload", list(BOUNDS))
def test_s2_s3_the_autoscaler_of_dev_is_the_plans(workload: str) -> None:
    minimum, maximum = BOUNDS[workload]
    hpa = manifest("dev", "HorizontalPodAutoscaler", f"{workload}-hpa")
    directions = behavior(workload)
    if workload in PARTITIONS:
        directions = {
            "scaleUp": {**directions["scaleUp"], "tolerance": "0"},
            "scaleDown": {**directions["scaleDown"], "tolerance": "500m"},
        }
    assert hpa["apiVersion"] == "autoscaling/v2"
    assert hpa["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "metrics": literal_metrics(workload),
        "behavior": directions,
    }


def prometheus(name: str, labels: str, threshold: int, metric_type: str) -> dict[str, Any]:
    return {
        "type": "prometheus",
        "name": "ratefloor" if name == "kafka_consumer_rate_floor" else name,
        "metricType": metric_type,
        "metadata": {
            "serverAddress": "http://prometheus-operated.monitoring:9090",
            "query": f"{name}{{{labels}}}",
            "threshold": str(threshold),
            "ignoreNullValues": "false",
        },
    }


def keda_triggers(workload: str) -> list[dict[str, Any]]:
    if workload not in PARTITIONS:
        resources = {"cpu": CPU[workload], **({"memory": 80} if workload == "payment-service" else {})}
        return [
            *({"type": n, "metricType": "Utilization", "metadata": {"value": str(v)}} for n, v in resources.items()),
            *(
                prometheus(name, f'service="{workload}"', per_pod or 1, "AverageValue" if per_pod else "Value")
                for name, per_pod in API_TRIGGERS[workload].items()
            ),
        ]
    threshold, group = LAG_PER_CONSUMER[workload], GROUPS[workload]
    return [
        {
            "type": "kafka",
            "name": "lag",
            "metricType": "AverageValue",
            "metadata": {
                "bootstrapServers": "kafka-cluster-kafka-bootstrap.kafka.svc:9093",
                "consumerGroup": group,
                "topic": TOPICS[workload],
                "lagThreshold": str(threshold),
                "offsetResetPolicy": "earliest",
                "version": "4.0.0",
                "allowIdleConsumers": "true",
                "sasl": "scram_sha512",
                "tls": "enable",
            },
            "authenticationRef": {"name": "kafka-scaler"},
        },
        prometheus("kafka_consumer_rate_floor", f'consumergroup="{group}"', threshold, "AverageValue"),
        {"type": "kubernetes-workload", "name": "r", "metadata": {"podSelector": f"app={workload}", "value": "1"}},
    ]


def modifiers(workload: str) -> dict[str, Any]:
    if workload not in PARTITIONS:
        return {}
    above = LAG_PER_CONSUMER[workload]
    band = f"lag > {above} * r ? lag : (lag < {above // 2} * r ? lag : {above} * r)"
    on_lag, on_rate = f"(lag ?? -1) < 0 ? {above} * r : ({band})", f"(ratefloor ?? -1) < 0 ? {above} * r : ratefloor"
    formula = {"formula": f"max({on_lag}, {on_rate})", "target": str(above), "metricType": "AverageValue"}
    return {"scalingModifiers": formula}


@pytest.mark.parametrize("workload", list(BOUNDS))
def test_s3_s4_the_autoscaler_of_prod_is_kedas(workload: str) -> None:
    minimum, maximum = BOUNDS[workload]
    scaled = manifest("prod", "ScaledObject", workload)
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
        "minReplicaCount": minimum,
        "maxReplicaCount": maximum,
        "pollingInterval": 15,
        "fallback": {
            "failureThreshold": 3,
            "replicas": minimum,
            "behavior": "scalingModifiers" if workload in PARTITIONS else "currentReplicasIfHigher",
        },
        "advanced": {
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {"name": f"{workload}-hpa", "behavior": behavior(workload, "prod")},
            **modifiers(workload),
        },
        "triggers": keda_triggers(workload),
    }


def test_keda_signs_in_by_reference_only() -> None:
    authentication = manifest("prod", "TriggerAuthentication", "kafka-scaler")
    assert authentication["spec"] == {
        "secretTargetRef": [
            {"parameter": name, "name": "keda-kafka", "key": name} for name in ("username", "password", "ca")
        ]
    }
    assert of_kind("dev", "TriggerAuthentication") == {}


def test_brokers_that_ask_for_nothing_get_no_credentials() -> None:
    kafka = "autoscaling/keda/kafka"
    # The stack's own brokers admit nobody without a password: these are somebody else's.
    plain = {"kafka": None, f"{kafka}/authentication": "none", f"{kafka}/existing_secret": None}
    assert of_kind("prod", "TriggerAuthentication", plain) == {}
    lag = manifest("prod", "ScaledObject", "payment-processors", plain)["spec"]["triggers"][0]
    assert "authenticationRef" not in lag
    assert {"sasl", "tls"} & set(lag["metadata"]) == set()


@on_both_stacks
def test_each_workload_has_one_autoscaler(stack: str) -> None:
    kinds = ("HorizontalPodAutoscaler", "ScaledObject")
    scalers = [scaler for kind in kinds for scaler in of_kind(stack, kind).values()]
    assert {scaler["kind"] for scaler in scalers} == {kinds[STACKS.index(stack)]}
    targets = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]
    one_each = {name for name in of_kind(stack, "Deployment") if not name.startswith("database-metrics-")}
    assert sorted(targets) == sorted(one_each)


def externals(stack: str) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """Name, labels and target of each external metric of dev."""
    return [
        (m["external"]["metric"]["name"], m["external"]["metric"]["selector"]["matchLabels"], m["external"]["target"])
        for hpa in of_kind(stack, "HorizontalPodAutoscaler").values()
        for m in hpa["spec"]["metrics"]
        if m["type"] == "External"
    ]


def test_t04_lag_is_an_external_metric_per_pod_and_no_metric_is_of_type_pods() -> None:
    types = {m["type"] for hpa in of_kind("dev", "HorizontalPodAutoscaler").values() for m in hpa["spec"]["metrics"]}
    assert types == {"Resource", "External"}
    lags = [(labels, target) for name, labels, target in externals("dev") if name == "kafka_consumer_lag"]
    assert len(lags) == 5
    assert all(set(labels) == {"consumergroup"} for labels, _ in lags)
    assert {target["type"] for _, target in lags} == {"AverageValue"}


def test_t16_every_amount_is_per_pod_and_every_ratio_is_of_the_present_pods() -> None:
    for name, _, target in externals("dev"):
        assert target["type"] == ("Value" if name in RATIOS else "AverageValue")
        assert target.get("value", "1") == "1"
    for scaled in of_kind("prod", "ScaledObject").values():
        for trigger in (t for t in scaled["spec"]["triggers"] if t["type"] == "prometheus"):
            assert (trigger["metricType"] == "Value") == (trigger["name"] in RATIOS)


def expressions(stack: str, changes: dict[str, object] | None = None) -> dict[tuple[str, str], str]:
    """(record, service or group) → PromQL."""
    groups = manifest(stack, "PrometheusRule", "autoscaling-inputs", changes)["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"] if "record" in rule]
    found = {(rule["record"], next(iter(rule["labels"].values()))): rule["expr"] for rule in rules}
    assert len(found) == len(rules), "a series is recorded twice"
    return found


def test_every_metric_of_dev_is_recorded_with_its_labels() -> None:
    read = {(name, next(iter(labels.values()))) for name, labels, _ in externals("dev")}
    floors = {("kafka_consumer_rate_floor", group) for group in GROUPS.values()}
    assert set(expressions("dev")) == read | floors


def test_every_query_of_prod_is_recorded_with_its_labels() -> None:
    queries = [
        trigger["metadata"]["query"]
        for scaled in of_kind("prod", "ScaledObject").values()
        for trigger in scaled["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    ]
    read = {(query.partition("{")[0], query.split('"')[1]) for query in queries}
    # KEDA reads the lag from Kafka itself; it is recorded all the same, for pictures and alerts.
    assert set(expressions("prod")) == read | {("kafka_consumer_lag", group) for group in GROUPS.values()}


@on_both_stacks
def test_t15_ratios_are_capped_where_they_are_recorded(stack: str) -> None:
    found = expressions(stack)
    latency = found["http_latency_ratio", "payment-service"]
    assert latency.startswith("clamp_max(1000 * histogram_quantile(0.99, ")
    assert "/ 500 >= 0, 1.5) or 0 * sum(" in latency
    assert "/ 2000 >= 0, 1.5) or 0 * sum(" in found["response_time_ratio", "gateway-service"]
    assert found["database_pool_ratio", "wallet-service"].endswith(" / 80, 1.5)")


@on_both_stacks
def test_t14_an_open_breaker_is_worth_one_and_never_more(stack: str) -> None:
    assert expressions(stack)["breaker_hold", "gateway-service"].endswith(" > bool 5")


def test_t07_the_rate_floor_counts_use_and_whole_partitions() -> None:
    # 300 messages/s per consumer at 75 % = 225; T = 1000. 24 partitions x 300 x 90 % = 6480.
    floor = ("kafka_consumer_rate_floor", "payment-service-group")
    rate = 'sum(rate(kafka_topic_partition_current_offset{topic="payment-events"}[2m]))'
    whole = f"24000 / clamp_min(floor(6480 / {rate}), 1)"
    assert expressions("prod")[floor] == f"1000 * {rate} / 225 >= {whole} or {whole}"
    changed: dict[str, object] = {"services/payment-service/consumer/scaling/rate_floor_use_percent": 50}
    assert expressions("prod", changed)[floor] == f"1000 * {rate} / 150 >= {whole} or {whole}"


def test_a_metric_of_ones_own_is_recorded_from_its_query() -> None:
    trigger = {"kind": "per-pod", "metric": "jobs", "target_per_pod": 7, "query": 'sum(jobs_open{app="{service}"})'}
    changes: dict[str, object] = {"services/wallet-service/api/scaling/triggers/1": trigger}
    assert expressions("dev", changes)["jobs", "wallet-service"] == 'sum(jobs_open{app="wallet-service"})'
    metrics = manifest("dev", "HorizontalPodAutoscaler", "wallet-service-hpa", changes)["spec"]["metrics"]
    assert external("jobs", 7, {"service": "wallet-service"}) in metrics


@on_both_stacks
def test_each_recorded_input_has_an_alert_for_its_absence_and_each_group_one_for_drift(stack: str) -> None:
    groups = manifest(stack, "PrometheusRule", "autoscaling-inputs")["spec"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    missing = {rule["expr"] for rule in alerts if rule["alert"] == "AutoscalerInputMissing"}
    assert len(missing) == len(expressions(stack))
    drift = [rule for rule in alerts if rule["alert"] == "ConsumerCapacityDrift"]
    assert {rule["labels"]["consumergroup"] for rule in drift} == set(GROUPS.values())
    assert len(drift) + len(missing) == len(alerts)


def bounds_of(stack: str, workload: str) -> tuple[int, int]:
    if stack == "dev":
        spec = manifest(stack, "HorizontalPodAutoscaler", f"{workload}-hpa")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]
    spec = manifest(stack, "ScaledObject", workload)["spec"]
    return spec["minReplicaCount"], spec["maxReplicaCount"]


@on_both_stacks
@pytest.mark.parametrize("workload", list(BOUNDS))
def test_t05_replicas_start_at_the_minimum_and_are_then_the_scalers(stack: str, workload: str) -> None:
    minimum, _ = bounds_of(stack, workload)
    assert manifest(stack, "Deployment", workload)["spec"]["replicas"] == minimum
    registered = resource(stack, f"{LOGICAL[workload]}-deployment", "Deployment")
    assert registered.ignore_changes == ("spec.replicas",)


def test_t06_memory_scales_the_payment_api_and_no_consumer() -> None:
    hpas, scaled = of_kind("dev", "HorizontalPodAutoscaler"), of_kind("prod", "ScaledObject")
    in_dev = [name for name, hpa in hpas.items() if utilization("memory", 80) in hpa["spec"]["metrics"]]
    in_prod = [n for n, item in scaled.items() if any(t["type"] == "memory" for t in item["spec"]["triggers"])]
    assert (in_dev, in_prod) == (["payment-service-hpa"], ["payment-service"])


@on_both_stacks
@pytest.mark.parametrize("workload", list(PARTITIONS))
def test_t07_consumers_never_outnumber_partitions_even_while_rolling(stack: str, workload: str) -> None:
    _, maximum = bounds_of(stack, workload)
    surge = manifest(stack, "Deployment", workload)["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert maximum + surge <= PARTITIONS[workload]


@on_both_stacks
@pytest.mark.parametrize("workload", list(BOUNDS))
def test_t31_the_budget_allows_exactly_one_eviction_at_the_minimum(stack: str, workload: str) -> None:
    budget = manifest(stack, "PodDisruptionBudget", workload)["spec"]
    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": {"app": workload}},
    }
    assert BOUNDS[workload][0] - budget["maxUnavailable"] >= 1


@on_both_stacks
def test_there_is_one_budget_for_each_deployment(stack: str) -> None:
    # The pod that serves a shard's figures is alone: a budget would hold up the drain of its node.
    scaled = {name for name in of_kind(stack, "Deployment") if not name.startswith("database-metrics-")}
    assert set(of_kind(stack, "PodDisruptionBudget")) == scaled
