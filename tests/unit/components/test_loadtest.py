"""Load tests as declared: gated by the settings, bounded, and nothing when nobody asks."""

import json
from typing import Any

import pytest

from settings.loadtest import PLAN_SCENARIOS
from tests.unit.stacks import STACKS, of_kind, recording_of

CHANGES: dict[str, object] = {"loadtest/run": ["normal"]}


def declared(changes: dict[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
    [run] = of_kind("dev", "TestRun", changes, namespace="loadtest").values()
    [files] = of_kind("dev", "ConfigMap", changes, namespace="loadtest").values()
    return run, files


@pytest.mark.parametrize("stack", STACKS)
def test_no_test_is_declared_unless_its_scenario_is_named(stack: str) -> None:
    assert not [r for r in recording_of(stack).resources if "TestRun" in r.type or "LoadTests" in r.type]


def test_s15_the_plans_scenarios() -> None:
    found = {name: (load.requests_per_second, load.duration_seconds) for name, load in PLAN_SCENARIOS.items()}
    assert found == {"normal": (1_000, 600), "peak": (5_000, 300), "stress": (10_000, 120)}
    # 10,000 requests/s of 200 ms keep 2,000 users waiting; twice as many are there.
    assert PLAN_SCENARIOS["stress"].virtual_users == 4_000


def test_a_named_scenario_becomes_a_test_with_its_files() -> None:
    run, files = declared(CHANGES)
    assert run["metadata"]["name"] == files["metadata"]["name"] == run["spec"]["script"]["configMap"]["name"]
    assert run["metadata"]["annotations"] == {
        "payments.dev/requests-per-second": "1000",
        "payments.dev/target": "http://payment-service-svc.payments:8080 http://wallet-service-svc.payments:8080",
    }
    # Ended pods stay: their logs have the only summary.
    assert "cleanup" not in run["spec"]
    assert run["spec"]["parallelism"] == 2
    plan = json.loads(files["data"]["plan.json"])
    assert plan["scenario"]["rate"] == 1_000
    assert plan["scenario"]["executor"] == "constant-arrival-rate"
    assert plan["thresholds"]["http_req_failed{service:payment-service}"] == ["rate<=0.001"]
    assert plan["thresholds"]["http_req_duration{service:wallet-service}"] == ["p(99)<=250"]


def test_the_services_that_are_loaded_let_the_tests_pods_in() -> None:
    plan = json.loads(declared(CHANGES)[1]["data"]["plan.json"])
    for service in ("payment-service", "wallet-service"):
        assert f"http://{service}-svc.payments:8080" in {one["target"] for one in plan["operations"]}
        policy = of_kind("dev", "NetworkPolicy")[f"{service}-flows"]
        callers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
        assert {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "loadtest"}},
            "podSelector": {"matchLabels": {"app": "k6"}},
        } in callers


def test_another_content_is_another_test() -> None:
    changed = {**CHANGES, "loadtest/users": 7}
    assert declared(CHANGES)[0]["metadata"]["name"] != declared(changed)[0]["metadata"]["name"]


def test_a_ramp_rises_to_the_rate_and_holds_it() -> None:
    scenario = {"requests_per_second": 500, "duration_seconds": 60, "ramp_seconds": 30}
    plan = json.loads(declared({**CHANGES, "loadtest/scenarios": {"normal": scenario}})[1]["data"]["plan.json"])
    assert plan["scenario"]["executor"] == "ramping-arrival-rate"
    assert plan["scenario"]["stages"] == [{"target": 500, "duration": "30s"}, {"target": 500, "duration": "60s"}]


def test_samples_go_to_prometheus_with_credentials_by_reference() -> None:
    write = {"url": "https://prometheus.test/api/v1/write", "existing_secret": "k6-writer"}
    run, _ = declared({**CHANGES, "loadtest/remote_write": write})
    assert run["spec"]["arguments"] == f"--out experimental-prometheus-rw --tag testid={run['metadata']['name']}"
    variables = {entry["name"]: entry for entry in run["spec"]["runner"]["env"]}
    assert variables["K6_PROMETHEUS_RW_PASSWORD"]["valueFrom"] == {
        "secretKeyRef": {"name": "k6-writer", "key": "password"}
    }
