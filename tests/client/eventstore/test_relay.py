"""The relay of the outbox ends before the server takes its lane away."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from components.postgres.model import context_of
from components.postgres.patroni_plan import plan_members
from payments_client.eventstore.model import Message
from payments_client.eventstore.relay import DELIVERY_SECONDS, FLUSH_SECONDS, relay_properties, to_kafka
from tests.unit.stacks import STACKS, settings_of


class Queue:
    """A producer that keeps what it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.flushes: list[float] = []

    def send(self, topic: str, *, key: str, value: bytes) -> None:
        self.sent.append((topic, key, value))

    def flush(self, timeout_seconds: float) -> None:
        self.flushes.append(timeout_seconds)


def test_a_batch_is_sent_in_order_and_waited_for_once() -> None:
    queue = Queue()
    now = datetime.now(UTC)
    batch = [Message(id=n, topic="t", key=f"k{n}", payload={"n": n}, created_at=now) for n in range(3)]
    to_kafka(queue)(batch)
    assert queue.sent == [("t", f"k{n}", f'{{"n":{n}}}'.encode()) for n in range(3)]
    assert queue.flushes == [FLUSH_SECONDS]


@pytest.mark.parametrize("stack", STACKS)
def test_nothing_is_under_way_any_more_when_the_server_ends_an_idle_transaction(stack: str) -> None:
    found = context_of(settings_of(stack))
    assert found is not None
    rendered = str(plan_members(found, "s00"))
    [seconds] = set(re.findall(r"idle_in_transaction_session_timeout: '?(\d+)s", rendered))
    delivery: Any = relay_properties({"acks": "all", "delivery.timeout.ms": 120_000})
    assert delivery == {"acks": "all", "delivery.timeout.ms": DELIVERY_SECONDS * 1000}
    assert int(seconds) - 10 > FLUSH_SECONDS
    assert FLUSH_SECONDS > DELIVERY_SECONDS, "every message has its answer when the flush ends"
