"""Roles and memberships."""

from collections.abc import Iterator
from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from sandbox.plugins.postgresql.connection import Inputs, Server, Session
from sandbox.plugins.postgresql.kind import Kind, asked, names

# Property → word of CREATE ROLE; its opposite begins with NO.
_FLAGS: Final = {
    "superuser": "SUPERUSER",
    "createDatabase": "CREATEDB",
    "createRole": "CREATEROLE",
    "inherit": "INHERIT",
    "login": "LOGIN",
    "replication": "REPLICATION",
    "bypassRowLevelSecurity": "BYPASSRLS",
}
_SETTINGS: Final = {
    "statementTimeout": "statement_timeout",
    "idleInTransactionSessionTimeout": "idle_in_transaction_session_timeout",
    "assumeRole": "role",
    "searchPaths": "search_path",
}


class Role(Kind):
    """A role with its attributes and settings; its password as it is given, a verifier as well."""

    properties = names("name password connectionLimit") | _FLAGS.keys() | _SETTINGS.keys()
    required = names("name")
    replaces = names("name")

    def identity(self, inputs: Inputs) -> str:
        """The role's name."""
        return str(inputs["name"])

    def create(self, server: Server, inputs: Inputs) -> None:
        """Create it with everything at once, or not at all."""
        with server.session() as session:
            role = Identifier(inputs["name"])
            session.do("CREATE ROLE {role} {options}", role=role, options=_options({}, inputs) or SQL(""))
            _set(session, {}, inputs)

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """Read it from the catalogue; the password is not readable without superuser and counts as unchanged."""
        with server.session() as session:
            found = session.row(
                """SELECT rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolcanlogin, rolreplication, rolbypassrls,
                          rolconnlimit, coalesce(rolconfig, '{}') AS config FROM pg_roles WHERE rolname = %s""",
                [inputs["name"]],
            )
        if found is None:
            return None
        settings = dict(entry.split("=", 1) for entry in found["config"])
        paths = settings.get("search_path", "")
        live: dict[str, Any] = {
            "superuser": found["rolsuper"],
            "createDatabase": found["rolcreatedb"],
            "createRole": found["rolcreaterole"],
            "inherit": found["rolinherit"],
            "login": found["rolcanlogin"],
            "replication": found["rolreplication"],
            "bypassRowLevelSecurity": found["rolbypassrls"],
            "connectionLimit": found["rolconnlimit"],
            "statementTimeout": int(settings.get("statement_timeout", 0)),
            "idleInTransactionSessionTimeout": int(settings.get("idle_in_transaction_session_timeout", 0)),
            "assumeRole": settings.get("role"),
            "searchPaths": [part.strip('"') for part in paths.split(", ")] if paths else [],
        }
        return asked(inputs, live)

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Alter what differs: nobody but a superuser may even repeat some attributes."""
        with server.session() as session:
            options = _options(old, new)
            if options is not None:
                session.do("ALTER ROLE {role} {options}", role=Identifier(new["name"]), options=options)
            _set(session, old, new)

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Drop it; the server refuses while it owns something anywhere."""
        with server.session() as session:
            session.do("DROP ROLE IF EXISTS {role}", role=Identifier(inputs["name"]))


def _options(old: Inputs, new: Inputs) -> Composable | None:
    words = list(_option_words(old, new))
    return SQL(" ").join(words) if words else None


def _option_words(old: Inputs, new: Inputs) -> Iterator[Composable]:
    for name, word in _FLAGS.items():
        if new.get(name) != old.get(name) and new.get(name) is not None:
            yield SQL(word if new[name] else f"NO{word}")
    if new.get("connectionLimit") != old.get("connectionLimit"):
        yield SQL("CONNECTION LIMIT {}").format(Literal(int(new.get("connectionLimit", -1))))
    if new.get("password") != old.get("password"):
        yield SQL("PASSWORD {}").format(Literal(new.get("password")))


def _set(session: Session, old: Inputs, new: Inputs) -> None:
    for name, setting in _SETTINGS.items():
        value = new.get(name)
        if value == old.get(name):
            continue
        role, parameter = Identifier(new["name"]), Identifier(setting)
        if value in (None, "", []):
            session.do("ALTER ROLE {role} RESET {parameter}", role=role, parameter=parameter)
            continue
        parts = value if isinstance(value, list) else [int(value) if isinstance(value, float) else value]
        values = SQL(", ").join(Literal(part) for part in parts)
        session.do("ALTER ROLE {role} SET {parameter} TO {value}", role=role, parameter=parameter, value=values)


class GrantRole(Kind):
    """A role as a member of another one."""

    properties = names("role grantRole withAdminOption")
    required = names("role grantRole")
    replaces = properties

    def identity(self, inputs: Inputs) -> str:
        """Member and group."""
        return f"{inputs['role']}_{inputs['grantRole']}"

    def create(self, server: Server, inputs: Inputs) -> None:
        """Grant the membership."""
        option = SQL(" WITH ADMIN OPTION") if inputs.get("withAdminOption") else SQL("")
        with server.session() as session:
            session.do("GRANT {group} TO {member}{option}", option=option, **_member(inputs))

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """Whether it is there, by whomever it was granted."""
        with server.session() as session:
            found = session.row(
                """SELECT bool_or(admin_option) AS admin FROM pg_auth_members
                    WHERE pg_get_userbyid(member) = %s AND pg_get_userbyid(roleid) = %s HAVING count(*) > 0""",
                [inputs["role"], inputs["grantRole"]],
            )
        return None if found is None else asked(inputs, {"withAdminOption": found["admin"]})

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Nothing changes in place."""

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Revoke the membership."""
        with server.session() as session:
            session.do("REVOKE {group} FROM {member}", **_member(inputs))


def _member(inputs: Inputs) -> dict[str, Composable]:
    return {"group": Identifier(inputs["grantRole"]), "member": Identifier(inputs["role"])}
