"""``payctl db``: how the schema of every shard is, and the verifier of a password."""

import getpass
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.table import Table

from cli import sandbox_database
from cli.lifecycle import in_sandbox, layout_for
from cli.options import EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from payments_client import migrations
from payments_client.shards import fan_out
from sandbox import database
from sandbox.scram import verifier
from settings import Settings
from settings.data import Endpoint
from settings.data_roles import RoleName

_TIMEOUT_SECONDS = 30
_CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStatus:
    """One shard beside the migrations of this checkout."""

    shard: str
    address: str
    version: int | None
    """Newest version that is complete; ``None`` when nobody could ask."""
    current: bool
    """It has what this checkout has, no less and no more, and so have the others."""
    problem: str
    """Why it is not current; empty when it is."""


@click.group()
def db() -> None:
    """Look at the databases of a stack."""


@db.command("status")
@stack_option
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@says_problems
def status(stack: str, config_file: Path | None, as_json: bool) -> None:
    """Show the schema version of every shard beside this checkout's migrations.

    Exit code 1: a shard lags behind this checkout or another shard, is ahead, differs, or cannot be asked. For servers
    outside of the sandbox, user and password come from PGUSER, PGPASSWORD or ~/.pgpass, as with psql.
    """
    _, settings = load_stack(stack, config_file)
    rows = read_shards(settings)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print(rows)
    if not all(row.current for row in rows):
        raise click.exceptions.Exit(EXIT_VIOLATION)


@db.command("verifier")
@says_problems
def verifier_command() -> None:
    """Print the SCRAM verifier of a password that is read from standard input.

    The verifier is what a stack keeps: payctl db verifier | pulumi config set --secret databaseVerifierApp
    """
    text = getpass.getpass("password: ", stream=sys.stderr) if sys.stdin.isatty() else sys.stdin.readline()
    try:
        click.echo(verifier(text.rstrip("\r\n")))
    except ValueError as error:
        print_problem(f"payctl db verifier: {error}")
        raise click.exceptions.Exit(EXIT_VIOLATION) from None


def read_shards(settings: Settings) -> list[ShardStatus]:
    """Ask every shard at once; one that does not answer is a row too."""
    if settings.data is None:
        return []
    wanted = migrations.load(sandbox_database.MIGRATIONS)
    places = {name: _place(settings, name) for name in settings.data.shards}
    asked = [name for name, place in places.items() if "host" in place]

    def ask(name: str) -> migrations.Status:
        with psycopg.connect(**places[name], connect_timeout=_CONNECT_TIMEOUT_SECONDS, autocommit=True) as connection:
            connection.execute("SELECT set_config('role', %s, false)", [str(RoleName.OWNER)])
            return migrations.read_status(connection, wanted)

    answers = fan_out(asked, ask, timeout_seconds=_TIMEOUT_SECONDS)
    newest = max(((found.newest, name) for name, found in answers.answered.items()), default=(0, ""))
    rows = []
    for name, place in places.items():
        found = answers.answered.get(name)
        reason = place.get("missing") or _words(answers.failed.get(name))
        problem = reason if found is None else _differences(found, newest)
        rows.append(
            ShardStatus(
                shard=name,
                address=f"{place['host']}:{place['port']}" if "host" in place else "–",
                version=None if found is None else found.newest,
                current=found is not None and not problem,
                problem=problem,
            )
        )
    return rows


def _place(settings: Settings, name: str) -> dict[str, Any]:
    """How to connect to a shard, or what is missing for it."""
    data = settings.data
    endpoint = data.shards[name].endpoint if data is not None else None
    if data is None or (endpoint is None and not in_sandbox(settings)):
        return {"missing": f"no endpoint; name data.shards.{name}.endpoint"}
    if endpoint is not None:
        return _named(endpoint, data.database)
    layout = layout_for(settings)
    port = database.port(layout, name)
    if port is None or not database.running(layout).get(name):
        return {"missing": "not started; payctl up starts it"}
    role = str(RoleName.MIGRATION)
    password = database.password(layout, role)
    return {"host": database.HOST, "port": port, "dbname": data.database, "user": role, "password": password}


def _named(endpoint: Endpoint, name: str) -> dict[str, Any]:
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "dbname": name,
        "user": os.environ.get("PGUSER", str(RoleName.MIGRATION)),
        "sslmode": str(endpoint.sslmode),
        **({"sslrootcert": endpoint.ca_file} if endpoint.ca_file else {}),
    }


def _words(error: Exception | None) -> str:
    return " ".join(str(error).split()) if error is not None else ""


def _differences(found: migrations.Status, newest: tuple[int, str]) -> str:
    """Beside this checkout, and beside the shard with the newest version: an older checkout must not hide who lags."""
    version, shard = newest
    parts = {
        "behind": (f"{shard} at {version:04d}",) if found.newest < version else (),
        "pending": found.pending,
        "unfinished": found.unfinished,
        "edited": found.edited,
        "missing here": found.unknown,
        "ahead of this checkout": found.ahead,
    }
    return "; ".join(f"{word}: {', '.join(labels)}" for word, labels in parts.items() if labels)


def _print(rows: list[ShardStatus]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("shard", "address", "version"):
        table.add_column(heading, no_wrap=True)
    table.add_column("problem", overflow="fold")
    for row in rows:
        version = "?" if row.version is None else f"{row.version:04d}"
        table.add_row(row.shard, row.address, version, row.problem or "none")
    console.print(table)
    if not rows:
        console.print("the stack has no shards")
