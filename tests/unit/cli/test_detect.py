"""``payctl detect``: a table, JSON, exit codes, and one clear message for each mistake."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import cli
from planning.bottlenecks.findings import Values
from planning.bottlenecks.sources import Look, write_samples

APIS = ("payment-service", "wallet-service", "gateway-service")
CONSUMERS = ("payment-processors", "wallet-processors", "gateway-processors")
_QUIET_API = {
    "api_p99_seconds": 0.2,
    "database_pool_use": 0.3,
    "database_write_pool_use": 0.3,
    "memory_use_of_limit": 0.4,
    "breaker_refused_share": 0.0,
}
QUIET: dict[tuple[str, str], float] = {
    **{(metric, name): value for name in APIS for metric, value in _QUIET_API.items()},
    **{("lag_per_consumer", name): 100.0 for name in CONSUMERS},
    **{("replicas_of_maximum", name): 0.3 for name in (*APIS, *CONSUMERS)},
    ("requests_per_second", "payment-service"): 300.0,
}


def samples_file(path: Path, *changes: Values, seconds: int = 300) -> Path:
    """A calm platform each 15 s; each change is what is different in its share of the time."""
    times = list(range(0, seconds + 1, 15))
    looks = []
    for index, time in enumerate(times):
        change = changes[index * len(changes) // len(times)] if changes else {}
        looks.append(Look(time_seconds=float(time), values={**QUIET, **change}))
    path.write_text("\n".join(write_samples(looks)) + "\n", encoding="utf-8")
    return path


LAG: Values = {("lag_per_consumer", "payment-processors"): 2000.0, ("requests_per_second", "payment-service"): 2000.0}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["detect", "--stack", "dev", *arguments])


def test_a_calm_platform_has_no_finding_and_ends_with_zero(tmp_path: Path) -> None:
    found = run("--samples", str(samples_file(tmp_path / "s.csv")))
    assert (found.exit_code, found.output) == (0, "stack dev: no findings at 300 s\n")


def test_a_finding_is_a_row_with_its_advice_and_ends_with_one(tmp_path: Path) -> None:
    found = run("--samples", str(samples_file(tmp_path / "s.csv", LAG)))
    assert found.exit_code == 1
    for text in ("CONSUMER_LAG", "payment-processors", "2,000 messages", "1,500 messages", "three more consumers"):
        assert text in found.output


def test_json_has_the_evidence(tmp_path: Path) -> None:
    found = run("--samples", str(samples_file(tmp_path / "s.csv", LAG)), "--json")
    [finding] = json.loads(found.output)["findings"]
    assert (finding["kind"], finding["severity"], finding["since_seconds"]) == ("CONSUMER_LAG", "warning", 0.0)
    assert finding["evidence"][-1] == {"time_seconds": 300.0, "value": 2000.0}


def test_events_show_what_has_ended_already(tmp_path: Path) -> None:
    path = samples_file(tmp_path / "s.csv", LAG, LAG, {}, seconds=900)
    found = run("--samples", str(path), "--events")
    assert found.exit_code == 0
    assert "180 s opened: warning CONSUMER_LAG payment-processors" in found.output
    assert "cleared: warning CONSUMER_LAG payment-processors" in found.output


def test_the_twin_is_a_source() -> None:
    found = run("--twin", "normal", "--events")
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one source"),
        (["--twin", "peak", "--samples", "x.csv"], "name one source"),
        (["--samples", "/nowhere.csv"], "--samples: /nowhere.csv cannot be read"),
        (["--twin", "peek"], "did you mean peak?"),
        (["--prometheus", "localhost"], "--prometheus: allowed: http://host:port"),
        (["--twin", "peak", "--rules", "/nowhere.yaml"], "fix: name another file"),
    ],
)
def test_a_mistake_is_one_message_and_ends_with_two(arguments: list[str], said: str) -> None:
    found = run(*arguments)
    assert found.exit_code == 2
    assert said in found.output
    assert "Traceback" not in found.output
