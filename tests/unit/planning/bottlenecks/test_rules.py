"""Rules as data: what a stack is watched for, and what a broken file is told."""

from pathlib import Path

import pytest
import yaml

from planning.bottlenecks.rules import RULES_FILE, RulesError, read_rules, watches
from tests.unit.stacks import settings_of

PLAN_KINDS = {"API_LATENCY", "CONSUMER_LAG", "DB_CONNECTIONS", "MEMORY_PRESSURE", "CIRCUIT_BREAKER"}


def test_the_plans_five_kinds_have_thresholds_and_a_duration() -> None:
    rules = {rule.kind: rule for rule in read_rules()}
    assert rules.keys() >= PLAN_KINDS
    assert all(rule.duration_seconds > 0 and rule.warning < rule.critical for rule in rules.values())


def test_the_plans_alerts_are_the_critical_thresholds() -> None:
    found = {(watch.rule.kind, watch.subject): watch for watch in watches(read_rules(), settings_of("prod"))}
    assert found["API_LATENCY", "payment-service"].critical == pytest.approx(1.0)
    assert found["API_LATENCY", "gateway-service"].critical == pytest.approx(4.0)
    assert found["DB_CONNECTIONS", "wallet-service"].critical == pytest.approx(0.9)
    assert found["MEMORY_PRESSURE", "payment-service"].critical == pytest.approx(0.85)
    assert found["CIRCUIT_BREAKER", "gateway-service"].critical == pytest.approx(0.1)


def test_lag_is_judged_in_units_of_each_groups_own_target() -> None:
    found = {watch.subject: watch for watch in watches(read_rules(), settings_of("prod")) if "lag" in watch.rule.metric}
    assert {name: watch.warning for name, watch in found.items()} == {
        "payment-processors": 1500.0,
        "wallet-processors": 3000.0,
        "gateway-processors": 1500.0,
    }


def test_only_what_has_a_breaker_or_a_pool_is_watched_for_it() -> None:
    changed = settings_of("prod", {"services/payment-service/api/database_connections_per_pod": 0})
    found = {(watch.rule.kind, watch.subject) for watch in watches(read_rules(), changed)}
    assert ("CIRCUIT_BREAKER", "payment-service") not in found
    assert ("DB_CONNECTIONS", "payment-service") not in found
    assert ("DB_CONNECTIONS", "wallet-service") in found


def test_queries_are_filled_in_for_each_subject() -> None:
    for watch in watches(read_rules(), settings_of("prod")):
        for name in ("service", "workload", "consumer", "group", "topic", "namespace", "maximum"):
            assert f"{{{name}}}" not in watch.query
    queries = {watch.series: watch.query for watch in watches(read_rules(), settings_of("prod"))}
    assert (
        'consumergroup="wallet-service-group",topic="wallet-events"' in queries["lag_per_consumer", "wallet-processors"]
    )
    assert queries["replicas_of_maximum", "payment-processors"].endswith("/ 24")


def test_one_more_kind_is_one_more_entry(tmp_path: Path) -> None:
    document = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    document["rules"].append({**document["rules"][0], "kind": "QUEUE_LENGTH", "metric": "queue_messages"})
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert ("queue_messages", "payment-service") in {
        watch.series for watch in watches(read_rules(path), settings_of("dev"))
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"critical": 0.5}, "critical 0.5 is not above warning 1"),
        ({"duration_seconds": "120"}, "rules.0.duration_seconds"),
        ({"kind": "CONSUMER_LAG"}, "more than one rule for CONSUMER_LAG"),
        ({"severity": 1}, "rules.0.severity"),
        ({"subjects": "pods"}, "rules.0.subjects"),
    ],
)
def test_a_broken_rule_is_told_where(tmp_path: Path, change: dict[str, object], said: str) -> None:
    document = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    document["rules"][0] |= change
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(RulesError, match=r"rules\.yaml") as caught:
        read_rules(path)
    assert said in str(caught.value)


def test_a_file_that_is_none_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="fix: name another file"):
        read_rules(tmp_path / "none.yaml")
