"""From findings to changes: the plan's own steps, every bound, and the refusals with their reasons."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.actions.propose import Action, Refusal, Situation, propose
from planning.bottlenecks.findings import MISSING_DATA, Finding, Severity
from tests.unit.stacks import REMOVED, platform_of, problems_of, settings_of

METRICS = {
    "API_LATENCY": "api_p99_seconds",
    "CONSUMER_LAG": "lag_per_consumer",
    "DB_CONNECTIONS": "database_pool_use",
    "DB_WRITE_CONNECTIONS": "database_write_pool_use",
    "MEMORY_PRESSURE": "memory_use_of_limit",
    "CIRCUIT_BREAKER": "breaker_refused_share",
    "AT_MAXIMUM": "replicas_of_maximum",
}


def finding(kind: str, subject: str = "payment-service", *, service: str | None = None, since: float = 0.0) -> Finding:
    return Finding(
        kind=kind, severity=Severity.CRITICAL, subject=subject, service=service or subject,
        metric=METRICS.get(kind, "api_p99_seconds"), unit="", value=1.0, threshold=0.5, duration_seconds=60,
        since_seconds=since, found_seconds=since + 60, evidence=(), recommendation="look",
    )  # fmt: skip


def lag(subject: str = "payment-processors", service: str = "payment-service") -> Finding:
    return finding("CONSUMER_LAG", subject, service=service)


def situation(
    *findings: Finding,
    changes: Mapping[str, object] | None = None,
    running: Mapping[str, float] | None = None,
    platform: Mapping[str, Any] | None = None,
) -> Situation:
    return Situation(
        settings=settings_of("dev", changes),
        findings=findings,
        latest={("replicas_of_maximum", name): share for name, share in (running or {}).items()},
        platform=platform_of("dev") if platform is None else platform,
    )


def _edits(answer: object) -> dict[str, tuple[object, object]]:
    assert isinstance(answer, Action)
    return {edit.dotted: (edit.before, edit.after) for edit in answer.edits}


def test_t28_every_action_is_a_change_of_settings_and_none_patches_replicas() -> None:
    for each in (finding("API_LATENCY"), lag(), finding("DB_CONNECTIONS"), finding("MEMORY_PRESSURE")):
        [answer] = propose(situation(each))
        for edit in _edits(answer):
            assert edit.split(".")[0] in ("services", "postgres")
            assert not edit.endswith(".replicas")


def test_s14_the_plans_own_steps() -> None:
    [latency] = propose(situation(finding("API_LATENCY")))
    assert _edits(latency) == {"services.payment-service.api.scaling.min_replicas": (3, 5)}
    [lagging] = propose(situation(lag()))
    assert _edits(lagging) == {"services.payment-service.consumer.scaling.min_replicas": (3, 6)}
    [database] = propose(situation(finding("DB_CONNECTIONS")))
    assert _edits(database) == {"postgres.nodes": (3, 4)}
    [memory] = propose(situation(finding("MEMORY_PRESSURE")))
    assert _edits(memory) == {
        "services.payment-service.api.resources.requests.memory": ("1Gi", "2Gi"),
        "services.payment-service.api.resources.limits.memory": ("2Gi", "4Gi"),
    }


def test_a_replica_more_in_prod_is_a_number_that_outlives_a_zone() -> None:
    """Of four nodes over three zones two lie in one zone, and the settings refuse them."""
    for zones, after in ((3, 5), (4, 4)):
        changes = {"cluster/zones": [f"zone-{number}" for number in range(zones)]}
        [answer] = propose(
            Situation(
                settings=settings_of("prod", changes),
                findings=[finding("DB_CONNECTIONS")],
                latest={},
                platform=platform_of("prod", changes),
            )
        )
        assert _edits(answer) == {"postgres.nodes": (3, after)}
        assert f"{after} database nodes instead of 3" in answer.summary  # type: ignore[union-attr]
        assert problems_of("prod", {**changes, "postgres/nodes": after}) == []
    assert [problem.rsplit("; fix: ")[-1] for problem in problems_of("prod", {"postgres/nodes": 4})] == ["use 5"]


def test_a_minimum_goes_above_what_runs_now() -> None:
    """With 10 of 20 pods running, a minimum of 5 would change nothing."""
    [answer] = propose(situation(finding("API_LATENCY"), running={"payment-service": 0.5}))
    assert _edits(answer) == {"services.payment-service.api.scaling.min_replicas": (3, 12)}


@pytest.mark.parametrize(("running", "wanted"), [(22, 24), (23, 24)])
def test_a_change_ends_at_the_maximum(running: int, wanted: int) -> None:
    [answer] = propose(situation(lag(), running={"payment-processors": running / 24}))
    assert _edits(answer) == {"services.payment-service.consumer.scaling.min_replicas": (3, wanted)}


def test_at_the_maximum_nothing_is_left_and_the_reason_says_so() -> None:
    [answer] = propose(situation(lag(), running={"payment-processors": 1.0}))
    assert isinstance(answer, Refusal)
    assert "runs 24 of at most 24" in answer.reason
    assert "payctl plan" in answer.instead


@given(st.integers(1, 24), st.integers(1, 24))
def test_a_proposed_minimum_is_within_its_bounds_and_above_what_runs(minimum: int, running: int) -> None:
    changes = {"services/payment-service/consumer/scaling/min_replicas": minimum}
    [answer] = propose(situation(lag(), changes=changes, running={"payment-processors": running / 24}))
    if isinstance(answer, Action):
        [(before, after)] = _edits(answer).values()
        assert before == minimum
        assert isinstance(after, int)
        assert max(minimum, running) < after <= min(24, max(minimum, running) + 3)
    else:
        assert max(minimum, running) == 24


def test_t14_an_open_breaker_is_refused_and_so_is_the_latency_it_explains() -> None:
    answers = propose(
        situation(finding("API_LATENCY", "gateway-service"), finding("CIRCUIT_BREAKER", "gateway-service"))
    )
    assert all(isinstance(answer, Refusal) for answer in answers)
    assert [answer.finding.kind for answer in answers] == ["CIRCUIT_BREAKER", "API_LATENCY"]
    assert "the circuit breaker is open" in answers[1].reason  # type: ignore[union-attr]


def test_t14_a_backlog_behind_an_open_breaker_adds_no_consumers() -> None:
    backlog = lag("gateway-processors", "gateway-service")
    assert isinstance(propose(situation(backlog))[0], Action)
    [_, answer] = propose(situation(backlog, finding("CIRCUIT_BREAKER", "gateway-service")))
    assert isinstance(answer, Refusal)
    assert "the circuit breaker is open" in answer.reason


def test_t13_latency_behind_a_full_pool_adds_no_pods() -> None:
    answers = propose(situation(finding("API_LATENCY"), finding("DB_CONNECTIONS")))
    [latency] = [answer for answer in answers if answer.finding.kind == "API_LATENCY"]
    assert isinstance(latency, Refusal)
    assert "more pods open more connections" in latency.reason


def test_a_full_pool_of_writes_gets_no_read_replica_and_no_pods() -> None:
    full = (finding("DB_WRITE_CONNECTIONS"), finding("DB_CONNECTIONS"))
    answers = {
        (answer.finding.kind, answer.finding.service): answer
        for answer in propose(
            situation(*full, finding("DB_CONNECTIONS", "wallet-service"), finding("API_LATENCY"), lag())
        )
    }
    refused = {key for key, answer in answers.items() if isinstance(answer, Refusal)}
    assert answers.keys() - refused == {("DB_CONNECTIONS", "wallet-service")}, "its reads are what is full"
    writes = answers["DB_WRITE_CONNECTIONS", "payment-service"]
    assert isinstance(writes, Refusal)
    assert "no replica takes any" in writes.reason
    assert "services.payment-service.api.database_connections_per_pod is" in writes.instead
    assert "database connections at every maximum" in writes.instead
    assert "shards plan --add" in writes.instead
    for key in (("DB_CONNECTIONS", "payment-service"), ("API_LATENCY", "payment-service")):
        assert answers[key].instead == "answer DB_WRITE_CONNECTIONS first"  # type: ignore[union-attr]


def test_a_pool_of_writes_that_nobody_measures_may_be_the_full_one() -> None:
    unseen = replace(finding(MISSING_DATA), metric="database_write_pool_use")
    [_, answer] = propose(situation(unseen, finding("DB_CONNECTIONS")))
    assert isinstance(answer, Refusal)
    assert "it may be the pool of writes" in answer.reason
    # That of another service says nothing about this one.
    [_, answer] = propose(situation(unseen, finding("DB_CONNECTIONS", "wallet-service")))
    assert isinstance(answer, Action)


def test_two_findings_of_one_service_get_one_change_and_never_fight() -> None:
    answers = propose(situation(finding("API_LATENCY"), lag(), finding("MEMORY_PRESSURE")))
    actions = [answer for answer in answers if isinstance(answer, Action)]
    assert [action.finding.kind for action in actions] == ["MEMORY_PRESSURE"]
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert all("could not be judged apart" in answer.reason for answer in refused)


def test_two_services_that_want_the_same_setting_get_it_once() -> None:
    answers = propose(situation(finding("DB_CONNECTIONS"), finding("DB_CONNECTIONS", "wallet-service", since=5.0)))
    assert [type(answer) for answer in answers] == [Action, Refusal]
    assert _edits(answers[0]) == {"postgres.nodes": (3, 4)}
    assert "two changes of postgres.nodes at once" in answers[1].reason  # type: ignore[union-attr]


def test_findings_of_different_services_are_answered_together() -> None:
    answers = propose(situation(lag(), lag("wallet-processors", "wallet-service")))
    assert [type(answer) for answer in answers] == [Action, Action]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("CIRCUIT_BREAKER", "more pods send it more load"),
        ("AT_MAXIMUM", "a promise, not a repair"),
        (MISSING_DATA, "has no samples"),
        ("SOMETHING_NEW", "no action is known"),
    ],
)
def test_what_cannot_help_is_refused_with_its_reason(kind: str, said: str) -> None:
    [answer] = propose(situation(finding(kind)))
    assert isinstance(answer, Refusal)
    assert said in answer.reason
    assert answer.instead


def test_a_stack_without_a_database_of_its_own_gets_no_replica() -> None:
    [answer] = propose(situation(finding("DB_CONNECTIONS"), platform=platform_of("dev", {"postgres": REMOVED})))
    assert isinstance(answer, Refusal)
    assert "does not state how many database nodes" in answer.reason
    assert answer.instead


def test_memory_is_never_raised_beyond_the_plans_limit() -> None:
    resources = {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"cpu": "1000m", "memory": "4Gi"}}
    changes = {"services/payment-service/api/resources": resources}
    [answer] = propose(situation(finding("MEMORY_PRESSURE"), changes=changes))
    assert isinstance(answer, Refusal)
    assert "has a memory limit of 4Gi already" in answer.reason
