import re
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import psycopg
import pytest

from sandbox.postgres_binaries import hand_over, unprivileged
from sandbox.postgres_rig import Rig
from tests.real.postgres.conftest import pgbackrest

pytestmark = [pytest.mark.real, pytest.mark.slow]
_PORT = 6543


def test_a_restore_to_a_point_in_time_has_the_rows_of_that_time(healthy: Rig) -> None:
    point = f"before_{secrets.token_hex(4)}"
    primary = healthy.primary()
    assert primary is not None
    with healthy.superuser(primary, healthy.dbname) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS payments_copy (id integer PRIMARY KEY, amount integer)")
        connection.execute("TRUNCATE payments_copy")
        connection.execute("INSERT INTO payments_copy SELECT n, n * 7 FROM generate_series(1, 500) n")
        pgbackrest(healthy, "--type=full", "backup")
        connection.execute("INSERT INTO payments_copy SELECT n, n * 7 FROM generate_series(501, 900) n")
        connection.execute("SELECT pg_create_restore_point(%s)", [point])
        wanted = connection.execute("SELECT id, amount FROM payments_copy ORDER BY id").fetchall()
        connection.execute("DELETE FROM payments_copy WHERE id > 100")
        connection.execute("SELECT pg_switch_wal()")
    assert len(wanted) == 900
    assert restored(healthy, point) == wanted


def test_the_restore_test_job_comes_as_far_as_the_newest_log_and_reads_every_row(healthy: Rig) -> None:
    pgbackrest(healthy, "--type=full", "backup")
    primary = healthy.primary()
    assert primary is not None
    with healthy.superuser(primary, healthy.dbname) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        connection.execute("CREATE TABLE only_in_the_log AS SELECT 1 AS id")
        archive(healthy, connection)
    assert row is not None
    script = healthy.host.operations / "config" / "restore_test.sh"
    answer = subprocess.run(
        unprivileged(["sh", script]),
        env={**healthy.environment, "PGUSER": "postgres", "PGPASSWORD": healthy.host.passwords["superuser"]},
        cwd=healthy.host.operations, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.endswith("restore test: every row was read\n"), answer.stdout
    found = re.search(r"(?m)^last transaction: (.*)$", answer.stdout)
    assert found is not None, answer.stdout
    assert datetime.fromisoformat(found[1]) >= row[0]


def archive(rig: Rig, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Wait until all log that was written so far is in the repository."""
    segment = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
    assert segment is not None

    def done() -> bool:
        asked = 'SELECT last_archived_wal COLLATE "C" >= %s FROM pg_stat_archiver'
        return connection.execute(asked, [segment[0]]).fetchone() == (True,)

    rig.wait(done, *rig.host.members, seconds=60)


def restored(rig: Rig, point: str) -> list[tuple[int, int]]:
    """Rows of a fresh server that the backup and the log were played into."""
    home = rig.host.folder / f"restored-{point}"
    home.mkdir()
    hand_over(home)
    target = ["--type=name", f"--target={point}", "--target-action=promote"]
    pgbackrest(rig, f"--pg1-path={home / 'data'}", *target, "restore", config="restore.conf")
    options = {
        "listen_addresses": "", "unix_socket_directories": str(home), "port": str(_PORT), "archive_mode": "off",
        "ssl": "off",
        "cluster_name": "restored", "hba_file": str(home / "hba.conf"), "synchronous_standby_names": "",
    }  # fmt: skip
    (home / "hba.conf").write_text("local all all trust\n", encoding="utf-8")
    hand_over(home)
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            unprivileged([rig.binaries.postgres / "postgres", "-D", home / "data", *words]),
            env=rig.environment, cwd=home, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and server.poll() is None:
            with (
                suppress(psycopg.OperationalError),
                psycopg.connect(host=str(home), port=_PORT, user="postgres", dbname=rig.dbname) as connection,
            ):
                if connection.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,):
                    return connection.execute("SELECT id, amount FROM payments_copy ORDER BY id").fetchall()
            time.sleep(0.3)
        raise AssertionError((home / "log").read_text(encoding="utf-8")[-3000:])
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)
