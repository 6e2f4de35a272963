"""What a shard's database consists of, as data, in the one order in which it is declared.

The order is a chain. The provider changes rows of the same catalogues for a grant, a membership and a default
privilege; two at once end with "tuple concurrently updated", on the way up and on the way down.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.database.names import PUBLICATION, VERIFIER_KEYS, SchemaName
from settings.data import Data, Login
from settings.data_roles import RoleName

PUBLIC = "public"
"""The pseudo-role of everybody, and the schema of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One resource of the provider: class name, logical name below the shard, arguments without secrets."""

    kind: str
    name: str
    arguments: Mapping[str, Any]
    secret_arguments: Mapping[str, str] = field(default_factory=dict)
    """Argument → key of the Pulumi secret."""
    ignore_changes: tuple[str, ...] = ()
    inside: bool = True
    """Lies in the database and goes with it."""


def plan_shard(data: Data) -> Iterator[Piece]:
    """Everything on one shard."""
    yield from _roles(data)
    yield from _memberships()
    yield _database(data.database)
    yield from _schemas(data)
    yield from _database_grants(data.database)
    yield from _schema_grants(data.database)
    yield from _default_privileges(data.database)
    yield _publication(data.database)


_SEARCHED: Mapping[RoleName, Sequence[str]] = {
    RoleName.APPLICATION: [SchemaName.EVENT_STORE, SchemaName.LEDGER, SchemaName.EXTENSIONS],
    RoleName.READ_ONLY: [SchemaName.EVENT_STORE, SchemaName.LEDGER, SchemaName.EXTENSIONS],
    RoleName.EXPORTER: ["pg_catalog"],
    # Nothing can be created there: a migration that forgets a schema fails instead of putting a table somewhere.
    RoleName.MIGRATION: ["pg_catalog"],
}


def _roles(data: Data) -> Iterator[Piece]:
    yield Piece(kind="Role", name="role-owner", arguments=_role(RoleName.OWNER), inside=False)
    logins: dict[RoleName, Login] = {
        RoleName.APPLICATION: data.roles.application,
        RoleName.READ_ONLY: data.roles.read_only,
        RoleName.EXPORTER: data.roles.exporter,
        RoleName.MIGRATION: data.roles.migration,
    }
    for role, login in logins.items():
        bounds = {
            "login": True,
            "connection_limit": login.connection_limit,
            "statement_timeout": login.statement_timeout_milliseconds,
            "idle_in_transaction_session_timeout": login.idle_in_transaction_timeout_milliseconds,
            "search_paths": [str(schema) for schema in _SEARCHED[role]],
        }
        # Whatever a migration creates belongs to the owner, without a word in the migration.
        owner = {"assume_role": str(RoleName.OWNER)} if role is RoleName.MIGRATION else {}
        yield Piece(
            kind="Role",
            name=_short(role, "role"),
            arguments={**_role(role), **bounds, **owner},
            # A verifier: the password itself is in no log of the server (it logs DDL) and in no state file.
            secret_arguments={"password": VERIFIER_KEYS[role]},
            inside=False,
        )


def _role(role: RoleName) -> dict[str, Any]:
    powers = ("superuser", "create_role", "create_database", "replication", "bypass_row_level_security")
    return {"name": str(role), "login": False, **dict.fromkeys(powers, False)}


def _memberships() -> Iterator[Piece]:
    """Who may act as whom.

    The administrator's own memberships are not here: the server gives them to whoever creates a role
    (``createrole_self_grant``), so that the provider need not take and give them back around each statement.
    """
    for name, member, role in (
        ("member-migrator", RoleName.MIGRATION, RoleName.OWNER),
        ("member-exporter", RoleName.EXPORTER, "pg_monitor"),
    ):
        arguments = {"role": str(member), "grant_role": str(role), "with_admin_option": False}
        yield Piece(kind="GrantRole", name=name, arguments=arguments, inside=False)


def _database(database: str) -> Piece:
    arguments = {
        "name": database,
        "owner": str(RoleName.OWNER),
        "template": "template0",
        "encoding": "UTF8",
        # Byte order: the same on every server, and no index breaks when the operating system's rules change.
        "lc_collate": "C",
        "lc_ctype": "C",
        "allow_connections": True,
        "is_template": False,
    }
    return Piece(kind="Database", name="database", arguments=arguments, inside=False)


def _schemas(data: Data) -> Iterator[Piece]:
    for schema in SchemaName:
        arguments = {
            "name": str(schema),
            "database": data.database,
            "owner": str(RoleName.OWNER),
            "drop_cascade": False,
        }
        yield Piece(kind="Schema", name=f"schema-{schema}", arguments=arguments)
    for extension in data.extensions:
        arguments = {
            "name": str(extension),
            "database": data.database,
            "schema": str(SchemaName.EXTENSIONS),
            "drop_cascade": False,
            "create_cascade": False,
        }
        yield Piece(kind="Extension", name=f"extension-{extension.replace('_', '-')}", arguments=arguments)


def _database_grants(database: str) -> Iterator[Piece]:
    yield _grant("grant-public-database", database, PUBLIC, [])
    for role in VERIFIER_KEYS:
        yield _grant(f"{_short(role, 'grant')}-database", database, role, ["CONNECT"])


_USED = {
    RoleName.APPLICATION: (
        SchemaName.EVENT_STORE,
        SchemaName.LEDGER,
        SchemaName.OPERATIONS,
        SchemaName.EXTENSIONS,
    ),
    RoleName.READ_ONLY: tuple(SchemaName),
    RoleName.EXPORTER: (SchemaName.OPERATIONS,),
}


def _schema_grants(database: str) -> Iterator[Piece]:
    """The way into the schemas. What may be done with a table or function is granted by the migration that makes it.

    The provider never reads a grant on a partitioned table back, and one on ALL TABLES changes with every new month;
    a privilege on the parent is enough.
    """
    yield _grant("grant-public-schema", database, PUBLIC, [], PUBLIC)
    for role, schemas in _USED.items():
        for schema in schemas:
            name = f"{_short(role, 'grant')}-{schema}"
            yield _grant(name, database, role, ["USAGE"], schema)


def _grant(name: str, database: str, role: str, privileges: list[str], schema: str | None = None) -> Piece:
    """Privileges on a schema, or without one on the database. In words: ALL means more on each new server."""
    arguments = {
        "database": database,
        "role": str(role),
        "object_type": "database" if schema is None else "schema",
        "privileges": privileges,
        "with_grant_option": False,
        **({} if schema is None else {"schema": str(schema)}),
    }
    return Piece(kind="Grant", name=name, arguments=arguments)


def _default_privileges(database: str) -> Iterator[Piece]:
    """What the owner's future objects allow: nobody runs a new function, readers read a new month."""
    everywhere = {"database": database, "owner": str(RoleName.OWNER), "with_grant_option": False}
    nobody = {"role": PUBLIC, "object_type": "function", "privileges": []}
    yield Piece(kind="DefaultPrivileges", name="default-public-functions", arguments={**everywhere, **nobody})
    readers = {"role": str(RoleName.READ_ONLY), "object_type": "table", "privileges": ["SELECT"]}
    for schema in (SchemaName.EVENT_STORE, SchemaName.LEDGER, SchemaName.ARCHIVE):
        arguments = {**everywhere, **readers, "schema": str(schema)}
        yield Piece(kind="DefaultPrivileges", name=f"default-readonly-{schema}", arguments=arguments)


def _publication(database: str) -> Piece:
    arguments = {
        "name": PUBLICATION,
        "database": database,
        "owner": str(RoleName.OWNER),
        "publish_params": ["insert"],
        # A subscriber sees the table, whichever month a row lies in.
        "publish_via_partition_root_param": True,
        "drop_cascade": False,
    }
    # Tables exist only after the migrations, and these put them in.
    return Piece(kind="Publication", name="publication", arguments=arguments, ignore_changes=("tables",))


def _short(role: RoleName, prefix: str) -> str:
    return f"{prefix}-{role.removeprefix('payments_')}"
