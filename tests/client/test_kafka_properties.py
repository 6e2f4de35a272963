"""The plan's consumer groups in librdkafka's names, the producer's promises, and who a service is."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from pydantic import ValidationError

from payments_client.contract import PlatformContract
from payments_client.kafka.access import Access
from payments_client.kafka.contract import KafkaContract, KafkaGroup, KafkaTopic
from payments_client.kafka.errors import AccessError, FatalError, GiveUpError
from payments_client.kafka.properties import group_properties, producer_properties, retry_properties
from payments_client.kafka.runner import Runner
from tests.client.kafka_world import CONTRACT, GROUP, FakeConsumer, FakeTopics, message

PASSWORD = "canary-7f3a"


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(username="payment-processors", password=PASSWORD, authority_file=tmp_path / "ca.crt")


def test_the_plans_group_t30_is_cooperative_with_its_own_numbers(access: Access) -> None:
    found = group_properties(GROUP, CONTRACT, access)
    wanted: dict[str, Any] = {
        "group.id": "payments",
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 30_000,
        "heartbeat.interval.ms": 10_000,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }
    assert found | wanted == found
    assert GROUP.max_poll_records == 500
    assert "client.rack" not in found
    assert group_properties(GROUP, CONTRACT, access, rack="zone-a")["client.rack"] == "zone-a"


def test_the_member_that_reads_retries_differs_by_its_group_alone(access: Access) -> None:
    found = group_properties(GROUP, CONTRACT, access)
    assert retry_properties(found, GROUP) == {**found, "group.id": GROUP.retry_topic}


def test_a_producer_is_idempotent_fully_acknowledged_and_hashes_as_java_does(access: Access) -> None:
    found = producer_properties(CONTRACT, access, client_id="payment-service")
    wanted: dict[str, Any] = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"}
    assert found | wanted == found
    assert found["queue.buffering.max.kbytes"] * 1024 < 2**28, "unsent messages must fit a pod's memory"


def test_batches_fit_the_smallest_topic_that_the_producer_writes() -> None:
    small = KafkaTopic(name="small", partitions=1, max_message_bytes=64 * 1024)
    large = KafkaTopic(name="large", partitions=1, max_message_bytes=4 * 2**20)
    contract = KafkaContract(
        bootstrap_servers="b:1", security_protocol="PLAINTEXT", topics=(small, large, *CONTRACT.topics), groups=()
    )

    def sizes(*topics: str) -> tuple[int, int]:
        found = producer_properties(contract, client_id="x", topics=topics)
        Producer(found)  # librdkafka accepts them
        return found["batch.size"], found["message.max.bytes"]

    headers = 16 * 1024
    assert sizes() == (64 * 1024 - 512, 4 * 2**20 + headers)
    assert sizes("small") == (64 * 1024 - 512, 64 * 1024 + headers)
    assert sizes("large") == (1_000_000, 4 * 2**20 + headers)
    with pytest.raises(KeyError, match="no topic 'other'"):
        sizes("other")


@pytest.mark.parametrize("changes", [{}, {"max_partition_fetch_bytes": 1024, "fetch_max_bytes": 200_000_000}])
def test_librdkafka_accepts_every_property_and_fetches_the_largest_message(changes: dict[str, int]) -> None:
    contract = CONTRACT.model_copy(update={"security_protocol": "PLAINTEXT"})
    group = GROUP.model_copy(update=changes)
    found = group_properties(group, contract, rack="zone-a")
    assert found["max.partition.fetch.bytes"] >= contract.topic(group.topic).max_message_bytes
    Consumer(found).close()
    Producer(producer_properties(contract, client_id="x"))
    with pytest.raises(KafkaException, match="No such configuration property"):
        Consumer({**found, "max.poll.messages": 500})  # a property that it does not know would be refused


def test_no_text_of_an_access_shows_its_password(access: Access) -> None:
    assert PASSWORD not in repr(access)
    assert PASSWORD not in str(access)
    with pytest.raises(AccessError) as told:
        group_properties(GROUP, CONTRACT)
    assert "Access.from_environment" in str(told.value)


def test_access_is_read_from_what_the_platform_mounts(tmp_path: Path) -> None:
    (tmp_path / "KAFKA_PASSWORD").write_text(PASSWORD + "\n", encoding="utf-8")
    (tmp_path / "KAFKA_CA").write_text("certificate", encoding="utf-8")
    environment = {
        "KAFKA_USERNAME": "payment-service",
        "KAFKA_PASSWORD_FILE": str(tmp_path / "KAFKA_PASSWORD"),
        "KAFKA_CA_FILE": str(tmp_path / "KAFKA_CA"),
    }
    found = Access.from_environment(environment)
    assert (found.username, found.password) == ("payment-service", PASSWORD)
    with pytest.raises(AccessError, match="KAFKA_USERNAME, KAFKA_CA_FILE"):
        Access.from_environment({"KAFKA_PASSWORD_FILE": environment["KAFKA_PASSWORD_FILE"]})
    with pytest.raises(AccessError, match="no such file: /nowhere"):
        Access.from_environment(environment | {"KAFKA_CA_FILE": "/nowhere"})


def _group(**changes: Any) -> KafkaGroup:
    return KafkaGroup.model_validate({**GROUP.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heartbeat_interval_seconds": 11}, "more than a third"),
        ({"session_timeout_seconds": 300}, "librdkafka refuses it"),
        ({"dead_letter_topic": "events"}, "must be three topics"),
        ({"assignment": "sticky"}, "cooperative-sticky"),
        ({"offset_reset": "none"}, "earliest"),
    ],
)
def test_a_group_that_would_lose_its_members_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _group(**changes)


def test_a_contract_names_each_topic_group_and_application_once_and_only_what_is_there() -> None:
    def with_groups(*groups: KafkaGroup) -> KafkaContract:
        return KafkaContract(bootstrap_servers="b:1", topics=CONTRACT.topics, groups=groups)

    with pytest.raises(ValidationError, match="application payment-processors stands twice"):
        with_groups(GROUP, _group(id="second"))
    with pytest.raises(ValidationError, match="topics that are not there: missing"):
        with_groups(_group(topic="missing"))
    with pytest.raises(KeyError, match="no group 'other'"):
        CONTRACT.group("other")
    with pytest.raises(KeyError, match="no topic 'other'"):
        CONTRACT.topic("other")


def test_the_contract_survives_its_way_through_the_config_map() -> None:
    published = PlatformContract(schema_version=1, kafka=CONTRACT)
    assert PlatformContract.parse(published.to_json()) == published


def test_the_pods_zone_is_taken_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = CONTRACT.model_copy(update={"security_protocol": "PLAINTEXT"})

    def zone(**given: Any) -> object:
        runner = Runner(GROUP.id, lambda _: None, plain, parking=FakeTopics(), **given)
        return [loop._properties.get("client.rack") for loop in runner._loops]

    monkeypatch.delenv("KAFKA_RACK", raising=False)
    assert zone() == [None, None]
    monkeypatch.setenv("KAFKA_RACK", "zone-a")
    assert zone() == ["zone-a", "zone-a"]
    assert zone(rack="zone-b") == ["zone-b", "zone-b"]


def test_a_runner_whose_producer_is_beyond_repair_ends_with_its_error() -> None:
    plain = CONTRACT.model_copy(update={"security_protocol": "PLAINTEXT"})
    made: list[FakeConsumer] = []

    def consumer(properties: dict[str, Any]) -> FakeConsumer:
        made.append(FakeConsumer(properties))
        if properties["group.id"] == GROUP.id:
            made[-1].assign(0)
            made[-1].waiting.append(message(0))
        return made[-1]

    def handle(_: Any) -> None:
        raise GiveUpError

    parking = FakeTopics()
    parking.broken = True
    with pytest.raises(FatalError, match="payments-dead-letter"):
        Runner(GROUP.id, handle, plain, parking=parking, consumer=consumer).run()
    assert [one.closed for one in made] == [True, True], "both topics' members have left"
    assert all(one.commits == [] for one in made)
