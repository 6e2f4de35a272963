"""The Kafka cluster as declared: who reaches it, how nodes and replicas are placed, and what outlives a mistake."""

from typing import Any

import pytest

from components.kafka.broker_config import broker_config
from components.kafka.cluster_plan import plan_cluster
from components.kafka.metrics import METRICS_KEY
from components.kafka.model import KafkaContext
from components.kafka.network_plan import plan_kafka_network
from components.kafka.operator_plan import chart_values, plan_operator_flows
from tests.unit.stacks import (
    REMOVED,
    SERVICES,
    STACKS,
    Changes,
    manifest,
    manifests_of,
    of_kind,
    recording_of,
    settings_of,
)

KAFKA = "kafka"
ZONE = "topology.kubernetes.io/zone"
PROCESSORS = ("gateway-processors", "payment-processors", "wallet-processors")
CLIENTS = sorted((*SERVICES, *PROCESSORS))
NODES = {"matchLabels": {"strimzi.io/cluster": "kafka-cluster", "strimzi.io/name": "kafka-cluster-kafka"}}
STATEFUL = ("Kafka", "KafkaNodePool", "KafkaTopic")


def cluster(stack: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifest(stack, "Kafka", "kafka-cluster", namespace=KAFKA)["spec"]
    return spec


def planned(stack: str, changes: Changes | None = None) -> dict[str, Any]:
    """The cluster's objects without a run of the whole program."""
    settings = settings_of(stack, changes)
    return plan_cluster(KafkaContext.of(settings), broker_config(settings))


def in_services(name: str) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "payments"}},
        "podSelector": {"matchLabels": {"app": name}},
    }


KEDA = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}},
    "podSelector": {"matchLabels": {"app": "keda-operator"}},
}
PEERS = {"dev": [in_services(name) for name in CLIENTS], "prod": [*[in_services(name) for name in CLIENTS], KEDA]}


