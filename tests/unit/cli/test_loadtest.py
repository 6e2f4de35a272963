"""payctl loadtest, with a program in the place of k6 that does as k6 does."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli import loadtest
from cli.main import cli
from cli.recording import ROOT
from planning.capacity.measured import MeasuredError, read_measured
from tests.unit.stacks import platform_of

_FAKE = """#!{python}
import json, os, pathlib, sys
assert sys.argv[1:] == ["run", "payments.ts"], sys.argv
assert pathlib.Path("payments.ts").exists()
plan = json.loads(pathlib.Path("plan.json").read_text())
pathlib.Path({seen!r}).write_text(json.dumps({{"plan": plan, "environment": dict(os.environ)}}))
print("progress that is not for standard output")
pathlib.Path(os.environ["SUMMARY_FILE"]).write_text({summary!r})
sys.exit({code})
"""


def summary(*, p99: float = 300, dropped: int = 0) -> dict[str, Any]:
    """A summary as ``handleSummary`` receives it."""
    service = "{service:payment-service}"
    holds = p99 <= 500
    metrics: dict[str, Any] = {
        "http_reqs": {"type": "counter", "values": {"count": 600_000, "rate": 1000.0}},
        f"http_reqs{service}": {
            "values": {"count": 480_000, "rate": 800.0}, "thresholds": {"count>=0": {"ok": True}}
        },
        f"http_req_duration{service}": {
            "values": {"p(95)": 100.0, "p(99)": p99}, "thresholds": {"p(99)<=500": {"ok": holds}},
        },
        f"http_req_failed{service}": {
            "values": {"rate": 0.0005, "passes": 240, "fails": 1}, "thresholds": {"rate<=0.001": {"ok": True}},
        },
    }  # fmt: skip
    if dropped:
        metrics["dropped_iterations"] = {"values": {"count": dropped}, "thresholds": {"count==0": {"ok": False}}}
    return {"metrics": metrics}


def fake_k6(folder: Path, text: str, code: int = 0) -> Path:
    program = folder / "k6"
    program.write_text(
        _FAKE.format(python=sys.executable, seen=str(folder / "seen.json"), summary=text, code=code), encoding="utf-8"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def payctl(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["loadtest", *arguments])


def stack_file(folder: Path, stack: str, **loadtest: object) -> str:
    platform = platform_of(stack)
    base = {"target": "http://api.test", "image": "k6:2.2.0@sha256:" + "a" * 64}
    platform["loadtest"] = {**platform.get("loadtest", base), **loadtest}
    file = folder / f"Pulumi.{stack}.yaml"
    file.write_text(yaml.safe_dump({"config": {"payments:platform": platform}}), encoding="utf-8")
    return str(file)


def test_a_run_becomes_a_measured_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "canary")
    program, out = fake_k6(tmp_path, json.dumps(summary())), tmp_path / "measured.json"
    result = payctl("--pods", "payment-service=5", "--k6", str(program), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "one pod carries 160 requests/s" in result.stdout
    assert "progress" not in result.stdout
    found = read_measured(out).of_service("payment-service")
    assert found is not None
    assert (found.pods, found.requests_per_second, found.wanted_requests_per_second) == (5, 800, 800)
    assert found.requests_per_second_per_pod == 160
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert seen["plan"]["scenario"]["rate"] == 1000
    assert "canary" not in json.dumps(seen)


@pytest.mark.parametrize("bad", [summary(p99=700), summary(dropped=12)])
def test_a_crossed_threshold_fails_and_proves_no_capacity(tmp_path: Path, bad: dict[str, Any]) -> None:
    program, out = fake_k6(tmp_path, json.dumps(bad), code=99), tmp_path / "measured.json"
    result = payctl("--pods", "payment-service=5", "--k6", str(program), "--out", str(out))
    assert result.exit_code == 1
    assert "does not carry" in result.stdout
    assert read_measured(out).of_service("payment-service") is None


def test_a_summary_of_another_run_is_read_in_both_formats(tmp_path: Path) -> None:
    exported: dict[str, Any] = {
        "metrics": {
            "http_reqs": {"count": 60_000, "rate": 1000.0},
            "http_req_duration": {"p(99)": 210.5, "thresholds": {"p(99)<=500": False}},
            "http_req_failed": {"value": 0.0, "passes": 0, "fails": 60_000},
        }
    }
    file = tmp_path / "export.json"
    file.write_text(json.dumps(exported), encoding="utf-8")
    result = payctl("--pods", "payment-service=4", "--summary", str(file), "--json", "--scenario", "stress")
    assert result.exit_code == 0, result.output
    [found] = json.loads(result.stdout)
    assert (found["passed"], found["p99_milliseconds"], found["wanted_requests_per_second"]) == (True, 210.5, 10_000)
    exported["metrics"]["http_req_duration"]["thresholds"] = {"p(99)<=200": True}
    file.write_text(json.dumps(exported), encoding="utf-8")
    assert payctl("--pods", "payment-service=4", "--summary", str(file)).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pods", "payment-service=0"], "allowed: SERVICE=N with N at least 1"),
        (["--pods", "payments=5"], "one of services: gateway-service, payment-service, wallet-service"),
        (["--pods", "payment-service=5", "--scenario", "storm"], "one of loadtest.scenarios: normal, peak, stress"),
        (
            ["--pods", "payment-service=5", "--scenario", "peak"],
            "loadtest.max_requests_per_second: is 1000; peak sends",
        ),
        (["--pods", "payment-service=5", "--k6", "no-such-k6"], "no program 'no-such-k6' here; fix: install k6"),
    ],
)
def test_what_may_not_or_cannot_be_run_says_why(arguments: list[str], said: str) -> None:
    result = payctl(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_target_that_the_pack_does_not_allow_gets_no_load(tmp_path: Path) -> None:
    program = str(fake_k6(tmp_path, json.dumps(summary())))
    elsewhere = stack_file(tmp_path, "dev", target="https://api.payments.example.com")
    refused = payctl("--pods", "payment-service=5", "--k6", program, "--config-file", elsewhere)
    assert refused.exit_code == 2
    assert "load-tests-are-bounded" in refused.stderr
    assert (
        "Allowed: http://payment-service-svc.payments:8080, http://wallet-service-svc.payments:8080." in refused.stderr
    )
    assert not (tmp_path / "seen.json").exists()


def _pack(folder: Path, **changes: object) -> Path:
    content = json.loads((ROOT / "policies/config/prod.json").read_text(encoding="utf-8"))
    content["load-tests-are-bounded"] |= changes
    path = folder / "pack.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_production_needs_a_named_exception_that_still_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = str(fake_k6(tmp_path, json.dumps(summary())))
    pods = ("--pods", "payment-service=5", "--k6", program, "--stack", "prod")
    refused = payctl(*pods, "--config-file", stack_file(tmp_path, "prod"))
    assert refused.exit_code == 2
    assert "no load against prod without it" in refused.stderr
    exception = {"approved_by": "head of payments", "reason": "rehearsal of the peak", "until": "2020-01-01"}
    late = payctl(*pods, "--config-file", stack_file(tmp_path, "prod", prod_exception=exception))
    assert "loadtest.prod_exception.until: is 2020-01-01" in late.stderr
    exception["until"] = "2999-01-01"
    unknown = payctl(*pods, "--config-file", stack_file(tmp_path, "prod", prod_exception=exception))
    assert unknown.exit_code == 2
    assert "allowed by 'head of payments'. Allowed: nobody" in unknown.stderr
    assert not (tmp_path / "seen.json").exists()
    pack = _pack(tmp_path, approvers=["head of payments"], allowedTargets=["http://api.test"])
    monkeypatch.setattr(loadtest, "config_path", lambda _: pack)
    allowed = payctl(*pods, "--config-file", stack_file(tmp_path, "prod", prod_exception=exception))
    assert allowed.exit_code == 0, allowed.output


@pytest.mark.parametrize("text", ["", "[]", '{"metrics": []}', '{"metrics": {"http_reqs": 1}}', '{"metrics": {}}'])
def test_what_is_no_summary_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "summary.json"
    file.write_text(text, encoding="utf-8")
    result = payctl("--pods", "payment-service=5", "--summary", str(file))
    assert result.exit_code == 2
    assert "summary" in result.stderr


def test_a_failing_k6_is_told_apart_from_a_crossed_threshold(tmp_path: Path) -> None:
    result = payctl("--pods", "payment-service=5", "--k6", str(fake_k6(tmp_path, "{}", code=107)))
    assert result.exit_code == 2
    assert "k6 ended with exit code 107" in result.stderr


def test_a_broken_file_of_measured_capacities_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "measured.json"
    out.write_text("{}x", encoding="utf-8")
    with pytest.raises(MeasuredError, match="the whole file"):
        read_measured(out)
    program = fake_k6(tmp_path, json.dumps(summary()))
    assert payctl("--pods", "payment-service=5", "--k6", str(program), "--out", str(out)).exit_code == 2
    assert out.read_text(encoding="utf-8") == "{}x"


def test_a_newer_test_of_the_same_scenario_replaces_the_older_one(tmp_path: Path) -> None:
    out = tmp_path / "measured.json"
    for p99 in (700, 300):
        program = fake_k6(tmp_path, json.dumps(summary(p99=p99)), code=0 if p99 <= 500 else 99)
        payctl("--pods", "payment-service=5", "--k6", str(program), "--out", str(out))
    assert [(one.scenario, one.passed) for one in read_measured(out).capacities] == [("normal", True)]
