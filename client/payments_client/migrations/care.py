"""Care of monthly partitions: made ahead of time, and the old ones moved to the archive.

Nothing is dropped: a ledger is exported with a checksum first, by whoever keeps the archive. Every step is a statement
of its own that may be interrupted; the next run goes on where it ended.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import errors, sql

from payments_client.migrations.errors import MigrationError
from payments_client.migrations.locks import retried

Connection = psycopg.Connection[Any]
_MONTH = re.compile(r"_p(\d{4})_(\d{2})$")
MONTHS_AHEAD = 3
_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One monthly table and where it stands on its way to the archive."""

    parent: str
    """Name of the partitioned table in schema ``es``."""
    name: str
    month: int
    """Months since year 0: comparable, and one more each month."""
    attached: bool
    detaching: bool
    """A detachment was begun and interrupted."""


def month_of(moment: datetime) -> int:
    """The month of a moment in UTC, as ``Partition.month``."""
    utc = moment.astimezone(UTC)
    return utc.year * 12 + utc.month - 1


def make_ahead(
    connection: Connection, months_ahead: int = MONTHS_AHEAD, say: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Make the missing partitions of every monthly table; returns their names. Safe beside itself and traffic."""
    made: list[str] = []
    for parent in monthly_parents(connection):

        def ensure(parent: str = parent) -> list[tuple[Any, ...]]:
            return connection.execute(
                "SELECT partition FROM ops.ensure_monthly_partitions(%s::regclass, %s) WHERE created",
                (f"es.{parent}", months_ahead),
            ).fetchall()

        made += [row[0] for row in retried(f"partitions of es.{parent}", ensure, _ATTEMPTS, say)]
    return made


def headroom_days(connection: Connection) -> dict[str, float]:
    """Table → days until an insert would find no partition."""
    return {
        parent: _one(connection, "SELECT ops.partition_headroom_seconds(%s::regclass) / 86400", f"es.{parent}")
        for parent in monthly_parents(connection)
    }


def monthly_parents(connection: Connection) -> list[str]:
    """Tables of schema ``es`` that are partitioned by RANGE."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid "
        "WHERE p.partstrat = 'r' AND c.relnamespace = to_regnamespace('es') ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def partitions(connection: Connection, parent: str) -> list[Partition]:
    """Monthly tables that are not in the archive yet, oldest first, detached ones included."""
    rows = connection.execute(
        "SELECT c.relname, h.inhrelid IS NOT NULL, coalesce(h.inhdetachpending, false) "
        "FROM pg_class c LEFT JOIN pg_inherits h ON h.inhrelid = c.oid "
        "WHERE c.relnamespace = to_regnamespace('es') AND c.relkind = 'r' AND starts_with(c.relname, %s) ORDER BY 1",
        (f"{parent}_p",),
    ).fetchall()
    found: list[Partition] = []
    for name, attached, detaching in rows:
        matched = _MONTH.search(name)
        if matched is not None and name == f"{parent}{matched[0]}":
            month = int(matched[1]) * 12 + int(matched[2]) - 1
            found.append(Partition(parent=parent, name=name, month=month, attached=attached, detaching=detaching))
    return found


def archive_old(
    connection: Connection,
    keep_months: int,
    *,
    now: datetime | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Move months that ended more than ``keep_months`` ago to schema ``archive``; returns the names moved.

    The connection must be autocommitting: detaching beside readers and writers cannot run in a transaction. A lock
    that cannot be had is left for the next run. Raises ``MigrationError``.
    """
    if keep_months < 1:
        raise MigrationError(f"keep_months is {keep_months}; allowed: at least 1")
    if not connection.autocommit:
        raise MigrationError("the connection must be in autocommit mode")
    oldest = month_of(now or datetime.now(UTC)) - keep_months
    moved: list[str] = []
    for parent in monthly_parents(connection):
        for partition in partitions(connection, parent):
            if partition.month >= oldest:
                continue
            try:
                _archive(connection, partition)
            except errors.LockNotAvailable:
                say(f"es.{partition.name} is in use; the next run moves it")
                continue
            say(f"moved es.{partition.name} to archive")
            moved.append(partition.name)
    return moved


def _archive(connection: Connection, partition: Partition) -> None:
    table = sql.Identifier("es", partition.name)
    _remember(connection, partition, table)
    if partition.attached:
        # CONCURRENTLY waits for transactions that know the old shape, and holds back nobody meanwhile.
        ending = "FINALIZE" if partition.detaching else "CONCURRENTLY"
        statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}")
        connection.execute("SET lock_timeout = 0")
        connection.execute(statement.format(sql.Identifier("es", partition.parent), table, sql.SQL(ending)))
        _remember(connection, partition, table)  # what was still appended until it was detached
    # Out of the way: the maker of partitions refuses a name that is taken.
    connection.execute("SET lock_timeout = '3s'")
    connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA archive").format(table))


def _remember(connection: Connection, partition: Partition, table: sql.Identifier) -> None:
    """Note the month's last event before it goes, so that no reader of the global order passes it by unseen."""
    if partition.parent != "events":
        return
    connection.execute(
        sql.SQL(
            "INSERT INTO es.archived (name, xid, seq) "
            "SELECT %s, e.recorded_xid, e.seq FROM {} e ORDER BY e.recorded_xid DESC, e.seq DESC LIMIT 1 "
            "ON CONFLICT (name) DO UPDATE SET xid = excluded.xid, seq = excluded.seq"
        ).format(table),
        (partition.name,),
    )


def forget_keys(connection: Connection, keep_days: int) -> int:
    """Forget idempotency keys that are older, 10,000 in a transaction; returns how many."""
    total = 0
    while True:
        count = int(_one(connection, "SELECT ops.forget_idempotency_keys(make_interval(days => %s), 10000)", keep_days))
        total += count
        if count < 10000:  # noqa: PLR2004 # the batch was not full: nothing is left
            return total


def _one(connection: Connection, query: str, *values: object) -> float:
    row = connection.execute(query, values).fetchone()
    if row is None:
        raise MigrationError("the database gave no answer")
    return float(row[0])
