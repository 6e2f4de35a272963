"""From the outbox to Kafka: what ``Outbox`` sends with."""

import json
from collections.abc import Callable, Sequence
from typing import Protocol

from payments_client.eventstore.model import Message


class Producer(Protocol):
    """What is used of ``payments_client.kafka.producer.EventProducer``."""

    def send(self, topic: str, *, key: str, value: bytes) -> None:
        """Queue one message."""

    def flush(self) -> None:
        """Wait for every answer; raises for what was not acknowledged."""


def to_kafka(producer: Producer) -> Callable[[Sequence[Message]], None]:
    """A ``send`` for ``Outbox``: returns when all replicas in sync have every message of the batch.

    Messages of a key stay in order: one batch is acknowledged before the next is read. When it raises, the batch is
    sent again, and readers see some of it twice. The producer is the relay's own: a flush waits for all its messages.
    """

    def send(messages: Sequence[Message]) -> None:
        for message in messages:
            body = json.dumps(message.payload, ensure_ascii=False, separators=(",", ":"))
            producer.send(message.topic, key=message.key, value=body.encode())
        producer.flush()

    return send
