"""What the pack says about labels, selectors and namespaces: one row per way to break a rule, and its message."""

import pytest

from tests.policy.cases import Case, assert_violates
from tests.policy.samples import REMOVED

CASES = (
    Case(
        policy="required-labels",
        kind="ConfigMap",
        name="payment-service",
        path="metadata>labels>app.kubernetes.io/component",
        value=REMOVED,
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap payments/payment-service: lacks the labels app.kubernetes.io/component. "
            "Allowed: each with a value. Fix: set them."
        ),
    ),
    Case(
        policy="required-labels",
        kind="Deployment",
        name="payment-service",
        path="metadata>labels>owner",
        value="",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: lacks the labels owner. Allowed: each with a value. Fix: set them."
        ),
    ),
    Case(
        policy="required-labels",
        kind="Deployment",
        name="payment-service",
        path="metadata>labels>pci-scope",
        value="maybe",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: label pci-scope is 'maybe'. Allowed: cde, "
            "connected, out. Fix: correct it."
        ),
    ),
    Case(
        policy="required-labels",
        kind="Deployment",
        name="payment-service",
        path="metadata>labels>payments.dev/environment",
        value="prod",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: label payments.dev/environment is 'prod'. Allowed: "
            "dev. Fix: correct it."
        ),
    ),
    Case(
        policy="namespace-guardrails",
        kind="Namespace",
        name="payments",
        path="metadata>labels>pod-security.kubernetes.io/enforce",
        value="baseline",
        culprit="core/v1:Namespace::payments",
        message=(
            "Namespace payments: label pod-security.kubernetes.io/enforce is 'baseline'. Allowed: "
            "restricted. Fix: set it."
        ),
    ),
    Case(
        policy="selector-matches-template",
        kind="Deployment",
        name="payment-service",
        path="spec>selector>matchLabels>app",
        value="payments",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: its selector does not match its pod template "
            "(labels app). Allowed: a subset of the template's labels. Fix: use the same labels in "
            "both."
        ),
    ),
    Case(
        policy="selector-matches-template",
        kind="Deployment",
        name="payment-service",
        path="spec>selector>matchLabels",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: has no selector. Allowed: matchLabels with the app "
            "label. Fix: set spec.selector."
        ),
    ),
    Case(
        policy="service-targets",
        kind="Service",
        name="payment-service-svc",
        path="spec>selector>app",
        value="payments-service",
        culprit="core/v1:Service::payment-service-svc",
        message=(
            "Service payments/payment-service-svc: its selector (app) matches the pods of no declared"
            " workload. Allowed: the selector labels of a workload in the same namespace. Fix: "
            "correct spec.selector."
        ),
    ),
    Case(
        policy="service-targets",
        kind="Service",
        name="payment-service-svc",
        path="spec>ports>0>targetPort",
        value=9090,
        culprit="core/v1:Service::payment-service-svc",
        message=(
            "Service payments/payment-service-svc: targetPort 9090 is not opened by Deployment "
            "payments/payment-service. Allowed: 'http', 8080. Fix: correct the port, or declare it on"
            " the container."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
