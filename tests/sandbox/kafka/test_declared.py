"""What the prod stack declares is what three real brokers then have, and who may do what."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # not in its stubs
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from components.kafka.broker_config import broker_config
from payments_client.kafka.errors import AccessError, DeliveryError
from payments_client.kafka.loop import LoopOptions
from payments_client.kafka.metrics import Count
from payments_client.kafka.properties import group_properties
from payments_client.kafka.runner import Runner
from sandbox.certificates import self_signed
from sandbox.kafka_secure import admin_properties
from tests.sandbox.kafka.stage import WAIT_SECONDS, Counts, Stage, wait_for

PLAN = {"payment-events": 24, "wallet-events": 16, "gateway-events": 12}
GROUPS = ("payment-service-group", "wallet-service-group", "gateway-service-group")


def test_rendered_topics_have_their_partitions_replicas_and_configuration(stage: Stage) -> None:
    found = stage.admin.list_topics(timeout=WAIT_SECONDS).topics
    assert {name: len(found[name].partitions) for name in PLAN} == PLAN
    for name, manifest in stage.topics.items():
        spec = manifest["spec"]
        assert len(found[name].partitions) == spec["partitions"]
        assert {len(partition.replicas) for partition in found[name].partitions.values()} == {spec["replicas"]}
        resource = ConfigResource("topic", name)
        described = stage.admin.describe_configs([resource])[resource].result(timeout=WAIT_SECONDS)
        assert spec["config"]
        for key, value in spec["config"].items():
            assert described[key].value == str(value), (name, key)


def test_brokers_run_with_the_rendered_configuration(stage: Stage) -> None:
    resource = ConfigResource("broker", "1")
    described = stage.admin.describe_configs([resource])[resource].result(timeout=WAIT_SECONDS)
    for key, value in broker_config(stage.settings).items():
        rendered = str(value).lower() if isinstance(value, bool) else str(value)
        assert described[key].value == rendered, key


def test_a_producer_writes_its_own_topic_and_no_other(stage: Stage) -> None:
    with stage.producer("payment-service") as producer:
        producer.send_and_wait("payment-events", key="authorised", value=b"{}")
        for topic in ("wallet-events", "payment-service-group-dead-letter", "__consumer_offsets"):
            with pytest.raises(DeliveryError, match="TOPIC_AUTHORIZATION_FAILED"):
                producer.send_and_wait(topic, key="refused", value=b"{}")


def test_a_consumer_reads_its_own_topic_in_its_own_group_and_no_other(stage: Stage) -> None:
    group = stage.group("payment-processors")
    own = group_properties(group, stage.contract, stage.access("payment-processors"))
    assert _first_error(own, group.topic) is None
    assert _first_error(own, "wallet-events") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    foreign = {**own, "group.id": "wallet-service-group"}
    assert _first_error(foreign, group.topic) == KafkaError.GROUP_AUTHORIZATION_FAILED
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        _write_as(stage, "payment-processors", "payment-events")


def test_the_scaler_sees_lag_and_reads_nothing(stage: Stage) -> None:
    admin = AdminClient(stage.connection("keda"))
    assert set(PLAN) <= set(admin.list_topics(timeout=WAIT_SECONDS).topics)
    for group in GROUPS:
        assert admin.describe_consumer_groups([group])[group].result(timeout=WAIT_SECONDS).group_id == group
    reading = {**stage.connection("keda"), "group.id": GROUPS[0], "auto.offset.reset": "earliest"}
    assert _first_error(reading, "payment-events") in {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }


def test_no_user_makes_or_changes_topics(stage: Stage) -> None:
    for user in stage.users:
        admin = AdminClient(stage.connection(user))
        with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
            admin.create_topics([NewTopic("own", 1, 3)])["own"].result(timeout=WAIT_SECONDS)
        with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
            admin.delete_topics(["payment-events"])["payment-events"].result(timeout=WAIT_SECONDS)


def test_a_topic_that_nobody_declared_does_not_appear_by_being_used(stage: Stage) -> None:
    said: list[KafkaError | None] = []
    producer = Producer({**admin_properties(stage.cluster), "message.timeout.ms": 5000})
    producer.produce("misspelt-events", b"{}", on_delivery=lambda error, _: said.append(error))
    assert producer.flush(WAIT_SECONDS) == 0
    assert said[0] is not None
    assert "misspelt-events" not in stage.admin.list_topics(timeout=WAIT_SECONDS).topics


def test_a_wrong_password_ends_a_runner_with_a_clear_error(stage: Stage) -> None:
    access = stage.access("payment-processors", password="not the one")
    options = LoopOptions(refused_seconds=1)
    runner = Runner("payment-service-group", lambda _: None, stage.contract, access, options=options)
    with pytest.raises(AccessError, match=r"brokers refuse this user") as told:
        runner.run()
    assert "not the one" not in str(told.value)


def test_a_group_without_access_ends_a_runner_with_a_clear_error(stage: Stage) -> None:
    changes, options = {"id": "wallet-service-group"}, LoopOptions(refused_seconds=1)
    runner = stage.runner("payment-processors", lambda _: None, group_changes=changes, options=options)
    with pytest.raises(AccessError, match="GROUP_AUTHORIZATION_FAILED"):
        runner.run()


def test_access_that_is_taken_from_an_idle_topic_ends_its_runner_with_a_clear_error(stage: Stage) -> None:
    """Also when it is soon given back: librdkafka tells of a refused fetch once, a second one would go unnoticed."""
    user, group, counts = "gateway-processors", stage.group("gateway-processors"), Counts()
    handled: list[Any] = []
    reads = AclBindingFilter(
        ResourceType.TOPIC, group.topic, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    runner = stage.runner(user, handled.append, options=LoopOptions(refused_seconds=15), metrics=counts)
    with ThreadPoolExecutor(1) as others:
        ended = others.submit(runner.run)
        try:
            # Not asked of the coordinator: an admin client that has described a group waits in vain for its answer, and
            # aborts the process in the end, once that broker has been killed (librdkafka 2.x; a later test kills some).
            wait_for(lambda: counts.seen[Count.ASSIGNED], "it is a member and has partitions")
            (taken,) = stage.admin.delete_acls([reads])[reads].result(timeout=WAIT_SECONDS)
            try:
                wait_for(lambda: counts.seen[Count.REFUSED], "the refusal is heard and counted")
            finally:
                stage.admin.create_acls([taken])[taken].result(timeout=WAIT_SECONDS)
            with stage.producer("gateway-service") as producer:
                producer.send_and_wait(group.topic, key="after", value=b"{}")
            wait_for(lambda: handled, "the topic is read again")
            with pytest.raises(AccessError, match=f"refuse this user: {group.topic}: .*TOPIC_AUTHORIZATION_FAILED"):
                ended.result(timeout=WAIT_SECONDS)
        finally:
            runner.stop()
    assert stage.committed(group, user)[handled[0].partition()] > handled[0].offset(), "it leaves in order"


@pytest.mark.parametrize("changes", [{"security.protocol": "PLAINTEXT"}, {"security.protocol": "SSL"}])
def test_nobody_enters_without_a_name(stage: Stage, changes: dict[str, str]) -> None:
    properties = {**stage.connection("payment-service"), **changes}
    for key in ("sasl.mechanisms", "sasl.username", "sasl.password"):
        properties.pop(key)
    with pytest.raises(KafkaException):
        AdminClient(properties).list_topics(timeout=5)


def test_a_client_does_not_talk_to_brokers_of_another_authority(stage: Stage) -> None:
    stranger = stage.cluster.folder / "stranger.crt"
    stranger.write_text(self_signed("broker").certificate, encoding="utf-8")
    with pytest.raises(KafkaException):
        AdminClient({**stage.connection("payment-service"), "ssl.ca.location": str(stranger)}).list_topics(timeout=5)


def _first_error(properties: dict[str, object], topic: str) -> int | None:
    """Code of the first error that reading a topic meets; ``None`` when a message comes."""
    consumer = Consumer(dict(properties))
    consumer.subscribe([topic])
    try:
        message = consumer.poll(WAIT_SECONDS)
        assert message is not None, "neither a message nor an error"
        error = message.error()
        return None if error is None else error.code()
    finally:
        consumer.close()


def _write_as(stage: Stage, user: str, topic: str) -> None:
    said: list[KafkaError | None] = []
    producer = Producer(stage.connection(user))
    producer.produce(topic, b"{}", on_delivery=lambda error, _: said.append(error))
    producer.flush(WAIT_SECONDS)
    if said and said[0] is not None:
        raise KafkaException(said[0])
