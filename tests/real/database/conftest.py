"""One server of each version for a worker; every test gets a migrated database of its own."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from payments_client.migrations import apply, load
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.postgres_server import PostgresServer, running

MIGRATIONS = Path(__file__).parents[3] / "migrations"
_NUMBERS = count()
_TEMPLATE = "payments_template"
# Opening a connection costs the server a process: threads keep theirs until the test ends.
_KEPT: dict[tuple[int, str, str, int], psycopg.Connection[Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Database:
    """One migrated database and its server."""

    server: PostgresServer
    name: str

    def dsn(self, user: str = roles.APP) -> str:
        """The connection string of a role."""
        return self.server.dsn(self.name, user)

    def connect(self, user: str = roles.APP, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection as a role; the migrator acts as the owner."""
        connection = psycopg.connect(self.dsn(user), autocommit=autocommit)
        if user == roles.MIGRATOR:
            connection.execute("SET ROLE payments_owner")
            if not autocommit:
                connection.commit()
        return connection

    def kept(self, user: str = roles.APP) -> psycopg.Connection[Any]:
        """The calling thread's own autocommitting connection as a role; it is closed after the test."""
        key = (self.server.port, self.name, user, threading.get_ident())
        found = _KEPT.get(key)
        if found is None or found.closed:
            found = _KEPT[key] = self.connect(user)
        return found

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """What a pool's ``connection`` gives: this thread's connection in a transaction."""
        connection = self.kept()
        with connection.transaction():
            yield connection

    def all(self, query: str, *values: Any, user: str = roles.MIGRATOR) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        cursor = self.kept(user).execute(query, values or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: Any, user: str = roles.MIGRATOR) -> Any:
        """The first column of the first row."""
        return self.all(query, *values, user=user)[0][0]


@pytest.fixture(autouse=True)
def _close_kept_connections() -> Iterator[None]:
    yield
    while _KEPT:
        _KEPT.popitem()[1].close()


class Servers:
    """Servers by version, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[int, PostgresServer] = {}

    def of(self, major: int) -> PostgresServer:
        """The server, with the roles and a migrated template."""
        if major not in self._started:
            server = self._stack.enter_context(running(major))
            roles.make_roles(server)
            roles.make_database(server, _TEMPLATE)
            with psycopg.connect(server.dsn(_TEMPLATE, roles.MIGRATOR), autocommit=True) as connection:
                apply(connection, load(MIGRATIONS))
            self._started[major] = server
        return self._started[major]


@pytest.fixture(scope="session")
def _servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


# `make test` tries the newest version, `make test-all` the others as well.
_MAJORS = [pytest.param(v, marks=[] if v == max(VERSIONS) else [pytest.mark.slow], id=f"pg{v}") for v in VERSIONS]


@pytest.fixture(params=_MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    """Each supported major version."""
    version: int = request.param
    return version


@pytest.fixture
def server(major: int, _servers: Servers) -> PostgresServer:
    """The worker's server of a version, with the roles."""
    return _servers.of(major)


@pytest.fixture
def empty_database(server: PostgresServer) -> Database:
    """Schemas, no tables."""
    database = Database(server=server, name=f"empty_{next(_NUMBERS)}")
    roles.make_database(server, database.name)
    return database


@pytest.fixture
def database(server: PostgresServer) -> Database:
    """All migrations applied, no rows."""
    return _copy(server)


@pytest.fixture
def newest(_servers: Servers) -> Database:
    """As ``database``, on the newest version only: for what does not depend on it."""
    return _copy(_servers.of(max(VERSIONS)))


def _copy(server: PostgresServer) -> Database:
    """A database of its own; it goes with the server."""
    database = Database(server=server, name=f"test_{next(_NUMBERS)}")
    with server.connect() as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE payments_template OWNER payments_owner").format(name))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(name))
    return database
