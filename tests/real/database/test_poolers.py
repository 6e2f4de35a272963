"""Migrations and a real PgBouncer: it is refused as an address, and told to reconnect after a change."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock

from payments_client.migrations import MigrationError, apply, load
from payments_client.migrations.poolers import Pooler, reconnect
from sandbox.ports import free_port
from sandbox.tools import cache_root
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS, Database

_PACKAGES = ("pgbouncer", "libevent-2.1-7", "libc-ares2")
_HOW = (
    "PgBouncer is needed. Install it (Debian, Ubuntu: apt-get install pgbouncer), "
    "or let apt-get download reach its mirror"
)


def program() -> tuple[str, dict[str, str]]:
    """PgBouncer and its environment: the installed one, or Debian's, unpacked into the per-user cache."""
    installed = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if installed:
        return installed, {}
    target = cache_root() / "debian-pgbouncer"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=180):
        if not target.exists():
            work = target.with_suffix(".new")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                done = subprocess.run(
                    ["apt-get", "download", *_PACKAGES],
                    cwd=work,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=180,
                )
            except FileNotFoundError:
                raise AssertionError(f"{_HOW}; there is no apt-get here") from None
            assert done.returncode == 0, f"{_HOW}; {done.stderr.strip()}"
            for package in work.glob("*.deb"):
                subprocess.run(["dpkg", "-x", str(package), str(work)], check=True, timeout=60)
            work.rename(target)
    libraries = next(path.parent for path in target.rglob("libevent-2.1.so.7"))
    return str(target / "usr" / "sbin" / "pgbouncer"), {"LD_LIBRARY_PATH": str(libraries)}


@dataclass(frozen=True, kw_only=True)
class Running:
    port: int
    log: Path


@pytest.fixture
def pooler(newest: Database, tmp_path: Path) -> Iterator[Running]:
    """A transaction pool in front of the database; whoever connects is the migrating role."""
    port, log = free_port(), tmp_path / "log"
    target = f"host=127.0.0.1 port={newest.server.port} dbname={newest.name} user={roles.MIGRATOR}"
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "auth_type": "any",
        "pool_mode": "transaction",
        "unix_socket_dir": "",
        "admin_users": roles.MIGRATOR,
    }
    # Started as root it changes to a user, who must be able to read the file.
    if os.geteuid() == 0:
        settings["user"] = "nobody"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (tmp_path / "ini").write_text("\n".join(["[databases]", f"payments = {target}", "[pgbouncer]", *lines, ""]))
    command, environment = program()
    with log.open("wb") as output:
        process = subprocess.Popen([command, str(tmp_path / "ini")], env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while b"process up" not in log.read_bytes():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()  # noqa: PT018 # it lives, in time
            time.sleep(0.05)
        yield Running(port=port, log=log)
    finally:
        process.terminate()
        process.wait(30)


def test_a_poolers_address_is_refused_and_its_connections_are_renewed(pooler: Running) -> None:
    address = f"host=127.0.0.1 port={pooler.port} dbname=payments user={roles.MIGRATOR} sslmode=disable"
    with (
        psycopg.connect(address, autocommit=True) as connection,
        pytest.raises(MigrationError, match="the address is a pooler's"),
    ):
        apply(connection, load(MIGRATIONS))

    console = Pooler(host="127.0.0.1", port=pooler.port, user=roles.MIGRATOR, sslmode="disable")
    with psycopg.connect(address, autocommit=True) as connection:
        before = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert connection.execute("SELECT pg_backend_pid()").fetchone() == before
        assert reconnect([console], "payments") == {}
        assert connection.execute("SELECT pg_backend_pid()").fetchone() != before
    assert "RECONNECT 'payments' command issued" in pooler.log.read_text()


def test_a_pooler_that_is_gone_is_told_of_and_no_failure() -> None:
    port = free_port()
    failures = reconnect([Pooler(host="127.0.0.1", port=port, user=roles.MIGRATOR, sslmode="disable")], "payments")
    assert list(failures) == [f"127.0.0.1:{port}"]
