"""What the pack says about scaling limits and scalers: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import CONTAINER, Case, assert_violates
from tests.policy.samples import REMOVED

CASES = (
    Case(
        policy="scaling-limits",
        kind="HorizontalPodAutoscaler",
        name="payment-service-hpa",
        path="spec>minReplicas",
        value=2,
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: scales down to 2 replicas. "
            "Allowed: 3 or more (the limits for 'payment-service'). Fix: set the minimum to at least "
            "3."
        ),
    ),
    Case(
        policy="scaling-limits",
        kind="HorizontalPodAutoscaler",
        name="payment-service-hpa",
        path="spec>maxReplicas",
        value=21,
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: scales up to 21 replicas. Allowed:"
            " 20 or fewer (the limits for 'payment-service'). Fix: set the maximum to at most 20, or "
            "ask the pack's owners for a higher limit."
        ),
    ),
    Case(
        policy="scaling-limits",
        kind="HorizontalPodAutoscaler",
        name="payment-service-hpa",
        path="spec>metrics>0>resource>target>averageUtilization",
        value=90,
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: scales at 90 % cpu. Allowed: 50 to"
            " 80 % (the limits for 'payment-service'). Fix: choose a cpu target in that range."
        ),
    ),
    Case(
        policy="scaling-limits",
        kind="HorizontalPodAutoscaler",
        name="payment-service-hpa",
        path="spec>maxReplicas",
        value=2,
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: has a minimum of 3 above its "
            "maximum of 2. Allowed: minimum ≤ maximum. Fix: raise the maximum or lower the minimum."
        ),
    ),
    Case(
        policy="scaling-limits",
        kind="ScaledObject",
        name="wallet-processors-scaler",
        path="spec>maxReplicaCount",
        value=17,
        culprit="keda.sh/v1alpha1:ScaledObject::wallet-processors-scaler",
        message=(
            "ScaledObject payments/wallet-processors-scaler: scales up to 17 replicas. Allowed: 16 or"
            " fewer (the limits for 'wallet-processors'). Fix: set the maximum to at most 16, or ask "
            "the pack's owners for a higher limit."
        ),
    ),
    Case(
        policy="scaling-limits",
        kind="ScaledObject",
        name="wallet-processors-scaler",
        path="spec>idleReplicaCount",
        value=0,
        culprit="keda.sh/v1alpha1:ScaledObject::wallet-processors-scaler",
        message=(
            "ScaledObject payments/wallet-processors-scaler: scales down to 0 replicas. Allowed: 1 or"
            " more (the limits for 'wallet-processors'). Fix: set the minimum to at least 1."
        ),
    ),
    Case(
        policy="scaler-target-ready",
        kind="HorizontalPodAutoscaler",
        name="payment-service-hpa",
        path="spec>scaleTargetRef>name",
        value="payment-servise",
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: scales Deployment 'payment-"
            "servise', which this program does not declare in the scaler's namespace. Allowed: a "
            "declared workload. Fix: correct scaleTargetRef."
        ),
    ),
    Case(
        policy="scaler-target-ready",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">resources>requests>memory",
        value=REMOVED,
        culprit="autoscaling/v2:HorizontalPodAutoscaler::payment-service-hpa",
        message=(
            "HorizontalPodAutoscaler payments/payment-service-hpa: scales Deployment "
            "payments/payment-service on memory, but its container 'api' requests no memory. Allowed:"
            " a request on every container. Fix: set resources.requests.memory."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
