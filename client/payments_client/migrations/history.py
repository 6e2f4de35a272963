"""What a database says about the migrations that it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from payments_client.migrations.files import Migration, Phase

Connection = psycopg.Connection[Any]

CREATE = """
CREATE TABLE IF NOT EXISTS ops.schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    phase text NOT NULL,
    checksum text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    applied_by text NOT NULL DEFAULT session_user
)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A database beside a folder of migrations; labels as in ``0003_outbox``."""

    newest: int = 0
    """Newest version that is complete."""
    pending: tuple[str, ...] = ()
    """Not there yet, expand and contract alike."""
    unfinished: tuple[str, ...] = ()
    """Begun without a transaction and interrupted: the next run begins them again."""
    edited: tuple[str, ...] = ()
    """Applied from another text than the file has now."""
    unknown: tuple[str, ...] = ()
    """Applied, and missing in the folder though it has newer ones."""
    ahead: tuple[str, ...] = ()
    """Applied by a newer release than this folder's: a run leaves them as they are."""

    @property
    def current(self) -> bool:
        """Whether the database has what the folder has, no less and no more."""
        return not (self.pending or self.unfinished or self.edited or self.unknown or self.ahead)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why no run may touch this database; empty when one may."""
        return (
            *(
                f"{label} was edited after it was applied; restore it and write a new migration"
                for label in self.edited
            ),
            *(f"{label} was applied but is missing in the folder; restore the file" for label in self.unknown),
        )


def read_status(connection: Connection, migrations: Sequence[Migration]) -> Status:
    """Compare; changes nothing, also where no migration ever ran. Needs SELECT on ``ops.schema_migrations``."""
    known = {migration.version: migration for migration in migrations}
    last = max(known, default=0)
    row = connection.execute("SELECT to_regclass('ops.schema_migrations') IS NOT NULL").fetchone()
    rows: list[tuple[int, str, str, bool]] = []
    if row is not None and row[0]:
        rows = connection.execute(
            "SELECT version, name, checksum, finished_at IS NOT NULL FROM ops.schema_migrations ORDER BY version"
        ).fetchall()
    done = {version for version, _, _, finished in rows if finished}
    begun = {version for version, _, _, finished in rows if not finished}
    labels = {version: f"{version:04d}_{name}" for version, name, _, _ in rows}
    # One that was never completed may be mended.
    edited = {
        version
        for version, _, checksum, _ in rows
        if version in done & set(known) and known[version].checksum != checksum
    }
    return Status(
        newest=max(done, default=0),
        pending=tuple(m.label for m in migrations if m.version not in done | begun),
        unfinished=tuple(labels[version] for version in sorted(begun)),
        edited=tuple(labels[version] for version in sorted(edited)),
        unknown=tuple(labels[version] for version in sorted(labels) if version not in known and version < last),
        ahead=tuple(labels[version] for version in sorted(labels) if version > last),
    )


def to_run(status: Status, migrations: Sequence[Migration], contract_through: int) -> tuple[list[Migration], list[str]]:
    """What a run applies, and the labels that wait: the first contract step that is not released stops the rest."""
    wanted = {int(label[:4]) for label in (*status.pending, *status.unfinished)}
    todo = [migration for migration in migrations if migration.version in wanted]
    for index, migration in enumerate(todo):
        if migration.phase is Phase.CONTRACT and migration.version > contract_through:
            return todo[:index], [m.label for m in todo[index:]]
    return todo, []
