"""Brokers are killed while a service writes: nothing that was acknowledged is lost, and nobody is told otherwise."""

import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest

from payments_client.kafka.errors import DeliveryError
from payments_client.kafka.producer import EventProducer
from sandbox import daemons, kafka, tools
from sandbox.kafka import Cluster
from tests.sandbox.kafka.stage import WAIT_SECONDS, Stage, event, numbers_by_key, wait_for

TOPIC = "gateway-events"
# Production waits two minutes for an acknowledgement; nothing here depends on how long.
_SHORTER = {"delivery.timeout.ms": 8000, "request.timeout.ms": 3000, "socket.timeout.ms": 5000}


class Writer:
    """Writes one event after the other, of many keys, until told to stop; knows which were acknowledged."""

    def __init__(self, producer: EventProducer, run: str) -> None:
        self._producer, self._run = producer, run
        self.acknowledged: list[tuple[str, int]] = []
        self.refused: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._producer.flush()

    def _write(self) -> None:
        number = 0
        while not self._stopping.wait(0.002):
            key = f"{self._run}-{number % 60}"
            self._producer.send(TOPIC, key=key, value=event(key, number), on_delivery=self._answer(key, number))
            number += 1

    def _answer(self, key: str, number: int) -> Any:
        def answered(error: Any, _: Any) -> None:
            if error is None:
                self.acknowledged.append((key, number))
            else:
                self.refused.append(error.name())

        return answered

    def wait_for_more(self, number: int, what: str) -> None:
        """Return when so many more have been acknowledged."""
        wanted = len(self.acknowledged) + number
        wait_for(lambda: len(self.acknowledged) >= wanted, what)


@pytest.fixture
def cluster(stage: Stage) -> Iterator[Cluster]:
    yield stage.cluster
    kafka.start(stage.cluster, tools.progress())
    _wait_until_in_sync(stage)


def test_one_broker_killed_loses_nothing_and_writing_goes_on(stage: Stage, cluster: Cluster) -> None:
    with Writer(stage.producer("gateway-service"), "one") as writer:
        writer.wait_for_more(200, "writes before the loss")
        _kill(cluster, 2)
        writer.wait_for_more(500, "writes after the loss of one broker")
        kafka.start(cluster, tools.progress())
        writer.wait_for_more(200, "writes after its return")
    assert writer.refused == []
    _assert_each_is_there_once_and_in_order(stage, writer)


def test_two_brokers_killed_stop_writing_with_an_error_and_lose_nothing(stage: Stage, cluster: Cluster) -> None:
    with Writer(stage.producer("gateway-service", _SHORTER), "two") as writer:
        writer.wait_for_more(200, "writes before the losses")
        _kill(cluster, 1)
        _kill(cluster, 3)
        wait_for(lambda: writer.refused, "a write that is refused")
        quiet = stage.producer("gateway-service", _SHORTER)
        with pytest.raises(DeliveryError, match="fewer replicas are in sync than the topic demands"):
            quiet.send_and_wait(TOPIC, key="two", value=event("two", -1))
        kafka.start(cluster, tools.progress())
        writer.wait_for_more(200, "writes after the brokers' return")
    assert set(writer.refused) <= {"_MSG_TIMED_OUT", "NOT_ENOUGH_REPLICAS", "REQUEST_TIMED_OUT"}
    # Some may be there twice: once a message has timed out, librdkafka starts a new sequence and what was in flight is
    # sent again. What a service reads it has to handle idempotently.
    assert set(writer.acknowledged) <= set(_numbers(stage))


def _assert_each_is_there_once_and_in_order(stage: Stage, writer: Writer) -> None:
    found = _numbers(stage)
    assert set(writer.acknowledged) <= set(found)
    assert len(set(found)) == len(found), "an idempotent producer wrote a message twice"
    by_key = numbers_by_key(message for message in stage.read_all(TOPIC) if message.key().startswith(b"one-"))
    assert by_key
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def _numbers(stage: Stage) -> list[tuple[str, int]]:
    by_key = numbers_by_key(m for m in stage.read_all(TOPIC) if m.key().startswith((b"one-", b"two-")))
    return [(key, number) for key, numbers in by_key.items() for number in numbers]


def _kill(cluster: Cluster, node: int) -> None:
    process = daemons.find(f"kafka-{node}", cluster.layout)
    assert process is not None
    process.kill()
    process.wait(WAIT_SECONDS)


def _wait_until_in_sync(stage: Stage) -> None:
    def all_in_sync() -> bool:
        topics = stage.admin.list_topics(timeout=WAIT_SECONDS).topics.values()
        return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())

    wait_for(all_in_sync, "every replica in sync again")
