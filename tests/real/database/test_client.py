"""payments_client.database on one real server: what its pools, its deadlines and its transactions really do."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint, ShardContract
from payments_client.database import (
    IDEMPOTENCY_TABLE,
    AsyncDatabase,
    Credentials,
    Database,
    DeadlineExceededError,
    OutcomeUnknownError,
    Token,
    TransactionBrokenError,
    WriteInReadError,
    idempotency,
    idempotent,
    statements,
)
from payments_client.database.options import PoolOptions
from tests.real.database import conftest
from tests.real.database.gate import Gate, gate_to

pytestmark = pytest.mark.real
_LONG_SECONDS = 120.0
_DOWN_SECONDS = 8
"""Longer than any attempt of a pool to connect goes on by itself."""
INSERT = "INSERT INTO transfers VALUES (%s)"

Connection = psycopg.Connection[tuple[Any, ...]]
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]


@pytest.fixture
def server(newest: conftest.Database) -> conftest.Database:
    with newest.server.connect(newest.name) as connection:
        connection.execute(IDEMPOTENCY_TABLE)
        connection.execute("CREATE TABLE transfers (id text PRIMARY KEY)")
    return newest


@pytest.fixture
def gate(server: conftest.Database) -> Iterator[Gate]:
    with gate_to(server.server.port) as made:
        yield made


def contract(write: int, *reads: int) -> DatabaseContract:
    def at(port: int) -> DatabaseEndpoint:
        return DatabaseEndpoint(host="127.0.0.1", port=port)

    shard = ShardContract(name="s00", write=at(write), reads=tuple(at(port) for port in reads))
    return DatabaseContract(shards=(shard,), sslmode="disable")


def credentials(server: conftest.Database) -> Credentials:
    return Credentials(dbname=server.name, user="postgres", password="unused")  # loopback is trusted


def options(**changes: Any) -> PoolOptions:
    return PoolOptions(**{"min_size": 0, "max_size": 1, **changes})


def rows(server: conftest.Database) -> list[str]:
    with server.server.connect(server.name) as connection:
        return [str(row[0]) for row in connection.execute("SELECT id FROM transfers ORDER BY id")]


def test_a_lone_writer_outlives_an_outage_that_is_longer_than_its_pool_tries(
    server: conftest.Database, gate: Gate
) -> None:
    """Nobody else asks the pool for a connection: the waiting call must make it try again itself."""
    opening = threading.Timer(_DOWN_SECONDS, gate.open)
    key = idempotent("sync", scope="transfers", request={})
    with Database(contract(gate.port), "s00", credentials(server), options()) as database:
        opening.start()
        database.write(lambda c: c.execute(INSERT, ["sync"]) and None, deadline_seconds=60, once=key)
        opening.join()
    assert rows(server) == ["sync"]


def test_a_lone_task_outlives_it_as_well(server: conftest.Database, gate: Gate) -> None:
    key = idempotent("async", scope="transfers", request={})

    async def insert(connection: AsyncConnection) -> None:
        await connection.execute(INSERT, ["async"])

    async def play() -> None:
        async with AsyncDatabase(contract(gate.port), "s00", credentials(server), options()) as database:
            asyncio.get_running_loop().call_later(_DOWN_SECONDS, gate.open)
            await database.write(insert, deadline_seconds=60, once=key)

    asyncio.run(play())
    assert rows(server) == ["async"]


def test_a_lone_reader_outlives_it_as_well(server: conftest.Database, gate: Gate) -> None:
    opening = threading.Timer(_DOWN_SECONDS, gate.open)
    with Database(contract(gate.port), "s00", credentials(server), options()) as database:
        opening.start()
        assert database.read(lambda c: c.execute("SELECT 1").fetchone(), deadline_seconds=60) == (1,)
        opening.join()


def test_a_write_inside_a_read_is_the_callers_mistake_and_no_endpoints(server: conftest.Database) -> None:
    port = server.server.port
    with Database(contract(port, port), "s00", credentials(server), options()) as database:
        for after in (None, Token(lsn=None)):
            with pytest.raises(WriteInReadError):
                database.read(lambda c: c.execute(INSERT, ["x"]), deadline_seconds=_LONG_SECONDS, after=after)
        assert database._rotation.order() == [0]
    assert rows(server) == []


def test_a_conflict_with_replay_goes_to_the_next_endpoint_and_blames_none(server: conftest.Database) -> None:
    asked = []

    def work(connection: Connection) -> str:
        asked.append(1)
        if len(asked) == 1:
            connection.execute("DO $$BEGIN RAISE 'canceling statement due to conflict' USING ERRCODE = '40001'; END$$")
        return "read"

    port = server.server.port
    with Database(contract(port, port), "s00", credentials(server), options()) as database:
        assert database.read(work, deadline_seconds=_LONG_SECONDS) == "read"
        assert (len(asked), database._rotation.order()) == (2, [0])


def test_a_full_pool_sends_a_read_to_the_primary_and_blames_no_replica(server: conftest.Database) -> None:
    port, holding, done = server.server.port, threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        connection.execute("SELECT 1")
        holding.set()
        done.wait(_LONG_SECONDS)

    with Database(contract(port, port), "s00", credentials(server), options()) as database:
        thread = threading.Thread(target=database.read, args=(hold,), kwargs={"deadline_seconds": _LONG_SECONDS})
        thread.start()
        holding.wait(_LONG_SECONDS)
        assert database.read(lambda c: c.execute("SELECT 1").fetchone(), deadline_seconds=_LONG_SECONDS) == (1,)
        assert database._rotation.order() == [0]
        done.set()
        thread.join()


def test_an_endpoint_that_refuses_is_left_out(server: conftest.Database, gate: Gate) -> None:
    with Database(contract(server.server.port, gate.port), "s00", credentials(server), options()) as database:
        assert database.read(lambda c: c.execute("SELECT 1").fetchone(), deadline_seconds=_LONG_SECONDS) == (1,)
        assert database._rotation.order() == []


def test_an_endpoint_that_hangs_leaves_time_for_the_primary(server: conftest.Database) -> None:
    """It takes half of a short deadline, however long one endpoint may take otherwise."""
    with (
        socket.create_server(("127.0.0.1", 0)) as hanging,
        Database(
            contract(server.server.port, hanging.getsockname()[1]), "s00", credentials(server),
            options(endpoint_timeout_seconds=60),
        ) as database,
    ):  # fmt: skip
        assert database.read(lambda c: c.execute("SELECT 1").fetchone(), deadline_seconds=6) == (1,)
        assert database._rotation.order() == []


def test_a_call_that_comes_too_late_blames_no_endpoint(server: conftest.Database, gate: Gate) -> None:
    with Database(contract(gate.port, gate.port), "s00", credentials(server), options()) as database:
        with pytest.raises(DeadlineExceededError):
            database.read(lambda c: c.execute("SELECT 1"), deadline_seconds=0.1)
        assert database._rotation.order() == [0]


def hide_a_failure(connection: Connection) -> str:
    connection.execute(INSERT, ["hidden"])
    with suppress(psycopg.Error):
        connection.execute("SELECT 1 / 0")
    return "booked"


@pytest.mark.parametrize("keyed", [False, True])
def test_a_failure_that_work_hides_is_no_success(server: conftest.Database, *, keyed: bool) -> None:
    """PostgreSQL answers the COMMIT of a failed transaction with a rollback, and psycopg takes that for a success."""
    once = idempotent("hidden", scope="transfers", request={}) if keyed else None
    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:
        with pytest.raises(TransactionBrokenError, match="work went on"):
            database.write(hide_a_failure, deadline_seconds=_LONG_SECONDS, once=once)
        with database._write.connection() as connection:
            assert connection.info.transaction_status.name == "IDLE"
    assert rows(server) == []


def test_a_savepoint_is_the_way_to_go_on_after_a_failure(server: conftest.Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(INSERT, ["kept"])
        with suppress(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute(INSERT, ["kept"])

    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:
        database.write(work, deadline_seconds=_LONG_SECONDS)
    assert rows(server) == ["kept"]


def test_work_that_ends_the_transaction_itself_is_told(server: conftest.Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(INSERT, ["x"])
        connection.rollback()

    with (
        Database(contract(server.server.port), "s00", credentials(server), options()) as database,
        pytest.raises(TransactionBrokenError, match="ended the transaction itself"),
    ):
        database.write(work, deadline_seconds=_LONG_SECONDS)


def test_an_error_of_the_callers_own_rolls_back_and_gives_the_connection_back(server: conftest.Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(INSERT, ["x"])
        raise ValueError("not enough money")

    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:
        for _ in range(3):
            with pytest.raises(ValueError, match="not enough money"):
                database.write(work, deadline_seconds=_LONG_SECONDS)
        assert not database._occupancy[database._write].full
    assert rows(server) == []


def test_a_write_that_is_committed_does_not_wait_for_its_position(
    server: conftest.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "POSITION", "SELECT pg_sleep(600)::text")
    began = time.monotonic()
    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:
        written = database.write(lambda c: c.execute(INSERT, ["x"]) and None, deadline_seconds=_LONG_SECONDS)
    assert written.token == Token(lsn=None)
    assert time.monotonic() - began < _LONG_SECONDS / 2
    assert rows(server) == ["x"]


def test_an_unanswered_commit_is_told_also_when_its_repetition_comes_too_late(
    server: conftest.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: object) -> None:
        raise psycopg.OperationalError("the answer was lost")

    pause = time.sleep
    monkeypatch.setattr(psycopg.Connection, "commit", lost)
    # The machine was busy: the pause ends after the deadline.
    monkeypatch.setattr(time, "sleep", lambda _seconds: pause(6))
    key = idempotent("late", scope="transfers", request={})
    with (
        Database(contract(server.server.port), "s00", credentials(server), options()) as database,
        pytest.raises(OutcomeUnknownError),
    ):
        database.write(lambda c: c.execute(INSERT, ["late"]) and None, deadline_seconds=5, once=key)


@pytest.fixture
def slow_commits(server: conftest.Database) -> None:
    """COMMIT takes two seconds, as one that waits for its replica."""
    with server.server.connect(server.name) as connection:
        connection.execute("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
                           "$$BEGIN PERFORM pg_sleep(2); RETURN NULL; END$$")  # fmt: skip
        connection.execute("CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON transfers DEFERRABLE INITIALLY DEFERRED "
                           "FOR EACH ROW EXECUTE FUNCTION wait()")  # fmt: skip


@pytest.fixture
def ctrl_c_counts() -> Iterator[None]:
    """As at a terminal: what a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("slow_commits", "ctrl_c_counts")
