"""Tells poolers to open new server connections: those from before a change keep plans that fail after it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

EACH_POD = "*."
PASSWORD_NAME = "password"  # noqa: S105 # a name
"""The driver's name for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooler:
    """The administration database of one PgBouncer."""

    host: str
    """A name, or ``*.name``: the certificate names each pod behind it, as ``10-0-0-1.name``."""
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
            addresses = _addresses(pooler)
        except OSError as error:
            failures[f"{pooler.host}:{pooler.port}"] = f"the name has no address: {error.strerror}"
            continue
        for address in addresses:
            try:
                with psycopg.connect(**_parameters(pooler, address), autocommit=True) as connection:
                    # The console knows the simple protocol and no placeholders; psycopg sends such a text simply.
                    connection.execute("RECONNECT " + database)
            except psycopg.Error as error:
                place = pooler.host if address == pooler.host else f"{pooler.host} ({address})"
                failures[f"{place}:{pooler.port}"] = str(error).splitlines()[0]
    return failures


def _addresses(pooler: Pooler) -> list[str]:
    """Every address behind the name: each is a process with connections of its own. Raises ``OSError``."""
    name = pooler.host.removeprefix(EACH_POD)
    found = socket.getaddrinfo(name, pooler.port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _parameters(pooler: Pooler, address: str) -> dict[str, Any]:
    # Kubernetes' name of a pod behind a headless Service.
    name = address.replace(".", "-") + pooler.host[1:] if pooler.host.startswith(EACH_POD) else pooler.host
    given = {
        "host": name,
        "hostaddr": address,
        "port": pooler.port,
        "user": pooler.user,
        PASSWORD_NAME: pooler.auth,
        "dbname": "pgbouncer",
        "sslmode": pooler.sslmode,
        "sslrootcert": pooler.ca_file,
        "connect_timeout": 10,
    }
    return {name: value for name, value in given.items() if value is not None}
