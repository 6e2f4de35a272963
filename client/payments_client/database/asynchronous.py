"""``AsyncDatabase``: the same for an event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint
from payments_client.database import statements
from payments_client.database.commits import AsyncCommitSafeConnection
from payments_client.database.deadlines import Deadline, SocketEnd
from payments_client.database.errors import WriteInReadError
from payments_client.database.idempotency import CLAIM, FORGET, STORE, IdempotencyKey, forget_parameters
from payments_client.database.occupancy import Occupancy
from payments_client.database.options import (
    CONNECTION_WAIT_SECONDS,
    RECONNECT_SECONDS,
    Credentials,
    PoolOptions,
    connection_arguments,
)
from payments_client.database.outcomes import Attempts, Phase, require_open
from payments_client.database.rotation import Rotation
from payments_client.database.tokens import Token, Written

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[AsyncCommitSafeConnection]
_BEHIND = object()


class AsyncDatabase:
    """One shard, as ``Database``; ``work`` is a coroutine function. ``async with AsyncDatabase(…) as database: …``."""

    def __init__(
        self, contract: DatabaseContract, shard: str, credentials: Credentials, options: PoolOptions | None = None
    ) -> None:
        self._options = options or PoolOptions()
        chosen = contract.shard(shard)

        def pool(endpoint: DatabaseEndpoint) -> Pool:
            arguments = connection_arguments(credentials, endpoint.host, endpoint.port, contract.sslmode, self._options)
            return AsyncConnectionPool(
                connection_class=AsyncCommitSafeConnection, kwargs=arguments, open=False,
                min_size=self._options.min_size, max_size=self._options.max_size,
                max_lifetime=self._options.lifetime_seconds(contract), reconnect_timeout=RECONNECT_SECONDS,
            )  # fmt: skip

        self._write = pool(chosen.write)
        self._reads = [pool(endpoint) for endpoint in chosen.reads]
        self._rotation = Rotation(len(self._reads))
        self._occupancy = {pool: Occupancy(self._options.max_size) for pool in (self._write, *self._reads)}

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
        return await self._write_repeatedly(work, deadline_seconds, once, keyed=once is not None)

    async def forget(self, *, older_than_seconds: float, limit: int = 10_000, deadline_seconds: float) -> int:
        """As ``Database.forget``."""
        parameters = forget_parameters(older_than_seconds, limit)

        async def delete(connection: AsyncConnection) -> int:
            return (await connection.execute(FORGET, parameters)).rowcount

        return (await self._write_repeatedly(delete, deadline_seconds, None, keyed=True)).value

    async def read(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, deadline_seconds: float, after: Token | None = None
    ) -> T:
        """As ``Database.read``."""
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=True)
        while True:
            attempts.begin()
            if after is None or after.lsn is not None:
                for index in self._rotation.order():
                    turn = self._turn_seconds(attempts.deadline)
                    try:
                        found = await self._read_once(self._reads[index], work, attempts.deadline, after, turn)
                    except psycopg.Error as error:
                        if attempts.endpoint_failed(error, turn):
                            self._rotation.failed(index)
                        continue
                    self._rotation.succeeded(index)
                    if found is not _BEHIND:
                        return cast("T", found)
            try:
                found = await self._read_once(self._write, work, attempts.deadline, after, None)
                if found is not _BEHIND:
                    return cast("T", found)
                raise psycopg.OperationalError("the write endpoint answered from a replica")
            except psycopg.Error as error:
                pause_seconds = attempts.pause_seconds(error)
            await asyncio.sleep(pause_seconds)

    async def _write_repeatedly(
        self, work: Callable[[AsyncConnection], Awaitable[T]], deadline_seconds: float, once: IdempotencyKey | None, *,
        keyed: bool,
    ) -> Written[T]:  # fmt: skip
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=keyed)
        while True:
            attempts.begin()
            try:
                return await self._write_once(work, attempts, once)
            except psycopg.Error as error:
                pause_seconds = attempts.pause_seconds(error)
            await asyncio.sleep(pause_seconds)

    async def _write_once(
        self, work: Callable[[AsyncConnection], Awaitable[T]], attempts: Attempts, once: IdempotencyKey | None
    ) -> Written[T]:
        async with self._transaction(self._write, attempts.deadline) as connection:
            await connection.execute(statements.BEGIN_WRITE, [attempts.deadline.statement_timeout])
            if once is None:
                value = await work(connection)
            else:
                claimed = await connection.execute(CLAIM, once.claim)
                repeated, answer = once.replayed(await claimed.fetchone())
                value = cast("T", answer) if repeated else await work(connection)
                if not repeated:
                    require_open(connection.info.transaction_status)
                    await connection.execute(STORE, once.store(value))
            require_open(connection.info.transaction_status)
            attempts.phase = Phase.COMMIT
            await _undisturbed(connection.commit())
            token = Token(lsn=None)
            # The commit stands whatever becomes of this question; without an answer, reads go to the primary.
            brief = attempts.deadline.within(self._options.endpoint_timeout_seconds)
            with suppress(psycopg.Error, OSError), _guard(connection, brief):
                row = await (await connection.execute(statements.POSITION)).fetchone()
                await connection.rollback()
                token = Token.parse(row[0]) if row and row[0] else token
            return Written(value=value, token=token)

    async def _read_once(
        self, pool: Pool, work: Callable[[AsyncConnection], Awaitable[T]], deadline: Deadline,
        after: Token | None, turn_seconds: float | None,
    ) -> T | object:  # fmt: skip
        async with self._transaction(pool, deadline, turn_seconds) as connection:
            # A replica that hangs is left within its turn, not at the end of the whole call.
            first = deadline if turn_seconds is None else deadline.within(turn_seconds)
            with _guard(connection, first):
                row = await (await connection.execute(statements.BEGIN_READ, [deadline.statement_timeout])).fetchone()
            if after is not None and row is not None and not after.seen_at(row[3], in_recovery=row[2]):
                return _BEHIND
            try:
                return await work(connection)
            except psycopg.errors.ReadOnlySqlTransaction as error:
                raise WriteInReadError("work of a read tried to write; use write()") from error

    def _turn_seconds(self, deadline: Deadline) -> float:
        """As ``Database._turn_seconds``."""
        return min(self._options.endpoint_timeout_seconds, deadline.remaining_seconds / 2)

    @asynccontextmanager
    async def _transaction(
        self, pool: Pool, deadline: Deadline, turn_seconds: float | None = None
    ) -> AsyncIterator[AsyncCommitSafeConnection]:
        """A connection whose socket is shut at the deadline; what is not committed in the block is rolled back."""
        patience = min(deadline.remaining_seconds, CONNECTION_WAIT_SECONDS)
        if turn_seconds is not None:
            patience = min(patience, turn_seconds)
        if patience <= 0:
            # Not yet the caller's error: an earlier COMMIT of this call may be unanswered.
            raise PoolTimeout("the deadline passed before a connection was asked for")
        occupancy = self._occupancy[pool]
        with occupancy.asking():
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
            try:
                # An interrupted ROLLBACK: the pool would wait for its own, without a deadline.
                if connection.info.transaction_status is not TransactionStatus.IDLE:
                    await connection.close()
                await _undisturbed(pool.putconn(connection))
            finally:
                occupancy.returned()


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


async def _undisturbed(action: Awaitable[None]) -> None:
    """Finish it however often the task is cancelled meanwhile, and raise the cancellation afterwards.

    COMMIT: psycopg would cancel it at the server; the deadline bounds the wait. The return of a connection: one that is
    interrupted would be missing from its pool for ever.
    """
    task = asyncio.ensure_future(action)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    task.result()
