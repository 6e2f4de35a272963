"""What the pack says about resources, probes and shutdown: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import CONTAINER, POD, Case, assert_violates
from tests.policy.samples import REMOVED

CASES = (
    Case(
        policy="container-resources",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">resources>limits>ephemeral-storage",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' does not set limits.ephemeral-"
            "storage. Allowed: requests and limits for cpu, memory, ephemeral-storage. Fix: set them "
            "under resources."
        ),
    ),
    Case(
        policy="container-resources",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">resources>limits",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' does not set limits.cpu, "
            "limits.memory, limits.ephemeral-storage. Allowed: requests and limits for cpu, memory, "
            "ephemeral-storage. Fix: set them under resources."
        ),
    ),
    Case(
        policy="container-probes",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">startupProbe",
        value=REMOVED,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' has no startupProbe. Allowed: "
            "startupProbe, readinessProbe, livenessProbe on every serving container. Fix: declare "
            "them."
        ),
    ),
    Case(
        policy="container-probes",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">livenessProbe",
        value={"periodSeconds": 5, "httpGet": {"path": "/readyz", "port": "http"}},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' uses the same test for readiness "
            "and liveness: a pod that is only busy would be restarted. Allowed: two different tests. "
            "Fix: make liveness the cheaper one, such as a TCP check."
        ),
    ),
    Case(
        policy="container-probes",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">livenessProbe>tcpSocket>port",
        value=9090,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': livenessProbe asks port 9090, "
            "which the container does not declare. Allowed: 'http', 8080. Fix: correct the port or "
            "declare it under ports."
        ),
    ),
    Case(
        policy="container-probes",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">readinessProbe>httpGet>port",
        value="admin",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api': readinessProbe asks port 'admin', "
            "which the container does not declare. Allowed: 'http', 8080. Fix: correct the port or "
            "declare it under ports."
        ),
    ),
    Case(
        policy="graceful-shutdown",
        kind="Deployment",
        name="payment-service",
        path=POD + ">terminationGracePeriodSeconds",
        value=10,
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' waits 10 s in preStop, but is "
            "killed after 10 s. Allowed: a grace period longer than preStop. Fix: raise "
            "terminationGracePeriodSeconds or shorten the wait."
        ),
    ),
    Case(
        policy="graceful-shutdown",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">lifecycle>preStop",
        value={"exec": {"command": ["/bin/sh", "-c", "sleep 60"]}},
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' waits 60 s in preStop, but is "
            "killed after 45 s. Allowed: a grace period longer than preStop. Fix: raise "
            "terminationGracePeriodSeconds or shorten the wait."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
