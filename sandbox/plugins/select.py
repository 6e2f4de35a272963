"""Choose the engine's plugins: the official ones where they are or can be had, else this repository's stand-ins."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json

STAND_INS: Final = Path(__file__).resolve().parent / "bin"
FORCE: Final = "PAYMENTS_PLUGINS"
PYTHON: Final = "PAYMENTS_PYTHON"
LANGUAGE: Final = "pulumi-language-python"
KUBERNETES: Final = "pulumi-resource-kubernetes"
CLOUDFLARE: Final = "pulumi-resource-cloudflare"
POSTGRESQL: Final = "pulumi-resource-postgresql"
_ALL: Final = (LANGUAGE, KUBERNETES, CLOUDFLARE, POSTGRESQL)
DOWNLOAD_TIMEOUT_SECONDS: Final = 60
_MEMORY: Final = "plugins.json"
# Where the engine keeps a plugin of each kind below its home's plugins folder.
_INSTALLED_AS: Final = {
    LANGUAGE: "language-python-v*",
    KUBERNETES: "resource-kubernetes-v*",
    CLOUDFLARE: "resource-cloudflare-v*",
    POSTGRESQL: "resource-postgresql-v*",
}


class Report(Protocol):
    """What this module says while it works."""

    def say(self, text: str) -> None:
        """One line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginChoice:
    """What the engine's environment needs: folders to put first on PATH, variables, and a word per plugin."""

    path_entries: list[Path] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    description: dict[str, str] = field(default_factory=dict)
    """Plugin → ``official 4.34.2``, ``stand-in``, or ``official, when a stack needs it``."""


def select(pulumi: Path, pulumi_home: Path, report: Report) -> PluginChoice:
    """Choose all plugins.

    ``pulumi`` is the engine's binary, ``pulumi_home`` its home, whose parent remembers that a download was
    refused so that it is tried once. ``PAYMENTS_PLUGINS`` = ``official`` or ``stand-in`` leaves no choice.
    Cloudflare's and PostgreSQL's plugins are not tried: not every stack needs them, and where the others are official
    ones the engine gets these by itself. Raises ``SandboxError`` when official plugins are demanded and cannot be had.
    """
    forced = _forced()
    version = importlib.metadata.version("pulumi-kubernetes")
    found: Mapping[str, Path] = {}
    if forced != "stand-in":
        found = _official(pulumi, pulumi_home)
        if KUBERNETES not in found and _download(pulumi, pulumi_home, version, report, again=forced == "official"):
            found = _official(pulumi, pulumi_home)
    missing = [name for name in (LANGUAGE, KUBERNETES) if name not in found]
    if missing and forced == "official":
        raise SandboxError(
            f"{FORCE}=official, but {' and '.join(missing)} cannot be found or downloaded",
            next_step=f"install Pulumi's own distribution, or unset {FORCE} to use the stand-ins",
        )
    # Official folders come first: the stand-ins' folder holds all names.
    folders = [found[name].parent for name in _ALL if name in found]
    env = {}
    if missing:
        folders.append(STAND_INS)
        env = {PYTHON: sys.executable, "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
    return PluginChoice(
        path_entries=list(dict.fromkeys(folders)),
        env=env,
        description={name: _described(name, found, stand_ins=bool(missing)) for name in _ALL},
    )


def _described(name: str, found: Mapping[str, Path], *, stand_ins: bool) -> str:
    if name in found:
        return f"official {_version_of(found[name])}".strip()
    return "stand-in" if stand_ins else "official, when a stack needs it"


def _forced() -> str | None:
    value = os.environ.get(FORCE) or None
    if value not in {None, "official", "stand-in"}:
        raise SandboxError(f"{FORCE} is {value!r}", next_step="set it to official or stand-in, or unset it")
    return value


def _official(pulumi: Path, pulumi_home: Path) -> dict[str, Path]:
    return {name: path for name in _ALL if (path := next(_candidates(name, pulumi, pulumi_home), None)) is not None}


def _candidates(name: str, pulumi: Path, pulumi_home: Path) -> Iterator[Path]:
    """Executable files with a plugin's name that are not ours, in the order of preference."""
    folders = [pulumi.resolve().parent, pulumi.parent, *map(Path, os.get_exec_path())]
    for home in (pulumi_home, Path.home() / ".pulumi"):
        folders.extend(sorted((home / "plugins").glob(_INSTALLED_AS[name]), key=_by_version, reverse=True))
    for folder in folders:
        path = folder / name
        if os.access(path, os.X_OK) and path.is_file() and path.resolve().parent != STAND_INS:
            yield path


def _by_version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.rpartition("-v")[2].split(".") if part.isdigit())


def _version_of(plugin: Path) -> str:
    """From the name of the folder where the engine installs a plugin; empty elsewhere."""
    return plugin.parent.name.rpartition("-v")[2] if "-v" in plugin.parent.name else ""


def _download(pulumi: Path, pulumi_home: Path, version: str, report: Report, *, again: bool) -> bool:
    """Let the engine download the provider; whether it did. A refusal is remembered."""
    memory = pulumi_home.parent / _MEMORY
    remembered = read_json(memory) or {}
    if remembered.get("refused") == version and not again:
        return False
    report.say(f"Pulumi's Kubernetes plugin {version}: trying to download it, {DOWNLOAD_TIMEOUT_SECONDS} s at most")
    try:
        answer = subprocess.run(
            [str(pulumi), "plugin", "install", "resource", "kubernetes", f"v{version}", "--non-interactive"],
            env={**os.environ, "PULUMI_HOME": str(pulumi_home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DOWNLOAD_TIMEOUT_SECONDS,
            check=False,
        )
        downloaded = answer.returncode == 0
    except (subprocess.TimeoutExpired, OSError):
        downloaded = False
    if not downloaded:
        # A half-written download must not look like a plugin.
        for partial in (pulumi_home / "plugins").glob(f"resource-kubernetes-v{version}*"):
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
        write_json(memory, {"refused": version})
        report.say(f"it cannot be downloaded here: the stand-in is used (remove {memory} to try again)")
    return downloaded
