"""One command at a time changes a sandbox: the second waits for a named one, and a killed one blocks nobody."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.recording import ROOT
from sandbox import session
from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.progress import Progress

_TIMEOUT_SECONDS = 20
_HOLD = """
import sys, time
from pathlib import Path
from sandbox import session
from sandbox.layout import Layout
from sandbox.progress import Progress
with session.exclusive(Layout(Path(sys.argv[1])), Progress()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


@pytest.fixture
def holder(layout: Layout) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the sandbox until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(layout.root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=_TIMEOUT_SECONDS)


def test_without_waiting_the_second_fails_and_names_the_first(layout: Layout, holder: "subprocess.Popen[str]") -> None:
    with (
        pytest.raises(SandboxError, match=rf"in use by another command \(process {holder.pid}, since \d\d:\d\d:\d\d\)"),
        session.exclusive(layout, Progress(io.StringIO()), wait=False),
    ):
        pytest.fail("two hold the sandbox")


def test_the_second_says_whom_it_waits_for_and_goes_on_when_the_first_ends(
    layout: Layout, holder: "subprocess.Popen[str]"
) -> None:
    words = io.StringIO()
    held = threading.Event()

    def second() -> None:
        with session.exclusive(layout, Progress(words, tty=False)):
            held.set()

    waiting = threading.Thread(target=second, daemon=True)
    waiting.start()
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not words.getvalue() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert f"another command uses the sandbox (process {holder.pid}, since " in words.getvalue()
    assert not held.is_set()
    assert holder.stdin is not None
    holder.stdin.close()
    assert held.wait(timeout=_TIMEOUT_SECONDS)
    waiting.join(timeout=_TIMEOUT_SECONDS)


def test_a_killed_holder_blocks_nobody(layout: Layout, holder: "subprocess.Popen[str]") -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=_TIMEOUT_SECONDS)
    with session.exclusive(layout, Progress(io.StringIO()), wait=False):
        pass


def test_a_wait_has_an_end(layout: Layout, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LOCK_TIMEOUT_SECONDS", 0.1)
    with (
        pytest.raises(SandboxError, match=rf"still in use after 0\.1 s \(process {holder.pid}"),
        session.exclusive(layout, Progress(io.StringIO())),
    ):
        pytest.fail("two hold the sandbox")


def test_down_with_nothing_running_is_fine_and_keeps_what_was_stored(layout: Layout) -> None:
    layout.etcd_data.mkdir(parents=True)
    words = io.StringIO()
    assert session.tear_down(layout, Progress(words)) == []
    assert words.getvalue() == "nothing was running\n"
    assert layout.etcd_data.exists()


def test_purge_removes_what_was_stored_and_twice_is_fine(layout: Layout) -> None:
    layout.etcd_data.mkdir(parents=True)
    (layout.root / "backend").mkdir()
    layout.kubeconfig.write_text("{}", encoding="utf-8")
    for _ in range(2):
        session.tear_down(layout, Progress(io.StringIO()), purge=True)
        assert list(layout.root.iterdir()) == []
