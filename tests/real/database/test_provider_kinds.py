"""The stand-in for the PostgreSQL plugin, kind by kind, on a real server and as an administrator without superuser."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.postgresql.connection import Inputs, Server, is_local
from sandbox.plugins.postgresql.server import KINDS
from sandbox.scram import verifier
from tests.real.postgres_server import PostgresServer

PREFIX = "tried_"
OWNER, READER, DATABASE = f"{PREFIX}owner", f"{PREFIX}reader", f"{PREFIX}database"
INSIDE = {"database": DATABASE}


def kind(name: str) -> Any:
    return KINDS[f"postgresql:index/{name[0].lower()}{name[1:]}:{name}"]


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[Server]:
    """An administrator with a database of a role that he made; all gone afterwards."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE tried_admin LOGIN CREATEROLE CREATEDB")
        connection.execute("ALTER ROLE tried_admin SET createrole_self_grant = 'set, inherit'")
        connection.execute("GRANT pg_monitor TO tried_admin WITH ADMIN OPTION")
    place = Server(
        host="127.0.0.1", port=server.port, database="postgres", username="tried_admin", password="", sslmode="disable",
        sslrootcert=None, connect_timeout_seconds=30,
    )  # fmt: skip
    kind("Role").create(place, {"name": OWNER})
    kind("Role").create(place, {"name": READER})
    kind("Database").create(place, {"name": DATABASE, "owner": OWNER, "template": "template0"})
    yield place
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        for (role,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'tried%'").fetchall():
            connection.execute(f"DROP OWNED BY {role}")
        for (role,) in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tried%' ORDER BY rolname DESC"
        ).fetchall():
            connection.execute(f"DROP ROLE {role}")


ROLE: Inputs = {
    "name": f"{PREFIX}role", "login": True, "superuser": False, "createRole": False, "createDatabase": False,
    "replication": False, "bypassRowLevelSecurity": False, "connectionLimit": 5.0, "statementTimeout": 1500.0,
    "idleInTransactionSessionTimeout": 60000.0, "searchPaths": ["es", "pg_catalog"], "password": verifier("pencil"),
}  # fmt: skip
EXISTING: list[tuple[str, Inputs, Inputs]] = [
    ("Role", ROLE, {"connectionLimit": 7.0, "searchPaths": [], "statementTimeout": 0.0, "login": False}),
    ("Role", {"name": f"{PREFIX}role", "assumeRole": OWNER}, {"assumeRole": READER}),
    (
        "Database",
        {"name": f"{PREFIX}other", "owner": OWNER, "template": "template0", "encoding": "UTF8", "lcCollate": "C",
         "lcCtype": "C", "allowConnections": True, "isTemplate": False},
        {"owner": READER, "connectionLimit": 3.0},
    ),
    ("Schema", {**INSIDE, "name": "es", "owner": OWNER, "dropCascade": False}, {"owner": READER}),
    ("Extension", {**INSIDE, "name": "citext", "schema": "public"}, {}),
    (
        "Publication",
        {**INSIDE, "name": "changes", "owner": OWNER, "publishParams": ["insert"],
         "publishViaPartitionRootParam": True},
        {"publishParams": ["insert", "update"]},
    ),
    ("GrantRole", {"role": READER, "grantRole": OWNER, "withAdminOption": False}, {}),
    ("GrantRole", {"role": READER, "grantRole": "pg_monitor", "withAdminOption": False}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "changes"), EXISTING)
def test_what_is_made_is_read_back_changed_and_removed(
    admin: Server, name: str, inputs: Inputs, changes: Inputs
) -> None:
    one = kind(name)
    assert one.problems(inputs) == []
    assert set(inputs) <= one.properties
    assert one.read(admin, inputs) is None
    one.create(admin, inputs)
    assert one.read(admin, inputs) == inputs
    with pytest.raises(ProviderError, match="already exists") if name != "GrantRole" else pytest.raises(StopIteration):
        one.create(admin, inputs)
        raise StopIteration
    changed = {**inputs, **changes}
    one.update(admin, inputs, changed)
    assert one.read(admin, changed) == changed
    one.delete(admin, changed)
    assert one.read(admin, changed) is None
    one.delete(admin, changed)


