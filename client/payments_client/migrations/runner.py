"""Applies migrations: one runner at a time, each step waiting briefly for its locks and trying again.

The lock is a session's, which a transaction pooler would leave on a connection of somebody else: the runner refuses
one. A step that waits for ACCESS EXCLUSIVE lets everybody else queue up behind it, so it waits 3 s at most, steps
back, and tries again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from payments_client.migrations.errors import MigrationError
from payments_client.migrations.files import Migration
from payments_client.migrations.history import CREATE, Connection, Status, read_status, to_run
from payments_client.migrations.locks import TRANSIENT, retried

_LOCK_NAME = "payments_client.migrations"
SCHEMAS = ("es", "ledger", "ops", "archive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a run behaves."""

    owner: str | None = "payments_owner"
    """Role that owns what migrations make; the login role is a member of it. ``None``: the login role itself."""
    contract_through: int = 0
    """Contract migrations up to this version may run: no code of the release before them is left."""
    lock_timeout_seconds: float = 3
    statement_timeout_seconds: float = 60
    """Of statements in transactions, which hold locks; those without a transaction have none."""
    attempts: int = 30
    """How often a step may fail to get its locks."""
    wait_seconds: float = 300
    """How long to wait for another runner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What a run did."""

    applied: tuple[str, ...]
    waiting: tuple[str, ...]
    """Contract steps that are not released, and what comes after them."""
    status: Status


def apply(
    connection: Connection,
    migrations: Sequence[Migration],
    options: Options | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Applied:
    """Bring a database up to date over an autocommitting connection to the primary.

    May be interrupted and run again. Raises ``MigrationError``.
    """
    options = options or Options()
    _check_connection(connection)
    if options.owner is not None:
        _become(connection, options.owner)
    _check_schemas(connection)
    _lock(connection, options, say)
    try:
        connection.execute(CREATE)
        status = read_status(connection, migrations)
        if status.problems:
            raise MigrationError("\n".join(status.problems))
        if status.ahead:
            say(f"the database is ahead of this folder: {', '.join(status.ahead)}; nothing is taken back")
        todo, waiting = to_run(status, migrations, options.contract_through)
        for migration in todo:
            started = time.monotonic()
            _apply_one(connection, migration, options, say)
            say(f"applied {migration.label} in {time.monotonic() - started:.2f} s")
        if waiting:
            say(f"waiting for its release (contract): {', '.join(waiting)}")
        return Applied(
            applied=tuple(m.label for m in todo),
            waiting=tuple(waiting),
            status=read_status(connection, migrations),
        )
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (_LOCK_NAME,))


def _check_connection(connection: Connection) -> None:
    if not connection.autocommit:
        raise MigrationError("the connection must be in autocommit mode")
    row = connection.execute("SELECT pg_backend_pid(), pg_is_in_recovery()").fetchone()
    assert row is not None  # noqa: S101 # a SELECT without FROM has one row
    if row[1]:
        raise MigrationError("the server is a standby; name the primary's address")
    # A pooler answers the login with a number of its own.
    if row[0] != connection.info.backend_pid:
        raise MigrationError("the address is a pooler's, which parts sessions from locks; name the primary's own")


def _become(connection: Connection, role: str) -> None:
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    except (errors.InsufficientPrivilege, errors.InvalidParameterValue, errors.UndefinedObject):
        raise MigrationError(
            f"'{connection.info.user}' cannot act as '{role}'; apply the stack's database resources first"
        ) from None


def _check_schemas(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regnamespace(name) IS NULL", (list(SCHEMAS),)
    ).fetchall()
    if rows:
        missing = ", ".join(row[0] for row in rows)
        raise MigrationError(f"schemas are missing: {missing}; apply the stack's database resources first")


def _lock(connection: Connection, options: Options, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + options.wait_seconds
    told = False
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (_LOCK_NAME,)).fetchone()
        if row is not None and row[0]:
            return
        if time.monotonic() > deadline:
            raise MigrationError(f"another runner has held the lock for {options.wait_seconds:.0f} s; see its log")
        if not told:
            say("another runner is at work; waiting for it")
            told = True
        time.sleep(0.2)


def _apply_one(connection: Connection, migration: Migration, options: Options, say: Callable[[str], None]) -> None:
    step = _in_transaction if migration.transactional else _without_transaction
    try:
        retried(migration.label, lambda: step(connection, migration, options), options.attempts, say)
    except psycopg.Error as error:
        end = "; the connection is lost, run it again" if connection.closed else ", it left nothing behind"
        raise MigrationError(f"{migration.label} failed: {explain(error)}{end}") from error


def _in_transaction(connection: Connection, migration: Migration, options: Options) -> None:
    with connection.transaction():
        _limit(connection, options.lock_timeout_seconds, options.statement_timeout_seconds, local=True)
        for statement in migration.statements:
            connection.execute(statement)
        _record(connection, migration, finished=True)


def _without_transaction(connection: Connection, migration: Migration, options: Options) -> None:
    _record(connection, migration, finished=False)
    # Such statements queue behind DDL only and let reads and writes pass, so they may wait as long as they like.
    _limit(connection, 0, 0, local=False)
    try:
        for statement in migration.statements:
            connection.execute(statement)
    except psycopg.Error as error:
        if isinstance(error, TRANSIENT):
            raise
        raise MigrationError(
            f"{migration.label} was interrupted ({explain(error)}); the next run begins it again"
        ) from error
    finally:
        if not connection.closed:
            _limit(connection, options.lock_timeout_seconds, 0, local=False)
    connection.execute(
        "UPDATE ops.schema_migrations SET finished_at = clock_timestamp() WHERE version = %s", (migration.version,)
    )


def _limit(connection: Connection, lock_seconds: float, statement_seconds: float, *, local: bool) -> None:
    connection.execute(
        "SELECT set_config('lock_timeout', %s, %s), set_config('statement_timeout', %s, %s)",
        (f"{round(lock_seconds * 1000)}ms", local, f"{round(statement_seconds * 1000)}ms", local),
    )


def _record(connection: Connection, migration: Migration, *, finished: bool) -> None:
    connection.execute(
        "INSERT INTO ops.schema_migrations (version, name, phase, checksum, finished_at) "
        "VALUES (%s, %s, %s, %s, CASE WHEN %s THEN clock_timestamp() END) "
        "ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum",
        (migration.version, migration.name, migration.phase, migration.checksum, finished),
    )


def explain(error: psycopg.Error) -> str:
    """The server's message and code in one line."""
    message = error.diag.message_primary or str(error).splitlines()[0]
    return f"{message} ({error.diag.sqlstate})" if error.diag.sqlstate else message
