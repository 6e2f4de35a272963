"""payments_client.database through the real poolers, through real failovers."""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint, ShardContract
from payments_client.database import (
    IDEMPOTENCY_TABLE,
    AsyncDatabase,
    Credentials,
    Database,
    DeadlineExceededError,
    KeyReusedError,
    OutcomeUnknownError,
    Token,
    WriteInReadError,
    idempotent,
)
from payments_client.database.options import PoolOptions
from payments_client.database.synchronous import Connection
from sandbox.postgres_rig import Rig

pytestmark = [pytest.mark.real, pytest.mark.slow]
_LONG_SECONDS = 120.0
_KEYS = itertools.count()
UNUSED = DatabaseEndpoint(host="127.0.0.1", port=1)


@pytest.fixture
def contract(healthy: Rig) -> DatabaseContract:
    primary = healthy.primary()
    assert primary is not None
    with healthy.superuser(primary, healthy.dbname) as connection:
        connection.execute(IDEMPOTENCY_TABLE)
        connection.execute("CREATE TABLE IF NOT EXISTS transfers (id text PRIMARY KEY, amount integer NOT NULL)")
        connection.execute("GRANT ALL ON idempotency_keys, transfers TO app")
    port = int(psycopg.conninfo.conninfo_to_dict(healthy.conninfo("x"))["port"] or 0)
    write = DatabaseEndpoint(host=healthy.service("rw"), port=port)
    read = DatabaseEndpoint(host=healthy.service("ro"), port=port)
    return DatabaseContract(shards=(ShardContract(name="s00", write=write, reads=(UNUSED, read)),))


def credentials(rig: Rig) -> Credentials:
    return Credentials(
        dbname=rig.dbname, user="app", password=rig.host.passwords["app"], ca_file=str(rig.host.certificate)
    )


@pytest.fixture
def database(healthy: Rig, contract: DatabaseContract) -> Iterator[Database]:
    with Database(contract, "s00", credentials(healthy), PoolOptions(min_size=0, max_size=4)) as opened:
        yield opened


def transfer(name: str, amount: int = 1) -> "Transfer":
    return Transfer(name, amount)


class Transfer:
    """One insertion; counts how often it was tried."""

    def __init__(self, name: str, amount: int) -> None:
        self.name, self.amount, self.tried = name, amount, 0

    def __call__(self, connection: Connection) -> int:
        self.tried += 1
        connection.execute("INSERT INTO transfers VALUES (%s, %s)", [self.name, self.amount])
        return self.amount


def fresh(word: str) -> str:
    return f"{word}-{os.getpid()}-{next(_KEYS)}"


def count(database: Database, name: str) -> int:
    def ask(connection: Connection) -> int:
        row = connection.execute("SELECT count(*) FROM transfers WHERE id = %s", [name]).fetchone()
        assert row is not None
        return int(row[0])

    return database.read(ask, deadline_seconds=_LONG_SECONDS, after=Token(lsn=None))


@contextmanager
def unanswered_commits(monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[None]:
    """The next COMMITs are done by the server, and their answers are lost."""
    left = itertools.count(times, -1)
    real = psycopg.Connection.commit

    def commit(connection: Connection) -> None:
        real(connection)
        if next(left) > 0:
            connection.close()
            raise psycopg.OperationalError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "commit", commit)
        yield


def test_a_read_with_the_token_sees_the_write_and_reads_come_from_replicas(database: Database) -> None:
    for _ in range(5):
        name = fresh("token")
        token = database.write(transfer(name), deadline_seconds=_LONG_SECONDS).token
        found = database.read(
            lambda c, name=name: c.execute("SELECT amount FROM transfers WHERE id = %s", [name]).fetchone(),  # type: ignore[misc]
            deadline_seconds=_LONG_SECONDS, after=Token.parse(str(token)),
        )  # fmt: skip
        assert found == (1,)
    recovery = database.read(
        lambda c: c.execute("SELECT pg_is_in_recovery()").fetchone(), deadline_seconds=_LONG_SECONDS
    )
    assert recovery == (True,)


def test_a_read_ahead_of_every_replica_goes_to_the_primary(database: Database) -> None:
    ahead = Token(lsn=2**63)
    recovery = database.read(
        lambda c: c.execute("SELECT pg_is_in_recovery()").fetchone(), deadline_seconds=_LONG_SECONDS, after=ahead
    )
    assert recovery == (False,)


def test_a_read_cannot_write_even_on_the_primary(database: Database) -> None:
    for after in (None, Token(lsn=None)):
        work = transfer(fresh("read"))
        with pytest.raises(WriteInReadError):
            database.read(work, deadline_seconds=_LONG_SECONDS, after=after)
        assert work.tried == 1
    # No replica is left out for it.
    recovery = database.read(
        lambda c: c.execute("SELECT pg_is_in_recovery()").fetchone(), deadline_seconds=_LONG_SECONDS
    )
    assert recovery == (True,)


def test_the_same_key_takes_effect_once_and_gives_the_same_answer(database: Database) -> None:
    name = fresh("once")
    key = idempotent(name, scope="transfers", request={"amount": 7})
    first, second = transfer(name, 7), transfer(name, 7)
    answers = [database.write(work, deadline_seconds=_LONG_SECONDS, once=key).value for work in (first, second)]
    assert (answers, first.tried, second.tried, count(database, name)) == ([7, 7], 1, 0, 1)
    other = idempotent(name, scope="transfers", request={"amount": 8})
    with pytest.raises(KeyReusedError):
        database.write(transfer(name, 8), deadline_seconds=_LONG_SECONDS, once=other)


