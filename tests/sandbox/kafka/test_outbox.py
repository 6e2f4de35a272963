"""The outbox of a real PostgreSQL feeds real brokers; a relay dies between what it published and what it forgets."""

import multiprocessing
import os
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from payments_client.cache import Event
from payments_client.eventstore import Ledger, Message, Outbox
from payments_client.eventstore.relay import relay_properties, to_kafka
from payments_client.kafka.producer import EventProducer
from payments_client.kafka.properties import producer_properties
from payments_client.migrations import apply, load
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS
from tests.real.postgres_server import PostgresServer, running
from tests.sandbox.kafka.stage import Stage

pytestmark = [pytest.mark.slow]
_DATABASE, _TOPIC, _SERVICE = "outbox", "wallet-events", "wallet-service"
_WALLETS, _TRANSFERS, _BATCH = 12, 240, 20
_KILLED_AFTER = 4
"""Batches that the first relay publishes; it dies before it forgets the last of them."""
_RELAY_SECONDS = 120


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running(max(VERSIONS)) as started:
        roles.make_roles(started)
        roles.make_database(started, _DATABASE)
        with psycopg.connect(started.dsn(_DATABASE, roles.MIGRATOR), autocommit=True) as connection:
            apply(connection, load(MIGRATIONS))
        yield started


def relay(dsn: str, properties: Mapping[str, Any], killed_after: int | None) -> None:
    """A relay in a process of its own: publishes until the outbox is empty, or is killed at the worst moment."""
    send, batches = to_kafka(EventProducer(relay_properties(properties))), 0

    def counted(messages: Sequence[Message]) -> None:
        nonlocal batches
        send(messages)
        batches += 1
        if batches == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    outbox = Outbox(lambda: psycopg.connect(dsn), counted, batch=_BATCH)
    while outbox.publish():
        pass


def run_relay(dsn: str, stage: Stage, killed_after: int | None = None) -> int | None:
    properties = producer_properties(stage.contract, stage.access(_SERVICE), client_id="relay")
    child = multiprocessing.get_context("spawn").Process(target=relay, args=(dsn, properties, killed_after))
    child.start()
    child.join(_RELAY_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError(f"the relay did not end within {_RELAY_SECONDS} s")
    return child.exitcode


def move_money(dsn: str, first: int) -> None:
    """A quarter of the transfers, round the wallets."""
    ledger = Ledger(lambda: psycopg.connect(dsn))
    for number in range(first, _TRANSFERS, 4):
        target = f"outbox-w{number % _WALLETS}"
        ledger.transfer(f"t{number}", source="outbox-house", target=target, amount=Decimal(1), currency="EUR")


def test_a_relay_that_dies_after_publishing_leaves_duplicates_only_and_the_order_of_each_wallet(
    stage: Stage, server: PostgresServer
) -> None:
    dsn = server.dsn(_DATABASE, roles.APP)
    ledger = Ledger(lambda: psycopg.connect(dsn))
    with psycopg.connect(server.dsn(_DATABASE, roles.MIGRATOR), autocommit=True) as owner:
        owner.execute("SET ROLE payments_owner")
        owner.execute("SELECT ledger.open_house_wallet('outbox-house', 'outbox-house', 'EUR')")
    for number in range(_WALLETS):
        ledger.open_wallet(f"outbox-w{number}", f"outbox-u{number}", "EUR")

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda first: move_money(dsn, first), range(4)))
    with server.connect(_DATABASE) as connection:
        waiting = connection.execute("SELECT count(*) FROM es.outbox").fetchone()
    assert waiting == (2 * _TRANSFERS,)
    assert run_relay(dsn, stage, _KILLED_AFTER) == -signal.SIGKILL
    assert run_relay(dsn, stage) == 0

    with server.connect(_DATABASE) as connection:
        assert connection.execute("SELECT count(*) FROM es.outbox").fetchone() == (0,)
        facts = connection.execute("SELECT wallet_id, seq FROM es.wallet_events").fetchall()
    received: dict[str, list[int]] = defaultdict(list)
    for message in stage.read_all(_TOPIC):
        if (key := message.key().decode()).startswith("outbox-"):
            event = Event.from_json(message.value())
            assert event.aggregate_id == key
            received[key].append(event.version)
    assert {(wallet, version) for wallet, versions in received.items() for version in versions} == set(facts)
    for wallet, versions in received.items():
        assert list(dict.fromkeys(versions)) == list(range(1, max(versions) + 1)), wallet
    duplicates = sum(map(len, received.values())) - len(facts)
    assert 0 < duplicates <= _BATCH
