"""``payctl plan`` and ``payctl cost``: exit codes, JSON, pictures, and one clear message for each mistake."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from cli.recording import ROOT

DEV = ROOT / "Pulumi.dev.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_a_promise_that_is_carried_ends_with_zero() -> None:
    found = run("plan", "--stack", "prod")
    assert found.exit_code == 0, found.output
    for text in ("6-months: 500,000 payments a day", "pods/payment-service", "tight", "carried", "what breaks first"):
        assert text in found.output


def test_a_load_that_is_not_carried_ends_with_one_and_the_ordered_changes() -> None:
    found = run("plan", "--stack", "prod", "--horizon", "1-year")
    assert found.exit_code == 1
    assert "NOT CARRIED" in found.output
    assert "1. topics." in found.output
    assert "scaling-limits.limits.payment-service.maxReplicas: 20 → 72" in found.output


def test_ones_own_load_in_json_with_its_break_points() -> None:
    found = run("plan", "--stack", "prod", "--peak", "2000", "--payments-per-day", "50000", "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.output)
    [plan] = document["plans"]
    assert plan["demand"] == {"name": "own", "payments_per_day": 50000.0, "peak_requests_per_second": 2000.0}
    assert plan["cost"] > 0
    assert document["break_points"][0]["short_at"] == pytest.approx(6000, rel=0.001)


def test_every_figure_is_explained_on_request() -> None:
    found = run("plan", "--stack", "prod", "--horizon", "now", "--explain")
    assert "pods/payment-service = max(ceil(peak" in found.output
    assert "rate_per_pod 140" in found.output


def test_the_picture_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert run("plan", "--stack", "prod", "--plot", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--horizon", "2-years"], "--horizon: '2-years'; allowed: now, 6-months, 1-year, all"),
        (["--horizon", "own"], "fix: give --peak"),
        (["--payments-per-day", "5"], "fix: give --peak"),
        (["--plot", "x.pdf"], "--plot: 'x.pdf'; allowed: a .png or .svg"),
        (["--measured", "/nowhere.json"], "/nowhere.json: cannot be read"),
    ],
)
def test_a_mistake_is_one_message_and_ends_with_two(arguments: list[str], said: str) -> None:
    found = run("plan", "--stack", "dev", *arguments)
    assert found.exit_code == 2
    assert said in found.output


def _changed(folder: Path, old: str, new: str) -> Path:
    text = DEV.read_text(encoding="utf-8")
    assert old in text
    path = folder / "Pulumi.dev.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_a_bill_has_services_components_and_three_sums() -> None:
    document = json.loads(run("cost", "--stack", "dev", "--json").output)
    assert document["minimum"] < document["typical"] < document["maximum"]
    assert {"payment-service", "redis-cluster", "edge"} <= document["services"].keys()
    assert {line["component"] for line in document["lines"]} >= {"api", "consumer", "cache-cluster", "gateway"}


def test_two_stacks_are_compared(tmp_path: Path) -> None:
    more = _changed(tmp_path, "min_replicas: 3", "min_replicas: 4")
    found = json.loads(run("cost", "--stack", "dev", "--compare", str(more), "--json").output)
    assert found["difference"]["minimum"] == pytest.approx(14.6 * 1.15)
    assert found["difference"]["maximum"] == pytest.approx(0.0)


def test_a_change_is_compared_with_a_revision(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    git("init", "--quiet")
    path = _changed(tmp_path, "min_replicas: 3", "min_replicas: 3")
    git("add", path.name)
    git("commit", "--quiet", "--message", "first")
    _changed(tmp_path, "min_replicas: 3", "min_replicas: 5")
    found = run("cost", "--stack", "dev", "--config-file", str(path), "--since", "HEAD", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["difference"]["minimum"] == pytest.approx(2 * 14.6 * 1.15)
    unknown = run("cost", "--stack", "dev", "--config-file", str(path), "--since", "nowhere")
    assert unknown.exit_code == 2
    assert "--since: nowhere" in unknown.output


def test_one_difference_at_a_time() -> None:
    found = run("cost", "--stack", "dev", "--compare", "prod", "--since", "HEAD")
    assert found.exit_code == 2
    assert "one difference at a time" in found.output
