"""The rules as rendered: promtool accepts them, and each alert fires when it should and not otherwise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.scaler_metrics import metric_names
from tests.real.observability.case import NAMESPACE, Case
from tests.real.observability.cases import CASES
from tests.real.observability.cases_platform import NGINX_CASES
from tests.real.observability.prometheus_binaries import Binaries, binaries, run
from tests.unit.components.edge_stacks import nginx_form
from tests.unit.stacks import STACKS, Changes, of_kind


@pytest.fixture(scope="session")
def programs() -> Binaries:
    return binaries()


def rule_groups(stack: str, changes: Changes | None = None) -> dict[str, list[dict[str, Any]]]:
    """Name of the PrometheusRule → its groups, as rendered."""
    return {name: rules["spec"]["groups"] for name, rules in of_kind(stack, "PrometheusRule", changes).items()}


def alert_names(stack: str) -> set[str]:
    groups = [group for groups in rule_groups(stack).values() for group in groups]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def write_rules(folder: Path, objects: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """One file per object; names of the files."""
    for name, groups in objects.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    return sorted(f"{name}.yaml" for name in objects)


def unit_test(case: Case) -> dict[str, Any]:
    """The case for promtool: the state of the alert is itself a series."""
    more = f",{case.labels}" if case.labels else ""
    chosen = f'alertname="{case.alert}",subject="{case.subject}",alertstate="firing"{more}'
    firing = f"clamp_max(count(ALERTS{{{chosen}}}), 1) or vector(0)"
    samples = [{"labels": "{}", "value": int(case.fires)}]
    return {
        "name": f"{case.alert} of {case.subject} {'fires' if case.fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": case.at, "exp_samples": samples}],
    }


def groups_for(stack: str, alert: str, subject: str, changes: Changes | None = None) -> list[dict[str, Any]]:
    """The rendered groups without the rules that the alert does not read: with all of them promtool takes minutes."""
    groups = [group for groups in rule_groups(stack, changes).values() for group in groups]
    rules = [rule for group in groups for rule in group["rules"]]
    wanted = [rule for rule in rules if rule.get("alert") == alert and rule["labels"]["subject"] == subject]
    assert wanted, f"{stack} has no alert {alert} of {subject}"
    found = list(wanted)
    for rule in found:  # grows while it is read: recordings of recordings
        names = metric_names(rule["expr"])
        found += [one for one in rules if one.get("record") in names and one not in found]
    kept = [{**group, "rules": [rule for rule in group["rules"] if rule in found]} for group in groups]
    return [group for group in kept if group["rules"]]


def promtool_tests(
    programs: Binaries, folder: Path, stack: str, cases: Sequence[Case], changes: Changes | None = None
) -> None:
    """Run all cases in one process, one file for each alert and subject."""
    files = []
    for number, (alert, subject) in enumerate(sorted({(case.alert, case.subject) for case in cases})):
        groups = {"groups": groups_for(stack, alert, subject, changes)}
        (folder / f"rules-{number}.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
        tests = [unit_test(case) for case in cases if (case.alert, case.subject) == (alert, subject)]
        document = {"rule_files": [f"rules-{number}.yaml"], "evaluation_interval": "1m", "tests": tests}
        (folder / f"tests-{number}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        files.append(f"tests-{number}.yaml")
    answer = run(programs.promtool, "test", "rules", *files, folder=folder)
    said = [line for line in (answer.stdout + answer.stderr).splitlines() if "SUCCESS" not in line and line.strip()]
    assert answer.returncode == 0, "\n".join(line for line in said if "Unit Testing" not in line)


@pytest.mark.real
@pytest.mark.parametrize("stack", STACKS)
def test_promtool_accepts_every_rule_file(programs: Binaries, stack: str, tmp_path: Path) -> None:
    files = write_rules(tmp_path, rule_groups(stack))
    assert {"autoscaling-inputs.yaml", "payments-alerts.yaml", "payments-indicators.yaml"} <= set(files)
    answer = run(programs.promtool, "check", "rules", "--lint=all", "--lint-fatal", *files, folder=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.real
@pytest.mark.parametrize("stack", STACKS)
def test_each_alert_fires_when_it_should_and_not_otherwise(programs: Binaries, stack: str, tmp_path: Path) -> None:
    known = alert_names(stack)
    promtool_tests(programs, tmp_path, stack, [case for case in CASES if case.alert in known])


@pytest.mark.real
def test_alerts_of_an_edge_by_nginx_fire_when_they_should_and_not_otherwise(programs: Binaries, tmp_path: Path) -> None:
    promtool_tests(programs, tmp_path, "dev", NGINX_CASES, nginx_form())


@pytest.mark.real
def test_the_fullest_pool_of_a_service_is_recorded_with_its_role(programs: Binaries, tmp_path: Path) -> None:
    record = "service:database_pool_use:ratio"
    [rule] = [
        r for groups in rule_groups("dev").values() for g in groups for r in g["rules"] if r.get("record") == record
    ]
    group = {"name": "indicators", "interval": "1m", "rules": [rule]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    chosen = 'database_pool_connections_%s{service="payment-service",role="%s"}'
    use = {("in_use", "write"): 9, ("max", "write"): 10, ("in_use", "read"): 5, ("max", "read"): 50}
    labels = f'{record}{{service="payment-service",role="write",retention="long"}}'
    test = {
        "interval": "1m",
        "input_series": [{"series": chosen % key, "values": f"{value}x10"} for key, value in use.items()],
        "promql_expr_test": [{"expr": record, "eval_time": "5m", "exp_samples": [{"labels": labels, "value": 0.9}]}],
    }
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    answer = run(programs.promtool, "test", "rules", "tests.yaml", folder=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    burns = {("ErrorBudgetBurn", True), ("ErrorBudgetBurn", False)}  # test_error_budget.py
    tried = {(case.alert, case.fires) for case in CASES} | burns
    alerts = alert_names("dev") | alert_names("prod")
    assert {alert for alert, _ in tried} == alerts
    # It always fires; that is what it is for.
    missing = {(alert, fires) for alert in alerts for fires in (True, False)} - tried
    assert missing == {("DeadMan", False)}


def test_t17_nineteen_thousand_on_twenty_consumers_is_silent() -> None:
    quiet = [case for case in CASES if case.alert == "ConsumerLagGrowing" and not case.fires]
    lag = 'kafka_consumergroup_lag{consumergroup="payment-service-group",topic="payment-events",partition="0"}'
    ready = f'kube_deployment_status_replicas_ready{{namespace="{NAMESPACE}",deployment="payment-processors"}}'
    start, step = (int(part) for part in quiet[0].series[lag].partition("x")[0].split("+"))
    assert quiet[0].at == "30m"
    assert start + 30 * step == 19_000
    assert quiet[0].series[ready].startswith("20x")
