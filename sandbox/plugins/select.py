"""Which plugins the engine uses: the official ones where they are to be had, our stand-ins elsewhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.progress import Progress

CHOICE_VARIABLE = "PAYMENTS_PLUGINS"
_CHOICES = ("official", "stand-in")
_BIN = Path(__file__).resolve().parent / "bin"
_LANGUAGE = "pulumi-language-python"
_INSTALL_TIMEOUT_SECONDS = 180


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginChoice:
    """What to add to the engine's PATH and environment, and what to say about it."""

    path_entries: Sequence[Path]
    env: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    """Plugin → ``official 4.34.2`` or ``stand-in``."""


def select(pulumi: Path, pulumi_home: Path, report: Progress) -> PluginChoice:
    """Choose the plugins for an engine.

    ``PAYMENTS_PLUGINS`` forces ``official`` or ``stand-in``. Raises ``SandboxError`` when it names neither, or when
    the official ones are demanded and not to be had.
    """
    forced = os.environ.get(CHOICE_VARIABLE, "")
    if forced and forced not in _CHOICES:
        raise SandboxError(f"{CHOICE_VARIABLE}={forced}", next_step=f"set it to one of {', '.join(_CHOICES)}")
    provider_version = version("pulumi-kubernetes")
    if forced != "stand-in" and _official(pulumi, pulumi_home, provider_version, report, insist=forced == "official"):
        description = {"language-python": "official", "kubernetes": f"official {provider_version}"}
        return PluginChoice(path_entries=[pulumi.parent], description=description)
    if forced == "official":
        raise SandboxError(
            "the official plugins are neither installed nor can they be downloaded here",
            next_step=f"install Pulumi's own distribution, or unset {CHOICE_VARIABLE} to use the stand-ins",
        )
    return PluginChoice(
        path_entries=[_BIN],
        env={"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true", "PAYMENTS_PYTHON": sys.executable},
        description={"language-python": "stand-in", "kubernetes": "stand-in"},
    )


def _official(pulumi: Path, home: Path, provider_version: str, report: Progress, *, insist: bool) -> bool:
    """Both official plugins are there, or the provider can be fetched; a 'no' is remembered and asked once."""
    if not (pulumi.parent / _LANGUAGE).exists() and not _on_path(_LANGUAGE):
        return False  # comes with Pulumi's own distribution only
    name = f"resource-kubernetes-v{provider_version}"
    if (home / "plugins" / name).exists():
        return True
    memory = home / "unavailable-plugins.json"
    if not insist and name in (read_json(memory) or {}):
        return False
    with report.step(f"Download the official Kubernetes provider {provider_version}") as step:
        reason = _install(pulumi, home, provider_version)
        if reason is None:
            return True
        step.note(f"not available ({reason}); the stand-in is used")
    write_json(memory, {name: reason})
    return False


def _install(pulumi: Path, home: Path, provider_version: str) -> str | None:
    """Let the engine download the provider; the reason when it cannot."""
    try:
        answer = subprocess.run(
            [str(pulumi), "plugin", "install", "resource", "kubernetes", f"v{provider_version}"],
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_INSTALL_TIMEOUT_SECONDS} s"
    if answer.returncode == 0:
        return None
    return (answer.stderr.strip().splitlines() or ["no reason given"])[-1]


def _on_path(program: str) -> bool:
    """Installed by the user; our own folder never counts."""
    found = shutil.which(program)
    return found is not None and Path(found).resolve().parent != _BIN
