"""One server of each version for a worker; every test gets a migrated database of its own."""

from collections.abc import Iterator
from contextlib import ExitStack
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

    def all(self, query: str, *values: Any, user: str = roles.MIGRATOR) -> list[tuple[Any, ...]]:
        """Rows of one statement."""
        with self.connect(user) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: Any, user: str = roles.MIGRATOR) -> Any:
        """The first column of the first row."""
        return self.all(query, *values, user=user)[0][0]


@pytest.fixture(scope="session")
def _started() -> Iterator[dict[int, PostgresServer]]:
    with ExitStack() as stack:
        found: dict[int, PostgresServer] = {}
        for major in VERSIONS:
            server = found[major] = stack.enter_context(running(major))
            roles.make_roles(server)
            roles.make_database(server, _TEMPLATE)
            with psycopg.connect(server.dsn(_TEMPLATE, roles.MIGRATOR), autocommit=True) as connection:
                apply(connection, load(MIGRATIONS))
        yield found


@pytest.fixture(params=VERSIONS, ids=lambda major: f"pg{major}")
def major(request: pytest.FixtureRequest) -> int:
    """Each supported major version."""
    version: int = request.param
    return version


@pytest.fixture
def server(major: int, _started: dict[int, PostgresServer]) -> PostgresServer:
    """The worker's server of a version, with the roles."""
    return _started[major]


@pytest.fixture
def empty_database(server: PostgresServer) -> Iterator[Database]:
    """Schemas, no tables."""
    database = Database(server=server, name=f"empty_{next(_NUMBERS)}")
    roles.make_database(server, database.name)
    yield database
    _drop(database)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[Database]:
    """All migrations applied, no rows."""
    yield from _copy(server)


@pytest.fixture
def newest(_started: dict[int, PostgresServer]) -> Iterator[Database]:
    """As ``database``, on the newest version only: for what does not depend on it."""
    yield from _copy(_started[max(VERSIONS)])


def _copy(server: PostgresServer) -> Iterator[Database]:
    database = Database(server=server, name=f"test_{next(_NUMBERS)}")
    with server.connect() as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE payments_template OWNER payments_owner").format(name))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(name))
    yield database
    _drop(database)


def _drop(database: Database) -> None:
    with database.server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))
