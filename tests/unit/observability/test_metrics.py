"""No rule and no panel names a metric that nothing exports, and all of them parse."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client import CollectorRegistry

from components.observability.catalogue import Entries, MetricType, Source, by_series
from components.observability.known import EXPORTED, METRICS
from payments_client.kafka.metrics import Count, PrometheusMetrics
from policies.scaler_metrics import metric_names
from tests.unit.stacks import STACKS, of_kind

# The one series that Prometheus makes itself.
_ALERTS = "ALERTS"
_BY_EXPORTER = {"namespace", "pod", "job", "service", "instance", "container", "endpoint"}


def expressions(stack: str) -> Iterator[tuple[str, str]]:
    """Where it stands and the expression: every rule of a stack."""
    for name, rules in of_kind(stack, "PrometheusRule").items():
        for group in rules["spec"]["groups"]:
            for rule in group["rules"]:
                yield f"{name}/{rule.get('alert', rule.get('record'))}", rule["expr"]


def dashboards(stack: str) -> dict[str, dict[str, Any]]:
    found = {}
    for name, config in of_kind(stack, "ConfigMap").items():
        if config["metadata"]["labels"].get("grafana_dashboard") == "1":
            [text] = config["data"].values()
            found[name] = json.loads(text)
    return found


def queries(stack: str) -> Iterator[tuple[str, str]]:
    for name, board in dashboards(stack).items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}/{panel['title']}", target["expr"]


def recorded(stack: str) -> set[str]:
    rules = of_kind(stack, "PrometheusRule").values()
    return {rule["record"] for one in rules for g in one["spec"]["groups"] for rule in g["rules"] if "record" in rule}


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(node, part, None)
        if inner is not None:
            yield from selectors(inner)
    for argument in getattr(node, "args", None) or []:
        yield from selectors(argument)


@pytest.mark.parametrize("stack", STACKS)
def test_every_rule_and_panel_parses_and_names_known_metrics(stack: str) -> None:
    known = EXPORTED.keys() | recorded(stack) | {_ALERTS}
    seen = 0
    for where, expression in [*expressions(stack), *queries(stack)]:
        names = {one.name for one in selectors(promql_parser.parse(expression))}
        assert names <= known, f"{where}: {names - known} of {expression}"
        assert names or expression.startswith("vector("), where
        # The policy pack reads names by itself: it must see the same.
        assert metric_names(expression) == names, where
        seen += 1
    assert seen > 200


@pytest.mark.parametrize("stack", STACKS)
def test_selectors_use_labels_that_the_exporter_has(stack: str) -> None:
    for where, expression in [*expressions(stack), *queries(stack)]:
        for one in selectors(promql_parser.parse(expression)):
            if one.name in EXPORTED:
                metric = EXPORTED[one.name]
                allowed = {*metric.labels, *_BY_EXPORTER, *(["le"] if metric.type is MetricType.HISTOGRAM else [])}
                used = {matcher.name for matcher in one.matchers.matchers}
                assert used <= allowed, f"{where}: {used - allowed} of {one.name}"


@pytest.mark.parametrize("stack", STACKS)
def test_only_counters_are_read_as_a_rate(stack: str) -> None:
    # kafka-exporter declares offsets as gauges, but they only rise.
    offsets = {"kafka_consumergroup_current_offset", "kafka_topic_partition_current_offset"}
    for where, expression in [*expressions(stack), *queries(stack)]:
        for name in re.findall(r"\b(?:rate|increase)\((\w+)", expression):
            kind = EXPORTED[name].type
            assert kind is not MetricType.GAUGE or name in offsets, f"{where}: a rate of the gauge {name}"
        for name in re.findall(r"\b(?:deriv|predict_linear)\((\w+)", expression):
            assert name not in EXPORTED or EXPORTED[name].type is MetricType.GAUGE, f"{where}: a slope of {name}"


def test_the_catalogue_is_complete_and_has_no_entry_twice() -> None:
    assert {metric.source for metric in METRICS} == set(Source)
    for metric in METRICS:
        assert metric.unit
        if metric.type is MetricType.COUNTER and metric.source is Source.SERVICES:
            assert metric.name.endswith("_total"), metric.name
    one = Entries(Source.REDIS).gauge("redis_up", "1")
    with pytest.raises(ValueError, match="redis_up stands twice"):
        by_series([one, one])


@pytest.mark.parametrize("stack", STACKS)
def test_the_policy_pack_knows_the_catalogue(stack: str) -> None:
    with open(f"policies/config/{stack}.json", encoding="utf-8") as file:  # noqa: PTH123
        exported = json.load(file)["scaler-metrics-have-a-source"]["exported"]
    names = {name for of_exporter in exported.values() for name in of_exporter}
    assert names == set(EXPORTED)


@pytest.mark.parametrize("stack", STACKS)
def test_the_boards_are_those_that_were_asked_for(stack: str) -> None:
    boards = dashboards(stack)
    keys = {"overview", "service", "kafka", "postgresql", "cache", "edge", "autoscaling", "capacity"}
    assert set(boards) == {f"dashboard-{key}" for key in keys}
    for name, board in boards.items():
        assert board["uid"] == f"payments-{name.removeprefix('dashboard-')}"
        titles = [panel["title"] for panel in board["panels"]]
        assert len(titles) == len(set(titles)) >= 5, name
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in board["panels"])


def test_patronis_names_are_those_of_the_installed_patroni() -> None:
    found = importlib.util.find_spec("patroni")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).with_name("api.py").read_text(encoding="utf-8")
    wanted = {metric.name: metric for metric in METRICS if metric.source is Source.PATRONI}
    assert wanted
    for name, metric in wanted.items():
        assert f'"# TYPE {name} {metric.type}' in source, name


def test_the_kafka_clients_names_and_events_are_those_that_it_serves() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry).watch_handlers("events", lambda: 0)
    served = {
        family.name + ("_total" if family.type == "counter" else ""): family.type for family in registry.collect()
    }
    assert served == {m.name: m.type.value for m in METRICS if m.name.startswith("payments_kafka_")}
    page = Path("docs/kafka_client.md").read_text(encoding="utf-8")
    assert set(re.findall(r"payments_kafka_\w+", page)) == set(served)
    table = page[page.index("| event | is | alert |") :]
    told = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(Count)
    for stack in STACKS:
        for where, expression in [*expressions(stack), *queries(stack)]:
            if "payments_kafka_events_total" in expression:
                assert set(re.findall(r'event="(\w+)"', expression)) <= set(Count), where
