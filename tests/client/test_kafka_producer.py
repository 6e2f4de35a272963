"""A producer that loses nothing silently, on a fake client."""

import logging
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from payments_client.kafka.errors import DeliveryError, FatalError
from payments_client.kafka.metrics import OF_PRODUCERS, PrometheusMetrics
from payments_client.kafka.producer import EventProducer
from tests.client.kafka_world import message

TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


class FakeClient:
    """Answers a message with the next of ``answers``, in ``poll`` and ``flush``."""

    def __init__(self) -> None:
        self.answers: list[KafkaError | None] = []
        self.queued: list[Any] = []
        self.full = 0
        self.broken: Exception | None = None
        self.silent = False

    def produce(self, topic: str, **given: Any) -> None:
        if self.broken is not None:
            raise self.broken
        if self.full:
            self.full -= 1
            raise BufferError
        self.queued.append((topic, given))

    def poll(self, _: float) -> int:
        answered = 0
        while self.queued and not self.silent:
            topic, given = self.queued.pop(0)
            given["on_delivery"](self.answers.pop(0) if self.answers else None, message(0, topic=topic))
            answered += 1
        return answered

    def flush(self, _: float) -> int:
        self.poll(0)
        return len(self.queued)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


def test_flush_tells_of_what_was_not_acknowledged_once(client: FakeClient) -> None:
    producer = EventProducer({}, client=client)
    client.answers = [None, TIMED_OUT, TIMED_OUT]
    for _ in range(3):
        producer.send("events", key="k", value=b"v")
    with pytest.raises(DeliveryError, match=r"2 not acknowledged; first: events: .*fewer replicas are in sync"):
        producer.flush()
    producer.flush()


def test_leaving_the_with_block_flushes(client: FakeClient) -> None:
    client.answers = [TIMED_OUT]
    with pytest.raises(DeliveryError), EventProducer({}, client=client) as producer:
        producer.send("events", key="k", value=b"v")


def test_messages_without_an_answer_are_an_error(client: FakeClient) -> None:
    client.silent = True
    producer = EventProducer({}, client=client)
    producer.send("events", key="k", value=b"v")
    with pytest.raises(DeliveryError, match="1 messages without an answer after 0 s"):
        producer.flush(0.1)
    with pytest.raises(DeliveryError, match="not acknowledged within 0 s"):
        producer.send_and_wait("events", key="k", value=b"v", timeout_seconds=0.1)


def test_a_full_queue_is_waited_for_and_a_broken_client_is_told(client: FakeClient) -> None:
    producer = EventProducer({}, client=client)
    client.full = 3
    producer.send_and_wait("events", key=None, value=b"v")
    client.broken = KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(DeliveryError, match="MSG_SIZE_TOO_LARGE"):
        producer.send("events", key="k", value=b"v")


def test_waiting_for_one_message_raises_its_own_error(client: FakeClient) -> None:
    producer = EventProducer({}, client=client)
    client.answers = [KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    with pytest.raises(DeliveryError, match="TOPIC_AUTHORIZATION_FAILED"):
        producer.send_and_wait("events", key="k", value=b"v")
    producer.flush()


def test_a_caller_with_its_own_callback_hears_of_the_failure_and_flush_does_not(client: FakeClient) -> None:
    producer = EventProducer({}, client=client)
    client.answers, heard = [TIMED_OUT], []
    producer.send("events", key="k", value=b"v", on_delivery=lambda error, _: heard.append(error))
    producer.flush()
    assert heard == [TIMED_OUT]


def test_failures_without_a_flush_are_logged_at_once_and_kept_as_a_number(
    client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    producer = EventProducer({}, client=client)
    client.answers = [TIMED_OUT] * 1000
    with caplog.at_level(logging.ERROR):
        for _ in range(1000):
            producer.send("events", key="k", value=b"v")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "events: " in caplog.text
    assert (producer._failed, type(producer._first_failure)) == (1000, DeliveryError)
    with pytest.raises(DeliveryError, match="1000 not acknowledged; first: events: "):
        producer.flush()
    client.answers = [TIMED_OUT]
    with caplog.at_level(logging.ERROR):
        producer.send("events", key="k", value=b"v")
    assert len(caplog.records) == 2, "the first since the flush"
    with pytest.raises(DeliveryError, match="1 not acknowledged"):
        producer.flush()


DEAD = [
    KafkaError(KafkaError._FATAL),  # what a dead client says of each new message
    KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "fenced", fatal=True),
]


@pytest.mark.parametrize("dead", DEAD, ids=["new message", "first sign"])
def test_a_client_beyond_repair_is_another_error_than_a_message_that_failed(
    client: FakeClient, dead: KafkaError
) -> None:
    producer = EventProducer({}, client=client)
    client.answers = [dead]
    with pytest.raises(FatalError, match="events: "):
        producer.send_and_wait("events", key="k", value=b"v")
    client.answers = [dead]
    producer.send("events", key="k", value=b"v")
    with pytest.raises(FatalError, match="1 not acknowledged"):
        producer.flush()
    client.broken = KafkaException(dead)
    with pytest.raises(FatalError, match="events: "):
        producer.send("events", key="k", value=b"v")


def test_what_is_not_acknowledged_is_counted_whoever_hears_of_it(client: FakeClient) -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    producer = EventProducer({}, metrics=PrometheusMetrics(registry), client=client)

    def counted() -> dict[str, float | None]:
        name = "payments_kafka_events_total"
        return {event: registry.get_sample_value(name, {"event": event, "topic": "events"}) for event in OF_PRODUCERS}

    producer.send_and_wait("events", key="k", value=b"v")
    assert counted() == {"not_acknowledged": 0, "producer_broken": 0}
    client.answers = [TIMED_OUT, TIMED_OUT, DEAD[1]]
    producer.send("events", key="k", value=b"v")
    producer.send("events", key="k", value=b"v", on_delivery=lambda *_: None)
    with pytest.raises(FatalError):
        producer.send_and_wait("events", key="k", value=b"v")
    client.broken = KafkaException(DEAD[0])
    with pytest.raises(FatalError):
        producer.send("events", key="k", value=b"v")
    assert counted() == {"not_acknowledged": 2, "producer_broken": 2}
