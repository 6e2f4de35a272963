"""The roles, database and schemas that the stack's database resources make, made by hand for tests of the SQL."""

from psycopg import sql

from tests.real.postgres_server import PostgresServer

OWNER, MIGRATOR, APP = "payments_owner", "payments_migrator", "payments_app"
READONLY, EXPORTER = "payments_readonly", "payments_exporter"
SCHEMAS = ("es", "ledger", "ops", "archive")


def make_roles(server: PostgresServer) -> None:
    """Once for each server."""
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {OWNER} NOLOGIN")
        for role in (MIGRATOR, APP, READONLY, EXPORTER):
            connection.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER")
        connection.execute(f"GRANT {OWNER} TO {MIGRATOR}")


def make_database(server: PostgresServer, name: str) -> None:
    """A database with the schemas and without a table."""
    identifier = sql.Identifier(name)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER payments_owner").format(identifier))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifier))
        for role in (MIGRATOR, APP, READONLY, EXPORTER):
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(identifier, sql.Identifier(role)))
    with server.connect(name) as connection:
        for schema in SCHEMAS:
            connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION payments_owner").format(sql.Identifier(schema)))
        connection.execute("GRANT USAGE ON SCHEMA es, ledger, ops TO payments_app")
        connection.execute("GRANT USAGE ON SCHEMA es, ledger TO payments_readonly")
        connection.execute("GRANT USAGE ON SCHEMA ops TO payments_exporter")
        connection.execute("CREATE PUBLICATION payments_events WITH (publish = 'insert', publish_via_partition_root)")
        connection.execute("ALTER PUBLICATION payments_events OWNER TO payments_owner")
