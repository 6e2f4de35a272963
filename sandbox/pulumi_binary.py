"""Which Pulumi engine to use: one that the user installed, one they name, or our own build."""

import os
import re
import subprocess
from pathlib import Path

from sandbox.errors import SandboxError

# PAYMENTS_PULUMI=build builds the pinned engine; any other value is the path of the one to use.
CHOICE_VARIABLE = "PAYMENTS_PULUMI"
MAJOR = 3
# The first version with `policy analyze`, which the checks of the policy pack rely on.
LOWEST_MINOR = 250
_VERSION_TIMEOUT_SECONDS = 20


def suitable_pulumi(project_root: Path | None, cache: Path) -> Path | None:
    """The engine to use instead of a build; None means: build the pinned one.

    Programs inside the project or its cache never count: a wrapper or stand-in of ours on PATH must not be
    taken for an installation.
    """
    choice = os.environ.get(CHOICE_VARIABLE, "")
    if choice == "build":
        return None
    if choice:
        return _named(Path(choice).expanduser())
    ours = [folder.resolve() for folder in (project_root, cache) if folder is not None]
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        candidate = Path(entry) / "pulumi"
        if not entry or not os.access(candidate, os.X_OK) or candidate.is_dir():
            continue
        real = candidate.resolve()
        if any(real.is_relative_to(folder) for folder in ours):
            continue
        if is_suitable(pulumi_version(candidate)):
            return candidate.absolute()
    return None


def pulumi_version(binary: Path) -> tuple[int, int, int] | None:
    """What ``pulumi version`` answers; None for anything that is not a Pulumi engine."""
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [str(binary), "version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    if answer.returncode != 0 or found is None:
        return None
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


def is_suitable(version: tuple[int, int, int] | None) -> bool:
    """The same major version, and recent enough."""
    return version is not None and version[0] == MAJOR and version[1] >= LOWEST_MINOR


def _named(path: Path) -> Path:
    version = pulumi_version(path)
    if is_suitable(version):
        return path.absolute()
    have = "is no Pulumi engine" if version is None else f"is {'.'.join(map(str, version))}"
    message = (
        f"{CHOICE_VARIABLE}={path}: the program there {have}; "
        f"needed is {MAJOR}.{LOWEST_MINOR} or newer of major version {MAJOR}"
    )
    raise SandboxError(
        message,
        next_step=f"name another program, or set {CHOICE_VARIABLE}=build to build the pinned one",
    )
