"""From the outbox to Kafka: what ``Outbox`` sends with."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from payments_client.eventstore.model import Message

DELIVERY_SECONDS = 30
FLUSH_SECONDS = 40.0
"""A lane is held by a transaction that waits for Kafka, and the server ends one that is idle for 60 s. Then another
relay sends the batch, while what was queued here might still arrive: an older version after a newer one. So every
message has its answer, and the flush its end, before that."""


def relay_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A producer's properties for a relay: what is not acknowledged in time has failed and is not tried again here."""
    return {**properties, "delivery.timeout.ms": DELIVERY_SECONDS * 1000}


class Producer(Protocol):
    """What is used of ``payments_client.kafka.producer.EventProducer``."""

    def send(self, topic: str, *, key: str, value: bytes) -> None:
        """Queue one message."""

    def flush(self, timeout_seconds: float) -> None:
        """Wait for every answer; raises for what was not acknowledged."""


def to_kafka(producer: Producer) -> Callable[[Sequence[Message]], None]:
    """A ``send`` for ``Outbox``: returns when all replicas in sync have every message of the batch.

    Messages of a key stay in order: one batch is acknowledged before the next is read. When it raises, the batch is
    sent again, and readers see some of it twice. The producer is the relay's own, with ``relay_properties``: a flush
    waits for all its messages.
    """

    def send(messages: Sequence[Message]) -> None:
        for message in messages:
            body = json.dumps(message.payload, ensure_ascii=False, separators=(",", ":"))
            producer.send(message.topic, key=message.key, value=body.encode())
        producer.flush(FLUSH_SECONDS)

    return send
