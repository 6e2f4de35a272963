"""What goes over the wire on three real brokers: batches that fit their topic, reads from the zone, throttled users."""

import json
import random
from collections.abc import Iterator
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # not in its stubs

from components.kafka.broker_config import broker_config
from components.kafka.cluster_plan import plan_cluster
from components.kafka.model import KafkaContext
from components.kafka.users_plan import plan_users
from payments_client.kafka.contract import KafkaTopic
from payments_client.kafka.errors import DeliveryError
from payments_client.kafka.producer import EventProducer
from payments_client.kafka.properties import Properties, group_properties, producer_properties
from sandbox import kafka, kafka_quotas, tools
from sandbox.kafka_secure import admin_properties
from tests.sandbox.kafka.stage import WAIT_SECONDS, Stage, wait_for
from tests.unit.stacks import settings_of

SMALL_BYTES, SMALL = 64 * 1024, "small-batches"
SLOW_WRITER, RATE_BYTES = "gateway-service", 64 * 1024


def test_a_burst_of_small_messages_fits_a_topic_of_64_kib(stage: Stage) -> None:
    """200 messages of 1 KiB, incompressible: one batch of librdkafka's own size would be refused as a whole."""
    topic = KafkaTopic(name=SMALL, partitions=1, max_message_bytes=SMALL_BYTES)
    wanted = NewTopic(SMALL, 1, 3, config={"max.message.bytes": str(SMALL_BYTES)})
    stage.admin.create_topics([wanted])[SMALL].result(timeout=WAIT_SECONDS)
    contract = stage.contract.model_copy(update={"topics": (*stage.contract.topics, topic)})
    ours = {
        **producer_properties(contract, stage.access("payment-service"), client_id="burst", topics=[SMALL]),
        **admin_properties(stage.cluster),
        "linger.ms": 500,  # the whole burst is there before the first batch is made
    }
    _burst(ours)
    assert len(stage.read_all(SMALL)) == 200
    with pytest.raises(DeliveryError, match="MSG_SIZE_TOO_LARGE"):
        _burst({**ours, "batch.size": 1_000_000})


def _burst(properties: Properties) -> None:
    chance = random.Random(7)  # noqa: S311 # no secret
    with EventProducer(properties) as producer:
        for _ in range(200):
            producer.send(SMALL, key=None, value=chance.randbytes(1024))


def test_a_consumer_reads_from_the_replica_in_its_zone(stage: Stage) -> None:
    group, user, beside = stage.group("wallet-processors"), "wallet-processors", 2
    with stage.producer("wallet-service") as producer:
        for number in range(200):
            producer.send(group.topic, key=f"rack-{number}", value=b"{}")
    partitions = stage.admin.list_topics(group.topic, timeout=WAIT_SECONDS).topics[group.topic].partitions
    leaders = {number: partition.leader for number, partition in partitions.items()}
    assert set(leaders.values()) == {1, 2, 3}
    for rack, wanted in ((None, leaders), (kafka.rack(beside), dict.fromkeys(leaders, beside))):
        with Fetching(group_properties(group, stage.contract, stage.access(user), rack=rack), group.topic) as fetching:
            wait_for(lambda: fetching.brokers() == wanted, f"each partition is read from its place with rack {rack}")  # noqa: B023 # called here


class Fetching:
    """A consumer of a whole topic that knows which broker each of its partitions is fetched from."""

    def __init__(self, properties: Properties, topic: str) -> None:
        self._topic, self._found = topic, dict[int, int]()
        self._consumer = Consumer({**properties, "statistics.interval.ms": 200, "stats_cb": self._hear})
        self._consumer.subscribe([topic])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def brokers(self) -> dict[int, int]:
        """Partition → node id, after one poll."""
        self._consumer.consume(100, timeout=0.2)
        return self._found

    def _hear(self, said: str) -> None:
        found = json.loads(said)["topics"].get(self._topic, {}).get("partitions", {})
        self._found = {int(n): p["broker"] for n, p in found.items() if int(n) >= 0 and p["fetch_state"] == "active"}


@pytest.fixture
def slow_writer(stage: Stage) -> Iterator[str]:
    """A user with the quota that its rendered KafkaUser states."""
    quota = {
        "produced_bytes_per_second": RATE_BYTES,
        "consumed_bytes_per_second": 10 * RATE_BYTES,
        "request_percent": 100,
    }
    settings = settings_of("prod", {f"kafka/users/{SLOW_WRITER}": {"quota": quota}})
    rendered = plan_users(KafkaContext.of(settings))[SLOW_WRITER]["spec"]["quotas"]
    kafka_quotas.set_quotas(stage.cluster, SLOW_WRITER, rendered, tools.progress())
    yield SLOW_WRITER
    kafka_quotas.remove_quotas(stage.cluster, SLOW_WRITER, tools.progress())


def test_a_user_above_its_rendered_quota_is_slowed_down_loses_nothing_and_others_are_not(
    stage: Stage, slow_writer: str
) -> None:
    throttled, others = list[float](), list[float]()
    _write_four_megabytes(stage, slow_writer, "gateway-events", throttled)
    assert max(throttled, default=0) > 0.5
    _write_four_megabytes(stage, "wallet-service", "wallet-events", others)
    assert others == []


def _write_four_megabytes(stage: Stage, user: str, topic: str, throttled: list[float]) -> None:
    properties = producer_properties(stage.contract, stage.access(user), client_id=user, topics=[topic])
    producer = Producer({**properties, "throttle_cb": lambda event: throttled.append(event.throttle_time)})
    chance, failed = random.Random(7), list[Any]()  # noqa: S311 # no secret

    def answered(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error)

    for _ in range(128):
        producer.produce(topic, chance.randbytes(32 * 1024), key=chance.randbytes(8), on_delivery=answered)
        producer.poll(0)
    assert producer.flush(WAIT_SECONDS) == 0
    assert failed == []


def test_the_default_quota_of_prod_is_one_that_kafka_takes(stage: Stage) -> None:
    context = KafkaContext.of(stage.settings)
    rendered = plan_cluster(context, broker_config(stage.settings))["cluster"]["spec"]["kafka"]["quotas"]
    kafka_quotas.set_quotas(stage.cluster, None, rendered, tools.progress())
    kafka_quotas.remove_quotas(stage.cluster, None, tools.progress())