def test_ctrl_c_during_commit_cancels_nothing_at_the_server(server: conftest.Database) -> None:
    def work(connection: Connection) -> None:
        connection.execute(INSERT, ["interrupted"])
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()

    with (
        Database(contract(server.server.port), "s00", credentials(server), options()) as database,
        pytest.raises(KeyboardInterrupt),
    ):
        database.write(work, deadline_seconds=_LONG_SECONDS)
    assert rows(server) == ["interrupted"]


@pytest.mark.usefixtures("slow_commits")
def test_an_event_loop_that_ends_during_commit_cancels_nothing_at_the_server(server: conftest.Database) -> None:
    """``asyncio.run`` cancels every task when its main one ends: those as well that nobody else knows of."""
    inserted = asyncio.Event()

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(INSERT, ["ended"])
        inserted.set()

    async def play() -> None:
        async with AsyncDatabase(contract(server.server.port), "s00", credentials(server), options()) as database:
            writing = asyncio.create_task(database.write(work, deadline_seconds=_LONG_SECONDS))
            await inserted.wait()
            await asyncio.sleep(1)
            for task in asyncio.all_tasks():
                if task is writing or "commit" in str(task.get_coro()):
                    task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing

    asyncio.run(play())
    assert rows(server) == ["ended"]


