"""PostgreSQL, PgBouncer, HAProxy and pgBackRest: the installed ones, or Debian's, unpacked into the per-user cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from sandbox.errors import SandboxError
from sandbox.tools import cache_root

_TIMEOUT_SECONDS = 240
_PACKAGES = ("pgbouncer", "haproxy", "pgbackrest")
# Libraries that a slim machine lacks; the names are those of Debian 12 and 13, a release has one of each pair.
_LIBRARIES = (
    "libc-ares2", "libcares2", "libevent-2.1-7", "libevent-2.1-7t64", "liblua5.3-0", "liblua5.4-0",
    "libopentracing-c-wrapper0", "libopentracing-c-wrapper0t64", "libopentracing1",
    "libllvm14", "libicu72", "libicu76", "libxslt1.1", "libpq5", "liblz4-1", "libxml2",
)  # fmt: skip
_HOW = (
    "install postgresql, pgbouncer, haproxy and pgbackrest (Debian, Ubuntu: apt-get install), "
    "or let apt-get download reach its mirror"
)
_UNPRIVILEGED_ID = 65534
"""nobody: PostgreSQL refuses to run as root."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresBinaries:
    """Where each program lies, and the environment that they run in."""

    root: Path
    postgres: Path
    """Folder with initdb, postgres, pg_rewind, …"""
    major: int

    def program(self, name: str) -> Path:
        """Path of ``pgbouncer``, ``haproxy`` or ``pgbackrest``. Raises ``SandboxError``."""
        for folder in ("usr/sbin", "usr/bin"):
            if (found := self.root / folder / name).exists():
                return found
        raise SandboxError(f"there is no {name} among the unpacked packages", next_step=_HOW)

    @property
    def environment(self) -> dict[str, str]:
        """PATH and libraries; nothing else of the caller's environment."""
        libraries = sorted({str(path.parent) for path in (self.root / "usr" / "lib").rglob("*.so.*")})
        own = [self.postgres, Path(sys.executable).parent, self.root / "usr" / "bin", self.root / "usr" / "sbin"]
        path = os.pathsep.join([*map(str, own), os.environ["PATH"]])
        return {"PATH": path, "LD_LIBRARY_PATH": os.pathsep.join(libraries), "LC_ALL": "C.UTF-8"}


def unprivileged(command: Sequence[str | Path]) -> list[str]:
    """The command as a user that PostgreSQL accepts.

    Root becomes nobody, the only way to start PostgreSQL as root. The one capability that it keeps lets it reach a
    per-user cache and a test's folder that only root may enter. Any other user stays itself.
    """
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    identity = [f"--reuid={_UNPRIVILEGED_ID}", f"--regid={_UNPRIVILEGED_ID}", "--clear-groups"]
    return ["setpriv", *identity, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", *words]


def reachable(binaries: PostgresBinaries, folder: Path) -> PostgresBinaries:
    """A copy of the server below a folder that any user may enter.

    postgres looks for its own files by access(2), which heeds no capability.
    """
    if os.geteuid() != 0:
        return binaries
    for part in (Path("usr/lib/postgresql"), Path("usr/share/postgresql")):
        shutil.copytree(binaries.root / part, folder / part, dirs_exist_ok=True)
    return replace(binaries, postgres=folder / binaries.postgres.relative_to(binaries.root))


def hand_over(folder: Path) -> None:
    """Give a folder and all below it to the user of ``unprivileged``."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)


def postgres_binaries() -> PostgresBinaries:
    """The programs, downloaded once. Raises ``SandboxError`` with the way to get them."""
    target = cache_root() / "debian-postgres"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=_TIMEOUT_SECONDS):
        if not target.exists():
            _unpack(target)
    found = sorted((target / "usr" / "lib" / "postgresql").glob("*/bin/postgres"))
    if not found:
        raise SandboxError("the unpacked packages hold no postgres", next_step=_HOW)
    return PostgresBinaries(root=target, postgres=found[-1].parent, major=int(found[-1].parents[1].name))


def _unpack(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        folder = Path(work)
        server = _server_package()
        libraries = [name for name in _LIBRARIES if _has_candidate(name)]
        _run(
            "apt-get", "download", server, server.replace("postgresql-", "postgresql-client-"), *_PACKAGES, *libraries,
            folder=folder,
        )  # fmt: skip
        root = folder / "root"
        for package in sorted(folder.glob("*.deb")):
            _run("dpkg", "-x", str(package), str(root), folder=folder)
        root.chmod(0o755)
        root.rename(target)


def _server_package() -> str:
    """The release's own server, for example ``postgresql-15``: what its pgBackRest knows."""
    answer = _run("apt-cache", "depends", "postgresql", folder=Path.cwd())
    names = [line.split()[-1] for line in answer.splitlines() if "Depends: postgresql-" in line]
    if not names:
        raise SandboxError("apt knows no package postgresql", next_step=_HOW)
    return names[0]


def _has_candidate(name: str) -> bool:
    answer = _run("apt-cache", "policy", name, folder=Path.cwd())
    return "Candidate:" in answer and "Candidate: (none)" not in answer


def _run(*command: str, folder: Path) -> str:
    if shutil.which(command[0]) is None:
        raise SandboxError(f"there is no {command[0]} here", next_step=_HOW)
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    if answer.returncode != 0:
        raise SandboxError(f"{command[0]}: {answer.stderr.strip()}", next_step=_HOW)
    return answer.stdout
