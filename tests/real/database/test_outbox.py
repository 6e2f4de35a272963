"""The outbox: told if and only if it happened, in order within a key, sent again after a failure."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import psycopg
import pytest

from payments_client.cache import Event
from payments_client.eventstore import NEW, AsyncOutbox, EventStore, Ledger, Message, NewEvent, Outbox
from tests.real.database.conftest import Database
from tests.real.database.together import together

PUBLISHERS, WRITERS = 3, 4


def event(number: int) -> NewEvent:
    return NewEvent(type="PaymentCreated", data={"n": number}, topic="payment-events")


def test_within_a_key_the_order_is_that_of_the_facts_with_several_publishers(database: Database) -> None:
    """Two writers for each stream, so that versions change hands, and publishers that compete for the lanes."""
    each, stop = 12, threading.Event()
    sent: dict[str, list[int]] = defaultdict(list)
    lock = threading.Lock()

    def send(messages: Sequence[Message]) -> None:
        threading.Event().wait(0.005)
        with lock:
            for message in messages:
                sent[message.key].append(message.payload["version"])

    def publish(_: int) -> int:
        outbox, count = Outbox(database.connect, send, batch=5), 0
        while True:
            last_round = stop.is_set()
            found = outbox.publish()
            count += found
            if last_round and not found:
                return count

    def write(writer: int) -> None:
        store = EventStore(database.transaction)
        for number in range(each):
            with database.connect(autocommit=False) as connection:
                store.append(f"payment-{writer % 2}", [event(number)], expected=None, connection=connection)
                if number % 4 == 3:
                    connection.rollback()

    threads: list[int] = []
    publishing = threading.Thread(target=lambda: threads.extend(together(publish, PUBLISHERS)))
    publishing.start()
    together(write, WRITERS)
    stop.set()
    publishing.join(120)
    kept = WRITERS * each * 3 // 4
    assert sum(threads) == kept
    assert sent == {f"payment-{n}": list(range(1, kept // 2 + 1)) for n in range(2)}
    assert database.one("SELECT count(*) FROM es.outbox") == 0


def test_what_was_not_acknowledged_is_sent_again(database: Database) -> None:
    store = EventStore(database.transaction)
    store.append("payment-1", [event(1), event(2)], expected=NEW)
    tried: list[list[int]] = []

    def send(messages: Sequence[Message]) -> None:
        tried.append([m.payload["version"] for m in messages])
        if len(tried) == 1:
            raise ConnectionError("the broker is gone")

    outbox = Outbox(database.connect, send)
    with pytest.raises(ConnectionError):
        outbox.publish()
    assert outbox.publish() == 2
    assert tried == [[1, 2], [1, 2]]
    assert outbox.publish() == 0


def test_a_publisher_that_waits_for_the_broker_holds_back_no_reader(database: Database) -> None:
    store = EventStore(database.transaction)
    store.append("payment-1", [event(1)], expected=NEW)
    seen: list[str] = []

    def send(_: Sequence[Message]) -> None:
        store.append("payment-2", [NewEvent(type="Quiet", data={})], expected=NEW)
        seen.extend(e.stream for e in store.read_all())

    Outbox(database.connect, send).publish()
    assert seen == ["payment-1", "payment-2"]


def test_messages_are_events_that_the_caches_understand(newest: Database) -> None:
    """Without a version or with money as a number they could not be used."""
    ledger = Ledger(newest.transaction)
    newest.all("SELECT ledger.open_house_wallet('house', 'house', 'EUR')")
    ledger.open_wallet("w1", "u1", "EUR")
    ledger.transfer("t1", source="house", target="w1", amount=Decimal("10.50"), currency="EUR")
    received: list[Message] = []

    async def run() -> int:
        async def send(messages: Sequence[Message]) -> None:
            received.extend(messages)

        class Connections:
            async def __aenter__(self) -> "psycopg.AsyncConnection[tuple[object, ...]]":
                self.connection = await psycopg.AsyncConnection.connect(newest.dsn(), autocommit=True)
                return self.connection

            async def __aexit__(self, *details: object) -> None:
                await self.connection.close()

        return await AsyncOutbox(Connections, send).publish()

    assert asyncio.run(run()) == 2
    events = {e.type: e for e in (Event.from_json(json.dumps(m.payload)) for m in received)}
    assert {m.topic for m in received} == {"wallet-events"}
    assert {m.key for m in received} == {"house", "w1"}
    credited = events["WalletCredited"]
    assert (credited.aggregate_id, credited.version, credited.user_id) == ("w1", 1, "u1")
    assert Decimal(credited.data["balance"]) == Decimal("10.50")
    assert isinstance(credited.data["balance"], str)
    assert credited.occurred_at_seconds is not None
