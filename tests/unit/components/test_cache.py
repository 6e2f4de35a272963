"""The caches as manifests."""

import shlex
from typing import Any

import pytest

from components.cache.component import peak_amounts
from components.cache.server_files import plan_user_rules
from settings.quantities import parse_quantity
from tests.unit.stacks import REMOVED, STACKS, Changes, manifest, manifests_of, of_kind, settings_of

CACHE = "cache"
ZONE = "topology.kubernetes.io/zone"
SIDECAR: Changes = {"cache/local/mode": "sidecar"}


def of_cache(stack: str, kind: str, name: str, changes: Changes | None = None) -> dict[str, Any]:
    return manifest(stack, kind, name, changes, namespace=CACHE)


def conf(stack: str, name: str, changes: Changes | None = None) -> dict[str, str]:
    [found] = [
        m
        for key, m in of_kind(stack, "ConfigMap", changes, namespace=CACHE).items()
        if key.startswith(f"{name}-config")
    ]
    return dict(line.split(" ", 1) for line in found["data"]["server.conf"].splitlines())


@pytest.mark.parametrize("stack", STACKS)
def test_six_pods_on_six_nodes_spread_over_zones(stack: str) -> None:
    spec = of_cache(stack, "StatefulSet", "redis-cluster")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (6, "Parallel")
    pod = spec["template"]["spec"]
    own = {"matchLabels": {"app": "redis-cluster"}}
    [rule] = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule == {"labelSelector": own, "topologyKey": "kubernetes.io/hostname"}
    [spread] = pod["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"], spread["whenUnsatisfiable"]) == (ZONE, 1, "DoNotSchedule")
    assert spread["labelSelector"] == own
    assert of_cache(stack, "PodDisruptionBudget", "redis-cluster")["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("stack", STACKS)
def test_each_pod_has_an_address_that_stays(stack: str) -> None:
    services = of_kind(stack, "Service", namespace=CACHE)
    for ordinal in range(6):
        spec = services[f"redis-cluster-{ordinal}"]["spec"]
        assert spec["selector"]["statefulset.kubernetes.io/pod-name"] == f"redis-cluster-{ordinal}"
        assert (spec["type"], spec["publishNotReadyAddresses"]) == ("ClusterIP", True)
        assert [port["port"] for port in spec["ports"]] == [6379, 16379]
    assert not [s for s in services.values() if s["spec"].get("type", "ClusterIP") != "ClusterIP"]


@pytest.mark.parametrize(("stack", "limit"), [("dev", 2**30), ("prod", 4 * 2**30)])
def test_memory_follows_the_pods_limit_and_nothing_is_written(stack: str, limit: int) -> None:
    found = conf(stack, "redis-cluster")
    assert int(found["maxmemory"]) == limit * 65 // 100
    assert (found["maxmemory-policy"], found["appendonly"], found["save"]) == ("allkeys-lru", "no", '""')


@pytest.mark.parametrize("name", ["redis-cluster", "redis-local"])
def test_there_is_no_plaintext_port(name: str) -> None:
    found = conf("prod", name)
    assert (found["port"], found["tls-port"]) == ("0", "6379")
    assert name == "redis-local" or found["tls-cluster"] == "yes"


def test_a_pod_that_is_cut_off_answers_no_reads() -> None:
    found = conf("prod", "redis-cluster")
    assert found["cluster-allow-reads-when-down"] == "no"
    assert found["cluster-require-full-coverage"] == "no"


def test_readiness_is_a_ping_and_liveness_only_a_connection() -> None:
    [server, exporter] = of_cache("prod", "StatefulSet", "redis-cluster")["spec"]["template"]["spec"]["containers"]
    assert server["readinessProbe"]["exec"]["command"] == ["sh", "/etc/cache/config/ping.sh"]
    assert server["livenessProbe"]["tcpSocket"] == {"port": "redis"}
    assert server["lifecycle"]["preStop"]["exec"]["command"] == ["sh", "/etc/cache/config/stop.sh"]
    assert exporter["ports"] == [{"name": "metrics", "containerPort": 9121, "protocol": "TCP"}]


@pytest.mark.parametrize("stack", STACKS)
def test_only_users_members_the_reconciler_and_monitoring_reach_the_cluster(stack: str) -> None:
    spec = of_cache(stack, "NetworkPolicy", "redis-cluster-flows")["spec"]
    clients, members, monitoring = spec["ingress"]
    apps = [peer["podSelector"]["matchLabels"]["app"] for peer in clients["from"]]
    services = ["gateway-service", "gateway-processors", "payment-service", "payment-processors", "wallet-service"]
    assert apps == [*services, "wallet-processors", "redis-cluster-reconciler"]
    assert [port["port"] for port in clients["ports"]] == [6379]
    assert [port["port"] for port in members["ports"]] == [6379, 16379]
    assert [port["port"] for port in monitoring["ports"]] == [9121]
    assert [rule["to"] for rule in spec["egress"]] == [members["from"]]


def test_no_password_is_rendered_and_each_pod_mounts_only_what_it_needs() -> None:
    job = next(m for m in manifests_of("prod").values() if m["kind"] == "Job")
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    [source] = volumes["passwords"]["projected"]["sources"]
    assert source["secret"]["name"] == "cache-internal"
    assert [item["path"] for item in volumes["tls"]["secret"]["items"]] == ["ca.crt"]
    kinds = {m["kind"] for m in manifests_of("prod").values() if m["metadata"].get("namespace") == CACHE}
    assert "Secret" not in kinds


def test_a_user_touches_its_own_keys_and_no_administrators_command() -> None:
    cache = settings_of("dev").cache
    assert cache is not None
    lines = plan_user_rules(cache.users).splitlines()
    gateway = next(shlex.split(line) for line in lines if line.startswith("gateway-service "))
    assert "~wallet:balance:*" not in gateway
    assert "~config:*" in gateway
    assert gateway.index("-@all") < gateway.index("+@read") < gateway.index("-@dangerous")
    assert "-readonly" in gateway


def test_another_configuration_is_another_config_map_and_rolls_the_pods() -> None:
    changes = {"cache/cluster/node_timeout_milliseconds": 3000}
    before, after = (of_cache("dev", "StatefulSet", "redis-cluster", c) for c in (None, changes))
    assert before["spec"]["template"] != after["spec"]["template"]


def test_another_goal_is_another_job() -> None:
    def jobs(changes: Changes | None) -> list[str]:
        return list(of_kind("dev", "Job", changes, namespace=CACHE))

    assert jobs(None) == jobs(None)
    assert jobs(None) != jobs({"cache/cluster/primaries": 4})


@pytest.mark.parametrize("changes", [None, SIDECAR, {"cache/cluster/primaries": 5}])
def test_the_quota_holds_every_pod_of_the_caches(changes: Changes | None) -> None:
    cache = settings_of("dev", changes).cache
    assert cache is not None
    hard = of_cache("dev", "ResourceQuota", "quota", changes)["spec"]["hard"]
    assert hard["persistentvolumeclaims"] == "0"
    for key, amount in peak_amounts(cache).items():
        assert parse_quantity(hard[key]) >= amount, key


def test_in_prod_every_pod_has_a_volume_for_its_identity_that_goes_with_it() -> None:
    spec = of_cache("prod", "StatefulSet", "redis-cluster")["spec"]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenScaled": "Delete", "whenDeleted": "Delete"}
    assert of_cache("prod", "ResourceQuota", "quota")["spec"]["hard"]["persistentvolumeclaims"] == "6"
    volumes = of_cache("dev", "StatefulSet", "redis-cluster")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "16Mi"}} in volumes


