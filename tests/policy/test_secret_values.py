"""What the pack says about secrets in plain sight: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import CONTAINER, Case, assert_violates

CASES = (
    Case(
        policy="no-secrets-in-pods",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">env>0",
        value={"name": "DB_PASSWORD", "value": "canary-7f3a"},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': environment variable 'DB_PASSWORD'"
            " holds a literal secret. Allowed: valueFrom a Secret. Fix: reference it with "
            "secretKeyRef."
        ),
    ),
    Case(
        policy="no-secrets-in-pods",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">env>0",
        value={"name": "DATABASE", "value": "postgres://app:canary-7f3a@db/payments"},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': environment variable 'DATABASE' "
            "holds a URL with a password. Allowed: valueFrom a Secret. Fix: reference it with "
            "secretKeyRef."
        ),
    ),
    Case(
        policy="no-secrets-in-pods",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">args",
        value=["--card=4111 1111 1111 1111"],
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': args holds a card number. Allowed:"
            " no secret on a command line. Fix: mount a Secret and pass its path."
        ),
    ),
    Case(
        policy="no-secrets-in-pods",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">command",
        value=["run", "--api-key=canary-7f3a"],
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': command holds a value for a key. "
            "Allowed: no secret on a command line. Fix: mount a Secret and pass its path."
        ),
    ),
    Case(
        policy="no-secrets-in-config-maps",
        kind="ConfigMap",
        name="payment-service",
        path="data>API_TOKEN",
        value="canary-7f3a",
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap payments/payment-service: key 'API_TOKEN' holds a literal secret. Allowed: "
            "configuration only. Fix: move it to a Secret."
        ),
    ),
    Case(
        policy="no-secrets-in-config-maps",
        kind="ConfigMap",
        name="payment-service",
        path="data>settings.yaml",
        value="db:\n  password: canary-7f3a\n",
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap payments/payment-service: key 'settings.yaml' holds a value for a password. "
            "Allowed: configuration only. Fix: move it to a Secret."
        ),
    ),
    Case(
        policy="no-secrets-in-config-maps",
        kind="ConfigMap",
        name="payment-service",
        path="data>test-card",
        value="5555555555554444",
        culprit="core/v1:ConfigMap::payment-service",
        message=(
            "ConfigMap payments/payment-service: key 'test-card' holds a card number. Allowed: "
            "configuration only. Fix: move it to a Secret."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
