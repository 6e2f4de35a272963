"""What the pack says about the metrics of scalers, KEDA's traps, and consumers: the exact message for each fault."""

from datetime import date

import pytest

from policies import scaling
from policies.evaluate import evaluate
from policies.scaler_metrics import metric_names
from tests.policy.cases import Case, assert_violates
from tests.policy.samples import LAG, PROD, REMOVED, platform, platform_with, utilization

HPA_URN = "autoscaling/v2:HorizontalPodAutoscaler::"
SCALED_URN = "keda.sh/v1alpha1:ScaledObject::wallet-processors-scaler"
SCALED = {"kind": "ScaledObject", "name": "wallet-processors-scaler", "culprit": SCALED_URN}
API = {"kind": "HorizontalPodAutoscaler", "name": "payment-service-hpa", "culprit": f"{HPA_URN}payment-service-hpa"}
TITLE = "ScaledObject payments/wallet-processors-scaler"
API_TITLE = "HorizontalPodAutoscaler payments/payment-service-hpa"

CASES = (
    Case(
        policy="scaler-metrics-have-a-source",
        **API,
        path="spec>metrics>2>external>metric>name",
        value="kafka_consumer_leg",
        message=(
            f"{API_TITLE}: reads 'kafka_consumer_leg', which no rule of this stack records and no known exporter "
            "emits. Allowed: a recorded or exported metric. Fix: correct the name, or record it in a PrometheusRule."
        ),
    ),
    Case(
        policy="scaler-metrics-have-a-source",
        **SCALED,
        path="spec>triggers>2>metadata>query",
        value="sum(rate(nobodys_total[1m])) by (pod)",
        message=(
            f"{TITLE}: reads 'nobodys_total', which no rule of this stack records and no known exporter emits. "
            "Allowed: a recorded or exported metric. Fix: correct the name, or record it in a PrometheusRule."
        ),
    ),
    Case(
        policy="scaler-metrics-have-a-source",
        kind="PrometheusRule",
        name="autoscaling",
        culprit="monitoring.coreos.com/v1:PrometheusRule::autoscaling",
        path="spec>groups>0>rules>0>expr",
        value="sum(kafka_lag)",
        message=(
            "PrometheusRule payments/autoscaling: records 'kafka_consumer_lag' from 'kafka_lag', which no known "
            "exporter emits. Allowed: the metrics that this pack lists. Fix: correct the name, or have the pack's "
            "owners list it."
        ),
    ),
    Case(
        policy="breaker-only-holds",
        **API,
        path="spec>metrics>3>external>target",
        value={"type": "AverageValue", "averageValue": "5"},
        message=(
            f"{API_TITLE}: scales up on the circuit breaker 'breaker_hold'. Allowed: a hold, a Value with target 1 "
            "recorded by a comparison with `> bool`. Fix: make it a hold, and alert on it."
        ),
    ),
    Case(
        policy="tolerance-on-lag-only",
        kind="HorizontalPodAutoscaler",
        name="payment-processors-hpa",
        culprit=f"{HPA_URN}payment-processors-hpa",
        path="spec",
        value={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payment-processors"},
            "minReplicas": 2,
            "maxReplicas": 24,
            "metrics": [LAG, utilization("cpu", 70)],
            "behavior": {"scaleUp": {"selectPolicy": "Max"}, "scaleDown": {"tolerance": "500m"}},
        },
        message=(
            "HorizontalPodAutoscaler payments/payment-processors-hpa: has a tolerance of its own and scales on 'cpu', "
            "which is no lag. Allowed: lag-like metrics only (kafka_consumer_lag, kafka_consumer_rate_floor). Fix: "
            "remove the tolerance, or scale them apart."
        ),
    ),
    Case(
        policy="scaler-survives-outages",
        **SCALED,
        path="spec>fallback",
        value=REMOVED,
        message=(
            f"{TITLE}: has no fallback: while its metrics are away nothing holds the replicas. Allowed: a fallback "
            "that keeps them (currentReplicasIfHigher, scalingModifiers). Fix: set spec.fallback."
        ),
    ),
    Case(
        policy="scaler-survives-outages",
        **SCALED,
        path="spec>fallback>behavior",
        value="static",
        message=(
            f"{TITLE}: falls back to 'static', which may remove pods in an outage. Allowed: currentReplicasIfHigher, "
            "scalingModifiers. Fix: set spec.fallback.behavior."
        ),
    ),
    Case(
        policy="scaler-survives-outages",
        **SCALED,
        path="spec>triggers>2>metadata>ignoreNullValues",
        value=REMOVED,
        message=(
            f"{TITLE}: trigger 'ratefloor' counts an empty answer as zero (ignoreNullValues is not set). Allowed: "
            "'false'. Fix: set it; the fallback then holds the replicas."
        ),
    ),
    Case(
        policy="scaler-survives-outages",
        **SCALED,
        path="spec>triggers>1>useCachedMetrics",
        value=True,
        message=(
            f"{TITLE}: trigger 'lag' uses cached metrics beside a fallback: the cached fallback reads as a success "
            "and ends it. Allowed: one of the two. Fix: remove useCachedMetrics."
        ),
    ),
    Case(
        policy="formula-is-complete",
        **SCALED,
        path="spec>advanced>scalingModifiers>target",
        value="0.5",
        message=(
            f"{TITLE}: has the formula's target '0.5', with which KEDA drops the fallback. Allowed: a whole number. "
            "Fix: scale the formula so that its target is whole."
        ),
    ),
    Case(
        policy="formula-is-complete",
        **SCALED,
        path="spec>triggers>0>metadata>containerName",
        value="api",
        message=(
            f"{TITLE}: scales on cpu of one container beside a formula: KEDA drops that metric. Allowed: cpu of the "
            "whole pod, or no formula. Fix: remove containerName."
        ),
    ),
    Case(
        policy="formula-is-complete",
        **SCALED,
        path="spec>triggers>1>name",
        value=REMOVED,
        message=f"{TITLE}: has a kafka trigger without a name beside a formula. Allowed: a name on each. Fix: name it.",
    ),
    Case(
        policy="formula-is-complete",
        **SCALED,
        path="spec>triggers>2>name",
        value="floor",
        message=(
            f"{TITLE}: names a trigger 'floor', a word of the formula's language. Allowed: any other name. Fix: "
            "rename it."
        ),
    ),
    Case(
        policy="formula-is-complete",
        **SCALED,
        path="spec>triggers>2>name",
        value="rate",
        message=(
            f"{TITLE}: has a trigger 'rate' that its formula does not use: its value is lost. Allowed: a formula that "
            "names every trigger. Fix: use it, or remove it."
        ),
    ),
    Case(
        policy="consumers-within-partitions",
        **SCALED,
        path="spec>maxReplicaCount",
        value=17,
        message=(
            f"{TITLE}: scales up to 17 consumers of 'wallet-events'. Allowed: 16, its partitions. Fix: set the maximum "
            "to at most 16."
        ),
    ),
    Case(
        policy="consumers-do-not-surge",
        kind="Deployment",
        name="wallet-processors",
        culprit="apps/v1:Deployment::wallet-processors",
        path="spec>strategy>rollingUpdate>maxSurge",
        value=REMOVED,
        message=(
            "Deployment payments/wallet-processors: reads Kafka in a group and surges by 25 % (the default). Allowed: "
            "0. Fix: set strategy.rollingUpdate.maxSurge to 0 and maxUnavailable to 1."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)


def test_t14_a_breaker_recorded_as_a_ratio_is_no_hold() -> None:
    ratio = "sum(circuit_breaker_rejected_total) / sum(circuit_breaker_calls_total)"
    found = evaluate(platform_with("PrometheusRule", "autoscaling", "spec>groups>0>rules>2>expr", ratio), PROD)
    assert {finding.policy for finding in found} == {"breaker-only-holds", *BASELINE_OF_PROD}


def test_t07_a_topic_without_stated_partitions_is_refused() -> None:
    path = "spec>template>spec>containers>0>env>2>value"
    found = evaluate(platform_with("Deployment", "wallet-processors", path, "other-events"), PROD)
    messages = [finding.message for finding in found if finding.policy == "consumers-within-partitions"]
    assert messages == [
        (
            f"{TITLE}: scales consumers of 'other-events', whose partitions this pack does not state. Allowed: a "
            "listed topic. Fix: correct the topic, or have the pack's owners list it."
        )
    ]


# The sample's consumers start at 2, and it is labelled for dev.
BASELINE_OF_PROD = {finding.policy for finding in evaluate(platform(), PROD)}


def zones(monkeypatch: pytest.MonkeyPatch, day: str) -> list[str]:
    monkeypatch.setattr(scaling, "today", lambda: date.fromisoformat(day))
    excepted = {"payment-processors": {"until": "2027-01-31", "reason": "a reason"}}
    config = {"zones-covered-at-minimum": {"zones": 3, "exceptions": excepted}}
    return [f.message for f in evaluate(platform(), config) if f.policy == "zones-covered-at-minimum"]


def test_fewer_pods_than_zones_are_refused_unless_excepted_until_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    wallet = (
        f"{TITLE}: scales down to 2 replicas. Allowed: 3 or more, one for each zone. Fix: set the minimum to 3, or "
        "have the pack's owners except 'wallet-processors' until a date."
    )
    assert zones(monkeypatch, "2027-01-31") == [wallet]
    assert sorted(zones(monkeypatch, "2027-02-01")) == [
        (
            "HorizontalPodAutoscaler payments/payment-processors-hpa: scales down to 2 replicas, and the exception for "
            "'payment-processors' ended on 2027-01-31. Allowed: 3 or more. Fix: set the minimum to 3, or renew the "
            "exception."
        ),
        wallet,
    ]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (le, pod) (rate(a_bucket{le="0.5",x=~"b.*"}[1m])) or 0 * sum(c_count)', {"a_bucket", "c_count"}),
        ("100 * sum(a) / sum(b) > bool 5", {"a", "b"}),
        ("quantile(0.9, job:x:rate5m) * on (pod) group_left (node) info offset 5m", {"job:x:rate5m", "info"}),
        ("clamp_max(1e3 * x >= 0, 1.5)", {"x"}),
        ("up unless ignoring(a) down", {"up", "down"}),
    ],
)  # fmt: skip
def test_metric_names_of_an_expression(expression: str, names: set[str]) -> None:
    assert metric_names(expression) == names
