"""Programs that serve while a block runs: what is said when they do not, and that none is left."""

import sys
from pathlib import Path

import psutil
import pytest

from sandbox import program
from sandbox.errors import SandboxError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_one_that_ends_is_told_with_its_exit_code_and_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such option'); raise SystemExit(3)"]
    with pytest.raises(SandboxError, match="the proxy ended with exit code 3"):
        program.start("the proxy", command, log=tmp_path / "log", is_ready=lambda: False, timeout_seconds=30)
    assert "no such option" in (tmp_path / "log").read_text(encoding="utf-8")


def test_one_that_never_serves_is_ended(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(SandboxError, match="the proxy is not ready"):
        program.start("the proxy", SLEEP, log=tmp_path / "log", is_ready=lambda: False, timeout_seconds=0.2)
    assert {child.pid for child in psutil.Process().children()} == before


def test_one_that_serves_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    process = program.start("the proxy", SLEEP, log=tmp_path / "log", is_ready=lambda: True, timeout_seconds=30)
    assert process.poll() is None
    program.stop(process)
    assert process.poll() is not None