def test_a_task_that_is_cancelled_again_and_again_keeps_no_connection(server: conftest.Database) -> None:
    async def sleep(connection: AsyncConnection) -> None:
        await connection.execute("SELECT pg_sleep(600)")

    async def insert(connection: AsyncConnection) -> None:
        await connection.execute(INSERT, ["after"])

    async def play() -> None:
        async with AsyncDatabase(contract(server.server.port), "s00", credentials(server), options()) as database:
            for pause_seconds in (0.0, 0.001, 0.02):
                asleep = asyncio.create_task(database.write(sleep, deadline_seconds=_LONG_SECONDS))
                await asyncio.sleep(0.5)
                while not asleep.done():
                    asleep.cancel()
                    await asyncio.sleep(pause_seconds)
                assert asleep.cancelled()
                assert not database._occupancy[database._write].full
            await database.write(insert, deadline_seconds=_LONG_SECONDS)

    asyncio.run(play())
    assert rows(server) == ["after"]


def test_a_hidden_failure_is_no_success_in_a_task_either(server: conftest.Database) -> None:
    async def hide(connection: AsyncConnection) -> None:
        await connection.execute(INSERT, ["hidden"])
        with suppress(psycopg.Error):
            await connection.execute("SELECT 1 / 0")

    async def write_in_read(connection: AsyncConnection) -> None:
        await connection.execute(INSERT, ["read"])

    async def play() -> None:
        port = server.server.port
        async with AsyncDatabase(contract(port, port), "s00", credentials(server), options()) as database:
            with pytest.raises(TransactionBrokenError):
                await database.write(hide, deadline_seconds=_LONG_SECONDS)
            with pytest.raises(WriteInReadError):
                await database.read(write_in_read, deadline_seconds=_LONG_SECONDS)
            assert database._rotation.order() == [0]

    asyncio.run(play())
    assert rows(server) == []


