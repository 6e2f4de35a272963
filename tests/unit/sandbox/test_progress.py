"""Steps say what they do, how long it may take, and what to do when they fail."""

import io
import os
import time
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.progress import Progress, describe_elapsed, describe_estimate


def _lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_step_is_two_plain_lines_where_no_terminal_is() -> None:
    stream = io.StringIO()
    with Progress(stream, tty=False).step("Control plane") as step:
        step.note("started 6 of 6")
    announced, ended = _lines(stream)
    assert announced == "… Control plane"
    assert ended.startswith("✓ Control plane: started 6 of 6 [")
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_running_clock_and_the_result_last() -> None:
    stream = io.StringIO()
    with Progress(stream, tty=True).step("Build"):
        deadline = time.monotonic() + 10
        while stream.getvalue().count("\r") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert stream.getvalue().count("\r\x1b[2K… Build ") >= 2
    assert stream.getvalue().rsplit("\r\x1b[2K", 1)[1].startswith("✓ Build [")


def test_inner_steps_are_indented_with_begin_and_end_alike() -> None:
    stream = io.StringIO()
    report = Progress(stream, tty=False)
    with report.step("outer"), report.step("inner"):
        report.say("word")
    assert [line.split(" [")[0] for line in _lines(stream)] == [
        "… outer",
        "  … inner",
        "    word",
        "  ✓ inner",
        "✓ outer",
    ]


def test_a_failed_step_shows_log_and_next_step_once(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text("undefined: foo\n", encoding="utf-8")
    stream = io.StringIO()
    report = Progress(stream, tty=False)
    error = SandboxError("building etcd failed", next_step="run it again", log=log)
    with pytest.raises(SandboxError), report.step("outer"), report.step("inner"):
        raise error
    text = stream.getvalue()
    assert text.count("building etcd failed") == 1
    assert text.count("| undefined: foo") == 1
    assert text.count("Next: run it again") == 1
    assert "✗ inner" in text
    assert "✗ outer" in text
    assert error.shown


def test_any_other_exception_passes_through_a_failed_step() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(stream, tty=False).step("work"):
        raise KeyboardInterrupt
    assert "✗ work" in stream.getvalue()


def test_the_reference_estimate_of_a_build_shrinks_with_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Progress(io.StringIO(), tty=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    on_two = report.estimate_seconds("build:kubernetes")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    on_eight = report.estimate_seconds("build:kubernetes")
    assert on_two == 220.0
    assert on_eight == 55.0
    assert report.estimate_seconds("never heard of") is None


def test_a_first_measured_time_replaces_the_reference(tmp_path: Path) -> None:
    report = Progress(io.StringIO(), tty=False, timings=tmp_path / "timings.json")
    assert report.estimate_seconds("control-plane") == 8.0
    with report.step("Control plane", key="control-plane"):
        pass
    measured = report.estimate_seconds("control-plane")
    assert measured is not None
    assert measured < 8.0


def test_measured_time_replaces_the_reference_and_a_run_with_nothing_to_do_does_not_lower_it(tmp_path: Path) -> None:
    timings = tmp_path / "timings.json"
    write_json(timings, {"build:etcd": 300.0})
    stream = io.StringIO()
    with Progress(stream, tty=False, timings=timings).step("Build etcd", key="build:etcd", once=True):
        pass
    assert "about 5 min on " in _lines(stream)[0]
    assert "once; nothing when cached" in _lines(stream)[0]
    assert read_json(timings) == {"build:etcd": 300.0}


def test_a_failed_step_records_no_time(tmp_path: Path) -> None:
    timings = tmp_path / "timings.json"
    with (
        pytest.raises(RuntimeError),
        Progress(io.StringIO(), tty=False, timings=timings).step("Build", key="build:etcd"),
    ):
        raise RuntimeError
    assert read_json(timings) is None


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (60, "1 min 00 s"), (125.4, "2 min 05 s")])
def test_elapsed_in_words(seconds: float, text: str) -> None:
    assert describe_elapsed(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (4.9, ""), (30, "about 30 s"), (220, "about 4 min")])
def test_estimates_in_words(seconds: float | None, text: str) -> None:
    assert describe_estimate(seconds) == text
