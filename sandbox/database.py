"""PostgreSQL servers of the sandbox, one for each shard: made, started, found again, stopped and removed.

They are what a stack's ``data.shards.*.endpoint`` names: an administrator who is no superuser, and nothing else.
"""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT
from typing import Any

import psycopg
from psycopg.sql import SQL, Literal

from sandbox import daemons, embedded_postgres
from sandbox.daemons import Daemon
from sandbox.files import PRIVATE_MODE, read_json, write_json
from sandbox.layout import Layout
from sandbox.ports import LOOPBACK, keep_ports
from sandbox.progress import Progress
from sandbox.scram import verifier

HOST = LOOPBACK
SUPERUSER = "postgres"
ADMIN = "payments_admin"
_VERSION = 18
_PASSWORD_BYTES = 24
# The administrator may use the roles that it makes, and hand on the right to read statistics.
_BOOTSTRAP = (
    "CREATE ROLE payments_admin LOGIN CREATEROLE CREATEDB PASSWORD {verifier}",
    "ALTER ROLE payments_admin SET createrole_self_grant = 'set, inherit'",
    "GRANT pg_monitor TO payments_admin WITH ADMIN OPTION",
)
_SETTINGS = {**embedded_postgres.FAST_SETTINGS, "shared_buffers": "32MB", "wal_level": "logical"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server of one shard."""

    shard: str
    port: int
    fresh: bool
    """It was made just now: nothing of an earlier run is in it."""
    host: str = HOST
    admin: str = ADMIN
    admin_password: str = field(repr=False)


def ensure(layout: Layout, shards: Sequence[str], report: Progress) -> list[Server]:
    """Bring up a server for each shard; those that run already stay. Raises ``SandboxError`` with a log."""
    with report.step(f"PostgreSQL for {', '.join(shards)}", key="postgres") as step:
        ports = keep_ports(
            layout,
            [(_daemon_name(shard), _daemon_name(shard)) for shard in shards],
            lambda name: daemons.find(name, layout) is not None,
        )
        servers = [_ensure(layout, shard, ports[_daemon_name(shard)]) for shard in shards]
        step.note(", ".join(f"{server.shard} on {server.host}:{server.port}" for server in servers))
        return servers


def password(layout: Layout, name: str) -> str:
    """The password of a role on the sandbox's servers; made when it is asked for first."""
    return str(_secret(layout, name)["password"])


def password_verifier(layout: Layout, name: str) -> str:
    """What the server stores of that password; the same at every call."""
    return str(_secret(layout, name)["verifier"])


def running(layout: Layout) -> dict[str, bool]:
    """Shard → whether its server's process lives, for all that were ever started."""
    return {shard: daemons.find(_daemon_name(shard), layout) is not None for shard in _record(layout)["folders"]}


def port(layout: Layout, shard: str) -> int | None:
    """Where a shard's server listens; ``None`` when it was never started."""
    found = (read_json(layout.ports) or {}).get(_daemon_name(shard))
    return found if isinstance(found, int) else None


def stop(layout: Layout) -> list[str]:
    """End the servers; returns the names of those that ran. Data is kept."""
    return [_daemon_name(shard) for shard in _record(layout)["folders"] if daemons.stop(_daemon_name(shard), layout)]


def remove(layout: Layout) -> None:
    """Remove what stopped servers stored, and their passwords."""
    for folder in _record(layout)["folders"].values():
        shutil.rmtree(folder, ignore_errors=True)
    layout.database_record.unlink(missing_ok=True)


def _ensure(layout: Layout, shard: str, port: int) -> Server:
    programs = embedded_postgres.programs(_VERSION)
    known = _record(layout)["folders"].get(shard)
    superuser, admin = password(layout, SUPERUSER), password(layout, ADMIN)
    fresh = known is None or not Path(known, "bootstrapped").exists()
    folder = Path(known) if known is not None and not fresh else _new_folder(layout, shard)
    if fresh:
        embedded_postgres.initialise(programs, folder / "data", superuser=SUPERUSER, password=superuser)
    daemon = Daemon(
        name=_daemon_name(shard),
        command=embedded_postgres.server_command(programs, folder / "data", port, _SETTINGS),
        healthy=lambda: _answers(port, superuser),
        # A folder of root's cannot be entered by the user that the server runs as.
        start_options={"cwd": "/", **embedded_postgres.as_user()},
        stop_signal=SIGINT,  # does not wait for clients, and is still in order
    )
    daemons.ensure_running(daemon, layout)
    if fresh:
        with _connect(port, superuser) as connection:
            for statement in _BOOTSTRAP:
                stored = Literal(password_verifier(layout, ADMIN))
                connection.execute(SQL(statement).format(verifier=stored))
        (folder / "bootstrapped").touch()
    return Server(shard=shard, port=port, fresh=fresh, admin_password=admin)


def _new_folder(layout: Layout, shard: str) -> Path:
    """A folder that the server's user owns; ours is closed to others, so root's servers live in the temporary one."""
    daemons.stop(_daemon_name(shard), layout)
    record = _record(layout)
    if shard in record["folders"]:
        shutil.rmtree(record["folders"][shard], ignore_errors=True)
    if embedded_postgres.as_user():
        folder = embedded_postgres.owned_folder("payments-postgres-")
    else:
        folder = layout.root / "control-plane" / _daemon_name(shard)
        folder.mkdir(parents=True)
    write_json(
        layout.database_record, {**record, "folders": {**record["folders"], shard: str(folder)}}, mode=PRIVATE_MODE
    )
    return folder


def _connect(port: int, superuser_password: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(
        host=HOST,
        port=port,
        dbname="postgres",
        user=SUPERUSER,
        password=superuser_password,
        connect_timeout=5,
        autocommit=True,
    )


def _answers(port: int, superuser_password: str) -> bool:
    try:
        _connect(port, superuser_password).close()
    except psycopg.OperationalError:
        return False
    return True


def _secret(layout: Layout, name: str) -> dict[str, str]:
    record = _record(layout)
    if name not in record["roles"]:
        made = secrets.token_urlsafe(_PASSWORD_BYTES)
        record["roles"][name] = {"password": made, "verifier": verifier(made)}
        write_json(layout.database_record, record, mode=PRIVATE_MODE)
    found: dict[str, str] = record["roles"][name]
    return found


def _record(layout: Layout) -> dict[str, Any]:
    return {"folders": {}, "roles": {}, **(read_json(layout.database_record) or {})}


def _daemon_name(shard: str) -> str:
    return f"postgres-{shard}"
