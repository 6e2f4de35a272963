"""Databases and what lies in them: schemas, extensions, publications."""

from collections.abc import Callable
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Identifier, Literal

from sandbox.plugins.postgresql.connection import Inputs, Row, Server
from sandbox.plugins.postgresql.kind import Kind, asked, names


class Database(Kind):
    """A database; only its owner and its limits change in place."""

    properties = names("name owner template encoding lcCollate lcCtype allowConnections isTemplate connectionLimit")
    required = names("name")
    replaces = names("name template encoding lcCollate lcCtype")

    def identity(self, inputs: Inputs) -> str:
        """The database's name."""
        return str(inputs["name"])

    def create(self, server: Server, inputs: Inputs) -> None:
        """Create it from its template."""
        forms: dict[str, Composable] = {
            "owner": SQL("OWNER {}").format(Identifier(inputs.get("owner", ""))),
            "template": SQL("TEMPLATE {}").format(Identifier(inputs.get("template", ""))),
            "encoding": SQL("ENCODING {}").format(Literal(inputs.get("encoding"))),
            "lcCollate": SQL("LC_COLLATE {}").format(Literal(inputs.get("lcCollate"))),
            "lcCtype": SQL("LC_CTYPE {}").format(Literal(inputs.get("lcCtype"))),
        }
        options = [form for name, form in forms.items() if inputs.get(name)]
        options += list(_database_options({}, inputs))
        with server.session(autocommit=True) as session:
            session.do(
                "CREATE DATABASE {name} WITH {options}",
                name=Identifier(inputs["name"]),
                options=SQL(" ").join(options),
            )

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """Read it from the catalogue."""
        with server.session() as session:
            found = session.row(
                """SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
                          datcollate AS "lcCollate", datctype AS "lcCtype", datallowconn AS "allowConnections",
                          datistemplate AS "isTemplate", datconnlimit AS "connectionLimit"
                     FROM pg_database WHERE datname = %s""",
                [inputs["name"]],
            )
        return None if found is None else asked(inputs, found)

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Change owner and limits."""
        name = Identifier(new["name"])
        with server.session(autocommit=True) as session:
            if new.get("owner") != old.get("owner"):
                session.do("ALTER DATABASE {name} OWNER TO {owner}", name=name, owner=Identifier(new["owner"]))
            options = list(_database_options(old, new))
            if options:
                session.do("ALTER DATABASE {name} WITH {options}", name=name, options=SQL(" ").join(options))

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Drop it with whatever is in it, and end who is connected."""
        with server.session(autocommit=True) as session:
            session.do("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=Identifier(inputs["name"]))


def _database_options(old: Inputs, new: Inputs) -> list[Composable]:
    limits: dict[str, Callable[[Any], Composable]] = {
        "allowConnections": lambda value: SQL("ALLOW_CONNECTIONS {}").format(Literal(value)),
        "isTemplate": lambda value: SQL("IS_TEMPLATE {}").format(Literal(value)),
        "connectionLimit": lambda value: SQL("CONNECTION LIMIT {}").format(Literal(int(value))),
    }
    changed = {name: new[name] for name in limits if name in new and new[name] != old.get(name)}
    return [limits[name](value) for name, value in changed.items()]


class Inside(Kind):
    """Something that lies in a database."""

    query: LiteralString
    """Finds it by name; its columns are named as the properties are."""

    def identity(self, inputs: Inputs) -> str:
        """Database and name."""
        return f"{inputs['database']}.{inputs['name']}"

    def read(self, server: Server, inputs: Inputs) -> Inputs | None:
        """Read it; without its database it does not exist."""
        found = self.find(server, inputs)
        return None if found is None else asked(inputs, found)

    def find(self, server: Server, inputs: Inputs) -> Row | None:
        """The row that describes it."""
        with server.session() as session:
            if not session.exists(inputs["database"]):
                return None
        with server.session(inputs["database"]) as session:
            return session.row(self.query, [inputs["name"]])

    def run(self, server: Server, inputs: Inputs, statement: LiteralString, **parts: Composable) -> None:
        """One statement in its database."""
        with server.session(inputs["database"]) as session:
            session.do(statement, name=Identifier(inputs["name"]), **parts)


class Schema(Inside):
    """A schema and its owner."""

    properties = names("name database owner dropCascade")
    required = names("name database owner")
    replaces = names("name database")
    query = "SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = %s"

    def create(self, server: Server, inputs: Inputs) -> None:
        """Create it for its owner."""
        self.run(server, inputs, "CREATE SCHEMA {name} AUTHORIZATION {owner}", owner=Identifier(inputs["owner"]))

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Change the owner."""
        if new["owner"] != old["owner"]:
            self.run(server, new, "ALTER SCHEMA {name} OWNER TO {owner}", owner=Identifier(new["owner"]))

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Drop it; the server refuses when something is in it, unless that was asked for."""
        self.run(server, inputs, "DROP SCHEMA IF EXISTS {name}{how}", how=_cascade(inputs))


class Extension(Inside):
    """An extension in a schema."""

    properties = names("name database schema createCascade dropCascade")
    required = names("name database")
    replaces = names("name database")
    query = (
        "SELECT n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = %s"
    )

    def create(self, server: Server, inputs: Inputs) -> None:
        """Create it where it was asked for."""
        schema = SQL(" SCHEMA {}").format(Identifier(inputs["schema"])) if inputs.get("schema") else SQL("")
        how = SQL(" CASCADE") if inputs.get("createCascade") else SQL("")
        self.run(server, inputs, "CREATE EXTENSION {name}{schema}{how}", schema=schema, how=how)

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Move it."""
        if new.get("schema") and new.get("schema") != old.get("schema"):
            self.run(server, new, "ALTER EXTENSION {name} SET SCHEMA {schema}", schema=Identifier(new["schema"]))

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Drop it."""
        self.run(server, inputs, "DROP EXTENSION IF EXISTS {name}{how}", how=_cascade(inputs))


class Publication(Inside):
    """A publication without tables of its own: those that exist later are put in by migrations."""

    properties = names("name database owner publishParams publishViaPartitionRootParam dropCascade")
    required = names("name database")
    replaces = names("name database")
    query = """
        SELECT pg_get_userbyid(pubowner) AS owner, pubviaroot AS "publishViaPartitionRootParam", array_remove(ARRAY[
        CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
        CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END], NULL) AS "publishParams"
        FROM pg_publication WHERE pubname = %s"""

    def create(self, server: Server, inputs: Inputs) -> None:
        """Create it empty and hand it to its owner."""
        with server.session(inputs["database"]) as session:
            name = Identifier(inputs["name"])
            session.do("CREATE PUBLICATION {name} WITH ({options})", name=name, options=_publish(inputs))
            if inputs.get("owner"):
                session.do("ALTER PUBLICATION {name} OWNER TO {owner}", name=name, owner=Identifier(inputs["owner"]))

    def update(self, server: Server, old: Inputs, new: Inputs) -> None:
        """Change what is published, and the owner."""
        self.run(server, new, "ALTER PUBLICATION {name} SET ({options})", options=_publish(new))
        if new.get("owner") and new.get("owner") != old.get("owner"):
            self.run(server, new, "ALTER PUBLICATION {name} OWNER TO {owner}", owner=Identifier(new["owner"]))

    def delete(self, server: Server, inputs: Inputs) -> None:
        """Drop it."""
        self.run(server, inputs, "DROP PUBLICATION IF EXISTS {name}")


def _publish(inputs: Inputs) -> Any:
    kinds = ", ".join(inputs.get("publishParams") or ["insert", "update", "delete", "truncate"])
    root = bool(inputs.get("publishViaPartitionRootParam"))
    return SQL("publish = {}, publish_via_partition_root = {}").format(Literal(kinds), Literal(root))


def _cascade(inputs: Inputs) -> SQL:
    return SQL(" CASCADE") if inputs.get("dropCascade") else SQL("")
