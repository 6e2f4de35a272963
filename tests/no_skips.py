"""A pytest plugin: where ``CI=true``, a skipped test or module fails the run.

A component that is missing must fail with a message that says how to get it; a skip would look like a pass.
Loaded by the Makefile with ``-p tests.no_skips``; it also sees what xdist's workers report.
"""

import os

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skipped test; an expected failure is reported as skipped too, and is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(f"{report.nodeid}: {_reason(report.longrepr)}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember each skipped module."""
    if report.skipped:
        _skipped.append(f"{report.nodeid}: {_reason(report.longrepr)}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn success into failure when something was skipped; other failures keep their code."""
    if _fails() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were skipped, and why that is a failure."""
    if _fails():
        terminalreporter.section("skipped tests fail the run (CI=true)", red=True)
        for line in sorted(set(_skipped)):
            terminalreporter.write_line(line)


def _fails() -> bool:
    return bool(_skipped) and os.environ.get("CI", "").lower() == "true"


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
