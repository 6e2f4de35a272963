"""Kafka as manifests: who may do what, what is encrypted, what outlives a mistake, and what must not be there."""

from typing import Any

import pytest

from cli.check import find_violations
from components.kafka.broker_config import broker_config
from components.kafka.cluster_plan import plan_cluster
from components.kafka.component import peak_amounts
from components.kafka.model import KafkaContext
from components.kafka.network_plan import plan_kafka_network
from components.kafka.users_plan import plan_users
from tests.unit.stacks import REMOVED, STACKS, Changes, manifest, manifests_of, of_kind, recording_of, settings_of

KAFKA = "kafka"
OPERATOR: Changes = {
    "kafka/operator": {
        "namespace": "strimzi",
        "installed_by_us": True,
        "chart": "oci://registry.example.com/charts/strimzi-kafka-operator",
    }
}
TOPICS = {"payment-events": (24, "user_id"), "wallet-events": (16, "wallet_id"), "gateway-events": (12, "payment_id")}


def of_kafka(stack: str, kind: str, name: str, changes: Changes | None = None) -> dict[str, Any]:
    return manifest(stack, kind, name, changes, namespace=KAFKA)


def planned(changes: Changes) -> dict[str, dict[str, Any]]:
    """Role → manifest of prod's cluster, users and network, without a run of the whole program."""
    settings = settings_of("prod", changes)
    context = KafkaContext.of(settings)
    return {**plan_cluster(context, broker_config(settings)), **plan_users(context), **plan_kafka_network(context)}


def allowed(stack: str, user: str) -> dict[tuple[str, str], list[str]]:
    """(kind, name) of a resource → operations; every rule is literal and an allowance."""
    authorization = of_kafka(stack, "KafkaUser", user)["spec"]["authorization"]
    assert authorization["type"] == "simple"
    assert {(rule["type"], rule["resource"]["patternType"]) for rule in authorization["acls"]} == {("allow", "literal")}
    return {(r["resource"]["type"], r["resource"]["name"]): r["operations"] for r in authorization["acls"]}


@pytest.mark.parametrize("stack", STACKS)
def test_the_one_listener_is_encrypted_asks_who_it_is_and_admits_named_pods_only(stack: str) -> None:
    kafka = of_kafka(stack, "Kafka", "kafka-cluster")["spec"]["kafka"]
    [listener] = kafka["listeners"]
    peers = listener.pop("networkPolicyPeers")
    assert listener == {
        "name": "tls", "port": 9093, "type": "internal", "tls": True, "authentication": {"type": "scram-sha-512"},
    }  # fmt: skip
    assert peers
    assert all(peer["podSelector"]["matchLabels"] for peer in peers)
    assert kafka["authorization"] == {"type": "simple"}, "no super user"
    assert "allow.everyone.if.no.acl.found" not in kafka["config"]


