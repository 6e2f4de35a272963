"""A primary that dies under load: every key applied once, every transfer made once, nothing acknowledged lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from payments_client.eventstore import EventStore, Ledger, NewEvent
from payments_client.migrations import apply, load
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS
from tests.real.database.together import together
from tests.real.postgres_server import PostgresServer, running, server_folder

_NAME = "payments"
WORKERS, EACH = 4, 25


@pytest.fixture
def pair(major: int) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with running(major) as primary, server_folder() as folder:
        roles.make_roles(primary)
        roles.make_database(primary, _NAME)
        with psycopg.connect(primary.dsn(_NAME, roles.MIGRATOR), autocommit=True) as connection:
            apply(connection, load(MIGRATIONS))
        standby = primary.standby(folder)
        try:
            standby.start()
            with primary.connect() as connection:
                # As the cluster is run: a commit is acknowledged when the standby has it.
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
                connection.execute("SELECT pg_reload_conf()")
            yield primary, standby
        finally:
            standby.abandon()


@pytest.mark.slow
def test_duplicates_apply_once_across_a_failover(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    serving = [primary]
    acknowledged: list[str] = []
    half = threading.Event()

    @contextmanager
    def connections() -> "Iterator[psycopg.Connection[Any]]":
        with psycopg.connect(serving[0].dsn(_NAME, roles.APP)) as connection:
            yield connection

    store, ledger = EventStore(connections, deadline_seconds=120), Ledger(connections, deadline_seconds=120)
    with psycopg.connect(primary.dsn(_NAME, roles.MIGRATOR), autocommit=True) as owner:
        owner.execute("SET ROLE payments_owner")
        owner.execute("SELECT ledger.open_house_wallet('house', 'house', 'EUR')")
    ledger.open_wallet("w", "u", "EUR")

    def work(worker: int) -> None:
        if worker == WORKERS:
            half.wait(120)
            primary.kill()
            standby.promote()
            serving[0] = standby
            return
        for number in range(EACH):
            key = f"request-{worker}-{number}"
            event = NewEvent(type="PaymentCreated", data={"key": key})
            for _ in range(2):  # whoever asked has had no answer and asks again
                store.append("payments", [event], expected=None, key=key)
                ledger.transfer(key, source="house", target="w", amount=Decimal(1), currency="EUR")
            acknowledged.append(key)
            if len(acknowledged) >= WORKERS * EACH // 3:
                half.set()

    together(work, WORKERS + 1)
    assert primary.process is None
    assert len(acknowledged) == WORKERS * EACH
    events = list(store.read_stream("payments"))
    assert [e.version for e in events] == list(range(1, len(events) + 1))
    assert sorted(e.data["key"] for e in events) == sorted(acknowledged)
    assert ledger.balance("w") == (Decimal(WORKERS * EACH), WORKERS * EACH)
    with standby.connect(_NAME) as connection:
        assert connection.execute("SELECT * FROM ledger.check_books()").fetchall() == []
        assert connection.execute(
            "SELECT sum(es.refresh_wallet_balances(b)) FROM generate_series(0, 3) b"
        ).fetchone() == (2,)
        assert connection.execute(
            "SELECT count(*) FROM generate_series(0, 3) b, es.check_wallet_balances(b)"
        ).fetchone() == (0,)
