"""promtool and prometheus: the installed ones, or Debian's, unpacked into the per-user cache.

Debian's 2.42 rather than a build of 3.x: it is here in seconds, where a cold build takes minutes and needs Go.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from sandbox.tools import cache_root

_TIMEOUT_SECONDS = 180
_HOW = (
    "promtool and prometheus are needed. Install them (Debian, Ubuntu: apt-get install prometheus), "
    "or let apt-get download reach its mirror"
)


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """The two programs."""

    promtool: str
    prometheus: str


def binaries() -> Binaries:
    """What tests use. Raises ``AssertionError`` with the way to get it."""
    promtool, prometheus = shutil.which("promtool"), shutil.which("prometheus")
    if promtool and prometheus:
        return Binaries(promtool=promtool, prometheus=prometheus)
    target = cache_root() / "debian-prometheus"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=_TIMEOUT_SECONDS):
        if not target.exists():
            _unpack(target)
    folder = target / "usr" / "bin"
    return Binaries(promtool=str(folder / "promtool"), prometheus=str(folder / "prometheus"))


def run(*command: str, folder: Path, timeout_seconds: int = 120) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; its output is the caller's to judge."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=timeout_seconds, check=False, env=environment
    )


def _unpack(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        _must("apt-get", "download", "prometheus", folder=Path(work))
        root = Path(work) / "root"
        for package in sorted(Path(work).glob("*.deb")):
            _must("dpkg", "-x", str(package), str(root), folder=Path(work))
        root.rename(target)


def _must(*command: str, folder: Path) -> None:
    try:
        answer = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except FileNotFoundError:
        raise AssertionError(f"{_HOW}; there is no {command[0]} here") from None
    assert answer.returncode == 0, f"{_HOW}; {command[0]}: {answer.stderr.strip()}"
