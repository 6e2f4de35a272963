"""``payctl detect`` against a real Prometheus: every query of the rules is asked, and what it answers is judged."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.main import cli
from planning.bottlenecks.rules import RULES_FILE
from tests.real.observability.test_prometheus import prometheus

_PATIENCE_SECONDS = 120
_SERVICES = {
    "payment-service": ("payment-processors", "payment-service-group", "payment-events", 6000),
    "wallet-service": ("wallet-processors", "wallet-service-group", "wallet-events", 600),
    "gateway-service": ("gateway-processors", "gateway-service-group", "gateway-events", 600),
}


def _record(name: str, value: float, **labels: str) -> dict[str, Any]:
    """A recording rule that stands in for an exporter: the series under its own name."""
    return {"record": name, "expr": f"vector({value})", "labels": labels}


def _exporters() -> list[dict[str, Any]]:
    """Everything that the rules read, without traffic, except the gateway's lag, whose exporter is silent."""
    found = []
    for service, (consumer, group, topic, lag) in _SERVICES.items():
        pods = {"namespace": "payments", "pod": f"{service}-1", "container": service}
        found += [
            _record("http_request_duration_seconds_bucket", 10, service=service, le="0.5"),
            _record("http_request_duration_seconds_bucket", 10, service=service, le="+Inf"),
            _record("http_request_duration_seconds_count", 10, service=service),
            _record("http_requests_total", 10, service=service),
            # A pool with room beside the full one: together they are at 0.53.
            *(
                _record("database_pool_connections_in_use", 9.5 if service == full else 1, service=service, role=role)
                for role, full in (("write", "wallet-service"), ("read", "payment-service"))
            ),
            *(_record("database_pool_connections_max", 10, service=service, role=role) for role in ("write", "read")),
            _record("circuit_breaker_rejected_total", 5, service=service),
            _record("circuit_breaker_calls_total", 10, service=service),
            # Two containers of one pod, as after a restart: the query must not be ambiguous.
            _record("container_memory_working_set_bytes", 9.0e8, id="old", **pods),
            _record("container_memory_working_set_bytes", 1.0e9, id="new", **pods),
            _record("kube_pod_container_resource_limits", 2.0e9, resource="memory", **pods),
            *(
                _record("kube_deployment_spec_replicas", 3, namespace="payments", deployment=d)
                for d in (service, consumer)
            ),
            _record("kube_deployment_status_replicas_ready", 3, namespace="payments", deployment=consumer),
        ]
        if service != "gateway-service":
            found.append(_record("kafka_consumergroup_lag", lag, consumergroup=group, topic=topic))
    return found


def _impatient_rules(folder: Path) -> Path:
    document = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    document["rules"] = [{**rule, "duration_seconds": 0, "missing_seconds": 15} for rule in document["rules"]]
    path = folder / "impatient.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.mark.real
@pytest.mark.slow
def test_what_a_real_server_records_is_found_and_what_it_does_not_is_missing(tmp_path: Path) -> None:
    groups = {"groups": [{"name": "exporters", "interval": "1s", "rules": _exporters()}]}
    (tmp_path / "exporters.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    expected = {
        ("CONSUMER_LAG", "payment-processors", "lag_per_consumer"),
        ("DB_CONNECTIONS", "wallet-service", "database_pool_use"),
        ("DB_WRITE_CONNECTIONS", "wallet-service", "database_write_pool_use"),
        # Only its reads: the one that a read replica helps.
        ("DB_CONNECTIONS", "payment-service", "database_pool_use"),
        ("MISSING_DATA", "gateway-processors", "lag_per_consumer"),
    }
    rules = _impatient_rules(tmp_path)
    with prometheus(tmp_path, ["exporters.yaml"]) as address:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            arguments = ["detect", "--stack", "dev", "--prometheus", address, "--rules", str(rules), "--json"]
            answer = CliRunner().invoke(cli, arguments)
            findings = json.loads(answer.stdout)["findings"] if answer.exit_code in (0, 1) else []
            found = {(each["kind"], each["subject"], each["metric"]) for each in findings}
            if found == expected:
                break
            assert time.monotonic() < deadline, (answer.output, found)
            time.sleep(1)
    values = {each["kind"]: each["value"] for each in findings}
    assert values == {
        "CONSUMER_LAG": 2000.0, "DB_CONNECTIONS": 0.95, "DB_WRITE_CONNECTIONS": 0.95, "MISSING_DATA": None,
    }  # fmt: skip
