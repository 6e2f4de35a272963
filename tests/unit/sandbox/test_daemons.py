"""Daemons with a small real program: no control plane is needed to see how they are kept and ended."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.daemons import Daemon, ensure_running, find, stop
from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.layout import Layout

_NAME = "sleeper"


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    made = Layout(tmp_path)
    yield made
    stop(_NAME, made)


def _sleeper(*, depends_on: str = "") -> Daemon:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return Daemon(name=_NAME, command=command, healthy=lambda: True, depends_on=depends_on)


def test_a_running_daemon_is_kept_and_a_killed_one_replaced(layout: Layout) -> None:
    assert ensure_running(_sleeper(), layout)
    first = find(_NAME, layout)
    assert first is not None
    assert not ensure_running(_sleeper(), layout)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=10)
    assert ensure_running(_sleeper(), layout)
    second = find(_NAME, layout)
    assert second is not None
    assert second.pid != first.pid


def test_a_daemon_started_for_other_circumstances_is_replaced(layout: Layout) -> None:
    ensure_running(_sleeper(depends_on="https://127.0.0.1:1"), layout)
    first = find(_NAME, layout)
    assert ensure_running(_sleeper(depends_on="https://127.0.0.1:2"), layout)
    assert first is not None
    assert not psutil.pid_exists(first.pid)


def test_a_recycled_pid_is_never_ended(layout: Layout) -> None:
    """The record names this very process, but with another start time: it must survive."""
    write_json(layout.process(_NAME), {"pid": os.getpid(), "create_time": 1.0, "started_as": ""})
    assert find(_NAME, layout) is None
    assert not stop(_NAME, layout)
    assert read_json(layout.process(_NAME)) is None


def test_a_daemon_that_ends_at_once_is_reported_with_its_last_words(layout: Layout) -> None:
    command = [sys.executable, "-c", "print('no such flag', flush=True); raise SystemExit(3)"]
    daemon = Daemon(name=_NAME, command=command, healthy=lambda: False)
    with pytest.raises(SandboxError) as caught:
        ensure_running(daemon, layout)
    assert "sleeper ended with exit code 3" in str(caught.value)
    assert "| no such flag" in str(caught.value)
    assert "Next: " in str(caught.value)


def test_a_daemon_that_never_answers_is_ended_after_its_time(layout: Layout) -> None:
    daemon = Daemon(name=_NAME, command=_sleeper().command, healthy=lambda: False, timeout_seconds=0.2)
    with pytest.raises(SandboxError, match="sleeper does not answer"):
        ensure_running(daemon, layout)
    assert find(_NAME, layout) is None
