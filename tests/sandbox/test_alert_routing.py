"""Whom each rendered alert reaches and what mutes it, by the operator's and Alertmanager's own code."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox import tools
from tests.unit.stacks import STACKS, manifest, of_kind

Labels = dict[str, str]
Decide = Callable[[str, Sequence[Sequence[Labels]]], dict[str, Any]]
NAME = "payments-alerts"
RECEIVER = f"payments/{NAME}/%s"
_BY_SEVERITY = {"critical": "page", "warning": "ticket", "none": "dead-man"}
_TIMEOUT_SECONDS = 60
NOT_DELIVERED = "AlertsNotDelivered"


@pytest.fixture(scope="session")
def program() -> Path:
    return tools.ensure(tools.ALERT_ROUTING, tools.progress())["alertrouting"]


@pytest.fixture(scope="session")
def decide(program: Path) -> Decide:
    """Stack and groups of alerts that fire together → what Alertmanager would do with each."""

    def ask(stack: str, cases: Sequence[Sequence[Labels]]) -> dict[str, Any]:
        return _ask(program, manifest(stack, "AlertmanagerConfig", NAME), cases)

    return ask


def _ask(program: Path, config: dict[str, Any], cases: Sequence[Sequence[Labels]]) -> dict[str, Any]:
    answer = _run(program, config, cases)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _run(program: Path, config: dict[str, Any], cases: Sequence[Sequence[Labels]]) -> subprocess.CompletedProcess[str]:
    asked = {"config": config, "secrets": _secrets(config), "cases": cases}
    return subprocess.run(
        [program], input=json.dumps(asked), capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )


def _secrets(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Every Secret that the receivers read, with an address that nothing answers."""
    value = base64.b64encode(b"http://127.0.0.1:1/never-called").decode()
    found: dict[str, dict[str, str]] = {}
    for selector in _selectors(config["spec"]["receivers"]):
        found.setdefault(selector["name"], {})[selector["key"]] = value
    namespace = config["metadata"]["namespace"]
    return [{"metadata": {"name": name, "namespace": namespace}, "data": data} for name, data in found.items()]


def _selectors(node: Any) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        if set(node) == {"name", "key"}:
            yield node
            return
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _selectors(child)


