"""Topics, users and what a client's pod gets: each may do exactly what its service states."""

from itertools import chain
from typing import Any

import pytest

from components.kafka.client_plan import client_credentials
from components.kafka.model import KafkaContext
from components.kafka.topics_plan import topic_config
from components.kafka.users_plan import plan_password_secrets, plan_users
from tests.unit.stacks import STACKS, Changes, manifest, of_kind, settings_of

KAFKA = "kafka"
HOUR_MILLISECONDS = 3_600_000
SECTORS = {"payment": ("user_id", 24), "wallet": ("wallet_id", 16), "gateway": ("payment_id", 12)}
"""Domain → key and partitions of its topic."""
Rights = dict[tuple[str, str], list[str]]
"""Type and name of a resource → operations."""


def main_topic(name: str) -> str:
    return f"{name}-events"


def group(name: str) -> str:
    return f"{name}-service-group"


ALL_TOPICS = sorted(
    chain.from_iterable((main_topic(n), f"{group(n)}-retry", f"{group(n)}-dead-letter") for n in SECTORS)
)
ALL_GROUPS = sorted(chain.from_iterable((group(n), f"{group(n)}-retry") for n in SECTORS))


def users(stack: str) -> dict[str, dict[str, Any]]:
    return of_kind(stack, "KafkaUser", namespace=KAFKA)


def rights(user: dict[str, Any]) -> Rights:
    """What a KafkaUser may do; fails where one resource has two rules."""
    found: Rights = {}
    for rule in user["spec"]["authorization"]["acls"]:
        key = (rule["resource"]["type"], rule["resource"]["name"])
        assert key not in found
        found[key] = rule["operations"]
    return found


def producer_rights(name: str) -> Rights:
    return {("topic", main_topic(name)): ["Describe", "Write"]}


def consumer_rights(name: str) -> Rights:
    return {
        ("topic", main_topic(name)): ["Describe", "Read"],
        ("topic", f"{group(name)}-retry"): ["Describe", "Read", "Write"],
        ("topic", f"{group(name)}-dead-letter"): ["Describe", "Write"],
        ("group", group(name)): ["Read"],
        ("group", f"{group(name)}-retry"): ["Read"],
    }


def scaler_rights() -> Rights:
    topics: Rights = {("topic", name): ["Describe"] for name in ALL_TOPICS}
    return topics | {("group", name): ["Describe"] for name in ALL_GROUPS}


def expected_rights(stack: str) -> dict[str, Rights]:
    found = {f"{name}-service": producer_rights(name) for name in SECTORS}
    found |= {f"{name}-processors": consumer_rights(name) for name in SECTORS}
    return found if stack == "dev" else {**found, "keda": scaler_rights()}


@pytest.mark.parametrize("stack", STACKS)
def test_each_user_may_do_exactly_what_its_service_states(stack: str) -> None:
    assert {name: rights(user) for name, user in users(stack).items()} == expected_rights(stack)


@pytest.mark.parametrize("stack", STACKS)
def test_no_rule_names_more_than_one_thing_or_denies_or_rules_the_cluster(stack: str) -> None:
    rules = [rule for user in users(stack).values() for rule in user["spec"]["authorization"]["acls"]]
    assert rules
    assert {rule["resource"]["patternType"] for rule in rules} == {"literal"}
    assert {rule["resource"]["type"] for rule in rules} == {"topic", "group"}
    assert [rule for rule in rules if "*" in rule["resource"]["name"]] == []
    assert {rule["type"] for rule in rules} == {"allow"}
    assert set(chain.from_iterable(rule["operations"] for rule in rules)) == {"Describe", "Read", "Write"}


def test_the_autoscaler_reads_no_message() -> None:
    assert set(chain.from_iterable(rights(users("prod")["keda"]).values())) == {"Describe"}


def test_a_service_that_reads_and_writes_one_topic_has_one_rule_for_it() -> None:
    changes = {"services/wallet-service/consumer/produces": ["wallet-events", "gateway-events"]}
    found = rights(plan_users(KafkaContext.of(settings_of("dev", changes)))["wallet-processors"])
    assert found == {
        **consumer_rights("wallet"),
        ("topic", "wallet-events"): ["Describe", "Read", "Write"],
        ("topic", "gateway-events"): ["Describe", "Write"],
    }


