"""``AsyncDatabase``: the same for an event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint
from payments_client.database import statements
from payments_client.database.deadlines import Deadline, SocketEnd
from payments_client.database.errors import DeadlineExceededError
from payments_client.database.idempotency import CLAIM, STORE, IdempotencyKey
from payments_client.database.options import (
    CONNECTION_WAIT_SECONDS,
    RECONNECT_SECONDS,
    Credentials,
    PoolOptions,
    connection_arguments,
)
from payments_client.database.outcomes import Attempts, Outcome, Phase, outcome_of
from payments_client.database.rotation import Rotation
from payments_client.database.tokens import Token, Written

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]
_BEHIND = object()


class AsyncDatabase:
    """One shard, as ``Database``; ``work`` is a coroutine function. ``async with AsyncDatabase(…) as database: …``."""

    def __init__(
        self, contract: DatabaseContract, shard: str, credentials: Credentials, options: PoolOptions | None = None
    ) -> None:
        self._options = options or PoolOptions()
        chosen = contract.shard(shard)

        def pool(endpoint: DatabaseEndpoint) -> AsyncConnectionPool[AsyncConnection]:
            arguments = connection_arguments(credentials, endpoint.host, endpoint.port, contract.sslmode, self._options)
            return AsyncConnectionPool(
                kwargs=arguments, min_size=self._options.min_size, max_size=self._options.max_size, open=False,
                max_lifetime=self._options.lifetime_seconds(contract), reconnect_timeout=RECONNECT_SECONDS,
            )  # fmt: skip

        self._write = pool(chosen.write)
        self._reads = [pool(endpoint) for endpoint in chosen.reads]
        self._rotation = Rotation(len(self._reads))

    async def __aenter__(self) -> Self:
        for pool in (self._write, *self._reads):
            await pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self._write, *self._reads):
            await pool.close(timeout=2)

    async def write(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, deadline_seconds: float,
        once: IdempotencyKey | None = None,
    ) -> Written[T]:  # fmt: skip
        """As ``Database.write``. A task that is cancelled during COMMIT waits for its answer first."""
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=once is not None)
        while True:
            attempts.begin()
            try:
                return await self._write_once(work, attempts, once)
            except (psycopg.Error, PoolTimeout) as error:
                pause_seconds = attempts.pause_seconds(error)
            await asyncio.sleep(pause_seconds)

    async def read(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, deadline_seconds: float, after: Token | None = None
    ) -> T:
        """As ``Database.read``."""
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=True)
        while True:
            attempts.begin()
            if after is None or after.lsn is not None:
                for index in self._rotation.order():
                    try:
                        found = await self._read_once(self._reads[index], work, attempts.deadline, after, limited=True)
                    except (psycopg.Error, PoolTimeout) as error:
                        if outcome_of(error, Phase.BEFORE_COMMIT) is not Outcome.REPEATABLE:
                            attempts.pause_seconds(error)
                        self._rotation.failed(index)
                        continue
                    self._rotation.succeeded(index)
                    if found is not _BEHIND:
                        return cast("T", found)
            try:
                found = await self._read_once(self._write, work, attempts.deadline, after, limited=False)
                if found is not _BEHIND:
                    return cast("T", found)
                raise psycopg.OperationalError("the write endpoint answered from a replica")
            except (psycopg.Error, PoolTimeout) as error:
                pause_seconds = attempts.pause_seconds(error)
            await asyncio.sleep(pause_seconds)

    async def _write_once(
        self, work: Callable[[AsyncConnection], Awaitable[T]], attempts: Attempts, once: IdempotencyKey | None
    ) -> Written[T]:
        async with self._transaction(self._write, attempts.deadline, limited=False) as connection:
            await connection.execute(statements.BEGIN_WRITE, [attempts.deadline.statement_timeout])
            if once is None:
                value = await work(connection)
            else:
                claimed = await connection.execute(CLAIM, once.claim)
                repeated, answer = once.replayed(await claimed.fetchone())
                value = cast("T", answer) if repeated else await work(connection)
                if not repeated:
                    await connection.execute(STORE, once.store(value))
            attempts.phase = Phase.COMMIT
            await _undisturbed(connection.commit())
            token = Token(lsn=None)
            # The commit stands whatever becomes of this question; without an answer, reads go to the primary.
            with suppress(psycopg.Error):
                row = await (await connection.execute(statements.POSITION)).fetchone()
                await connection.rollback()
                token = Token.parse(row[0]) if row and row[0] else token
            return Written(value=value, token=token)

    async def _read_once(
        self, pool: AsyncConnectionPool[AsyncConnection], work: Callable[[AsyncConnection], Awaitable[T]],
        deadline: Deadline, after: Token | None, *, limited: bool,
    ) -> T | object:  # fmt: skip
        async with self._transaction(pool, deadline, limited=limited) as connection:
            # A replica that hangs is left within the time of one endpoint, not of the whole call.
            first = deadline.within(self._options.endpoint_timeout_seconds) if limited else deadline
            with _guard(connection, first):
                row = await (await connection.execute(statements.BEGIN_READ, [deadline.statement_timeout])).fetchone()
            if after is not None and row is not None and not after.seen_at(row[3], in_recovery=row[2]):
                return _BEHIND
            return await work(connection)

    @asynccontextmanager
    async def _transaction(
        self, pool: AsyncConnectionPool[AsyncConnection], deadline: Deadline, *, limited: bool
    ) -> AsyncIterator[AsyncConnection]:
        """A connection whose socket is shut at the deadline; what is not committed in the block is rolled back."""
        patience = min(deadline.remaining_seconds, CONNECTION_WAIT_SECONDS)
        if patience <= 0:
            raise DeadlineExceededError("the deadline passed before a connection was asked for")
        if limited:
            patience = min(patience, self._options.endpoint_timeout_seconds)
        connection = await pool.getconn(timeout=patience)
        try:
            with _guard(connection, deadline):
                try:
                    yield connection
                except psycopg.Error as error:
                    # Not an answer of the server: nobody knows what this connection would say next.
                    if error.sqlstate is None:
                        await connection.close()
                    raise
                finally:
                    with suppress(psycopg.Error):
                        await connection.rollback()
        finally:
            await pool.putconn(connection)


@contextmanager
def _guard(connection: AsyncConnection, deadline: Deadline) -> Iterator[None]:
    """``Watchdog.guard`` by the event loop's own timers."""
    end = SocketEnd(connection.fileno())
    timer = asyncio.get_running_loop().call_later(deadline.remaining_seconds, end.shut)
    try:
        yield
    finally:
        timer.cancel()
        end.release()


async def _undisturbed(commit: Awaitable[None]) -> None:
    """Wait for COMMIT even when the task is cancelled: psycopg would cancel it at the server.

    The deadline bounds the wait.
    """
    task = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