GRANTS: list[tuple[str, Inputs, list[str]]] = [
    ("Grant", {**INSIDE, "role": READER, "objectType": "database"}, ["CONNECT", "TEMPORARY"]),
    ("Grant", {**INSIDE, "role": READER, "objectType": "schema", "schema": "public"}, ["USAGE"]),
    ("Grant", {**INSIDE, "role": "public", "objectType": "database"}, []),
    ("Grant", {**INSIDE, "role": "public", "objectType": "schema", "schema": "public"}, []),
    (
        "DefaultPrivileges",
        {**INSIDE, "owner": OWNER, "role": READER, "objectType": "table", "schema": "public"},
        ["SELECT"],
    ),
    ("DefaultPrivileges", {**INSIDE, "owner": OWNER, "role": "public", "objectType": "function"}, []),
]


@pytest.mark.parametrize(("name", "inputs", "privileges"), GRANTS)
def test_a_grant_is_exactly_what_was_asked_for(admin: Server, name: str, inputs: Inputs, privileges: list[str]) -> None:
    one, wanted = kind(name), {**inputs, "privileges": privileges, "withGrantOption": False}
    one.create(admin, wanted)
    assert one.read(admin, wanted) == wanted
    more = {**wanted, "privileges": ["CREATE"] if name == "Grant" else ["INSERT"]}
    if inputs["role"] != "public":
        one.update(admin, wanted, more)
        assert one.read(admin, wanted) == more, "a privilege too many, and one that is missing, are seen"
    one.delete(admin, more)
    nothing = {**wanted, "privileges": []}
    assert one.read(admin, nothing) == nothing
    kind("Database").delete(admin, {"name": DATABASE})
    assert one.read(admin, wanted) is None, "without its database it does not exist"


def test_postgresqls_own_grants_to_everybody_are_seen(admin: Server) -> None:
    database = {**INSIDE, "role": "public", "objectType": "database", "privileges": []}
    assert kind("Grant").read(admin, database)["privileges"] == ["CONNECT", "TEMPORARY"]
    functions = {**INSIDE, "owner": OWNER, "role": "public", "objectType": "function", "privileges": []}
    assert kind("DefaultPrivileges").read(admin, functions)["privileges"] == ["EXECUTE"]


def test_a_role_logs_in_with_the_password_of_its_verifier(server: PostgresServer, admin: Server) -> None:
    kind("Role").create(admin, ROLE)
    with server.connect() as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'tried_role'").fetchone()
    assert row == (ROLE["password"],)


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("Grant", {"objectType": "table"}, "tables belong in a migration"),
        ("Grant", {"objectType": "schema"}, "is required for a grant on a schema"),
        ("Grant", {"objectType": "database", "privileges": ["CONNECT; DROP ROLE x"]}, "is no privilege"),
        ("DefaultPrivileges", {"objectType": "tables"}, "allowed: table"),
    ],
)
def test_what_the_stand_in_cannot_do_is_said(name: str, inputs: Inputs, said: str) -> None:
    assert said in str(kind(name).problems(inputs))


def test_an_error_is_the_servers_own_and_holds_no_password(admin: Server) -> None:
    with pytest.raises(ProviderError, match="already exists") as caught:
        kind("Role").create(admin, {"name": OWNER, "password": "canary"})
    assert "canary" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named(admin: Server) -> None:
    with pytest.raises(ProviderError, match=r"PostgreSQL at 127\.0\.0\.1:1 cannot be reached as tried_admin"):
        kind("Role").read(replace(admin, port=1), {"name": OWNER})


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("10.0.0.1", False), ("db.example.com", False)]
)
def test_only_a_server_on_this_machine_is_changed(host: str, *, local: bool) -> None:
    assert is_local(host) is local
