"""Roles and grants through the real engine on a real PostgreSQL: applied once, never again, and each role tried.

The official plugin is used where it is installed, else the stand-in. The shard is deployed alone, which needs no
cluster; `tests/sandbox/test_payctl.py` deploys it with everything else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from cli.recording import ROOT
from components.database.names import VERIFIER_KEYS
from payments_client import migrations
from payments_client.migrations import care
from sandbox import database, tools
from sandbox.engine import Engine, Result
from sandbox.layout import Layout
from sandbox.plugins import select
from settings.data_roles import RoleName

STACK = "dev"
ADMIN_KEY = "databaseAdminPassword"
_TIMEOUT_SECONDS = 600
PROGRAM = """
import pulumi
from components.database.component import Databases, DatabasesArgs, database_secret_keys
from settings.base import Environment
from settings.data import Data

config = pulumi.Config("payments")
data = Data.model_validate_json(config.require("data"))
secrets = {key: config.require_secret(key) for key in database_secret_keys(data)}
environment = Environment(config.require("environment"))
Databases("database", DatabasesArgs(data=data, environment=environment, secrets=secrets))
"""


@dataclass(kw_only=True)
class Shard:
    """One shard's resources, the engine that applies them, and the server."""

    engine: Engine
    layout: Layout
    server: database.Server
    folder: Path
    environment: str = "dev"
    extensions: tuple[str, ...] = ("pg_trgm",)

    def run(self, command: str, *arguments: str, success: bool = True, endpoint: bool = True) -> Result:
        entry: dict[str, Any] = {"buckets": ["0-1023"]}
        if endpoint:
            place = {"host": self.server.host, "port": self.server.port, "sslmode": "disable"}
            entry["endpoint"] = {**place, "password_key": ADMIN_KEY}
        data = {"shards": {"s00": entry}, "extensions": list(self.extensions)}
        source = self.folder / f"Pulumi.{STACK}.yaml"
        plain = {"payments:data": json.dumps(data), "payments:environment": self.environment}
        source.write_text(yaml.safe_dump({"config": {**plain, **self.encrypted()}}), encoding="utf-8")
        config = self.engine.config_file(STACK, source)
        result = self.engine.run(
            [command, "--stack", STACK, "--config-file", str(config), *arguments], timeout_seconds=_TIMEOUT_SECONDS
        )
        for secret in self.secrets().values():
            assert secret not in result.output
        assert (result.exit_code == 0) is success, result.output
        return result

    def up(self, *arguments: str, success: bool = True) -> Result:
        return self.run("up", "--yes", "--skip-preview", *arguments, success=success)

    def secrets(self) -> dict[str, str]:
        verifiers = {key: database.password_verifier(self.layout, role) for role, key in VERIFIER_KEYS.items()}
        return {ADMIN_KEY: database.password(self.layout, database.ADMIN), **verifiers}

    def encrypted(self) -> dict[str, Any]:
        """Every secret as the stack file holds it; made once."""
        cache = self.folder / "encrypted.json"
        if not cache.exists():
            source = self.folder / "empty.yaml"
            source.write_text("config: {}\n", encoding="utf-8")
            config = self.engine.config_file(STACK, source)
            values = {
                f"payments:{key}": {"secure": self.engine.encrypt(STACK, config, f"payments:{key}", value)}
                for key, value in self.secrets().items()
            }
            cache.write_text(json.dumps(values), encoding="utf-8")
        found: dict[str, Any] = json.loads(cache.read_text(encoding="utf-8"))
        return found

    def connect(self, role: str, name: str = "payments") -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host=self.server.host,
            port=self.server.port,
            dbname=name,
            user=role,
            password=database.password(self.layout, role),
            connect_timeout=30,
            autocommit=True,
        )

    def ask(self, role: str, statement: str, name: str = "payments") -> list[tuple[Any, ...]]:
        with self.connect(role, name) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def migrate(self) -> None:
        with self.connect(RoleName.MIGRATION) as connection:
            migrations.apply(connection, migrations.load(ROOT / "migrations"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shard]:
    """An engine and a new server on which nothing is declared."""
    report = tools.progress()
    layout = Layout(tmp_path_factory.mktemp("database").resolve())
    folder = layout.root / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: payments\nruntime: python\n", encoding="utf-8")
    (folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    pulumi = tools.ensure(("pulumi",), report, project_root=ROOT)["pulumi"]
    choice = select(pulumi, layout.root / "pulumi-home", report)
    # Each run would compile the provider's SDK anew, which takes longer than the run.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(layout.root / "bytecode")}
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
    engine = Engine(
        pulumi=pulumi,
        project=folder,
        state=layout.root / "engine",
        path_entries=choice.path_entries,
        variables={**choice.env, **bytecode, **path},
    )
    try:
        (server,) = database.ensure(layout, ["s00"], report)
        yield Shard(engine=engine, layout=layout, server=server, folder=folder)
    finally:
        database.stop(layout)
        database.remove(layout)


@pytest.fixture(scope="module")
def shard(bare: Shard) -> Iterator[Shard]:
    """Everything declared and migrated; destroyed at the end without a trace."""
    bare.up()
    bare.migrate()
    yield bare
    bare.run("destroy", "--yes", "--skip-preview")
    left = bare.ask(database.SUPERUSER, "SELECT rolname FROM pg_roles WHERE rolname ~ '^payments'", "postgres")
    assert left == [("payments_admin",)]
    names = bare.ask(database.SUPERUSER, "SELECT datname FROM pg_database WHERE NOT datistemplate", "postgres")
    assert names == [("postgres",)]


def assert_nothing_changes(shard: Shard) -> None:
    """Neither for the program, nor when every object is read from the server first."""
    shard.up("--expect-no-changes")
    shard.up("--refresh", "--expect-no-changes")


def test_a_second_up_changes_nothing_also_after_new_months(shard: Shard) -> None:
    assert_nothing_changes(shard)
    with shard.connect(RoleName.MIGRATION) as connection:
        made = care.make_ahead(connection, 30)
    assert len(made) >= 24
    assert_nothing_changes(shard)
    (row,) = shard.ask(RoleName.READ_ONLY, f"SELECT has_table_privilege('{made[-1]}', 'SELECT')")
    assert row == (True,), "readers read a new month"
    (row,) = shard.ask(RoleName.APPLICATION, f"SELECT has_table_privilege('{made[-1]}', 'SELECT')")
    assert row == (False,), "the application reaches it through its parent only"


NOW = '\'[{"type": "T", "data": {}}]\'::jsonb'
APP, READER, EXPORTER, MIGRATOR = RoleName.APPLICATION, RoleName.READ_ONLY, RoleName.EXPORTER, RoleName.MIGRATION
ALLOWED = [
    (APP, f"SELECT es.append('s-1', NULL, {NOW})"),
    (APP, "SELECT * FROM es.read_stream('s-1')"),
    (APP, "SELECT count(*) FROM es.events"),
    (APP, "SELECT ledger.open_wallet('w-1', 'u-1', 'EUR')"),
    (APP, "SELECT ops.bucket_of('u-1')"),
    (APP, "SELECT extensions.similarity('payments', 'payment')"),
    (APP, "SELECT count(*) FROM events"),  # the search path
    (READER, "SELECT count(*) FROM es.events"),
    (READER, "SELECT count(*) FROM ledger.wallets"),
    (EXPORTER, "SELECT count(*) FROM pg_stat_activity"),
    (EXPORTER, "SELECT count(*) FROM ops.metrics"),
    (EXPORTER, "SELECT count(*) FROM ops.cross_shard_metrics"),
    (MIGRATOR, "CREATE TABLE es.tried (id bigint)"),
    (MIGRATOR, "DROP TABLE es.tried"),
]
REFUSED = [
    (APP, "INSERT INTO es.events (stream_id, version, occurred_at, type, data) VALUES ('s', 1, now(), 'T', '{}')"),
    (APP, "UPDATE ledger.wallets SET balance = 1"),
    (APP, "DELETE FROM es.wallet_events"),
    (APP, "SELECT * FROM es.outbox"),
    (APP, "CREATE TABLE es.mine (id bigint)"),
    (APP, "CREATE TABLE public.mine (id bigint)"),
    (APP, "CREATE TEMPORARY TABLE mine (id bigint)"),
    (APP, "CREATE SCHEMA mine"),
    (APP, "DROP TABLE es.events"),
    (APP, "SET ROLE payments_owner"),
    (APP, "SET ROLE payments_migrator"),
    (APP, "CREATE ROLE mine"),
    (APP, "SELECT pg_read_file('/etc/hostname')"),
    (APP, "SELECT ops.ensure_monthly_partitions('es.events', 12)"),
    (APP, "SELECT ledger.open_house_wallet('mint', 'u', 'EUR')"),
    (READER, "SELECT ledger.open_wallet('w-2', 'u-2', 'EUR')"),
    (READER, "UPDATE ledger.wallets SET balance = 1"),
    (READER, "CREATE TABLE es.mine (id bigint)"),
    (READER, "SET ROLE payments_owner"),
    (EXPORTER, "SELECT count(*) FROM es.events"),
    (EXPORTER, "SELECT count(*) FROM ledger.wallets"),
    (EXPORTER, "CREATE TABLE ops.mine (id bigint)"),
    (MIGRATOR, "CREATE ROLE mine"),
    (MIGRATOR, "CREATE EXTENSION file_fdw"),
    (MIGRATOR, "CREATE TABLE unqualified (id bigint)"),
]


@pytest.mark.parametrize(("role", "statement"), ALLOWED)
def test_each_role_can_do_its_work(shard: Shard, role: RoleName, statement: str) -> None:
    shard.ask(role, statement)


@pytest.mark.parametrize(("role", "statement"), REFUSED)
def test_no_role_can_do_anything_else(shard: Shard, role: RoleName, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shard.ask(role, statement)


def test_nobody_logs_in_as_the_owner_and_no_other_database_is_open(shard: Shard) -> None:
    with pytest.raises(psycopg.OperationalError):
        shard.connect(RoleName.OWNER)
    everything = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^payments' AND (rolsuper OR rolreplication)"
    assert shard.ask(READER, everything) == [(0,)]
    (row,) = shard.ask(READER, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'payments_owner'")
    assert row == (False,)


def test_everything_in_the_database_belongs_to_the_owner(shard: Shard) -> None:
    foreign = shard.ask(
        READER,
        "SELECT c.oid::regclass::text, pg_get_userbyid(c.relowner) FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname IN ('es', 'ledger', 'ops', 'archive') "
        "AND pg_get_userbyid(c.relowner) <> 'payments_owner'",
    )
    assert foreign == []


def test_what_somebody_changed_by_hand_is_found_and_put_right(shard: Shard) -> None:
    statements = (
        "REVOKE CONNECT ON DATABASE payments FROM payments_readonly",
        "GRANT CREATE ON SCHEMA es TO payments_app",
        "GRANT CONNECT ON DATABASE payments TO PUBLIC",
        "ALTER ROLE payments_exporter CONNECTION LIMIT 99",
        "ALTER ROLE payments_app RESET search_path",
        "ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA es REVOKE SELECT ON TABLES FROM payments_readonly",
    )
    for statement in statements:
        shard.ask(database.SUPERUSER, statement)
    shard.up("--refresh")
    assert_nothing_changes(shard)
    shard.ask(READER, "SELECT count(*) FROM es.events")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shard.ask(APP, "CREATE TABLE es.mine (id bigint)")
    (row,) = shard.ask(EXPORTER, "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'payments_exporter'")
    assert row == (5,)


def test_the_saved_state_holds_no_secret_in_clear(shard: Shard) -> None:
    path = shard.engine.state_file(STACK)
    assert path is not None
    text = path.read_text(encoding="utf-8")
    for secret in shard.secrets().values():
        assert secret not in text


def test_the_publication_holds_the_parents_and_publishes_by_root(shard: Shard) -> None:
    rows = shard.ask(
        READER, "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'payments_events'"
    )
    assert sorted(rows) == [("es", "events"), ("es", "wallet_events")]


def test_a_password_that_is_wrong_is_said_without_the_password(shard: Shard) -> None:
    shard.ask(database.SUPERUSER, f"ALTER ROLE {database.ADMIN} PASSWORD 'another'")
    try:
        said = shard.up("--refresh", success=False).output
    finally:
        stored = database.password_verifier(shard.layout, database.ADMIN)
        shard.ask(database.SUPERUSER, f"ALTER ROLE {database.ADMIN} PASSWORD '{stored}'")
    assert "password authentication failed" in said
    assert "Traceback" not in said
    assert_nothing_changes(shard)


def test_without_an_endpoint_one_line_says_what_waits(bare: Shard) -> None:
    said = bare.run("preview", endpoint=False).output
    line = "wait until data.shards.s00.endpoint names a server that can be reached"
    assert said.count(line) >= 1
