"""``payctl simulate`` and its page: figures, exit codes, and one clear message for each mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import COMMANDS, cli
from cli.recording import ROOT
from cli.simulate_page import PAGE, SEED, blocks, filled, runs
from tests.unit.planning.twin.samples import stack

PLATFORM = ROOT / "Pulumi.dev.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *arguments])


def changed_dev(folder: Path, old: str, new: str) -> Path:
    text = PLATFORM.read_text(encoding="utf-8")
    assert old in text
    path = folder / "changed.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_a_load_that_the_stack_carries_ends_with_zero_and_every_figure() -> None:
    found = run("--stack", "dev", "--scenario", "normal")
    assert found.exit_code == 0, found.output
    for text in ("payment-processors", "reversals", "× oracle", "kept: horizon now promises 1,000 requests/s"):
        assert text in found.output
    assert "first load at which each limit breaks" in found.output


def test_a_promised_load_that_breaks_an_objective_ends_with_one_and_names_the_limit(tmp_path: Path) -> None:
    slow = changed_dev(tmp_path, "messages_per_second_per_consumer: 300", "messages_per_second_per_consumer: 40")
    found = run("--config-file", str(slow), "--scenario", "normal")
    assert found.exit_code == 1
    assert "BROKEN: horizon now promises 1,000 requests/s; payment-processors misses its objective" in found.output
    assert "partitions: 24 of payment-events" in found.output


def test_t11_a_load_beyond_the_promise_is_reported_as_such_and_not_held_against_the_stack() -> None:
    found = run("--stack", "dev", "--scenario", "stress")
    assert found.exit_code == 0
    assert "beyond the promise: horizon now promises 1,000 requests/s, the scenario asks for 10,000" in found.output
    assert "misses its objective first at" in found.output


def test_json_has_both_stacks_with_their_limits_and_repeats() -> None:
    arguments = ("--stack", "dev", "--compare", "prod", "--scenario", "normal", "--json")
    found = run(*arguments)
    document = json.loads(found.output)
    assert [each["stack"] for each in document] == ["dev", "prod"]
    assert document[0]["peak_requests_per_second"] == document[1]["peak_requests_per_second"] == 1000
    for each in document:
        assert {"changes", "reversals", "highest_lag", "mean_lag", "drain_minutes", "slo_minutes_lost"} <= set(
            each["workloads"][0]
        )
        assert {"pods", "cpu", "partitions", "consumers"} <= {limit["limit"] for limit in each["limits"]}
    assert run(*arguments).output == found.output


def test_another_file_is_compared_under_the_same_load(tmp_path: Path) -> None:
    fewer = changed_dev(tmp_path, "cpu_target_percent: 70", "cpu_target_percent: 50")
    found = run("--stack", "dev", "--compare", str(fewer), "--scenario", "normal", "--json")
    first, second = json.loads(found.output)
    assert second["pod_hours"] > first["pod_hours"]


def test_another_seed_is_another_noise() -> None:
    outputs = {run("--scenario", "four-hours", "--seed", seed, "--json").output for seed in ("1", "2")}
    assert len(outputs) == 2


def test_a_recording_of_ones_own_is_simulated(tmp_path: Path) -> None:
    recording = tmp_path / "own.csv"
    rows = "\n".join(f"{minute * 60},{500 + minute * 10}" for minute in range(30))
    recording.write_text(f"time_seconds,requests_per_second\n{rows}\n", encoding="utf-8")
    found = run("--scenario", str(recording), "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)[0]["peak_requests_per_second"] == 790


@pytest.mark.parametrize("name", ["own.png", "own.svg"])
def test_a_picture_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    found = run("--scenario", "normal", "--compare", "prod", "--plot", str(path))
    assert found.exit_code == 0, found.output
    start = path.read_bytes()[:100]
    assert start.startswith(b"\x89PNG") or b"<?xml" in start


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scenario", "flash-sail"), "'flash-sail' is unknown; allowed: normal, peak"),
        (("--scenario", "none.csv"), "none.csv cannot be read as text (FileNotFoundError)"),
        (("--scenario", "peak", "--compare", "moon"), "'moon' is neither a stack nor a stack file"),
        (("--scenario", "peak", "--plot", "own.gif"), "'own.gif' is no picture"),
        (("--scenario", "peak", "--plot", "no-such-folder/own.png"), "'no-such-folder/own.png' lies in no folder"),
        (("--scenario", "all", "--plot", "own.png"), "a picture shows one scenario, not all"),
        (("--scenario", "peak", "--stack", "moon"), "Pulumi.moon.yaml"),
    ],
)
def test_a_mistake_ends_with_two_and_one_message(arguments: tuple[str, ...], message: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert "Traceback" not in found.output
    assert found.stdout == ""


def test_a_recording_with_a_gap_ends_with_two_and_the_line(tmp_path: Path) -> None:
    recording = tmp_path / "own.csv"
    recording.write_text("time_seconds,requests_per_second\n0,1\n10,2\n40,3\n", encoding="utf-8")
    found = run("--scenario", str(recording))
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1
    assert "own.csv line 4: time_seconds jumps from 10 to 40, a gap" in found.stderr


def test_matplotlib_is_loaded_for_pictures_only() -> None:
    """Half a second and more that no other command should pay."""
    modules = ", ".join(sorted({entry.module for entry in COMMANDS.values()}))
    code = f"import sys, {modules}; sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_the_tables_of_the_page_are_what_the_stacks_give() -> None:
    """Of whole pages the tables only: pictures differ between font libraries."""
    first, second = stack("prod"), stack("dev")
    page = PAGE.read_text(encoding="utf-8")
    expected = filled(page, blocks(first, second, runs(first, second)))
    hint = "run .venv/bin/python -m cli.simulate_page and look at the difference"
    assert page == expected, hint
    assert page.count("<!-- generated: ") == 3
    assert SEED == 1  # the default of --seed, so that the command in the page gives the table
