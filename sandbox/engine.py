"""The real Pulumi engine on a backend of files: its environment, its stacks, and how a run ends."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sandbox.errors import SandboxError
from sandbox.files import PRIVATE_MODE, write_text

_SHORT_TIMEOUT_SECONDS = 60
# After Ctrl-C the engine lets running steps finish and saves its state; beyond this it is ended.
_CANCEL_GRACE_SECONDS = 60
_SALT = re.compile(r"^encryptionsalt:.*$", re.MULTILINE)
_OUR_KEYS = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How one run of the engine ended."""

    exit_code: int
    output: str
    """Standard output and error in order; empty when it was streamed to the terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A Pulumi engine; ``isolated`` with a home, a backend and a passphrase of its own under one state folder.

    Without isolation it is the user's: their backend, login and secrets provider, and the committed stack file.
    """

    pulumi: Path
    project: Path
    """Folder with Pulumi.yaml, the program and the stack files."""
    state: Path
    """Folder for everything that the engine keeps, for example ``.sandbox``."""
    path_entries: Sequence[Path] = ()
    """Folders with plugins, looked up before PATH."""
    variables: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = True

    @property
    def backend_url(self) -> str:
        """Where an isolated engine keeps its stacks.

        Without ``metadata=skip`` each save also writes a file of attributes beside the state, not atomically: an
        engine killed at that moment leaves it empty, and no later run can load the stack ("failed to load
        checkpoint: EOF"). The state itself is written to a temporary file and renamed.
        """
        return f"file://{self.state / 'backend'}?metadata=skip"

    def environment(self) -> dict[str, str]:
        """Environment of the engine and of the plugins that it starts."""
        entries = [*map(str, self.path_entries), str(self.pulumi.parent), os.environ.get("PATH", os.defpath)]
        if not self.isolated:
            return {**os.environ, "PATH": os.pathsep.join(entries), **self.variables}
        inherited = {key: value for key, value in os.environ.items() if key not in _OUR_KEYS}
        return {
            **inherited,
            "PATH": os.pathsep.join(entries),
            "PULUMI_HOME": str(self.state / "pulumi-home"),
            "PULUMI_BACKEND_URL": self.backend_url,
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase()),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.variables,
        }

    def config_file(self, stack: str, source: Path | None = None) -> Path:
        """The stack file that the engine reads: the committed one and the salt of this backend's secrets.

        ``pulumi stack init`` would write its salt into the committed file; a copy keeps the checkout clean.
        Creates the stack when it does not exist.
        """
        source = source if source is not None else self.project / f"Pulumi.{stack}.yaml"
        if not self.isolated:
            return source
        text = source.read_text(encoding="utf-8")
        salt = self._ensure_stack(stack, committed_salt=_SALT.search(text))
        copy = self.state / "stacks" / f"Pulumi.{stack}.yaml"
        write_text(copy, text if _SALT.search(text) else f"{text.rstrip()}\n{salt}\n", mode=PRIVATE_MODE)
        return copy

    def encrypt(self, stack: str, config_file: Path, key: str, value: str) -> str:
        """Encrypt a value for a stack, as its stack file holds it (``secure: …``).

        The value goes through standard input: an argument could be read by every process of the machine. Raises
        ``SandboxError``, without the value.
        """
        command = [str(self.pulumi), "config", "set", "--secret", key, "--stack", stack]
        answer = subprocess.run(
            [*command, "--config-file", str(config_file), "--non-interactive"],
            cwd=self.project,
            env=self.environment(),
            input=value,
            capture_output=True,
            text=True,
            timeout=_SHORT_TIMEOUT_SECONDS,
            check=False,
        )
        if answer.returncode != 0:
            raise SandboxError(
                f"cannot encrypt {key} for stack {stack}: {answer.stderr.replace(value, '…').strip()}",
                next_step="run the command again; payctl down --purge starts from nothing",
            )
        document = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        return str(document["config"][key]["secure"])

    def state_file(self, stack: str) -> Path | None:
        """The saved state of a stack; ``None`` when this backend does not know the stack."""
        return next((self.state / "backend" / ".pulumi" / "stacks").glob(f"**/{stack}.json"), None)

    def run(self, arguments: Sequence[str], *, stream: bool = False, timeout_seconds: float | None = None) -> Result:
        """Run one command of the engine in the project's folder.

        ``stream`` shows its output as it comes. Ctrl-C reaches the engine first, so that it saves its state;
        then ``KeyboardInterrupt`` goes on.
        """
        command = [str(self.pulumi), *arguments, "--non-interactive"]
        pipe = None if stream else subprocess.PIPE
        process = subprocess.Popen(
            command,
            cwd=self.project,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=None if stream else subprocess.STDOUT,
            text=True,
            # Its own session when captured: a terminal's Ctrl-C then comes through us, exactly once.
            start_new_session=not stream,
        )
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as reason:
            _cancel(process, already_signalled=stream and isinstance(reason, KeyboardInterrupt))
            raise
        return Result(exit_code=process.returncode, output=output or "")

    def recover(self, stack: str) -> list[str]:
        """Clear what a killed engine left behind; returns what was done, in words.

        A lock is stale when its process is gone: the file names pid and host. Pending operations are settled by
        the refresh that the caller runs next; unfinished creates are dropped, because every object has a name of
        its own and is found again by it.
        """
        done = []
        locks = self.state / "backend" / ".pulumi" / "locks"
        stale = [lock for lock in locks.glob(f"**/{stack}/*.json") if not _alive(lock)]
        for lock in stale:
            lock.unlink(missing_ok=True)
            done.append("removed the lock of an engine that is gone")
        return done

    def _passphrase(self) -> Path:
        path = self.state / "passphrase"
        if not path.exists():
            write_text(path, secrets.token_urlsafe(32) + "\n", mode=PRIVATE_MODE)
        return path

    def _ensure_stack(self, stack: str, committed_salt: re.Match[str] | None) -> str:
        salts = self.state / "stacks" / "init"
        salt_file = salts / f"Pulumi.{stack}.yaml"
        if committed_salt is not None:
            write_text(salt_file, committed_salt.group(0) + "\n", mode=PRIVATE_MODE)
        if self.state_file(stack) is None:
            salts.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.project / "Pulumi.yaml", salts / "Pulumi.yaml")
            (self.state / "backend").mkdir(parents=True, exist_ok=True)
            answer = subprocess.run(
                [str(self.pulumi), "stack", "init", stack, "--no-select", "--non-interactive"],
                cwd=salts,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=_SHORT_TIMEOUT_SECONDS,
                check=False,
            )
            if answer.returncode != 0:
                raise SandboxError(
                    f"cannot create stack {stack}: {(answer.stderr or answer.stdout).strip()}",
                    next_step=f"remove {self.state / 'stacks'} and run the command again",
                )
        found = _SALT.search(salt_file.read_text(encoding="utf-8")) if salt_file.exists() else None
        if found is None:
            raise SandboxError(
                f"stack {stack} exists, but the salt of its secrets is missing ({salt_file})",
                next_step="payctl down --purge, then up: the sandbox holds nothing that up does not make",
            )
        return found.group(0)


def _cancel(process: "subprocess.Popen[str]", *, already_signalled: bool) -> None:
    """One SIGINT is a graceful cancel; a second one would abandon running steps."""
    if not already_signalled:
        process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_CANCEL_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _alive(lock: Path) -> bool:
    try:
        found = re.search(r'"pid":\s*(\d+)', lock.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    if found is None:
        return True
    try:
        os.kill(int(found.group(1)), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return "pulumi" in _command_line(int(found.group(1)))


def _command_line(pid: int) -> str:
    """A recycled pid belongs to another program; where /proc is missing the pid alone decides."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "pulumi"
