"""What the pack says about servers of the cache and about the classes that are cached."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import DEV, UNKNOWN_MARK, container, kubernetes, pod_spec

POD_NAME = "statefulset.kubernetes.io/pod-name"
CONF = {
    "port": "0", "tls-port": "6379", "tls-replication": "yes", "tls-cluster": "yes", "cluster-enabled": "yes",
    "maxmemory": "697932185", "maxmemory-policy": "allkeys-lru", "appendonly": "no", "save": '""',
}  # fmt: skip
START = 'echo "cluster-announce-ip $address"\n'
CLASSES: list[dict[str, object]] = [
    {"prefix": "config:", "l1_ttl_seconds": 600, "l2_ttl_seconds": 60, "l3_ttl_seconds": 300, "display_only": False},
    {"prefix": "wallet:balance:", "l1_ttl_seconds": None, "l2_ttl_seconds": None, "l3_ttl_seconds": 300,
     "display_only": True},
]  # fmt: skip


def conf_with(changes: Mapping[str, str | None]) -> str:
    merged = {**CONF, **changes}
    return "".join(f"{name} {value}\n" for name, value in merged.items() if value is not None)


def cluster(
    conf: str, *, start: str = START, replicas: object = 2, services: tuple[Resource, ...] | None = None
) -> list[Resource]:
    ports = [{"name": "redis", "containerPort": 6379}, {"name": "bus", "containerPort": 16379}]
    spec = pod_spec("cache", [container(name="server", command=["sh", "/etc/cache/start.sh"], ports=ports)])
    spec["volumes"] = [*spec.get("volumes", []), {"name": "config", "configMap": {"name": "cache-config"}}]
    body = {
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "cache"}},
            "template": {"metadata": {"labels": {"app": "cache"}}, "spec": spec},
        }
    }
    return [
        kubernetes("core/v1:ConfigMap", "cache-config", {"data": {"server.conf": conf, "start.sh": start}}),
        kubernetes("apps/v1:StatefulSet", "cache", body, service=True),
        *(services if services is not None else (service(0), service(1))),
    ]


def service(ordinal: int, **changes: Any) -> Resource:
    spec = {
        "type": "ClusterIP",
        "publishNotReadyAddresses": True,
        "selector": {"app": "cache", POD_NAME: f"cache-{ordinal}"},
        "ports": [{"port": 6379}, {"port": 16379}],
        **changes,
    }
    return kubernetes("core/v1:Service", f"cache-{ordinal}", {"spec": spec}, service=True)


def messages(resources: list[Resource], policy: str) -> list[str]:
    return [finding.message for finding in evaluate(resources, DEV) if finding.policy == policy]


def contract(classes: object) -> list[Resource]:
    content = json.dumps({"schema_version": 1, "cache": {"classes": classes}})
    return [kubernetes("core/v1:ConfigMap", "platform-contract", {"data": {"contract.json": content}})]


def test_what_is_declared_well_is_not_mentioned() -> None:
    resources = cluster(conf_with({}))
    assert messages(resources, "cache-configuration") == []
    assert messages(resources, "cache-announced-addresses") == []
    assert messages(resources, "service-targets") == []
    assert messages(contract(CLASSES), "cache-classes") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"appendonly": "yes"}, "appendonly is on"),
        ({"save": None}, "snapshots are on"),
        ({"save": "3600 1"}, "snapshots are on"),
        ({"maxmemory-policy": "noeviction"}, "maxmemory-policy is noeviction"),
        ({"maxmemory-policy": "volatile-lru"}, "maxmemory-policy is volatile-lru"),
        ({"maxmemory": None}, "maxmemory is not set"),
        ({"port": "6379"}, "port 6379 listens without encryption"),
        ({"port": None}, "port 6379, the default listens without encryption"),
        ({"tls-port": None}, "tls-port is not set"),
        ({"tls-replication": "no"}, "tls-replication is no"),
        ({"tls-cluster": None}, "tls-cluster is no"),
    ],
)
def test_a_setting_that_does_not_fit_a_cache_is_named(changes: dict[str, str | None], words: str) -> None:
    [message] = messages(cluster(conf_with(changes)), "cache-configuration")
    assert message.startswith(f"ConfigMap payments/cache-config: server.conf: {words}")
    assert "Allowed: " in message
    assert "Fix: " in message


def test_values_may_not_fill_the_containers_memory() -> None:
    resources = cluster(conf_with({"maxmemory": str(900 * 2**20)}))
    [message] = messages(resources, "cache-configuration")
    assert message.startswith("StatefulSet payments/cache: container 'server' may fill 88 % of its memory limit")
    assert "Allowed: 70 %" in message


def test_a_socket_inside_the_pod_needs_no_encryption() -> None:
    conf = conf_with({"tls-port": None, "unixsocket": "/run/cache/s", "cluster-enabled": None, "tls-cluster": None})
    assert messages(cluster(conf), "cache-configuration") == []


def test_a_cluster_that_announces_no_address_is_refused() -> None:
    [message] = messages(cluster(conf_with({}), start="exec server\n"), "cache-announced-addresses")
    assert message.startswith("ConfigMap payments/cache-config: no file sets cluster-announce-ip")


@pytest.mark.parametrize(
    ("services", "words"),
    [
        ((service(0),), "StatefulSet payments/cache: pod cache-1 has no Service of its own"),
        ((service(0), service(1, clusterIP="None")), "Service payments/cache-1: is headless"),
        ((service(0), service(1, publishNotReadyAddresses=False)), "Service payments/cache-1: leads nowhere until"),
        ((service(0), service(1, ports=[{"port": 6379}])), "Service payments/cache-1: does not lead to port 16379"),
    ],
)
def test_each_member_needs_an_address_that_stays(services: tuple[Resource, ...], words: str) -> None:
    [message] = messages(cluster(conf_with({}), services=services), "cache-announced-addresses")
    assert message.startswith(words)


def test_a_service_for_a_pod_that_no_stateful_set_makes_selects_nothing() -> None:
    resources = cluster(conf_with({}), services=(service(0), service(1), service(2)))
    [message] = messages(resources, "service-targets")
    assert message.startswith("Service payments/cache-2: its selector")


@pytest.mark.parametrize(
    ("position", "change", "words"),
    [
        (0, {"l1_ttl_seconds": 601}, "class 'config:' stays 601 s in L1. Allowed: at most 600 s."),
        (0, {"l2_ttl_seconds": 3600}, "class 'config:' stays 3600 s in L2. Allowed: at most 60 s."),
        (0, {"l3_ttl_seconds": 301}, "class 'config:' stays 301 s in L3. Allowed: at most 300 s."),
        (0, {"l3_ttl_seconds": 0}, "class 'config:' has no end in L3"),
        (0, {"display_only": True, "l2_ttl_seconds": None}, "class 'config:' is kept in L1"),
        (1, {"l2_ttl_seconds": 60}, "class 'wallet:balance:' is kept in L2"),
        (1, {"l1_ttl_seconds": 1, "display_only": False}, "class 'wallet:balance:' is kept in L1"),
        (1, {"prefix": "wallet:", "l1_ttl_seconds": 1, "display_only": False}, "class 'wallet:' is kept in L1"),
    ],
)
def test_t25_a_class_keeps_to_its_tiers_and_ages(position: int, change: dict[str, object], words: str) -> None:
    classes = copy.deepcopy(CLASSES)
    classes[position].update(change)
    [message] = messages(contract(classes), "cache-classes")
    assert message.startswith(f"ConfigMap payments/platform-contract: {words}")


def test_a_contract_that_cannot_be_read_is_refused() -> None:
    broken = kubernetes("core/v1:ConfigMap", "platform-contract", {"data": {"contract.json": "{"}})
    [message] = messages([broken], "cache-classes")
    assert "is no JSON" in message


def test_what_is_not_known_before_the_update_is_no_violation() -> None:
    assert messages(cluster(conf_with({}), replicas=UNKNOWN_MARK), "cache-announced-addresses") == []
    unknown = kubernetes("core/v1:ConfigMap", "cache-config", {"data": UNKNOWN_MARK})
    for policy in ("cache-configuration", "cache-announced-addresses", "cache-classes"):
        assert messages([unknown], policy) == []
