"""Grants on databases and schemas, and what future objects allow.

Grants on tables are refused: the official provider cannot read them back where a table is partitioned, so the
platform grants them in its migrations.
"""

from typing import Final

from psycopg.sql import SQL, Composable, Identifier

from sandbox.plugins.postgresql.connection import Inputs, Server
from sandbox.plugins.postgresql.kind import Kind, asked, names

PUBLIC: Final = "public"
_OBJECT_TYPES: Final = {"table": "r", "sequence": "S", "function": "f", "type": "T", "schema": "n"}


def _grantee(role: str) -> Composable:
    return SQL("PUBLIC") if role == PUBLIC else Identifier(role)


def _privileges(inputs: Inputs) -> Composable:
    # Checked to be words only; they cannot be quoted.
    return SQL(", ").join(SQL(privilege) for privilege in inputs["privileges"])


def _unknown_privileges(inputs: Inputs) -> list[tuple[str, str]]:
    given = inputs.get("privileges")
    words = given if isinstance(given, list) else []
    wrong = [word for word in words if isinstance(word, str) and not word.isalpha()]
    return [("privileges", f"'{word}' is no privilege") for word in wrong]


def _live(inputs: Inputs, found: list[str]) -> Inputs:
    """As a set: the order in which privileges were written means nothing."""
    same = set(found) == set(inputs["privileges"])
    return asked(inputs, {"privileges": inputs["privileges"] if same else sorted(found)})


# Everybody has the number 0 in an access list.
_WHOM: Final = SQL("CASE WHEN %(role)s <> 'public' THEN (SELECT oid FROM pg_roles WHERE rolname = %(role)s) ELSE 0 END")
_OF_DATABASE: Final = SQL("""
    SELECT array_remove(array_agg(x.privilege_type), NULL) AS privileges
      FROM pg_database d
      LEFT JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x ON x.grantee = {whom}
     WHERE d.datname = %(object)s GROUP BY d.oid""").format(whom=_WHOM)
_OF_SCHEMA: Final = SQL("""
    SELECT array_remove(array_agg(x.privilege_type), NULL) AS privileges
      FROM pg_namespace n
      LEFT JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x ON x.grantee = {whom}
     WHERE n.nspname = %(object)s GROUP BY n.oid""").format(whom=_WHOM)
_OF_FUTURE_OBJECTS: Final = SQL("""
    SELECT array_remove(array_agg(x.privilege_type), NULL) AS privileges
      FROM pg_roles o
      LEFT JOIN pg_namespace n ON n.nspname = %(schema)s
      LEFT JOIN pg_default_acl d
        ON d.defaclrole = o.oid AND d.defaclobjtype = %(kind)s AND d.defaclnamespace = coalesce(n.oid, 0)
      LEFT JOIN LATERAL aclexplode(
             CASE WHEN d.oid IS NOT NULL THEN d.defaclacl
                  WHEN n.oid IS NULL THEN acldefault(%(default)s::"char", o.oid) END) x ON x.grantee = {whom}
     WHERE o.rolname = %(owner)s GROUP BY o.oid""").format(whom=_WHOM)


