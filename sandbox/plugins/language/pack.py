"""Run a plugin that is written in Python (a policy pack) as a child process and stream what it prints."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

_CHUNK_BYTES = 64 * 1024
_TERMINATE_SECONDS = 2.0

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Exited:
    """The child's exit code."""

    code: int


def command_for(kind: str, folder: str, arguments: Sequence[str], virtualenv: str | None) -> list[str]:
    """The child's argument list: the SDK's policy runner for a pack, the folder itself for anything else."""
    python = _python(folder, virtualenv)
    if kind in {"analyzer", ""}:
        return [python, "-u", "-m", "pulumi.policy", *arguments, folder]
    return [python, "-u", folder, *arguments]


def _python(folder: str, virtualenv: str | None) -> str:
    if virtualenv:
        own = Path(folder, virtualenv, "bin", "python")
        if own.exists():
            return str(own)
    return sys.executable


class ChildPlugin:
    """One running child. ``stop`` is safe to call from any thread and more than once."""

    def __init__(self, command: Sequence[str], *, cwd: str, environment: Sequence[str]) -> None:
        variables = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        self._process = subprocess.Popen(
            list(command),
            cwd=cwd or None,
            env=variables or dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def output(self) -> Iterator[tuple[Stream, bytes] | Exited]:
        """Everything the child prints, as it comes, then its exit code."""
        chunks: queue.Queue[tuple[Stream, bytes] | None] = queue.Queue()
        sources: list[tuple[Stream, IO[bytes] | None]] = [
            ("stdout", self._process.stdout),
            ("stderr", self._process.stderr),
        ]
        for name, pipe in sources:
            threading.Thread(target=_forward, args=(name, pipe, chunks), daemon=True).start()
        open_pipes = len(sources)
        while open_pipes:
            chunk = chunks.get()
            if chunk is None:
                open_pipes -= 1
            else:
                yield chunk
        yield Exited(self._process.wait())

    def stop(self) -> None:
        """End the child: ask first, then insist."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(_TERMINATE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _forward(name: Stream, pipe: IO[bytes] | None, into: "queue.Queue[tuple[Stream, bytes] | None]") -> None:
    if pipe is not None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _CHUNK_BYTES):
                into.put((name, chunk))
    into.put(None)