def test_the_same_key_in_many_threads_takes_effect_once(database: Database) -> None:
    name = fresh("threads")
    key = idempotent(name, scope="transfers", request={})
    answers: list[int] = []

    def write() -> None:
        answers.append(database.write(transfer(name, 3), deadline_seconds=_LONG_SECONDS, once=key).value)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, count(database, name)) == ([3] * 4, 1)


def test_an_unanswered_commit_is_repeated_with_a_key_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    name, keyed = fresh("unkeyed"), fresh("keyed")
    with unanswered_commits(monkeypatch, 1):
        work = transfer(name)
        with pytest.raises(OutcomeUnknownError):
            database.write(work, deadline_seconds=_LONG_SECONDS)
        assert work.tried == 1
    with unanswered_commits(monkeypatch, 1):
        key = idempotent(keyed, scope="transfers", request={})
        assert database.write(transfer(keyed, 5), deadline_seconds=_LONG_SECONDS, once=key).value == 5
    assert (count(database, name), count(database, keyed)) == (1, 1)


def test_a_statement_ends_at_the_deadline(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        database.write(lambda c: c.execute("SELECT pg_sleep(600)"), deadline_seconds=2)
    assert time.monotonic() - began < 60


def test_a_frozen_server_ends_at_the_deadline(healthy: Rig, database: Database) -> None:
    primary = healthy.primary()
    assert primary is not None
    name = fresh("frozen")
    database.write(transfer(f"{name}-before"), deadline_seconds=_LONG_SECONDS)
    healthy.signal_member(primary, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceededError):
            database.write(transfer(name), deadline_seconds=2)
    finally:
        healthy.signal_member(primary, signal.SIGCONT)
    healthy.wait_healthy()
    assert count(database, name) == 0


def test_keyed_writes_go_through_a_failover_each_once(healthy: Rig, database: Database) -> None:
    primary = healthy.primary()
    assert primary is not None
    prefix, done = fresh("failover"), threading.Event()
    names: list[str] = []

    def write() -> None:
        while not done.is_set():
            name = f"{prefix}-{len(names)}"
            key = idempotent(name, scope="transfers", request={})
            database.write(transfer(name), deadline_seconds=_LONG_SECONDS, once=key)
            names.append(name)
            time.sleep(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(1)
    status, answer = healthy.rest(primary, "/switchover", {"leader": primary}, "POST")
    assert status == 200, answer
    healthy.wait(lambda: healthy.primary() not in {None, primary}, *healthy.host.members)
    before = len(names)
    healthy.wait(lambda: len(names) > before + 5, "pgbouncer-rw-0")
    done.set()
    thread.join(_LONG_SECONDS)
    assert not thread.is_alive()
    assert [count(database, name) for name in names] == [1] * len(names)


def test_a_lone_writer_with_one_connection_outlives_the_loss_of_the_primarys_node(
    healthy: Rig, contract: DatabaseContract
) -> None:
    """A quiet worker: nobody else asks its pool for a connection, so nobody else makes it connect again."""
    primary = healthy.primary()
    assert primary is not None
    prefix, killed = fresh("node"), threading.Event()
    names: list[str] = []

    def write(database: Database) -> None:
        # Until ten writes after the loss have been answered.
        after = 0
        while after < 10:
            name = f"{prefix}-{len(names)}"
            key = idempotent(name, scope="transfers", request={})
            late = killed.is_set()
            database.write(transfer(name), deadline_seconds=90, once=key)
            names.append(name)
            after += late
            time.sleep(0.02)

    with Database(contract, "s00", credentials(healthy), PoolOptions(min_size=0, max_size=1)) as database:
        thread = threading.Thread(target=write, args=(database,))
        thread.start()
        healthy.wait(lambda: len(names) > 20, "pgbouncer-rw-0")
        healthy.signal_member(primary, signal.SIGKILL)
        killed.set()
        try:
            thread.join(_LONG_SECONDS)
            finished = not thread.is_alive()
        finally:
            healthy.processes[primary].wait(30)
            healthy.start_member(primary)
            healthy.wait_healthy()
        assert finished
        assert len(names) > 30
        assert [count(database, name) for name in names] == [1] * len(names)


def test_the_asynchronous_client_does_the_same(healthy: Rig, contract: DatabaseContract) -> None:
    name = fresh("async")
    key = idempotent(name, scope="transfers", request={})

    async def play() -> tuple[object, ...]:
        async def work(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> int:
            await connection.execute("INSERT INTO transfers VALUES (%s, 9)", [name])
            return 9

        async def look(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> object:
            return await (await connection.execute("SELECT amount FROM transfers WHERE id = %s", [name])).fetchone()

        async def sleep(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
            await connection.execute("SELECT pg_sleep(600)")

        async with AsyncDatabase(contract, "s00", credentials(healthy), PoolOptions(min_size=0, max_size=4)) as opened:
            written = await opened.write(work, deadline_seconds=_LONG_SECONDS, once=key)
            again = await opened.write(work, deadline_seconds=_LONG_SECONDS, once=key)
            seen = await opened.read(look, deadline_seconds=_LONG_SECONDS, after=written.token)
            with pytest.raises(DeadlineExceededError):
                await opened.write(sleep, deadline_seconds=2)
            return written.value, again.value, seen

    assert asyncio.run(play()) == (9, 9, (9,))