class Grant(Kind):
    """Privileges of a role on a database or a schema."""

    properties = names("database role schema objectType privileges withGrantOption")
    required = names("database role objectType privileges")
    replaces = properties - {"privileges"}

    def problems(self, inputs: Inputs) -> list[tuple[str, str]]:
        """Only what the platform declares."""
        found = _unknown_privileges(inputs)
        if inputs.get("objectType") not in ("database", "schema"):
            found.append(("objectType", "the stand-in grants on a database or a schema; tables belong in a migration"))
        if inputs.get("objectType") == "schema" and not inputs.get("schema"):
            found.append(("schema", "is required for a grant on a schema"))
        return found

    def identity(self, inputs: Inputs) -> str:
        """Role, database, and schema where there is one."""
        return "_".join(str(inputs[part]) for part in ("role", "database", "schema", "objectType") if inputs.get(part))

    def create(self, server: Server, inputs: Inputs) -> None:
        """Exactly these privileges: whatever the role had there is revoked first."""
        option = SQL(" WITH GRANT OPTION") if inputs.get("withGrantOption") else SQL("")
        with server.session(inputs["database"]) as session:
            session.do("REVOKE ALL PRIVILEGES ON {object} FROM {role}", object=_object(inputs), role=_role(inputs))
            if inputs["privileges"]:
                session.do(
                    "GRANT {privileges} ON {object} TO {role}{option}",
                    privileges=_privileges(inputs),
                    object=_object(inputs),
                    role=_role(inputs),
                    option=option,
                )

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """The role's privileges there, PostgreSQL's defaults included."""
        of_database = inputs["objectType"] == "database"
        query = _OF_DATABASE if of_database else _OF_SCHEMA
        with server.session() as session:
            if not session.exists(inputs["database"]):
                return None
        with server.session(inputs["database"]) as session:
            named = inputs["database"] if of_database else inputs["schema"]
            found = session.row(query, {"role": inputs["role"], "object": named})
        return None if found is None else _live(inputs, found["privileges"])

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:  # noqa: ARG002 - what was there is revoked
        """The same as anew."""
        self.create(server, new)

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Revoke."""
        with server.session(inputs["database"]) as session:
            session.do("REVOKE ALL PRIVILEGES ON {object} FROM {role}", object=_object(inputs), role=_role(inputs))


def _object(inputs: Inputs) -> Composable:
    if inputs["objectType"] == "database":
        return SQL("DATABASE {}").format(Identifier(inputs["database"]))
    return SQL("SCHEMA {}").format(Identifier(inputs["schema"]))


def _role(inputs: Inputs) -> Composable:
    return _grantee(inputs["role"])


class DefaultPrivileges(Kind):
    """What a role may do with objects that an owner makes later."""

    properties = names("database owner role schema objectType privileges withGrantOption")
    required = names("database owner role objectType privileges")
    replaces = properties - {"privileges"}

    def problems(self, inputs: Inputs) -> list[tuple[str, str]]:
        """Object types that the server knows."""
        found = _unknown_privileges(inputs)
        if inputs.get("objectType") not in _OBJECT_TYPES:
            found.append(("objectType", f"allowed: {', '.join(_OBJECT_TYPES)}"))
        return found

    def identity(self, inputs: Inputs) -> str:
        """Role, database, schema, owner and object type."""
        schema = inputs.get("schema") or "noschema"
        return f"{inputs['role']}_{inputs['database']}_{schema}_{inputs['owner']}_{inputs['objectType']}"

    def create(self, server: Server, inputs: Inputs) -> None:
        """Exactly these privileges."""
        option = SQL(" WITH GRANT OPTION") if inputs.get("withGrantOption") else SQL("")
        with server.session(inputs["database"]) as session:
            session.do("{alter} REVOKE ALL ON {objects} FROM {role}", **_default_parts(inputs))
            if inputs["privileges"]:
                session.do(
                    "{alter} GRANT {privileges} ON {objects} TO {role}{option}",
                    **_default_parts(inputs),
                    privileges=_privileges(inputs),
                    option=option,
                )

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """The role's privileges on future objects; without a rule of the owner's, what PostgreSQL itself gives."""
        kind = _OBJECT_TYPES[inputs["objectType"]]
        with server.session() as session:
            if not session.exists(inputs["database"]):
                return None
        with server.session(inputs["database"]) as session:
            found = session.row(
                _OF_FUTURE_OBJECTS,
                {
                    "schema": inputs.get("schema"),
                    "kind": kind,
                    "default": kind.replace("S", "s"),  # one letter differs between the two catalogues
                    "owner": inputs["owner"],
                    "role": inputs["role"],
                },
            )
        return None if found is None else _live(inputs, found["privileges"])

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:  # noqa: ARG002 - what was there is revoked
        """The same as anew."""
        self.create(server, new)

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Revoke."""
        with server.session(inputs["database"]) as session:
            session.do("{alter} REVOKE ALL ON {objects} FROM {role}", **_default_parts(inputs))


def _default_parts(inputs: Inputs) -> dict[str, Composable]:
    schema = SQL(" IN SCHEMA {}").format(Identifier(inputs["schema"])) if inputs.get("schema") else SQL("")
    alter = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{}").format(Identifier(inputs["owner"]), schema)
    objects = SQL(f"{inputs['objectType'].upper()}S")  # one of _OBJECT_TYPES
    return {"alter": alter, "objects": objects, "role": _grantee(inputs["role"])}