@pytest.mark.parametrize("stack", STACKS)
def test_brokers_keep_what_they_acknowledged(stack: str) -> None:
    config = of_kafka(stack, "Kafka", "kafka-cluster")["spec"]["kafka"]["config"]
    wanted = {
        "auto.create.topics.enable": False,
        "default.replication.factor": 3,
        "min.insync.replicas": 2,
        "offsets.topic.replication.factor": 3,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "unclean.leader.election.enable": False,
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }
    assert {key: config.get(key) for key in wanted} == wanted


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("role", ["broker", "controller"])
def test_each_pool_has_one_role_keeps_its_volumes_and_spreads_over_zones(stack: str, role: str) -> None:
    spec = of_kafka(stack, "KafkaNodePool", role)["spec"]
    assert (spec["replicas"], spec["roles"]) == (3, [role])
    [volume] = spec["storage"]["volumes"]
    assert (volume["type"], volume["deleteClaim"], volume["kraftMetadata"]) == ("persistent-claim", False, "shared")
    zone, host = spec["template"]["pod"]["topologySpreadConstraints"]
    assert (zone["topologyKey"], zone["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert (host["topologyKey"], host["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    for constraint in (zone, host):
        assert constraint["labelSelector"]["matchLabels"][f"strimzi.io/{role}-role"] == "true"
    assert spec["jvmOptions"]["-Xms"] == spec["jvmOptions"]["-Xmx"]


@pytest.mark.parametrize("stack", STACKS)
def test_s6_topics_are_the_plans_and_two_more_for_each_group(stack: str) -> None:
    found = of_kind(stack, "KafkaTopic", namespace=KAFKA)
    groups = [f"{service}-service-group" for service in ("payment", "wallet", "gateway")]
    assert set(found) == {*TOPICS, *(f"{group}-{role}" for group in groups for role in ("retry", "dead-letter"))}
    for name, (partitions, key) in TOPICS.items():
        assert found[name]["spec"]["partitions"] == partitions
        assert found[name]["metadata"]["annotations"]["payments.dev/message-key"] == key
    for topic in found.values():
        assert topic["spec"]["replicas"] == 3
        assert topic["spec"]["config"]["min.insync.replicas"] == 2
        assert topic["spec"]["config"]["retention.ms"] > 0
        assert "topicName" not in topic["spec"]


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("service", ["payment", "wallet", "gateway"])
def test_users_may_do_their_work_and_nothing_else(stack: str, service: str) -> None:
    topic, group = f"{service}-events", f"{service}-service-group"
    assert allowed(stack, f"{service}-service") == {("topic", topic): ["Describe", "Write"]}
    found = allowed(stack, f"{service}-processors")
    own = {
        ("topic", topic): ["Describe", "Read"],
        ("topic", f"{group}-retry"): ["Describe", "Read", "Write"],
        ("topic", f"{group}-dead-letter"): ["Describe", "Write"],
        ("group", group): ["Read"],
        ("group", f"{group}-retry"): ["Read"],
    }
    consumer = settings_of(stack).services[f"{service}-service"].consumer
    assert consumer is not None
    assert found == own | {("topic", name): ["Describe", "Write"] for name in consumer.produces}


def test_the_scaler_sees_every_topic_and_group_and_reads_none() -> None:
    found = allowed("prod", "keda")
    assert {tuple(operations) for operations in found.values()} == {("Describe",)}
    assert {name for kind, name in found if kind == "topic"} == set(of_kind("prod", "KafkaTopic", namespace=KAFKA))
    assert "keda" not in of_kind("dev", "KafkaUser", namespace=KAFKA)


@pytest.mark.parametrize("stack", STACKS)
def test_passwords_are_references_to_secrets(stack: str) -> None:
    for name, user in of_kind(stack, "KafkaUser", namespace=KAFKA).items():
        authentication = user["spec"]["authentication"]
        assert authentication["type"] == "scram-sha-512"
        reference = authentication["password"]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "keda-kafka" if name == "keda" else f"kafka-{name}", "key": "password"}


def test_in_prod_what_holds_messages_is_protected_and_retained_and_the_rest_is_not() -> None:
    lasting = {"Kafka", "KafkaNodePool", "KafkaTopic"}
    for stack in STACKS:
        found = [r for r in recording_of(stack).resources if r.type.startswith("kubernetes:kafka.strimzi.io/")]
        assert lasting < {r.type.rpartition(":")[2] for r in found}
        for resource in found:
            wanted = stack == "prod" and resource.type.rpartition(":")[2] in lasting
            assert (resource.protect, resource.retain_on_delete) == (wanted, wanted), resource.urn
    [namespace] = [
        r
        for r in recording_of("prod").resources
        if r.type == "kubernetes:core/v1:Namespace" and r.inputs["metadata"]["name"] == KAFKA
    ]
    assert namespace.protect


def test_quotas_are_the_settings_numbers_and_absent_without_them() -> None:
    rates = {"producerByteRate": 20971520, "consumerByteRate": 41943040, "requestPercentage": 200}
    assert of_kafka("prod", "Kafka", "kafka-cluster")["spec"]["kafka"]["quotas"] == {"type": "kafka", **rates}
    assert "quotas" not in planned({"kafka/default_quota": REMOVED})["cluster"]["spec"]["kafka"]
    own = {"produced_bytes_per_second": 1024, "consumed_bytes_per_second": 2048, "request_percent": 50}
    user = planned({"kafka/users/payment-service": {"quota": own}})["payment-service"]
    assert user["spec"]["quotas"] == {"producerByteRate": 1024, "consumerByteRate": 2048, "requestPercentage": 50}
    assert "quotas" not in of_kafka("prod", "KafkaUser", "payment-service")["spec"]


def test_without_cruise_control_nothing_of_it_is_left() -> None:
    before, after = planned({}), planned({"kafka/cruise_control": None})
    gone = {"rebalance-add-brokers", "rebalance-remove-brokers", "cruise-control-flows"}
    assert before.keys() - after.keys() == gone
    assert "cruiseControl" in before["cluster"]["spec"]
    assert "cruiseControl" not in after["cluster"]["spec"]


@pytest.mark.parametrize("stack", STACKS)
def test_the_namespaces_quota_holds_every_pod_at_its_peak(stack: str) -> None:
    kafka = settings_of(stack).kafka
    assert kafka is not None
    hard = of_kafka(stack, "ResourceQuota", "quota")["spec"]["hard"]
    assert int(hard["pods"]) >= peak_amounts(kafka)["pods"] == 12


def test_the_brokers_are_reached_by_named_pods_only() -> None:
    spec = of_kafka("prod", "NetworkPolicy", "kafka-cluster-kafka-flows")["spec"]
    assert sorted(spec["policyTypes"]) == ["Egress", "Ingress"]
    for rule in [*spec["ingress"], *spec["egress"]]:
        assert rule["ports"]
        for peer in rule.get("from", rule.get("to")):
            assert peer != {}, "an empty peer is everybody"
    [clients] = [rule for rule in spec["ingress"] if {"port": 9093, "protocol": "TCP"} in rule["ports"]]
    named = {peer["podSelector"]["matchLabels"].get("app") for peer in clients["from"]}
    workloads = {f"{s}-{kind}" for s in ("payment", "wallet", "gateway") for kind in ("service", "processors")}
    assert named == workloads | {"keda-operator"}


def test_an_operator_of_ours_is_a_release_in_a_closed_namespace_and_waits_for_nothing_else() -> None:
    found = recording_of("prod", OPERATOR).resources
    [release] = [r for r in found if r.type == "kubernetes:helm.sh/v3:Release"]
    inputs = release.inputs
    assert (inputs["chart"], inputs["version"]) == (OPERATOR["kafka/operator"]["chart"], "1.2.0")  # type: ignore[index]
    assert (inputs["namespace"], inputs["name"]) == ("strimzi", "strimzi")
    assert not inputs.get("skipCrds"), "the chart brings the CRDs, which Helm never deletes"
    values = inputs["values"]
    assert (values["watchNamespaces"], values["watchAnyNamespace"]) == ([KAFKA], False)
    assert release.retain_on_delete
    pools = [r for r in found if r.type.endswith(":KafkaNodePool")]
    assert len(pools) == 2
    assert all(release.urn in pool.dependencies for pool in pools)
    [flows] = [
        m for m in manifests_of("prod", OPERATOR).values() if m["metadata"]["name"] == "strimzi-cluster-operator-flows"
    ]
    assert flows["spec"]["ingress"] == []
    assert not [r for r in recording_of("prod").resources if ":helm." in r.type]
    assert find_violations(found, "prod") == []
