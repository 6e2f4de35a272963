"""The scripts at the front of the repository: payctl, make, and the plugin that forbids skips."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_SECONDS = 120
Answer = subprocess.CompletedProcess[str]


def run(*command: str, cwd: Path, **environment: str) -> Answer:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_") and key != "CI"}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )


def pytest_run(folder: Path, *options: str, ci: str, **modules: str) -> Answer:
    for name, body in modules.items():
        (folder / f"test_{name}.py").write_text(body, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "tests.no_skips", "-p", "no:cacheprovider"]
    variables = {"PYTHONPATH": str(ROOT), "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run(*command, *options, str(folder), cwd=folder, **variables)


PASSING = "def test_a(): pass\n"
SKIPPED_TEST = "import pytest\n@pytest.mark.skip(reason='no such daemon')\ndef test_b(): pass\n"
SKIPPED_MODULE = "import pytest\npytest.skip('no such compiler', allow_module_level=True)\n"
EXPECTED_FAILURE = "import pytest\n@pytest.mark.xfail\ndef test_c(): assert False\n"


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")], ids=["alone", "xdist"])
def test_a_skipped_test_or_module_fails_the_run_in_ci(tmp_path: Path, options: tuple[str, ...]) -> None:
    answer = pytest_run(tmp_path, *options, ci="true", a=PASSING, b=SKIPPED_TEST, m=SKIPPED_MODULE)
    assert answer.returncode == 1, answer.stdout
    told = answer.stdout.partition("skipped tests fail the run")[2]
    assert "no such daemon" in told
    assert "no such compiler" in told


def test_a_skip_passes_elsewhere(tmp_path: Path) -> None:
    assert pytest_run(tmp_path, ci="", a=PASSING, b=SKIPPED_TEST).returncode == 0


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert pytest_run(tmp_path, ci="true", c=EXPECTED_FAILURE).returncode == 0


def test_payctl_runs_from_any_folder_and_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "payctl").symlink_to(ROOT / "payctl")
    answer = run("./payctl", "--help", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "render" in answer.stdout


def test_payctl_without_its_environment_says_what_to_run(tmp_path: Path) -> None:
    shutil.copy(ROOT / "payctl", tmp_path)
    answer = run(str(tmp_path / "payctl"), "status", cwd=tmp_path)
    assert answer.returncode == 3
    assert "make venv" in answer.stderr
    assert answer.stdout == ""


def test_make_help_lists_every_target() -> None:
    listed = run("make", "--no-print-directory", cwd=ROOT).stdout
    for target in ("up", "down", "test", "test-all", "check", "bench", "lock", "golden", "venv"):
        assert f"make {target} " in listed


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_make_without_a_usable_python_says_what_is_needed(tmp_path: Path, python: str) -> None:
    for name in ("Makefile", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    answer = run("make", "venv", f"PYTHON={python}", cwd=tmp_path)
    assert answer.returncode != 0
    assert "Python 3.11 or newer is needed" in answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_installed_environment_is_left_alone_until_the_requirements_change(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    stamp = tmp_path / ".venv" / ".installed"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(tmp_path / "requirements-dev.txt", (1, 1))
    assert run("make", "--question", "venv", cwd=tmp_path).returncode == 0
    os.utime(stamp, (0, 0))
    assert run("make", "--question", "venv", cwd=tmp_path).returncode == 1
