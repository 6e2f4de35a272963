"""`payctl db status` on two real servers: whoever looks, with whichever checkout, no shard lags unseen."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli import sandbox_database
from cli.main import cli
from cli.stack_file import PLATFORM_KEY
from payments_client.migrations import Options, apply, load
from payments_client.migrations.__main__ import main
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS, Database
from tests.real.postgres_server import running
from tests.unit.stacks import REMOVED, platform_of

SHIPPED = load(MIGRATIONS)
LAST = SHIPPED[-1]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack file with a shard on each of two servers, and a checkout that may be older than this one."""

    shards: dict[str, Database]
    file: Path
    checkout: Path

    def migrate(self, shard: str, through: int = LAST.version) -> None:
        with self.shards[shard].connect(roles.MIGRATOR) as connection:
            apply(connection, SHIPPED[:through], Options(owner=roles.OWNER))

    def hold(self, versions: int) -> None:
        """Make the checkout one that has only the first versions."""
        for path in self.checkout.iterdir():
            path.unlink()
        for path in sorted(MIGRATIONS.glob("*.sql"))[:versions]:
            (self.checkout / path.name).write_bytes(path.read_bytes())

    def status(self, *more: str) -> Result:
        return CliRunner().invoke(cli, ["db", "status", "--stack", "dev", "--config-file", str(self.file), *more])

    def problems(self) -> tuple[int, dict[str, str]]:
        """Exit code, and shard → problem; one is current exactly when it has no problem."""
        result = self.status("--json")
        rows = json.loads(result.stdout)
        assert all(row["current"] == (not row["problem"]) for row in rows)
        return result.exit_code, {row["shard"]: row["problem"] for row in rows}


@pytest.fixture
def stack(empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    with running(max(VERSIONS)) as server:
        roles.make_roles(server)
        roles.make_database(server, empty_database.name)
        shards = {"s00": empty_database, "s01": Database(server=server, name=empty_database.name)}
        declared = {
            name: {
                "buckets": [buckets],
                "endpoint": {
                    "host": "127.0.0.1", "port": shards[name].server.port, "password_key": "unused",
                    "sslmode": "disable",
                },
            }
            for name, buckets in (("s00", "0-511"), ("s01", "512-1023"))
        }  # fmt: skip
        changes = {"data/shards": declared, "data/database": empty_database.name, "postgres": REMOVED}
        file, checkout = tmp_path / "Pulumi.dev.yaml", tmp_path / "migrations"
        checkout.mkdir()
        file.write_text(yaml.safe_dump({"config": {PLATFORM_KEY: platform_of("dev", changes)}}))
        monkeypatch.setattr(sandbox_database, "MIGRATIONS", checkout)
        monkeypatch.setenv("PGUSER", roles.MIGRATOR)
        yield Stack(shards=shards, file=file, checkout=checkout)


def test_every_shard_as_new_as_the_checkout_is_the_one_success(stack: Stack) -> None:
    stack.hold(LAST.version)
    stack.migrate("s00")
    stack.migrate("s01")
    assert stack.problems() == (0, {"s00": "", "s01": ""})
    shown = stack.status()
    assert shown.exit_code == 0
    assert [line.split() for line in shown.stdout.splitlines()[1:]] == [
        [name, f"127.0.0.1:{stack.shards[name].server.port}", f"{LAST.version:04d}", "none"] for name in ("s00", "s01")
    ]


def test_a_shard_that_lags_is_seen_from_a_checkout_that_lags_as_well(stack: Stack) -> None:
    older = LAST.version - 2
    labels = ", ".join(migration.label for migration in SHIPPED[older:])
    stack.migrate("s00")
    stack.migrate("s01", older)
    stack.hold(older)
    assert stack.problems() == (
        1,
        {"s00": f"ahead of this checkout: {labels}", "s01": f"behind: s00 at {LAST.version:04d}"},
    )
    stack.migrate("s01")
    # No shard lags any more; the checkout does, and cannot say that all is well.
    assert stack.problems() == (1, dict.fromkeys(("s00", "s01"), f"ahead of this checkout: {labels}"))
    stack.hold(LAST.version)
    assert stack.problems() == (0, {"s00": "", "s01": ""})


def test_a_shard_that_lags_behind_the_checkout_and_the_other_says_both(stack: Stack) -> None:
    stack.hold(LAST.version)
    stack.migrate("s00")
    stack.migrate("s01", LAST.version - 1)
    code, problems = stack.problems()
    assert (code, problems) == (1, {"s00": "", "s01": f"behind: s00 at {LAST.version:04d}; pending: {LAST.label}"})


def test_the_runner_s_own_status_does_not_call_a_newer_database_current(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.migrate("s00")
    database = stack.shards["s00"]
    variables = {
        "DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(database.server.port), "DATABASE_NAME": database.name,
        "DATABASE_SSLMODE": "disable", "MIGRATIONS_FOLDER": str(stack.checkout),
    }  # fmt: skip
    for versions, code in ((LAST.version, 0), (LAST.version - 1, 1)):
        stack.hold(versions)
        assert main(["status"], variables) == code
    assert f"ahead of the folder: {LAST.label}" in capsys.readouterr().out