@pytest.mark.parametrize("stack", STACKS)
def test_passwords_come_from_secrets_by_name(stack: str) -> None:
    for name, user in users(stack).items():
        secret = "keda-kafka" if name == "keda" else f"kafka-{name}"  # a Secret's name
        assert user["spec"]["authentication"] == {
            "type": "scram-sha-512",
            "password": {"valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}},
        }
    assert of_kind(stack, "Secret", namespace=KAFKA) == {}


def test_a_password_of_the_stack_becomes_the_same_secret_in_both_namespaces() -> None:
    changes = {"kafka/users": {"wallet-service": {"password": {"config_key": "walletKafka"}}}}
    context = KafkaContext.of(settings_of("dev", changes))
    found = plan_password_secrets(context, {"walletKafka": "bm90LWEtc2VjcmV0"})
    assert sorted(found) == ["password-wallet-service-kafka", "password-wallet-service-services"]
    assert {secret["metadata"]["namespace"] for secret in found.values()} == {"kafka", "payments"}
    for secret in found.values():
        assert secret["metadata"]["name"] == "kafka-wallet-service"
        assert secret["data"] == {"password": "bm90LWEtc2VjcmV0"}
    reference = plan_users(context)["wallet-service"]["spec"]["authentication"]["password"]["valueFrom"]
    assert reference == {"secretKeyRef": {"name": "kafka-wallet-service", "key": "password"}}


def test_a_users_own_quota_stands_on_the_user() -> None:
    quota = {"produced_bytes_per_second": 2048, "consumed_bytes_per_second": 4096, "request_percent": 50}
    found = plan_users(KafkaContext.of(settings_of("dev", {"kafka/users": {"wallet-service": {"quota": quota}}})))
    assert found["wallet-service"]["spec"]["quotas"] == {
        "producerByteRate": 2048, "consumerByteRate": 4096, "requestPercentage": 50,
    }  # fmt: skip
    assert "quotas" not in found["payment-service"]["spec"]


@pytest.mark.parametrize("stack", STACKS)
def test_the_topics_are_the_plans_and_two_for_each_group(stack: str) -> None:
    topics = of_kind(stack, "KafkaTopic", namespace=KAFKA)
    shape = {
        name: (
            topic["metadata"]["labels"]["payments.dev/topic-role"],
            topic["metadata"]["annotations"]["payments.dev/message-key"],
            topic["spec"]["partitions"],
            topic["spec"]["config"]["retention.ms"] // HOUR_MILLISECONDS,
        )
        for name, topic in topics.items()
    }
    expected = {}
    for name, (key, partitions) in SECTORS.items():
        expected[main_topic(name)] = ("main", key, partitions, 168)
        expected[f"{group(name)}-retry"] = ("retry", key, 12, 168)
        expected[f"{group(name)}-dead-letter"] = ("dead-letter", key, 3, 336)
    assert shape == expected
    for name, topic in topics.items():
        config = topic["spec"]["config"]
        assert topic["spec"]["replicas"] == 3
        assert config.pop("retention.ms") > 0
        room = 0 if name.endswith("-events") else 16 * 1024
        assert config == {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "max.message.bytes": 2**20 + room,
            "min.insync.replicas": 2,
        }


def test_a_compacted_topic_is_not_deleted_by_age_and_its_groups_topics_are() -> None:
    context = KafkaContext.of(settings_of("dev", {"topics/wallet-events/cleanup": "compact"}))
    own, retry = (topic_config(context.topics[name]) for name in ("wallet-events", "wallet-service-group-retry"))
    assert own["cleanup.policy"] == "compact"
    assert "retention.ms" not in own
    assert (retry["cleanup.policy"], retry["retention.ms"]) == ("delete", 168 * HOUR_MILLISECONDS)


def test_a_groups_topics_follow_the_topic_that_it_reads() -> None:
    changes = {
        "topics/wallet-events/min_in_sync_replicas": 1,
        "topics/wallet-events/compression": "zstd",
        "topics/wallet-events/max_message_bytes": 4096,
    }
    config = topic_config(KafkaContext.of(settings_of("dev", changes)).topics["wallet-service-group-dead-letter"])
    assert (config["min.insync.replicas"], config["compression.type"]) == (1, "zstd")
    assert config["max.message.bytes"] == 4096 + 16 * 1024


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("workload", [f"{name}-{part}" for name in SECTORS for part in ("service", "processors")])
def test_each_client_gets_the_address_its_name_its_own_password_and_who_signs(stack: str, workload: str) -> None:
    pod = manifest(stack, "Deployment", workload)["spec"]["template"]["spec"]
    container = next(one for one in pod["containers"] if one["name"] == workload)
    plain = {one["name"]: one.get("value") for one in container["env"] if one["name"].startswith("KAFKA_")}
    folder = "/var/run/secrets/payments"
    assert {key: plain[key] for key in ("KAFKA_USERNAME", "KAFKA_PASSWORD_FILE", "KAFKA_CA_FILE")} == {
        "KAFKA_USERNAME": workload,
        "KAFKA_PASSWORD_FILE": f"{folder}/KAFKA_PASSWORD",
        "KAFKA_CA_FILE": f"{folder}/KAFKA_CA",
    }
    assert broker_address(stack, container, workload) == "kafka-cluster-kafka-bootstrap.kafka.svc:9093"
    sources = next(volume for volume in pod["volumes"] if volume["name"] == "secrets")["projected"]["sources"]
    assert {"secret": {"name": "kafka-ca", "items": [{"key": "ca.crt", "path": "KAFKA_CA"}]}} in sources
    of_users = [source["secret"] for source in sources if source["secret"]["name"].startswith("kafka-")]
    assert [secret["name"] for secret in of_users] == [f"kafka-{workload}", "kafka-ca"]


def broker_address(stack: str, container: dict[str, Any], workload: str) -> str:
    """``KAFKA_BROKERS`` as the container sees it: its own variables win over the ConfigMaps that it takes whole."""
    found: str | None = None
    for source in container.get("envFrom", []):
        data = manifest(stack, "ConfigMap", source["configMapRef"]["name"])["data"]
        found = data.get("KAFKA_BROKERS", found)
    own: dict[str, str | None] = {one["name"]: one.get("value") for one in container["env"]}
    found = own.get("KAFKA_BROKERS", found)
    assert found is not None, f"{workload} has no KAFKA_BROKERS"
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"services/wallet-service/api/produces": []}, False),
    ],
)
def test_a_deployment_that_uses_no_topic_is_no_user_and_gets_nothing(changes: Changes, expected: bool) -> None:  # noqa: FBT001 # a parameter of the table
    settings = settings_of("dev", changes)
    assert ("wallet-service" in client_credentials(settings.kafka, settings.services, KAFKA)) is expected
    assert ("wallet-service" in plan_users(KafkaContext.of(settings))) is expected


def test_without_kafka_nobody_gets_credentials() -> None:
    assert client_credentials(None, settings_of("dev").services, KAFKA) == {}


def test_whoever_only_watches_the_lag_is_no_deployment_of_ours() -> None:
    settings = settings_of("prod")
    assert "keda" not in client_credentials(settings.kafka, settings.services, KAFKA)
