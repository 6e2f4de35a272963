"""Daemons that outlive the command that started them: started once, found again, ended by their own pid."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.layout import Layout

_POLL_SECONDS = 0.05
_STOP_TIMEOUT_SECONDS = 15
# Two records of one start differ by rounding only; a recycled pid starts seconds later at least.
_START_TIME_TOLERANCE_SECONDS = 1.0


# Children of this very process, by pid: whoever started them also has to collect their exit.
_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Daemon:
    """A program with its arguments, how to tell that it serves, and how long that may take."""

    name: str
    command: Sequence[str]
    healthy: Callable[[], bool]
    depends_on: str = ""
    """Anything beyond the command that a running daemon must have been started with, as text."""
    before_start: Callable[[], None] = lambda: None
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 60
    start_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``subprocess.Popen`` beyond ours: another working folder, another user."""
    stop_signal: signal.Signals = signal.SIGTERM


def ensure_running(daemon: Daemon, layout: Layout) -> bool:
    """Keep a healthy daemon, replace any other. Returns whether it was started.

    Raises ``SandboxError`` with the last lines of its log when it does not become healthy.
    """
    process = find(daemon.name, layout)
    record = read_json(layout.process(daemon.name)) or {}
    if process is not None and record.get("started_as") == _identity(daemon) and daemon.healthy():
        return False
    launch(daemon, layout)
    wait_until_healthy(daemon, layout)
    return True


def find(name: str, layout: Layout) -> psutil.Process | None:
    """The daemon's process, if it still is the one that was started."""
    record = read_json(layout.process(name))
    if record is None:
        return None
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["create_time"]) < _START_TIME_TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def stop(name: str, layout: Layout) -> bool:
    """End a daemon and forget it; returns whether it was running."""
    process = find(name, layout)
    record = read_json(layout.process(name)) or {}
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(record.get("stop_signal", signal.SIGTERM))
            try:
                process.wait(timeout=_STOP_TIMEOUT_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(timeout=_STOP_TIMEOUT_SECONDS)
    child = _CHILDREN.pop(record.get("pid", 0), None)
    if child is not None:
        child.wait(timeout=_STOP_TIMEOUT_SECONDS)
    layout.process(name).unlink(missing_ok=True)
    return process is not None


def launch(daemon: Daemon, layout: Layout) -> None:
    """Replace whatever runs under this name, and do not wait: for daemons that need each other to come up."""
    stop(daemon.name, layout)
    daemon.before_start()
    log = layout.log(daemon.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        started = subprocess.Popen(
            list(daemon.command),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, **daemon.environment},
            start_new_session=True,
            **{"cwd": layout.root, **daemon.start_options},
        )
    _CHILDREN[started.pid] = started
    process = psutil.Process(started.pid)
    record = {
        "pid": started.pid,
        "create_time": process.create_time(),
        "started_as": _identity(daemon),
        "stop_signal": int(daemon.stop_signal),
    }
    write_json(layout.process(daemon.name), record, mode=0o600)


def wait_until_healthy(daemon: Daemon, layout: Layout) -> None:
    """Wait for a launched daemon; one that ends or stays silent is stopped and its log is shown."""
    deadline = time.monotonic() + daemon.timeout_seconds
    record = read_json(layout.process(daemon.name)) or {}
    child = _CHILDREN.get(record.get("pid", 0))
    while not daemon.healthy():
        ended = child.poll() if child is not None else None
        gone = ended is not None or find(daemon.name, layout) is None
        if gone or time.monotonic() > deadline:
            stop(daemon.name, layout)
            how = f"ended with exit code {ended}" if gone else "does not answer"
            raise SandboxError(
                f"{daemon.name} {how}",
                next_step="run the command again; if it stays so, `python -m sandbox down --purge` starts afresh",
                log=layout.log(daemon.name),
            )
        time.sleep(_POLL_SECONDS)


def _identity(daemon: Daemon) -> str:
    return "\n".join([*daemon.command, daemon.depends_on])