def test_a_sidecar_shares_a_socket_with_its_pod_and_nobody_else() -> None:
    spec = manifest("dev", "Deployment", "payment-service", SIDECAR)["spec"]["template"]["spec"]
    [sidecar] = spec["initContainers"]
    assert (sidecar["restartPolicy"], sidecar.get("ports")) == ("Always", None)
    [config] = [m for key, m in of_kind("dev", "ConfigMap", SIDECAR).items() if key.startswith("redis-local-config")]
    assert "port 0\nunixsocket /run/cache-local/server.sock" in config["data"]["server.conf"]
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["cache-local-socket"] == "/run/cache-local"
    assert "redis-local" not in of_kind("dev", "DaemonSet", SIDECAR, namespace=CACHE)


def test_sidecars_are_counted_in_the_services_quota() -> None:
    without, with_sidecars = (
        parse_quantity(manifest("dev", "ResourceQuota", "quota", c)["spec"]["hard"]["limits.memory"])
        for c in (None, SIDECAR)
    )
    assert with_sidecars - without >= 109 * 64 * 2**20  # the plan's 109 pods at their maximum


def test_without_a_cache_nothing_of_it_is_declared() -> None:
    names = manifests_of("dev", {"cache": REMOVED})
    assert not [name for name in names if "redis" in name or "-cache" in name]
