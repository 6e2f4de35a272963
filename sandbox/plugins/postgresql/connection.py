"""Connections to the one server of a provider, which has to be on this machine."""

import contextlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Composed

from sandbox.plugins.kubernetes.errors import ProviderError

Inputs = dict[str, Any]
Row = dict[str, Any]


def is_local(host: str) -> bool:
    """Whether a server is on this machine: a stand-in must never change another one."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where the server is and who connects."""

    host: str
    port: int
    database: str
    username: str
    password: str = field(repr=False)
    sslmode: str
    sslrootcert: str | None
    connect_timeout_seconds: int

    @contextlib.contextmanager
    def session(self, database: str | None = None, *, autocommit: bool = False) -> Iterator["Session"]:
        """One transaction in a database, or single statements for what cannot be in one (CREATE DATABASE).

        Raises ``ProviderError`` with the server's own words.
        """
        try:
            with psycopg.connect(
                host=self.host,
                port=self.port,
                dbname=database or self.database,
                user=self.username,
                password=self.password,
                sslmode=self.sslmode,
                connect_timeout=self.connect_timeout_seconds,
                application_name="pulumi-postgresql-stand-in",
                autocommit=autocommit,
                sslrootcert=self.sslrootcert or "",
            ) as connection:
                yield Session(connection)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                message = f"PostgreSQL at {self.host}:{self.port} cannot be reached as {self.username}: {_words(error)}"
                raise ProviderError(message) from None
            raise ProviderError(_words(error)) from None
        except psycopg.Error as error:
            raise ProviderError(_words(error)) from None


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection."""

    connection: psycopg.Connection[Any]

    def do(self, statement: LiteralString, **parts: Composable) -> None:
        """Run one statement; its parts in braces are quoted by the driver."""
        self.connection.execute(SQL(statement).format(**parts))

    def row(self, query: LiteralString | Composed, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Row | None:
        """The first row of a query; ``None`` when there is none."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, parameters).fetchone()

    def exists(self, database: str) -> bool:
        """Whether the server has a database: without it nothing in it can be read."""
        return self.row("SELECT FROM pg_database WHERE datname = %s", [database]) is not None


def _words(error: psycopg.Error) -> str:
    if error.diag.message_primary is None:
        return " ".join(str(error).split())
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return f"{error.diag.message_primary}{detail} [{error.sqlstate}]"
