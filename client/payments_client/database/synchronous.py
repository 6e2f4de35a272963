"""``Database``: for threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint
from payments_client.database import statements
from payments_client.database.commits import CommitSafeConnection
from payments_client.database.deadlines import WATCHDOG, Deadline
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
Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[CommitSafeConnection]
_BEHIND = object()


class Database:
    """One shard: a pool for writes and a pool for each read endpoint. Safe from several threads.

    ``with Database(contract, "s00", credentials) as database: …`` opens the pools and closes them.
    """

    def __init__(
        self, contract: DatabaseContract, shard: str, credentials: Credentials, options: PoolOptions | None = None
    ) -> None:
        self._options = options or PoolOptions()
        chosen = contract.shard(shard)

        def pool(endpoint: DatabaseEndpoint) -> Pool:
            arguments = connection_arguments(credentials, endpoint.host, endpoint.port, contract.sslmode, self._options)
            return ConnectionPool(
                connection_class=CommitSafeConnection, kwargs=arguments, open=False,
                min_size=self._options.min_size, max_size=self._options.max_size,
                max_lifetime=self._options.lifetime_seconds(contract), reconnect_timeout=RECONNECT_SECONDS,
            )  # fmt: skip

        self._write = pool(chosen.write)
        self._reads = [pool(endpoint) for endpoint in chosen.reads]
        self._rotation = Rotation(len(self._reads))
        self._occupancy = {pool: Occupancy(self._options.max_size) for pool in (self._write, *self._reads)}

    def __enter__(self) -> Self:
        for pool in (self._write, *self._reads):
            pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._write, *self._reads):
            pool.close(timeout=2)

    def write(
        self, work: Callable[[Connection], T], *, deadline_seconds: float, once: IdempotencyKey | None = None
    ) -> Written[T]:
        """Run ``work`` in a transaction on the primary and commit it.

        ``work`` may run several times and must touch nothing but the connection. It is repeated when the transaction is
        known not to have been committed, and after an unanswered COMMIT only with ``once``. Raises
        ``OutcomeUnknownError``, ``DeadlineExceededError``, ``KeyReusedError``, or what PostgreSQL answered.
        """
        return self._write_repeatedly(work, deadline_seconds, once, keyed=once is not None)

    def forget(self, *, older_than_seconds: float, limit: int = 10_000, deadline_seconds: float) -> int:
        """Delete the oldest idempotency keys, at most ``limit`` (1 … 50 000), and return how many.

        Keys are kept as long as anybody may retry: a day is usual, less than an hour is refused with ``ValueError``.
        Call it again while it returns ``limit``. Raises as ``write`` does; it does no harm twice, so that an unanswered
        COMMIT is repeated.
        """
        parameters = forget_parameters(older_than_seconds, limit)
        return self._write_repeatedly(
            lambda connection: connection.execute(FORGET, parameters).rowcount, deadline_seconds, None, keyed=True
        ).value

    def read(self, work: Callable[[Connection], T], *, deadline_seconds: float, after: Token | None = None) -> T:
        """Run ``work`` in a read-only transaction on a replica that has seen ``after``, or else on the primary.

        ``work`` may run several times. Raises ``DeadlineExceededError`` or what PostgreSQL answered.
        """
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=True)
        while True:
            attempts.begin()
            if after is None or after.lsn is not None:
                for index in self._rotation.order():
                    turn = self._turn_seconds(attempts.deadline)
                    try:
                        found = self._read_once(self._reads[index], work, attempts.deadline, after, turn)
                    except psycopg.Error as error:
                        if attempts.endpoint_failed(error, turn):
                            self._rotation.failed(index)
                        continue
                    self._rotation.succeeded(index)
                    if found is not _BEHIND:
                        return cast("T", found)
            try:
                found = self._read_once(self._write, work, attempts.deadline, after, None)
                if found is not _BEHIND:
                    return cast("T", found)
                raise psycopg.OperationalError("the write endpoint answered from a replica")
            except psycopg.Error as error:
                time.sleep(attempts.pause_seconds(error))

    def _write_repeatedly(
        self, work: Callable[[Connection], T], deadline_seconds: float, once: IdempotencyKey | None, *, keyed: bool
    ) -> Written[T]:
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=keyed)
        while True:
            attempts.begin()
            try:
                return self._write_once(work, attempts, once)
            except psycopg.Error as error:
                time.sleep(attempts.pause_seconds(error))

    def _write_once(
        self, work: Callable[[Connection], T], attempts: Attempts, once: IdempotencyKey | None
    ) -> Written[T]:
        with self._transaction(self._write, attempts.deadline) as connection:
            connection.execute(statements.BEGIN_WRITE, [attempts.deadline.statement_timeout])
            if once is None:
                value = work(connection)
            else:
                repeated, answer = once.replayed(connection.execute(CLAIM, once.claim).fetchone())
                value = cast("T", answer) if repeated else work(connection)
                if not repeated:
                    require_open(connection.info.transaction_status)
                    connection.execute(STORE, once.store(value))
            require_open(connection.info.transaction_status)
            attempts.phase = Phase.COMMIT
            connection.commit()
            token = Token(lsn=None)
            # The commit stands whatever becomes of this question; without an answer, reads go to the primary.
            brief = attempts.deadline.within(self._options.endpoint_timeout_seconds)
            with suppress(psycopg.Error, OSError), WATCHDOG.guard(connection.fileno(), brief):
                row = connection.execute(statements.POSITION).fetchone()
                connection.rollback()
                token = Token.parse(row[0]) if row and row[0] else token
            return Written(value=value, token=token)

    def _read_once(
        self, pool: Pool, work: Callable[[Connection], T], deadline: Deadline, after: Token | None,
        turn_seconds: float | None,
    ) -> T | object:  # fmt: skip
        with self._transaction(pool, deadline, turn_seconds) as connection:
            # A replica that hangs is left within its turn, not at the end of the whole call.
            first = deadline if turn_seconds is None else deadline.within(turn_seconds)
            with WATCHDOG.guard(connection.fileno(), first):
                row = connection.execute(statements.BEGIN_READ, [deadline.statement_timeout]).fetchone()
            if after is not None and row is not None and not after.seen_at(row[3], in_recovery=row[2]):
                return _BEHIND
            try:
                return work(connection)
            except psycopg.errors.ReadOnlySqlTransaction as error:
                raise WriteInReadError("work of a read tried to write; use write()") from error

    def _turn_seconds(self, deadline: Deadline) -> float:
        """How long one read endpoint may take to answer: half of what is left, for the next or the primary."""
        return min(self._options.endpoint_timeout_seconds, deadline.remaining_seconds / 2)

    @contextmanager
    def _transaction(
        self, pool: Pool, deadline: Deadline, turn_seconds: float | None = None
    ) -> Iterator[CommitSafeConnection]:
        """A connection whose socket is shut at the deadline; what is not committed in the block is rolled back."""
        patience = min(deadline.remaining_seconds, CONNECTION_WAIT_SECONDS)
        if turn_seconds is not None:
            patience = min(patience, turn_seconds)
        if patience <= 0:
            # Not yet the caller's error: an earlier COMMIT of this call may be unanswered.
            raise PoolTimeout("the deadline passed before a connection was asked for")
        occupancy = self._occupancy[pool]
        with occupancy.asking():
            connection = pool.getconn(timeout=patience)
        try:
            with WATCHDOG.guard(connection.fileno(), deadline):
                try:
                    yield connection
                except psycopg.Error as error:
                    # Not an answer of the server: nobody knows what this connection would say next.
                    if error.sqlstate is None:
                        connection.close()
                    raise
                finally:
                    with suppress(psycopg.Error):
                        connection.rollback()
        finally:
            try:
                # An interrupted ROLLBACK: the pool would wait for its own, without a deadline.
                if connection.info.transaction_status is not TransactionStatus.IDLE:
                    connection.close()
                pool.putconn(connection)
            finally:
                occupancy.returned()
