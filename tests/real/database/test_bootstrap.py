"""The rendered bootstrap of a cluster on a real server: the administrator can make all that the engine declares."""
# ruff: noqa: S608 # constants of this repository

import shutil
from collections.abc import Iterator

import psycopg
import pytest

from components.postgres.bootstrap_files import bootstrap_sql
from components.postgres.model import PASSWORDS_PATH
from sandbox import embedded_postgres as embedded
from settings.data_roles import ADMINISTRATOR, RoleName
from tests.real.postgres_server import PostgresServer, running

_FILES = ("admin", "pooler", "monitoring")


@pytest.fixture(scope="module")
def born() -> Iterator[PostgresServer]:
    """A new server after Patroni's ``post_init``."""
    with running(max(embedded.VERSIONS)) as server:
        folder = embedded.owned_folder("payments-bootstrap-")
        try:
            for name in _FILES:
                (folder / name).write_text(f"phrase-of-{name}\n", encoding="utf-8")
            script = folder / "bootstrap.sql"
            script.write_text(bootstrap_sql().replace(PASSWORDS_PATH, str(folder)), encoding="utf-8")
            psql = embedded.programs(server.major).path("psql")
            embedded.run([psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", f"--file={script}", server.dsn()])
            yield server
        finally:
            shutil.rmtree(folder)


def ask(server: PostgresServer, statement: str, user: str = "postgres") -> list[tuple[object, ...]]:
    with server.connect("postgres", user) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_there_is_no_database_yet_and_the_administrator_is_no_superuser(born: PostgresServer) -> None:
    assert ask(born, "SELECT datname FROM pg_database WHERE NOT datistemplate") == [("postgres",)]
    settings = f"SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = '{ADMINISTRATOR}'::regrole"
    assert ask(born, settings) == [("createrole_self_grant=set, inherit",)]
    powers = f"SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = '{ADMINISTRATOR}'"
    assert ask(born, powers) == [(False, True, True)]
    assert ask(born, f"SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = '{ADMINISTRATOR}'") == [
        (True,)
    ]


def test_the_administrator_makes_roles_and_the_database_and_the_lookup_finds_them(born: PostgresServer) -> None:
    for statement in (
        f"CREATE ROLE {RoleName.OWNER} NOLOGIN",
        f"CREATE ROLE {RoleName.APPLICATION} LOGIN PASSWORD 'phrase'",
        f"CREATE ROLE {RoleName.EXPORTER} LOGIN PASSWORD 'phrase'",
        f"GRANT pg_monitor TO {RoleName.EXPORTER}",
        f"CREATE DATABASE payments OWNER {RoleName.OWNER} TEMPLATE template0",
    ):
        ask(born, statement, ADMINISTRATOR)
    for user, rows in ((RoleName.APPLICATION, 1), (ADMINISTRATOR, 0), (RoleName.OWNER, 0), ("postgres", 0)):
        found = ask(born, f"SELECT password FROM pgbouncer.get_auth('{user}')", "pgbouncer_auth")
        assert len(found) == rows, user
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(born, "SELECT * FROM pgbouncer.get_auth('payments_app')", RoleName.APPLICATION)
