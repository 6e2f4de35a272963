"""What the pack says about network policies and Services: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import Case, assert_violates
from tests.policy.samples import PRIVATE_NETWORKS, REMOVED

CASES = (
    Case(
        policy="default-deny",
        kind="NetworkPolicy",
        name="default-deny",
        path="spec>policyTypes",
        value=["Ingress"],
        culprit="core/v1:Namespace::payments",
        message=(
            "Namespace payments: namespace 'payments' does not deny egress by default. Open today: "
            "the pods of Deployment payments/payment-processors, Deployment payments/wallet-"
            "processors, CronJob payments/partition-maintenance. Allowed: a NetworkPolicy with "
            "podSelector {}, policyTypes [Egress] and no egress rule. Fix: declare it."
        ),
    ),
    Case(
        policy="default-deny",
        kind="NetworkPolicy",
        name="default-deny",
        path="spec>ingress",
        value=[{"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}],
        culprit="core/v1:Namespace::payments",
        message=(
            "Namespace payments: namespace 'payments' does not deny ingress by default. Allowed: a "
            "NetworkPolicy with podSelector {}, policyTypes [Ingress] and no ingress rule. Fix: "
            "declare it."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>ingress>0>from",
        value=REMOVED,
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: ingress rule 1 names no peer in 'from', which "
            "allows every address. Allowed: peers named by labels. Fix: fill 'from'."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>ingress>0>from>0",
        value={"namespaceSelector": {}},
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: ingress rule 1 allows every pod of every "
            "namespace. Allowed: peers named by labels, or a narrow ipBlock (the internet on named "
            "ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>ingress>0>from>0",
        value={"podSelector": {}},
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: ingress rule 1 allows every pod of the "
            "namespace. Allowed: peers named by labels, or a narrow ipBlock (the internet on named "
            "ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>egress>0>to>0",
        value={"ipBlock": {"cidr": "0.0.0.0/0"}},
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: egress rule 1 allows every address of the "
            "internet. Allowed: peers named by labels, or a narrow ipBlock (the internet on named "
            "ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>egress>0>to>0",
        value={"ipBlock": {"cidr": "::/0"}},
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: egress rule 1 allows every address of the "
            "internet. Allowed: peers named by labels, or a narrow ipBlock (the internet on named "
            "ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="payment-service",
        path="spec>egress>0>to>0",
        value={"ipBlock": {"cidr": "300.0.0.0/8"}},
        culprit="networking.k8s.io/v1:NetworkPolicy::payment-service",
        message=(
            "NetworkPolicy payments/payment-service: egress rule 1 allows the address block "
            "'300.0.0.0/8', which is none. Allowed: peers named by labels, or a narrow ipBlock (the "
            "internet on named ports, without private networks, for workloads listed under "
            "internetEgress). Fix: name the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="gateway-service-providers",
        path="spec>egress>0>ports",
        value=REMOVED,
        culprit="networking.k8s.io/v1:NetworkPolicy::gateway-service-providers",
        message=(
            "NetworkPolicy payments/gateway-service-providers: egress rule 1 allows every address of "
            "the internet. Allowed: peers named by labels, or a narrow ipBlock (the internet on named"
            " ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="named-peers-only",
        kind="NetworkPolicy",
        name="gateway-service-providers",
        path="spec>egress>0>to>0>ipBlock>except",
        value=PRIVATE_NETWORKS[1:],
        culprit="networking.k8s.io/v1:NetworkPolicy::gateway-service-providers",
        message=(
            "NetworkPolicy payments/gateway-service-providers: egress rule 1 allows every address of "
            "the internet. Allowed: peers named by labels, or a narrow ipBlock (the internet on named"
            " ports, without private networks, for workloads listed under internetEgress). Fix: name "
            "the peer."
        ),
    ),
    Case(
        policy="cluster-internal-services",
        kind="Service",
        name="payment-service-svc",
        path="spec>type",
        value="LoadBalancer",
        culprit="core/v1:Service::payment-service-svc",
        message=(
            "Service payments/payment-service-svc: is of type 'LoadBalancer'. Allowed: ClusterIP. "
            "Fix: publish the service through the edge."
        ),
    ),
    Case(
        policy="cluster-internal-services",
        kind="Service",
        name="payment-service-svc",
        path="spec>externalIPs",
        value=["203.0.113.7"],
        culprit="core/v1:Service::payment-service-svc",
        message=(
            "Service payments/payment-service-svc: claims external addresses. Allowed: none. Fix: remove externalIPs."
        ),
    ),
    Case(
        policy="cluster-internal-services",
        kind="Service",
        name="payment-service-svc",
        path="spec>ports>0>nodePort",
        value=30080,
        culprit="core/v1:Service::payment-service-svc",
        message=(
            "Service payments/payment-service-svc: opens port 30080 on every node. Allowed: none. Fix: remove nodePort."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
