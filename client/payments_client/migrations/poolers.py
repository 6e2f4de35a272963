"""Tells poolers to open new server connections: those from before a change keep plans that fail after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

PASSWORD_NAME = "password"  # noqa: S105 # a name
"""The driver's name for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooler:
    """The administration database of one PgBouncer."""

    host: str
    port: int
    user: str
    auth: str | None = field(default=None, repr=False)
    """Its password."""
    sslmode: str = "verify-full"
    ca_file: str | None = None


def reconnect(poolers: Sequence[Pooler], database: str) -> dict[str, str]:
    """``RECONNECT`` on every pooler; connections close as their transactions end. Returns address → failure.

    A pooler that cannot be reached is no reason to call the migration failed: its connections end with
    ``server_lifetime``.
    """
    failures: dict[str, str] = {}
    for pooler in poolers:
        try:
            with psycopg.connect(**_parameters(pooler), autocommit=True) as connection:
                # The console knows the simple protocol and no placeholders; psycopg sends such a text simply.
                connection.execute("RECONNECT " + database)
        except psycopg.Error as error:
            failures[f"{pooler.host}:{pooler.port}"] = str(error).splitlines()[0]
    return failures


def _parameters(pooler: Pooler) -> dict[str, Any]:
    given = {
        "host": pooler.host,
        "port": pooler.port,
        "user": pooler.user,
        PASSWORD_NAME: pooler.auth,
        "dbname": "pgbouncer",
        "sslmode": pooler.sslmode,
        "sslrootcert": pooler.ca_file,
        "connect_timeout": 10,
    }
    return {name: value for name, value in given.items() if value is not None}