def keys(server: conftest.Database) -> list[str]:
    with server.server.connect(server.name) as connection:
        return [str(row[0]) for row in connection.execute("SELECT key FROM idempotency_keys ORDER BY created_at")]


@pytest.fixture
def old_keys(server: conftest.Database) -> list[str]:
    """Of 9, 8, … 0 hours ago, less a minute each; ``k0`` is the oldest."""
    with server.server.connect(server.name) as connection:
        connection.execute(
            "INSERT INTO idempotency_keys (scope, key, request_digest, created_at) SELECT 's', 'k' || 9 - age, '',"
            " now() - make_interval(hours => age, mins => 1) FROM generate_series(0, 9) AS age"
        )
    return [f"k{number}" for number in range(10)]


def test_old_keys_are_forgotten_the_oldest_first_and_a_bounded_number_at_once(
    server: conftest.Database, old_keys: list[str]
) -> None:
    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:

        def forget(hours: int, limit: int) -> int:
            return database.forget(older_than_seconds=hours * 3600, limit=limit, deadline_seconds=_LONG_SECONDS)

        assert (forget(5, 3), keys(server)) == (3, old_keys[3:])
        # A repetition holds k3: it is neither waited for nor deleted.
        with server.server.connect(server.name) as holder, holder.transaction():
            holder.execute("SELECT 1 FROM idempotency_keys WHERE key = 'k3' FOR UPDATE")
            assert (forget(5, 100), keys(server)) == (1, ["k3", *old_keys[5:]])
        assert (forget(5, 100), keys(server)) == (1, old_keys[5:])
        assert (forget(5, 100), keys(server)) == (0, old_keys[5:])


def test_old_keys_are_forgotten_by_a_task(server: conftest.Database, old_keys: list[str]) -> None:
    async def play() -> int:
        async with AsyncDatabase(contract(server.server.port), "s00", credentials(server), options()) as database:
            return await database.forget(older_than_seconds=9 * 3600, deadline_seconds=_LONG_SECONDS)

    assert (asyncio.run(play()), keys(server)) == (1, old_keys[1:])


def test_an_unanswered_commit_of_forgetting_is_repeated(
    server: conftest.Database, old_keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = psycopg.Connection.commit, iter([False])

    def commit(connection: Connection) -> None:
        real(connection)
        if not next(answers, True):
            connection.close()
            raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(psycopg.Connection, "commit", commit)
    with Database(contract(server.server.port), "s00", credentials(server), options()) as database:
        database.forget(older_than_seconds=9 * 3600, deadline_seconds=_LONG_SECONDS)
    assert keys(server) == old_keys[1:]


def test_forgetting_reads_the_index_and_not_the_table(server: conftest.Database) -> None:
    with server.server.connect(server.name) as connection:
        connection.execute(
            "INSERT INTO idempotency_keys (scope, key, request_digest, created_at) SELECT 's', n::text, '',"
            " now() - make_interval(mins => n) FROM generate_series(1, 50000) AS n"
        )
        connection.execute("ANALYZE idempotency_keys")
        plan = "\n".join(str(row[0]) for row in connection.execute(f"EXPLAIN {idempotency.FORGET}", [86_400, 1000]))
    assert "Index Scan using idempotency_keys_created_at" in plan
    assert "Seq Scan on idempotency_keys" not in plan
