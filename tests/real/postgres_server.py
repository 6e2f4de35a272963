"""A real PostgreSQL for tests: started on loopback, killed, promoted, and removed with everything that it wrote."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from sandbox import embedded_postgres as embedded
from sandbox.ports import free_port

_START_SECONDS = 120
_STOP_SECONDS = 60
SUPERUSER = "postgres"
_SETTINGS = {
    **embedded.FAST_SETTINGS,
    "max_connections": "120",
    "shared_buffers": "128MB",
    "wal_level": "logical",  # publications can be made without a warning
    "jit": "off",
}


@dataclass(kw_only=True)
class PostgresServer:
    """One server and its folder. ``dsn`` gives connection strings; loopback is trusted."""

    major: int
    folder: Path
    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """A connection string of libpq."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user} sslmode=disable connect_timeout=30"

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> "psycopg.Connection[tuple[object, ...]]":
        """An autocommitting connection."""
        return psycopg.connect(self.dsn(database, user), autocommit=True)

    def start(self) -> None:
        """Start and wait until it answers. Raises ``AssertionError`` with the log's end."""
        found = embedded.programs(self.major)
        command = embedded.server_command(found, self.data, self.port, {**_SETTINGS, **self.settings})
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd="/",
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                **embedded.as_user(),  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"PostgreSQL {self.major} ended at once:\n{self.log()}"
            try:
                with self.connect():
                    return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError(f"PostgreSQL {self.major} did not answer in {_START_SECONDS} s:\n{self.log()}")

    def stop(self) -> None:
        """End it in order (fast shutdown)."""
        self._end(signal.SIGINT)

    def abandon(self) -> None:
        """End it at once, without writing anything back: its folder is about to go."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """End it as a lost node does: nothing is flushed, nobody is told."""
        if self.process is None:
            return
        children = _children(self.process.pid)
        self._end(signal.SIGKILL)
        for pid in children:
            _kill(pid)

    def promote(self) -> None:
        """Make a standby the primary and wait until it takes writes."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote(true, 60)")

    def standby(self, folder: Path, *, name: str = "standby") -> "PostgresServer":
        """A streaming standby of this server, made but not started."""
        other = PostgresServer(major=self.major, folder=folder, settings=self.settings)
        found = embedded.programs(self.major)
        source = f"host=127.0.0.1 port={self.port} user={SUPERUSER} sslmode=disable application_name={name}"
        command = [found.path("pg_basebackup"), "--pgdata", str(other.data), "--dbname", source]
        embedded.run([*command, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
        return other

    def log(self) -> str:
        """The end of what it has written."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace")[-3000:] if path.exists() else "(no log)"

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


def _children(pid: int) -> list[int]:
    """Pids of a server's own processes: they outlive a killed postmaster for a moment."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def running(major: int, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """A new, empty server in a folder of its own; both are gone afterwards."""
    with server_folder() as folder:
        server = PostgresServer(major=major, folder=folder, settings=settings or {})
        embedded.initialise(embedded.programs(major), server.data)
        try:
            server.start()
            yield server
        finally:
            server.abandon()


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that the server's user owns, removed afterwards."""
    folder = embedded.owned_folder("payments-postgres-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
