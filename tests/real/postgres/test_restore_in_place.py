"""A shard taken back to a moment before a wrong DELETE, step by step as docs/runbooks/postgres-restore.md has it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.postgres_stage import ROOT, database_of
from components.postgres.model import DATA_DIRECTORY
from components.postgres.restore_plan import plan_restore_in_place
from sandbox.postgres_binaries import hand_over, unprivileged
from sandbox.postgres_mapping import ETCD_PORT
from sandbox.postgres_rig import Rig
from tests.real.postgres.conftest import pgbackrest
from tests.real.postgres.test_backup import archive

pytestmark = [pytest.mark.real, pytest.mark.slow]
_ROWS = "SELECT id, amount FROM payments_in_place ORDER BY id"


def test_a_shard_goes_back_to_a_moment_before_a_wrong_delete_and_patroni_keeps_it_there(healthy: Rig) -> None:
    rig = healthy
    primary = rig.primary()
    assert primary is not None
    with rig.superuser(primary, rig.dbname) as connection:
        connection.execute("CREATE TABLE payments_in_place (id integer PRIMARY KEY, amount integer)")
        connection.execute("INSERT INTO payments_in_place SELECT n, n * 7 FROM generate_series(1, 500) n")
        pgbackrest(rig, "--type=full", "backup")
        connection.execute("INSERT INTO payments_in_place SELECT n, n * 7 FROM generate_series(501, 900) n")
        wanted = connection.execute(_ROWS).fetchall()
        # A backup ends at a whole second, and must have ended before the moment.
        time.sleep(2)
        moment = connection.execute("SELECT clock_timestamp()::text").fetchone()
        connection.execute("DELETE FROM payments_in_place WHERE id > 100")
        archive(rig, connection)
    assert moment is not None
    assert len(wanted) == 900
    # A backup of the mistake: the newest one is of no use, and no replica may be made of it.
    pgbackrest(rig, "--type=full", "backup")

    with pytest.raises(AssertionError, match="waited 1 s for all members to be gone"):
        forget(rig, deadline_seconds=1)
    for name in rig.host.members:
        end(rig, name)
    forget(rig)
    first, *others = rig.host.members
    assert f"restore in place: as at {moment[0]};" in restore(rig, first, moment[0])

    rig.start_member(first)
    rig.wait(lambda: rig.primary() == first, first, seconds=120)
    assert rows(rig, first) == wanted
    pgbackrest(rig, "--type=full", "--no-backup-standby", "backup")
    for name in others:
        shutil.rmtree(rig.host.data(name))
        rig.start_member(name)
    rig.wait_healthy()
    with rig.superuser(first, rig.dbname) as connection:
        connection.execute("INSERT INTO payments_in_place VALUES (901, 1)")
        archive(rig, connection)
    for name in rig.host.members:
        rig.wait(lambda name=name: rows(rig, name) == [*wanted, (901, 1)], name, seconds=30)  # type: ignore[misc]


def rows(rig: Rig, name: str) -> list[Any]:
    with rig.superuser(name, rig.dbname) as connection:
        return connection.execute(_ROWS).fetchall()


def end(rig: Rig, name: str) -> None:
    """As a pod ends that is scaled away."""
    process = rig.processes.pop(name)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert rig.postmaster(name) is None


def pod(rig: Rig) -> dict[str, Any]:
    shard = rig.scope.removeprefix("payments-")
    [cron_job] = [one for one in plan_restore_in_place(database_of("prod"), shard).values() if one["kind"] == "CronJob"]
    found: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def forget(rig: Rig, *, deadline_seconds: int = 120) -> None:
    """The first container of the Job's pod, which asks etcd."""
    [container] = pod(rig)["initContainers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    password = rig.host.folder / rig.host.members[0] / "passwords" / "etcd"
    addresses = ",".join(f"https://{rig.host.etcd(index)}:{ETCD_PORT}" for index in range(3))
    mapped = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "components" / "postgres"), "PG_ETCD": addresses,
        "PG_CA_FILE": str(rig.host.certificate), "PG_PASSWORD_FILE": str(password),
        "PG_DEADLINE_SECONDS": str(deadline_seconds),
    }  # fmt: skip
    answer = subprocess.run(
        [sys.executable, *container["command"][1:]],
        env=variables | mapped, cwd=rig.host.folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def restore(rig: Rig, member: str, moment: str) -> str:
    """The second container, on a member's claim."""
    [container] = pod(rig)["containers"]
    home = rig.host.folder / "restore-in-place"
    home.mkdir()
    for path in (rig.host.operations / "config").iterdir():
        text = path.read_text(encoding="utf-8").replace(f"{rig.host.operations}/data", str(rig.host.data(member)))
        (home / path.name).write_text(text.replace(str(path.parent), str(home)), encoding="utf-8")
    hand_over(home)
    assert DATA_DIRECTORY.startswith(container["volumeMounts"][-1]["mountPath"])
    command = [container["command"][0], home / Path(container["command"][1]).name]
    answer = subprocess.run(
        unprivileged(command),
        env={**rig.environment, "PGUSER": "postgres", "PGPASSWORD": rig.host.passwords["superuser"],
             "RESTORE_TARGET": moment},
        cwd=home, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
