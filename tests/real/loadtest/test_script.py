"""The script type-checks against k6's own types, and what it sends is what the settings say."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from components.loadtest.plan import SCRIPT, k6_plan, plan_text
from sandbox.tools import cache_root
from settings.loadtest import PLAN_MIX, LoadTest
from settings.observability import Objective

_HERE = Path(__file__).parent
_ITERATIONS = 20_000
_RUN = f"""
import * as stub from "./stub.mjs";
import run, {{ options }} from "./payments.mjs";
for (let i = 0; i < {_ITERATIONS}; i++) {{ run(); stub.next(); }}
console.log(JSON.stringify({{ options, requests: stub.requests, checks: stub.checks }}));
"""


def loadtest() -> LoadTest:
    targets = {"wallet-service": "http://wallets.test"}
    return LoadTest(target="http://api.test", targets=targets, image="k6:2.2.0", users=1000)


def node_modules() -> Path:
    """TypeScript and k6's types in the per-user cache, by the committed lock file."""
    for program in ("node", "npm"):
        assert shutil.which(program), f"{program} is needed to check the k6 script: install Node.js 20 or newer"
    lock = (_HERE / "package-lock.json").read_bytes()
    target = cache_root() / f"k6-types-{hashlib.sha256(lock).hexdigest()[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock", timeout=240):
        if not (target / "complete").exists():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_HERE / name, target)
            answer = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=target, capture_output=True, text=True, timeout=200, check=False,
            )  # fmt: skip
            assert answer.returncode == 0, f"npm ci could not fetch TypeScript and k6's types: {answer.stderr[-500:]}"
            (target / "complete").touch()
    return target / "node_modules"


def compile_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Type-check the script and write its JavaScript to ``built``."""
    modules = node_modules()
    (folder / "node_modules").symlink_to(modules)
    (folder / "payments.ts").write_text(text, encoding="utf-8")
    shutil.copy(_HERE / "tsconfig.json", folder)
    return subprocess.run(
        ["node", str(modules / "typescript" / "bin" / "tsc"), "-p", "."],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.real
def test_the_script_type_checks_against_k6s_own_types(tmp_path: Path) -> None:
    answer = compile_script(tmp_path, SCRIPT.read_text(encoding="utf-8"))
    assert answer.returncode == 0, answer.stdout


@pytest.mark.real
def test_a_name_that_k6_does_not_have_is_found(tmp_path: Path) -> None:
    wrong = SCRIPT.read_text(encoding="utf-8").replace("scenario.iterationInTest", "scenario.iterationInTests")
    answer = compile_script(tmp_path, wrong)
    assert answer.returncode != 0
    assert "iterationInTests" in answer.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for Node.js, with k6's modules replaced."""
    folder = tmp_path_factory.mktemp("script")
    answer = compile_script(folder, SCRIPT.read_text(encoding="utf-8"))
    assert answer.returncode == 0, answer.stdout
    compiled = (folder / "built" / "payments.js").read_text(encoding="utf-8")
    stubbed = re.sub(r'from "k6[^"]*"', 'from "./stub.mjs"', compiled)
    (folder / "payments.mjs").write_text(stubbed, encoding="utf-8")
    shutil.copy(_HERE / "stub.mjs", folder)
    plan = k6_plan(loadtest(), "normal", {"payment-service": Objective(latency_milliseconds=500)})
    (folder / "plan.json").write_text(plan_text(plan), encoding="utf-8")
    (folder / "run.mjs").write_text(_RUN, encoding="utf-8")
    return folder


def run_script(folder: Path, *, started: int) -> dict[str, Any]:
    """What the script's iterations send in a run that starts at this moment."""
    run = subprocess.run(
        ["node", "run.mjs"],
        cwd=folder, env={**os.environ, "STARTED": str(started)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module")
def sent(built: Path) -> dict[str, Any]:
    return run_script(built, started=1)


@pytest.mark.real
def test_one_iteration_is_one_request(sent: dict[str, Any]) -> None:
    assert len(sent["requests"]) == _ITERATIONS


@pytest.mark.real
def test_the_mix_is_the_settings_one(sent: dict[str, Any]) -> None:
    counted = Counter(request["tags"]["operation"] for request in sent["requests"])
    for operation, percent in PLAN_MIX.items():
        # Three standard deviations of 20,000 draws are one percent.
        assert abs(100 * counted[operation] / _ITERATIONS - percent) < 1.1, operation


@pytest.mark.real
def test_a_key_is_used_anew_only_to_repeat_the_same_payment(sent: dict[str, Any]) -> None:
    bodies: dict[str, set[str]] = {}
    repeats = 0
    for request in sent["requests"]:
        if request["method"] == "POST":
            again = request["key"] in bodies
            bodies.setdefault(request["key"], set()).add(request["body"])
            repeats += again
            assert not again or request["tags"]["operation"] == "repeat-payment"
    assert repeats > 0
    assert all(len(of_key) == 1 for of_key in bodies.values())
    assert sent["checks"] == {"passed": repeats, "failed": 0}


@pytest.mark.real
def test_no_key_is_one_of_an_earlier_run(built: Path, sent: dict[str, Any]) -> None:
    first, second = (
        {request["key"] for request in run["requests"] if request["method"] == "POST"}
        for run in (sent, run_script(built, started=2))
    )
    assert first
    assert second
    assert not first & second


@pytest.mark.real
def test_each_service_is_asked_where_it_answers(sent: dict[str, Any]) -> None:
    hosts = {(r["tags"]["service"], r["url"].split("/api/")[0]) for r in sent["requests"]}
    assert hosts == {("payment-service", "http://api.test"), ("wallet-service", "http://wallets.test")}


@pytest.mark.real
def test_reads_are_of_payments_that_were_made(sent: dict[str, Any]) -> None:
    reads = [r["url"] for r in sent["requests"] if r["tags"]["operation"] == "read-payment" and r["method"] == "GET"]
    made = {f"http://api.test/api/v1/payments/payment-{number}" for number in range(_ITERATIONS)}
    assert reads
    assert set(reads) <= made
    assert "http://api.test/api/v1/payments/undefined" not in reads


@pytest.mark.real
def test_scenario_and_thresholds_are_those_of_the_plan(sent: dict[str, Any]) -> None:
    plan = k6_plan(loadtest(), "normal", {"payment-service": Objective(latency_milliseconds=500)})
    assert sent["options"]["scenarios"] == {"load": plan["scenario"]}
    assert sent["options"]["thresholds"] == plan["thresholds"]
    assert plan["thresholds"]["dropped_iterations"] == ["count==0"]
    assert plan["thresholds"]["http_req_duration{service:payment-service}"] == ["p(99)<=500"]
