"""The sandbox's PostgreSQL as a stack's shards: endpoints and secrets that are in no committed file."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import yaml

from cli.recording import ROOT
from cli.stack_file import PLATFORM_KEY, PROJECT
from components.database.names import VERIFIER_KEYS
from payments_client import migrations
from payments_client.migrations import care
from sandbox import database
from sandbox.engine import Engine
from sandbox.errors import SandboxError
from sandbox.files import PRIVATE_MODE, read_json, write_json, write_text
from sandbox.layout import Layout
from sandbox.progress import Progress
from settings import Settings
from settings.data_roles import RoleName

MIGRATIONS = ROOT / "migrations"
_ADMIN_KEY = "databaseAdminPassword"


def served_shards(settings: Settings) -> list[str]:
    """Shards whose server the stack does not name: the sandbox starts one for each."""
    shards = settings.data.shards if settings.data is not None else {}
    return [name for name, shard in shards.items() if shard.endpoint is None]


def with_endpoints(
    engine: Engine, stack: str, source: Path, settings: Settings, report: Progress
) -> tuple[Path, list[database.Server]]:
    """Start the servers and write a stack file that names them; ``source`` itself when none is asked for."""
    shards = served_shards(settings)
    if not shards:
        return source, []
    layout = Layout(engine.state)
    servers = database.ensure(layout, shards, report)
    document = yaml.safe_load(source.read_text(encoding="utf-8"))
    named = document["config"][PLATFORM_KEY]["data"]["shards"]
    for server in servers:
        named[server.shard]["endpoint"] = _endpoint(server)
    verifiers = {key: database.password_verifier(layout, role) for role, key in VERIFIER_KEYS.items()}
    secrets = {_ADMIN_KEY: database.password(layout, database.ADMIN), **verifiers}
    document["config"] |= _encrypted(engine, stack, source, secrets)
    copy = layout.root / "stacks" / "with-database" / source.name
    write_text(copy, yaml.safe_dump(document, sort_keys=False, allow_unicode=True), mode=PRIVATE_MODE)
    return copy, servers


def _endpoint(server: database.Server) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "username": server.admin,
        "password_key": _ADMIN_KEY,
        "sslmode": "disable",  # the wheel's PostgreSQL is built without TLS, and nothing leaves the machine
    }


def _encrypted(engine: Engine, stack: str, source: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Config key → ``{"secure": …}``; what was encrypted before is used again, so that nothing changes by itself."""
    config_file = engine.config_file(stack, source)
    cache = engine.state / "stacks" / f"secrets-{stack}.json"
    salt = yaml.safe_load(config_file.read_text(encoding="utf-8"))["encryptionsalt"]
    known = read_json(cache) or {}
    if known.get("salt") != salt:
        known = {"salt": salt, "values": {}}
    for name, value in secrets.items():
        digest = hashlib.sha256(value.encode()).hexdigest()
        if known["values"].get(name, {}).get("digest") != digest:
            secure = engine.encrypt(stack, config_file, f"{PROJECT}:{name}", value)
            known["values"][name] = {"digest": digest, "secure": secure}
    write_json(cache, known, mode=PRIVATE_MODE)
    return {f"{PROJECT}:{name}": {"secure": known["values"][name]["secure"]} for name in secrets}


def holds_roles(state_file: Path | None) -> bool:
    """Whether a saved state believes that there are roles: on a new server it would be wrong."""
    if state_file is None:
        return False
    deployment = json.loads(state_file.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
    return any(one["type"].startswith("postgresql:") for one in deployment.get("resources") or [])


def migrate(layout: Layout, servers: Sequence[database.Server], name: str, report: Progress) -> None:
    """Bring the schema of every server up to date, as a Job does it in a cluster. Raises ``SandboxError``."""
    wanted = migrations.load(MIGRATIONS)
    for server in servers:
        with report.step(f"Migrations of {server.shard}", key="migrations") as step:
            try:
                with connect(layout, server.port, name) as connection:
                    done = migrations.apply(connection, wanted, migrations.Options(owner=str(RoleName.OWNER)))
                    care.make_ahead(connection)
            except (migrations.MigrationError, psycopg.Error) as error:
                raise SandboxError(
                    f"shard {server.shard}: {error}", next_step="correct the migration, then payctl up again"
                ) from None
            step.note(f"version {done.status.newest:04d}, applied {len(done.applied)}")


def connect(layout: Layout, port: int, name: str) -> "psycopg.Connection[Any]":
    """A connection to one of the sandbox's servers as the role that migrates. Raises ``psycopg.Error``."""
    return psycopg.connect(
        host=database.HOST,
        port=port,
        dbname=name,
        user=str(RoleName.MIGRATION),
        password=database.password(layout, RoleName.MIGRATION),
        connect_timeout=10,
        application_name="payctl",
        autocommit=True,
    )


def describe(layout: Layout, settings: Settings) -> dict[str, str]:
    """Shard → in a word how its server is and which version of the schema it has."""
    if settings.data is None:
        return {}
    alive = database.running(layout)
    found: dict[str, str] = {}
    for shard in settings.data.shards:
        port = database.port(layout, shard)
        if shard not in alive or port is None:
            found[shard] = "not started; payctl up starts it"
        elif not alive[shard]:
            found[shard] = "DOWN; payctl up starts it"
        else:
            found[shard] = f"{database.HOST}:{port} up, {_version(layout, port, settings.data.database)}"
    return found


def _version(layout: Layout, port: int, name: str) -> str:
    try:
        with connect(layout, port, name) as connection:
            status = migrations.read_status(connection, migrations.load(MIGRATIONS))
    except psycopg.Error:
        return "no schema yet"
    return f"schema version {status.newest:04d}" + ("" if status.current else ", not current: payctl db status")
