import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.postgres_stage import database_of, render
from sandbox.postgres_binaries import unprivileged
from sandbox.postgres_load import make_table
from sandbox.postgres_rig import Rig
from sandbox.tools import ensure, progress


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """The prod stack's database, with a backup; started once for every test that harms and mends it."""
    context = database_of("prod")
    etcd = ensure(["etcd"], progress())["etcd"]
    with Rig.start(render(context), etcd, dbname=context.postgres.database) as started:
        make_table(started)
        started.start_backup_servers()
        pgbackrest(started, "stanza-create")
        yield started


@pytest.fixture
def healthy(rig: Rig) -> Rig:
    rig.wait_healthy()
    return rig


def pgbackrest(rig: Rig, *arguments: str | Path, config: str = "pgbackrest.conf") -> str:
    """Run the real tool as the backup Jobs do: their rendered file, their certificate, the passphrase."""
    file = rig.host.operations / "config" / config
    command = [rig.binaries.program("pgbackrest"), f"--config={file}", f"--stanza={rig.scope}", *arguments]
    answer = subprocess.run(
        unprivileged(command), env=rig.environment,
        cwd=rig.host.folder, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
