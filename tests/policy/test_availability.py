"""What the pack says about budgets, zones and rollouts: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import POD, Case, assert_violates
from tests.policy.samples import REMOVED

CASES = (
    Case(
        policy="disruption-budget",
        kind="PodDisruptionBudget",
        name="payment-service",
        path="spec>selector>matchLabels>app",
        value="payment-servise",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: no PodDisruptionBudget selects its pods: a node "
            "drain may evict all of them at once. Allowed: exactly one. Fix: declare one with the "
            "workload's selector and maxUnavailable: 1."
        ),
    ),
    Case(
        policy="disruption-budget",
        kind="PodDisruptionBudget",
        name="payment-service",
        path="spec>maxUnavailable",
        value=0,
        culprit="policy/v1:PodDisruptionBudget::payment-service",
        message=(
            "PodDisruptionBudget payments/payment-service: maxUnavailable 0 allows no eviction of "
            "Deployment payments/payment-service at 3 pods (the scaler's minimum): a node drain would"
            " hang. Allowed: at least one eviction at the minimum. Fix: use maxUnavailable: 1."
        ),
    ),
    Case(
        policy="zone-spread",
        kind="Deployment",
        name="payment-service",
        path=POD + ">topologySpreadConstraints",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: its pods are not spread over zones. Allowed: a "
            "topologySpreadConstraint on topology.kubernetes.io/zone. Fix: add one that selects the "
            "workload's own pods."
        ),
    ),
    Case(
        policy="zone-spread",
        kind="Deployment",
        name="payment-service",
        path=POD + ">topologySpreadConstraints>0>topologyKey",
        value="kubernetes.io/hostname",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: its pods are not spread over zones. Allowed: a "
            "topologySpreadConstraint on topology.kubernetes.io/zone. Fix: add one that selects the "
            "workload's own pods."
        ),
    ),
    Case(
        policy="zone-spread",
        kind="Deployment",
        name="payment-service",
        path=POD + ">topologySpreadConstraints>0>labelSelector>matchLabels>app",
        value="other",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: its spread over topology.kubernetes.io/zone does "
            "not select its own pods, so it spreads nothing. Allowed: a labelSelector that matches "
            "the pod template. Fix: use the workload's selector."
        ),
    ),
    Case(
        policy="rolling-update-keeps-capacity",
        kind="Deployment",
        name="payment-service",
        path="spec>strategy>rollingUpdate>maxUnavailable",
        value=1,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: rolls with maxUnavailable 1: capacity drops below "
            "the load. Allowed for component api: 0. Fix: set "
            "spec.strategy.rollingUpdate.maxUnavailable."
        ),
    ),
    Case(
        policy="rolling-update-keeps-capacity",
        kind="Deployment",
        name="payment-service",
        path="spec>strategy>rollingUpdate>maxUnavailable",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: rolls with maxUnavailable not set (25% by default):"
            " capacity drops below the load. Allowed for component api: 0. Fix: set "
            "spec.strategy.rollingUpdate.maxUnavailable."
        ),
    ),
    Case(
        policy="rolling-update-keeps-capacity",
        kind="Deployment",
        name="payment-service",
        path="spec>strategy>rollingUpdate>maxSurge",
        value="0%",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: rolls with maxSurge '0%': the rollout cannot make "
            "progress. Allowed for component api: 1 or more. Fix: set "
            "spec.strategy.rollingUpdate.maxSurge."
        ),
    ),
    Case(
        policy="rolling-update-keeps-capacity",
        kind="Deployment",
        name="payment-service",
        path="spec>strategy>type",
        value="Recreate",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: is updated by 'Recreate', which stops every pod "
            "first. Allowed: RollingUpdate. Fix: set spec.strategy.type to RollingUpdate."
        ),
    ),
    Case(
        policy="rolling-update-keeps-capacity",
        kind="Deployment",
        name="payment-processors",
        path="spec>strategy>rollingUpdate>maxSurge",
        value="25%",
        culprit="apps/v1:Deployment::payment-processors",
        message=(
            "Deployment payments/payment-processors: rolls with maxSurge '25%': surplus consumers "
            "join the group and rebalance it. Allowed for component consumer: 0. Fix: set "
            "spec.strategy.rollingUpdate.maxSurge."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
