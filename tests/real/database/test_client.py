"""payments_client.database on one real server: what its pools, its deadlines and its transactions really do."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint, ShardContract
from payments_client.database import (
    IDEMPOTENCY_TABLE,
    AsyncDatabase,
    Credentials,
    Database,
    idempotent,
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
    return Credentials(dbname=server.name, user="postgres", password="unused")  # noqa: S106 # loopback is trusted


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
