"""``Database``: for threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from payments_client.contract_database import DatabaseContract, DatabaseEndpoint
from payments_client.database import statements
from payments_client.database.deadlines import WATCHDOG, Deadline
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
Connection = psycopg.Connection[tuple[Any, ...]]
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

        def pool(endpoint: DatabaseEndpoint) -> ConnectionPool[Connection]:
            arguments = connection_arguments(credentials, endpoint.host, endpoint.port, contract.sslmode, self._options)
            return ConnectionPool(
                kwargs=arguments, min_size=self._options.min_size, max_size=self._options.max_size, open=False,
                max_lifetime=self._options.lifetime_seconds(contract), reconnect_timeout=RECONNECT_SECONDS,
            )  # fmt: skip

        self._write = pool(chosen.write)
        self._reads = [pool(endpoint) for endpoint in chosen.reads]
        self._rotation = Rotation(len(self._reads))

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
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=once is not None)
        while True:
            attempts.begin()
            try:
                return self._write_once(work, attempts, once)
            except (psycopg.Error, PoolTimeout) as error:
                time.sleep(attempts.pause_seconds(error))

    def read(self, work: Callable[[Connection], T], *, deadline_seconds: float, after: Token | None = None) -> T:
        """Run ``work`` in a read-only transaction on a replica that has seen ``after``, or else on the primary.

        ``work`` may run several times. Raises ``DeadlineExceededError`` or what PostgreSQL answered.
        """
        attempts = Attempts(deadline=Deadline.after(deadline_seconds), keyed=True)
        while True:
            attempts.begin()
            if after is None or after.lsn is not None:
                for index in self._rotation.order():
                    try:
                        found = self._read_once(self._reads[index], work, attempts.deadline, after, limited=True)
                    except (psycopg.Error, PoolTimeout) as error:
                        if outcome_of(error, Phase.BEFORE_COMMIT) is not Outcome.REPEATABLE:
                            attempts.pause_seconds(error)
                        self._rotation.failed(index)
                        continue
                    self._rotation.succeeded(index)
                    if found is not _BEHIND:
                        return cast("T", found)
            try:
                found = self._read_once(self._write, work, attempts.deadline, after, limited=False)
                if found is not _BEHIND:
                    return cast("T", found)
                raise psycopg.OperationalError("the write endpoint answered from a replica")
            except (psycopg.Error, PoolTimeout) as error:
                time.sleep(attempts.pause_seconds(error))

    def _write_once(
        self, work: Callable[[Connection], T], attempts: Attempts, once: IdempotencyKey | None
    ) -> Written[T]:
        with self._transaction(self._write, attempts.deadline, limited=False) as connection:
            connection.execute(statements.BEGIN_WRITE, [attempts.deadline.statement_timeout])
            if once is None:
                value = work(connection)
            else:
                repeated, answer = once.replayed(connection.execute(CLAIM, once.claim).fetchone())
                value = cast("T", answer) if repeated else work(connection)
                if not repeated:
                    connection.execute(STORE, once.store(value))
            attempts.phase = Phase.COMMIT
            connection.commit()
            token = Token(lsn=None)
            # The commit stands whatever becomes of this question; without an answer, reads go to the primary.
            with suppress(psycopg.Error):
                row = connection.execute(statements.POSITION).fetchone()
                connection.rollback()
                token = Token.parse(row[0]) if row and row[0] else token
            return Written(value=value, token=token)

    def _read_once(
        self, pool: ConnectionPool[Connection], work: Callable[[Connection], T], deadline: Deadline,
        after: Token | None, *, limited: bool,
    ) -> T | object:  # fmt: skip
        with self._transaction(pool, deadline, limited=limited) as connection:
            # A replica that hangs is left within the time of one endpoint, not of the whole call.
            first = deadline.within(self._options.endpoint_timeout_seconds) if limited else deadline
            with WATCHDOG.guard(connection.fileno(), first):
                row = connection.execute(statements.BEGIN_READ, [deadline.statement_timeout]).fetchone()
            if after is not None and row is not None and not after.seen_at(row[3], in_recovery=row[2]):
                return _BEHIND
            return work(connection)

    @contextmanager
    def _transaction(
        self, pool: ConnectionPool[Connection], deadline: Deadline, *, limited: bool
    ) -> Iterator[Connection]:
        """A connection whose socket is shut at the deadline; what is not committed in the block is rolled back."""
        patience = min(deadline.remaining_seconds, CONNECTION_WAIT_SECONDS)
        if patience <= 0:
            raise DeadlineExceededError("the deadline passed before a connection was asked for")
        if limited:
            patience = min(patience, self._options.endpoint_timeout_seconds)
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
            pool.putconn(connection)
