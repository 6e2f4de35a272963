"""A program that serves as long as a block runs: started, waited for, ended by its own pid."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import urllib3

from sandbox.errors import SandboxError

_STOP_TIMEOUT_SECONDS = 15
_POLL_SECONDS = 0.05
_HTTP_OK = 200


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    is_ready: Callable[[], bool],
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start it and wait until it serves. Raises ``SandboxError`` with its log when it ends or takes too long."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        _wait(name, process, log, is_ready, timeout_seconds)
    except BaseException:
        stop(process)
        raise
    return process


def _wait(
    name: str, process: "subprocess.Popen[bytes]", log: Path, is_ready: Callable[[], bool], timeout_seconds: float
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            how = f"ended with exit code {ended}" if ended is not None else "is not ready"
            raise SandboxError(f"{name} {how}", next_step="read what it says about its configuration", log=log)
        time.sleep(_POLL_SECONDS)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End it: asked first, killed when it does not listen."""
    process.terminate()
    try:
        process.wait(timeout=_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=_STOP_TIMEOUT_SECONDS)


def answers(address: str) -> bool:
    """Whether an address answers 200."""
    with suppress(urllib3.exceptions.HTTPError, OSError):
        return urllib3.request("GET", address, timeout=2.0, retries=False).status == _HTTP_OK
    return False
