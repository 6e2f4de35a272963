import io
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.progress import Progress, describe_elapsed, describe_estimate


def _progress(tmp_path: Path) -> tuple[Progress, io.StringIO]:
    stream = io.StringIO()
    return Progress(stream, tty=False, timings=tmp_path / "timings.json"), stream


def test_a_step_announces_itself_with_its_estimate_and_ends_with_its_time(tmp_path: Path) -> None:
    report, stream = _progress(tmp_path)
    with report.step("Control plane", key="control-plane") as step:
        step.note("API server ready")
    first, last = stream.getvalue().splitlines()
    assert first == "… Control plane (about 8 s)"
    assert last.startswith("✓ Control plane: API server ready [")


def test_a_measured_time_replaces_the_reference(tmp_path: Path) -> None:
    report, _ = _progress(tmp_path)
    assert report.estimate_seconds("control-plane") == 8.0
    with report.step("Control plane", key="control-plane"):
        pass
    estimate = report.estimate_seconds("control-plane")
    assert estimate is not None
    assert estimate < 8.0


def test_a_failed_step_shows_the_log_and_the_next_thing_once(tmp_path: Path) -> None:
    report, stream = _progress(tmp_path)
    log = tmp_path / "etcd.log"
    log.write_text("first\nlast words\n", encoding="utf-8")
    with pytest.raises(SandboxError), report.step("outer"), report.step("inner"):
        raise SandboxError("etcd ended", next_step="look at the log", log=log)
    text = stream.getvalue()
    assert "✗ outer" in text
    assert text.count("last words") == 1
    assert text.count("Next: look at the log") == 1


def test_durations_read_as_a_person_says_them() -> None:
    assert describe_elapsed(3.24) == "3.2 s"
    assert describe_elapsed(125) == "2 min 05 s"
    assert describe_estimate(None) == ""
    assert describe_estimate(2) == ""
    assert describe_estimate(45) == "about 45 s"
