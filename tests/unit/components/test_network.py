"""Closed in both directions, then exactly the named flows."""

from typing import Any

import pytest

from tests.unit.stacks import REMOVED, STACKS, Changes, manifest, of_kind

pytestmark = pytest.mark.parametrize("stack", STACKS)

NAMESPACE_KEY = "kubernetes.io/metadata.name"
EDGE = {
    "podSelector": {
        "matchLabels": {
            "app.kubernetes.io/component": "proxy",
            "gateway.envoyproxy.io/owning-gateway-name": "edge",
        }
    },
    "namespaceSelector": {"matchLabels": {NAMESPACE_KEY: "edge"}},
}
SERVICES = {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "payments-platform"}}}
KAFKA = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}},
    "podSelector": {"matchLabels": {"strimzi.io/cluster": "kafka-cluster"}},
}
IN_DATABASE = {"namespaceSelector": {"matchLabels": {NAMESPACE_KEY: "database"}}}
POSTGRES = {"podSelector": {"matchLabels": {"app": "postgres-cluster-pooler-rw"}}, **IN_DATABASE}
POSTGRES_RO = {"podSelector": {"matchLabels": {"app": "postgres-cluster-pooler-ro"}}, **IN_DATABASE}
IN_CACHE = {"namespaceSelector": {"matchLabels": {NAMESPACE_KEY: "cache"}}}
REDIS = {"podSelector": {"matchLabels": {"app": "redis-cluster"}}, **IN_CACHE}
REDIS_LOCAL = {"podSelector": {"matchLabels": {"app": "redis-local"}}, **IN_CACHE}
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"]
BANKS = {"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE}}
LOAD_TEST = {
    "podSelector": {"matchLabels": {"app": "k6"}},
    "namespaceSelector": {"matchLabels": {NAMESPACE_KEY: "loadtest"}},
}
INGRESS = {"payment-service": [EDGE], "wallet-service": [EDGE, SERVICES], "gateway-service": [SERVICES]}


def pooler(name: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": name}}, **IN_DATABASE}


def loaded(stack: str, service: str) -> list[dict[str, Any]]:
    """Only dev sends load to a service's own address, and only to the two that the script asks."""
    return [LOAD_TEST] if stack == "dev" and service != "gateway-service" else []


def kafka_port(stack: str) -> int:
    return {"dev": 9093, "prod": 9093}[stack]


def tcp(port: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"}]


def egress(stack: str, service: str) -> list[dict[str, Any]]:
    before = [(SERVICES, 8080)] if service == "payment-service" else []
    after = [(BANKS, 443)] if service == "gateway-service" else []
    databases = [(POSTGRES, 5432), (POSTGRES_RO, 5432)]
    if stack == "prod":  # a second shard
        databases += [(pooler(f"postgres-cluster-s01-pooler-{mode}"), 5432) for mode in ("rw", "ro")]
    stores = [*databases, (REDIS, 6379), (REDIS_LOCAL, 6379)]
    peers = [*before, (KAFKA, kafka_port(stack)), *stores, *after]
    return [{"to": [peer], "ports": tcp(port)} for peer, port in peers]


def test_every_pod_is_closed_both_ways(stack: str) -> None:
    policy = manifest(stack, "NetworkPolicy", "default-deny")
    assert policy["metadata"]["namespace"] == "payments"
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_pod_resolves_names_at_the_clusters_dns_and_nothing_else(stack: str) -> None:
    dns = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_KEY: "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert manifest(stack, "NetworkPolicy", "allow-dns")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [dns], "ports": ports}],
    }


@pytest.mark.parametrize("service", list(INGRESS))
def test_an_api_has_exactly_its_named_flows(stack: str, service: str) -> None:
    assert manifest(stack, "NetworkPolicy", f"{service}-flows")["spec"] == {
        "podSelector": {"matchLabels": {"app": service}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [peer], "ports": tcp(8080)} for peer in [*INGRESS[service], *loaded(stack, service)]],
        "egress": egress(stack, service),
    }


@pytest.mark.parametrize("service", list(INGRESS))
def test_nobody_may_call_a_consumer(stack: str, service: str) -> None:
    workload = f"{service.removesuffix('-service')}-processors"
    assert manifest(stack, "NetworkPolicy", f"{workload}-flows")["spec"] == {
        "podSelector": {"matchLabels": {"app": workload}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": egress(stack, service),
    }


def test_there_is_no_other_policy(stack: str) -> None:
    workloads = [*INGRESS, *(f"{name.removesuffix('-service')}-processors" for name in INGRESS)]
    # What Prometheus reaches by the second kind: tests/unit/observability.
    flows = {f"{workload}-{kind}" for workload in workloads for kind in ("flows", "scraped")}
    flows.add("database-migrations-flows")
    shards = {"dev": ("s00",), "prod": ("s00", "s01")}[stack]
    flows |= {f"database-metrics-{shard}-{kind}" for shard in shards for kind in ("flows", "scraped")}
    assert set(of_kind(stack, "NetworkPolicy")) == {"default-deny", "allow-dns", *flows}


def test_a_service_that_calls_nobody_keeps_only_dns(stack: str) -> None:
    changes: Changes = {
        "services/wallet-service/egress_to": [],
        "services/wallet-service/ingress_from": [],
        "edge/routes/wallets": REMOVED,
        "cache/users/wallet-service": REMOVED,
        "postgres/users/wallet-service": REMOVED,
        # Who reads and writes no topic is no user of the brokers.
        "services/wallet-service/consumer": REMOVED,
        "services/wallet-service/api/produces": [],
    }
    spec = manifest(stack, "NetworkPolicy", "wallet-service-flows", changes)["spec"]
    assert (spec["ingress"], spec["egress"]) == ([], [])


def test_a_peer_without_exceptions_has_no_empty_list_of_them(stack: str) -> None:
    changes = {"cluster/peers/banks": {"cidrs": ["192.0.2.0/24", "198.51.100.0/24"], "ports": [443, 8443]}}
    spec = manifest(stack, "NetworkPolicy", "gateway-service-flows", changes)["spec"]
    assert spec["egress"][-1] == {
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "198.51.100.0/24"}}],
        "ports": [*tcp(443), *tcp(8443)],
    }