@pytest.mark.parametrize("stack", STACKS)
def test_the_one_listener_speaks_tls_asks_for_scram_and_names_its_peers(stack: str) -> None:
    assert cluster(stack)["kafka"]["listeners"] == [
        {
            "name": "tls",
            "port": 9093,
            "type": "internal",
            "tls": True,
            "authentication": {"type": "scram-sha-512"},
            "networkPolicyPeers": PEERS[stack],
        }
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_what_no_rule_allows_is_denied_and_nobody_stands_above_the_rules(stack: str) -> None:
    spec = cluster(stack)["kafka"]
    assert spec["authorization"] == {"type": "simple"}
    assert not [key for key in spec["config"] if "super" in key or "allow.everyone" in key or "authorizer" in key]


@pytest.mark.parametrize("stack", STACKS)
def test_the_brokers_configuration_is_exactly_this(stack: str) -> None:
    assert cluster(stack)["kafka"]["config"] == {
        "auto.create.topics.enable": False,
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "share.coordinator.state.topic.replication.factor": 3,
        "share.coordinator.state.topic.min.isr": 2,
        "unclean.leader.election.enable": False,
        "offsets.retention.minutes": 30 * 24 * 60,
        "group.initial.rebalance.delay.ms": 3000,
        "group.min.session.timeout.ms": 6000,
        "group.max.session.timeout.ms": 300_000,
        "message.max.bytes": 2**20 + 16 * 1024,
        "replica.fetch.max.bytes": 2**20 + 16 * 1024,
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }


def test_brokers_take_the_largest_message_of_any_topic_with_room_for_its_failures_headers() -> None:
    found = broker_config(settings_of("dev", {"topics/wallet-events/max_message_bytes": 2**20 + 5000}))
    assert found["message.max.bytes"] == found["replica.fetch.max.bytes"] == 2**20 + 5000 + 16 * 1024


def test_no_plan_is_made_where_the_brokers_are_somebody_elses() -> None:
    settings = settings_of("dev", {"kafka": REMOVED})
    for plan in (broker_config, KafkaContext.of):
        with pytest.raises(ValueError, match="the stack declares no Kafka"):
            plan(settings)


@pytest.mark.parametrize("stack", STACKS)
def test_each_broker_knows_its_rack(stack: str) -> None:
    assert cluster(stack)["kafka"]["rack"] == {"type": "topology-label", "topologyKey": ZONE}


@pytest.mark.parametrize(
    ("stack", "pool", "size", "storage_class", "heap"),
    [
        ("dev", "broker", "10Gi", None, "512m"),
        ("dev", "controller", "2Gi", None, "256m"),
        ("prod", "broker", "500Gi", "fast", "4096m"),
        ("prod", "controller", "20Gi", "fast", "1024m"),
    ],
)
def test_three_nodes_of_each_role_spread_over_zones_with_volumes_that_stay(
    stack: str, pool: str, size: str, storage_class: str | None, heap: str
) -> None:
    pools = of_kind(stack, "KafkaNodePool", namespace=KAFKA)
    assert sorted(pools) == ["broker", "controller"]
    spec = pools[pool]["spec"]
    assert (spec["replicas"], spec["roles"]) == (3, [pool])
    volume = {"id": 0, "type": "persistent-claim", "size": size, "deleteClaim": False, "kraftMetadata": "shared"}
    if storage_class is not None:
        volume["class"] = storage_class
    assert spec["storage"] == {"type": "jbod", "volumes": [volume]}
    assert spec["jvmOptions"] == {"-Xms": heap, "-Xmx": heap}
    pod = spec["template"]["pod"]
    own = {"matchLabels": {"strimzi.io/cluster": "kafka-cluster", f"strimzi.io/{pool}-role": "true"}}
    zone, host = pod["topologySpreadConstraints"]
    assert zone == {
        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": own,
    }  # fmt: skip
    assert (host["topologyKey"], host["labelSelector"]) == ("kubernetes.io/hostname", own)
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("stack", STACKS)
def test_one_node_at_a_time_goes_for_maintenance(stack: str) -> None:
    assert cluster(stack)["kafka"]["template"]["podDisruptionBudget"] == {"maxUnavailable": 1}


def test_the_authority_is_yours_in_prod_and_outlives_the_cluster_elsewhere() -> None:
    assert cluster("prod")["clusterCa"] == {"generateCertificateAuthority": False}
    assert cluster("dev")["clusterCa"] == {"generateSecretOwnerReference": False}
    for stack in STACKS:
        assert cluster(stack)["clientsCa"] == {"generateSecretOwnerReference": False}


def test_no_client_starves_the_others_in_prod() -> None:
    assert cluster("prod")["kafka"]["quotas"] == {
        "type": "kafka", "producerByteRate": 20971520, "consumerByteRate": 41943040, "requestPercentage": 200,
    }  # fmt: skip


@pytest.mark.parametrize("stack", STACKS)
def test_lag_and_brokers_are_measured(stack: str) -> None:
    spec = cluster(stack)
    source = spec["kafka"]["metricsConfig"]["valueFrom"]["configMapKeyRef"]
    assert source == {"name": "kafka-metrics", "key": METRICS_KEY}
    assert METRICS_KEY in manifest(stack, "ConfigMap", source["name"], namespace=KAFKA)["data"]
    assert (spec["kafkaExporter"]["groupRegex"], spec["kafkaExporter"]["topicRegex"]) == (".*", ".*")


@pytest.mark.parametrize("stack", STACKS)
def test_partitions_move_by_themselves_when_brokers_come_or_go(stack: str) -> None:
    named = {one["mode"]: one["template"]["name"] for one in cluster(stack)["cruiseControl"]["autoRebalance"]}
    assert named == {mode: f"kafka-cluster-{mode}" for mode in ("add-brokers", "remove-brokers")}
    templates = of_kind(stack, "KafkaRebalance", namespace=KAFKA)
    assert sorted(templates) == sorted(named.values())
    for template in templates.values():
        assert template["metadata"]["annotations"] == {"strimzi.io/rebalance-template": "true"}
        assert template["spec"]["replicationThrottle"] == 50 * 2**20


def test_without_cruise_control_nothing_of_it_is_left() -> None:
    changes = {"kafka/cruise_control": None}
    found = planned("dev", changes)
    assert [role for role in found if role.startswith("rebalance")] == []
    assert "cruiseControl" not in found["cluster"]["spec"]
    assert "cruise-control-flows" not in plan_kafka_network(KafkaContext.of(settings_of("dev", changes)))


@pytest.mark.parametrize("stack", STACKS)
def test_flows_into_a_node_are_its_clients_the_other_nodes_operators_and_monitoring(stack: str) -> None:
    spec = manifest(stack, "NetworkPolicy", "kafka-cluster-kafka-flows", namespace=KAFKA)["spec"]
    assert spec["podSelector"] == NODES
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    flows = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    assert len(flows) == len(spec["ingress"])
    assert sorted(flows) == [8443, 9090, 9091, 9093, 9404]
    assert flows[9093] == PEERS[stack]
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "strimzi"}},
        "podSelector": {"matchLabels": {"strimzi.io/kind": "cluster-operator"}},
    }
    assert flows[8443] == [operator]
    assert flows[9090] == [{"podSelector": NODES}, operator]
    assert operator in flows[9091]
    [scraper] = flows[9404]
    assert scraper["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


@pytest.mark.parametrize("stack", STACKS)
def test_every_pod_of_the_namespace_is_denied_what_no_policy_allows(stack: str) -> None:
    policies = of_kind(stack, "NetworkPolicy", namespace=KAFKA)
    assert policies["default-deny"]["spec"]["podSelector"] == {}
    flows = ("kafka", "entity-operator", "kafka-exporter", "cruise-control")
    assert sorted(policies) == sorted(["allow-dns", "default-deny", *[f"kafka-cluster-{one}-flows" for one in flows]])
    for name in flows[1:3]:  # nobody has business with them, except whoever scrapes the exporter
        ports = [
            p["port"] for rule in policies[f"kafka-cluster-{name}-flows"]["spec"]["ingress"] for p in rule["ports"]
        ]
        assert ports == ([] if name == "entity-operator" else [9404])


def registered(stack: str) -> dict[tuple[str, str], tuple[bool, bool]]:
    """Kind and name of each object of Strimzi → protected, and kept when it leaves the program."""
    return {
        (r.type.rpartition(":")[2], r.inputs["metadata"]["name"]): (r.protect, r.retain_on_delete)
        for r in recording_of(stack).resources
        if r.type.startswith("kubernetes:kafka.strimzi.io/")
    }


def test_in_prod_nothing_with_messages_can_be_deleted_and_in_dev_everything_can() -> None:
    prod, dev = registered("prod"), registered("dev")
    assert {kind for kind, _ in prod} >= {*STATEFUL, "KafkaUser", "KafkaRebalance"}
    for (kind, name), found in prod.items():
        assert found == ((True, True) if kind in STATEFUL else (False, False)), f"{kind} {name}"
    assert set(dev.values()) == {(False, False)}


def test_the_namespace_with_the_volumes_is_protected_in_prod_alone() -> None:
    found = {
        stack: [
            r.protect
            for r in recording_of(stack).resources
            if r.type.endswith(":Namespace") and r.inputs["metadata"]["name"] == KAFKA
        ]
        for stack in STACKS
    }
    assert found == {"prod": [True], "dev": [False]}


def test_an_update_waits_for_the_operator_where_one_runs() -> None:
    for kind, name in (("Kafka", "kafka-cluster"), ("KafkaTopic", "payment-events"), ("KafkaUser", "wallet-service")):
        assert manifest("prod", kind, name, namespace=KAFKA)["metadata"]["annotations"]["pulumi.com/waitFor"] == (
            "condition=Ready"
        )
        assert "pulumi.com/waitFor" not in manifest("dev", kind, name, namespace=KAFKA)["metadata"].get(
            "annotations", {}
        )


def test_where_the_brokers_are_somebody_elses_nothing_of_kafka_is_declared() -> None:
    changes = {"kafka": REMOVED}
    found = manifests_of("dev", changes)
    assert [m["kind"] for m in found.values() if "strimzi" in m["apiVersion"]] == []
    assert [m for m in found.values() if KAFKA in (m["metadata"].get("namespace"), m["metadata"]["name"])] == []
    assert [r.name for r in recording_of("dev", changes).resources if r.type == "payments:kafka:KafkaCluster"] == []
    for name, deployment in of_kind("dev", "Deployment", changes).items():
        given = str(deployment["spec"]["template"]["spec"])
        assert "KAFKA_PASSWORD" not in given, name
        assert "KAFKA_CA" not in given, name


def test_an_operator_of_ours_watches_one_namespace_and_nothing_reaches_it() -> None:
    changes = {"kafka/operator": {"installed_by_us": True, "chart": "oci://registry.example.com/strimzi"}}
    context = KafkaContext.of(settings_of("prod", changes))
    values = chart_values(context)
    assert (values["watchNamespaces"], values["watchAnyNamespace"]) == ([KAFKA], False)
    assert values["podSecurityContext"]["runAsNonRoot"] is True
    flows = plan_operator_flows(context)
    assert flows["metadata"]["namespace"] == "strimzi"
    assert flows["spec"]["ingress"] == []
    to_cluster, to_api = flows["spec"]["egress"]
    assert [port["port"] for port in to_cluster["ports"]] == [9090, 9091, 8443]
    assert [peer["ipBlock"]["cidr"] for peer in to_api["to"]] == ["10.96.0.1/32", "10.0.0.0/28"]