def alerts(stack: str) -> list[Labels]:
    """The labels of every rendered alert. What an expression adds of its own never decides a route."""
    groups = [group for rules in of_kind(stack, "PrometheusRule").values() for group in rules["spec"]["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return [{"alertname": rule["alert"], **rule["labels"]} for rule in rules]


def one(stack: str, name: str, **chosen: str) -> Labels:
    """The first rendered alert of a name with these labels."""
    found = [each for each in alerts(stack) if each["alertname"] == name and chosen.items() <= each.items()]
    assert found, f"{stack} has no alert {name} with {chosen}"
    return found[0]


@pytest.mark.parametrize("stack", STACKS)
def test_every_alert_reaches_the_one_receiver_of_its_severity(decide: Decide, stack: str) -> None:
    every = alerts(stack)
    assert {each["severity"] for each in every} == set(_BY_SEVERITY)
    found = decide(stack, [[each] for each in every])
    assert set(found["receivers"]) == {"nobody", *(RECEIVER % name for name in _BY_SEVERITY.values())}
    for labels, [outcome] in zip(every, found["cases"], strict=True):
        assert not outcome["muted"], labels
        if labels["alertname"] == NOT_DELIVERED:
            continue
        [delivery] = outcome["deliveries"]
        assert delivery["receiver"] == RECEIVER % _BY_SEVERITY[labels["severity"]], labels
        assert delivery["group"] == {key: labels[key] for key in ("alertname", "subject")}


@pytest.mark.parametrize("stack", STACKS)
def test_a_receiver_that_fails_is_told_of_by_the_other_one(decide: Decide, stack: str) -> None:
    [[outcome]] = decide(stack, [[one(stack, NOT_DELIVERED)]])["cases"]
    assert [each["receiver"] for each in outcome["deliveries"]] == [RECEIVER % "ticket", RECEIVER % "page"]


@pytest.mark.parametrize("stack", STACKS)
def test_a_page_is_repeated_each_hour_and_the_dead_man_each_minute(decide: Decide, stack: str) -> None:
    chosen = [one(stack, "ServiceDown"), one(stack, "RulesFail"), one(stack, "DeadMan")]
    found = decide(stack, [[each] for each in chosen])["cases"]
    times = [
        tuple(case[0]["deliveries"][0][f"{key}Seconds"] for key in ("groupWait", "groupInterval", "repeatInterval"))
        for case in found
    ]
    assert times == [(30, 300, 3600), (30, 300, 12 * 3600), (0, 60, 60)]


def test_what_is_not_ours_reaches_nobody_of_ours(decide: Decide) -> None:
    foreign = {**one("prod", "ServiceDown"), "namespace": "somebody-elses"}
    [[outcome]] = decide("prod", [[foreign]])["cases"]
    assert [delivery["receiver"] for delivery in outcome["deliveries"]] == ["nobody"]


PAYMENT, WALLET = {"subject": "payment-service"}, {"subject": "wallet-service"}
BURN = {"slo": "availability", **PAYMENT}
Named = tuple[str, dict[str, str]]
CASES: list[tuple[Named, Named, bool]] = [
    # while this fires, that one is muted
    (("ErrorBudgetBurn", {"severity": "critical", **BURN}), ("ErrorBudgetBurn", {"severity": "warning", **BURN}), True),
    (
        ("ErrorBudgetBurn", {"severity": "critical", **BURN}),
        ("ErrorBudgetBurn", {"severity": "warning", **BURN, "slo": "latency"}),
        False,
    ),
    (
        ("ErrorBudgetBurn", {"severity": "critical", **BURN}),
        ("ErrorBudgetBurn", {"severity": "warning", **BURN, **WALLET}),
        False,
    ),
    (("ErrorBudgetBurn", {"severity": "critical", **BURN}), ("MemoryHigh", PAYMENT), False),
    (("ServiceDown", PAYMENT), ("ApiLatencyHigh", PAYMENT), True),
    (("ServiceDown", PAYMENT), ("ErrorBudgetBurn", {"severity": "critical", **BURN}), True),
    (("ServiceDown", PAYMENT), ("ErrorBudgetBurn", {"severity": "critical", **BURN, **WALLET}), False),
    (("KafkaOfflinePartitions", {}), ("ConsumerStandsStill", {}), True),
    (("KafkaOfflinePartitions", {}), ("KafkaUnderReplicated", {}), True),
    (("KafkaOfflinePartitions", {}), ("ApiLatencyHigh", PAYMENT), False),
    (("DatabaseWithoutPrimary", {}), ("ConsumerDelayHigh", {}), True),
    (("DatabaseWithoutPrimary", {}), ("DatabaseErrorsHigh", PAYMENT), True),
    # What a person is called for besides stays: payments fail, and somebody must say so.
    (("DatabaseWithoutPrimary", {}), ("ErrorBudgetBurn", {"severity": "critical", **BURN}), False),
    (("AutoscalerInputsNotEvaluated", {}), ("AutoscalerInputMissing", {}), True),
]


@pytest.mark.parametrize("stack", STACKS)
def test_a_cause_mutes_its_symptoms_and_nothing_else(decide: Decide, stack: str) -> None:
    pairs = [(one(stack, cause[0], **cause[1]), one(stack, said[0], **said[1])) for cause, said, _ in CASES]
    found = decide(stack, pairs)["cases"]
    assert [(first["muted"], second["muted"]) for first, second in found] == [(False, muted) for *_, muted in CASES]


def test_a_cause_in_another_namespace_mutes_nothing(decide: Decide) -> None:
    foreign = {**one("prod", "ServiceDown", **PAYMENT), "namespace": "somebody-elses"}
    [[_, outcome]] = decide("prod", [[foreign, one("prod", "ApiLatencyHigh", **PAYMENT)]])["cases"]
    assert not outcome["muted"]


@pytest.mark.parametrize("stack", STACKS)
def test_when_everything_fires_the_causes_and_the_dead_man_are_heard(decide: Decide, stack: str) -> None:
    every = alerts(stack)
    [found] = decide(stack, [every])["cases"]
    heard = {each["alertname"] for each, outcome in zip(every, found, strict=True) if not outcome["muted"]}
    assert {
        "DeadMan", "TargetMissing", "ServiceDown", "KafkaOfflinePartitions", "DatabaseWithoutPrimary",
        "AutoscalerInputsNotEvaluated", "AlertsNotDelivered",
    } <= heard  # fmt: skip
    assert not heard & {"ApiLatencyHigh", "ConsumerStandsStill", "AutoscalerInputMissing", "KafkaUnderReplicated"}


def test_an_object_that_the_operator_refuses_is_no_answer(program: Path) -> None:
    config = manifest("prod", "AlertmanagerConfig", NAME)
    config["spec"]["route"]["receiver"] = "nobody-of-this-name"
    answer = subprocess.run(
        [program],
        input=json.dumps({"config": config, "secrets": _secrets(config), "cases": []}),
        capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "nobody-of-this-name" in answer.stderr
