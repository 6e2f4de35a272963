"""What KEDA serves: values, empty answers, cached values, fallback with its counter, formulas."""

from collections.abc import Mapping
from typing import Any

import pytest

from planning.twin.keda import KafkaLag, ScaledObject, Sources, State, metric_values
from planning.twin.observation import metric_key

GROUP = "payment-service-group/payment-events"
SELECTOR = "app=payment-processors"
FORMULA = "max(lag > 1000*r ? lag : (lag*2 < 1000*r ? lag : 1000*r), ratefloor)"
COMPOSITE = metric_key("composite-metric", {"scaledobject.keda.sh/name": "payment-processors"})
LAG_KEY = metric_key("s0-kafka-payment-events", {"scaledobject.keda.sh/name": "payment-processors"})


def kafka(**others: Any) -> dict[str, Any]:
    metadata = {"consumerGroup": "payment-service-group", "topic": "payment-events", "lagThreshold": "1000"}
    return {"type": "kafka", "name": "lag", "metadata": metadata} | others


def prometheus(ignore: str = "false", **others: Any) -> dict[str, Any]:
    metadata = {"query": "floor", "threshold": "1000", "ignoreNullValues": ignore}
    return {"type": "prometheus", "name": "ratefloor", "metadata": metadata} | others


def workload(**others: Any) -> dict[str, Any]:
    metadata = {"podSelector": SELECTOR, "value": "1"}
    return {"type": "kubernetes-workload", "name": "r", "metadata": metadata} | others


def scaled(
    *triggers: Mapping[str, Any],
    behavior: str | None = "currentReplicasIfHigher",
    formula: str | None = None,
    target: str = "1000",
    metric_type: str = "AverageValue",
    polling: int = 30,
) -> ScaledObject:
    spec: dict[str, Any] = {
        "scaleTargetRef": {"name": "payment-processors"},
        "minReplicaCount": 3,
        "maxReplicaCount": 20,
        "pollingInterval": polling,
        "triggers": list(triggers),
    }
    if behavior is not None:
        spec["fallback"] = {"failureThreshold": 3, "replicas": 5, "behavior": behavior}
    if formula is not None:
        spec["advanced"] = {"scalingModifiers": {"formula": formula, "target": target, "metricType": metric_type}}
    metadata = {"name": "payment-processors", "namespace": "payments"}
    return ScaledObject.from_manifest(
        {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}
    )


def found(now: float = 0.0, *, lag: int | None = 7_000, floor: float | None = 2_000.0, pods: int | None = 6) -> Sources:
    return Sources(
        now_seconds=now,
        spec_replicas=6,
        ready_replicas=4,
        kafka={GROUP: None if lag is None else KafkaLag(lag, 24, 24)},
        prometheus={"floor": None if floor is None else [floor]},
        pods={SELECTOR: pods},
    )


def serve(subject: ScaledObject, *, steps: int, broken_from: int = 0, step_seconds: float = 30.0) -> list[Any]:
    """The one metric's values over time; Kafka fails from one step on."""
    state, series = State(), []
    for step in range(steps):
        sources = found(step * step_seconds, lag=7_000 if step < broken_from else None)
        (values,) = metric_values(subject, sources, state).values()
        series.append(None if values is None else values[0])
    return series


def test_every_trigger_has_its_metric() -> None:
    values = metric_values(scaled(kafka(), prometheus(), workload()), found(floor=2_000.1239), State())
    owner = {"scaledobject.keda.sh/name": "payment-processors"}
    assert values == {
        metric_key("s0-kafka-payment-events", owner): [7_000_000],
        metric_key("s1-prometheus", owner): [2_000_124],
        metric_key("s2-workload-payments", owner): [6_000],
    }


@pytest.mark.parametrize("answer", [[], [float("nan")], [float("inf")]])
def test_an_empty_answer_is_an_error_unless_null_values_are_ignored(answer: list[float]) -> None:
    sources = found()
    sources.prometheus = {"floor": answer}
    (strict,) = metric_values(scaled(prometheus("false"), behavior=None), sources, State()).values()
    (lenient,) = metric_values(scaled(prometheus("true"), behavior=None), sources, State()).values()
    assert (strict, lenient) == (None, [0])


def test_several_elements_are_an_error_and_a_negative_number_is_none() -> None:
    for answer, expected in (([1.0, 2.0], None), ([-3.0], [0]), ([0.25], [250])):
        sources = found()
        sources.prometheus = {"floor": answer}
        (value,) = metric_values(scaled(prometheus("true"), behavior=None), sources, State()).values()
        assert value == expected


def test_a_failure_is_an_error_until_both_loops_have_counted_more_than_the_threshold() -> None:
    # Two failures in each step (the poll and the request): 1 2, 3 4. The fourth is above 3.
    assert serve(scaled(kafka()), steps=4) == [None, 6_000_000, 6_000_000, 6_000_000]
    # A poll every minute: 1 2, 3, 4 5.
    assert serve(scaled(kafka(), polling=60), steps=4) == [None, None, 6_000_000, 6_000_000]


def test_a_success_starts_the_count_anew() -> None:
    subject, state = scaled(kafka()), State()
    metric_values(subject, found(0, lag=None), state)
    metric_values(subject, found(30), state)
    assert metric_values(subject, found(60, lag=None), state)[LAG_KEY] is None


@pytest.mark.parametrize(
    ("behavior", "replicas"),
    [("static", 5), ("currentReplicas", 6), ("currentReplicasIfHigher", 6), ("currentReplicasIfLower", 5)],
)
def test_what_stands_in_for_a_trigger_that_fails(behavior: str, replicas: int) -> None:
    assert serve(scaled(kafka(), behavior=behavior), steps=3)[-1] == replicas * 1_000_000


def test_currentreplicasifhigher_never_asks_for_fewer_than_there_are() -> None:
    subject, state = scaled(kafka()), State()
    sources = found(lag=None)
    for step, replicas in enumerate((6, 2, 2, 18)):
        sources.now_seconds, sources.spec_replicas = step * 30.0, replicas
        value = metric_values(subject, sources, state)[LAG_KEY]
        assert value is None or value[0] >= replicas * 1_000_000
    assert value == [18_000_000]


def test_without_a_fallback_a_failure_stays_an_error_and_is_not_counted() -> None:
    assert serve(scaled(kafka(), behavior=None), steps=9) == [None] * 9


def test_a_stand_in_for_a_ratio_is_divided_by_the_ready_pods() -> None:
    # 6 replicas over 4 ready pods: 1.5 times the target of 1000.
    subject = scaled(kafka(metricType="Value"))
    assert serve(subject, steps=3)[-1] == 1_500_000
    state, sources = State(), found(lag=None)
    sources.ready_replicas = 0
    for step in range(6):
        sources.now_seconds = step * 30.0
        assert metric_values(subject, sources, state)[LAG_KEY] is None


# Cached values


def test_a_cached_value_is_read_once_per_poll() -> None:
    subject, state = scaled(kafka(useCachedMetrics=True)), State()
    series = [metric_values(subject, found(step * 15.0, lag=step * 1000), state)[LAG_KEY] for step in range(5)]
    assert series == [[0], [0], [2_000_000], [2_000_000], [4_000_000]]


def test_a_value_that_is_not_cached_is_read_for_every_request() -> None:
    subject, state = scaled(kafka()), State()
    series = [metric_values(subject, found(step * 15.0, lag=step * 1000), state)[LAG_KEY] for step in range(3)]
    assert series == [[0], [1_000_000], [2_000_000]]


def test_a_cached_stand_in_passes_for_a_success_and_resets_the_count() -> None:
    """Known weakness of KEDA 2.20.2: with cached values the fallback comes and goes during one outage."""
    series = serve(scaled(kafka(useCachedMetrics=True)), steps=8)
    # 1 2 error · 3 4 stand-in · 5 cached stand-in: reset · and anew
    assert series == [None, 6_000_000, 6_000_000, None, 6_000_000, 6_000_000, None, 6_000_000]


def test_a_failure_empties_the_cache_so_that_the_next_request_reads_the_source() -> None:
    for formula in (None, "lag"):
        subject = scaled(kafka(useCachedMetrics=True), polling=60, formula=formula)
        state, series = State(), []
        for now, lag in ((0, None), (15, 7_000), (30, 8_000)):
            (value,) = metric_values(subject, found(now, lag=lag), state).values()
            series.append(value)
        assert series == [None, [7_000_000], [8_000_000]]


# Formulas


def test_a_formula_makes_one_metric_of_all() -> None:
    subject = scaled(kafka(), prometheus(), workload(), formula=FORMULA)
    assert metric_values(subject, found(lag=7_000), State()) == {COMPOSITE: [7_000_000]}
    assert metric_values(subject, found(lag=5_000), State()) == {COMPOSITE: [6_000_000]}
    assert metric_values(subject, found(lag=2_999), State()) == {COMPOSITE: [2_999_000]}
    assert metric_values(subject, found(lag=100), State()) == {COMPOSITE: [2_000_000]}


def test_the_composite_is_cut_to_whole_milli_units() -> None:
    subject = scaled(kafka(), formula="lag / 3")
    assert metric_values(subject, found(lag=1), State()) == {COMPOSITE: [333]}
    assert metric_values(subject, found(lag=2), State()) == {COMPOSITE: [666]}


def test_one_failing_trigger_fails_the_composite_until_its_stand_in_replaces_all() -> None:
    subject = scaled(kafka(), prometheus(), workload(), formula=FORMULA)
    assert serve(subject, steps=4, broken_from=1) == [7_000_000, None, 6_000_000, 6_000_000]


def test_a_fractional_target_disables_the_fallback() -> None:
    subject = scaled(kafka(), formula="lag", target="0.5")
    assert serve(subject, steps=6) == [None] * 6


def test_a_cached_stand_in_never_reaches_the_formula() -> None:
    """Known weakness of KEDA 2.20.2: it is cached under the composite's name, so the formula misses its trigger."""
    triggers = (kafka(useCachedMetrics=True), prometheus(useCachedMetrics=True), workload())
    series = serve(scaled(*triggers, formula=FORMULA), steps=7)
    assert series == [None, 6_000_000, None, None, 6_000_000, None, None]


def test_scaling_modifiers_as_fallback_let_the_formula_decide() -> None:
    subject = scaled(kafka(), prometheus(), behavior="scalingModifiers", formula="lag ?? ratefloor")
    assert serve(subject, steps=3) == [None, 2_000_000, 2_000_000]
    nothing = scaled(kafka(), behavior="scalingModifiers", formula="lag ?? lag")
    # Nothing is left: the fallback's 5 replicas at the target.
    assert serve(nothing, steps=3) == [None, 5_000_000, 5_000_000]


# Activation


def test_active_means_above_the_activation_threshold_at_the_last_poll() -> None:
    trigger = kafka()
    trigger["metadata"] = trigger["metadata"] | {"activationLagThreshold": "50"}
    subject, state = scaled(trigger), State()
    for now, lag, active in ((0, 50, False), (15, 9_000, False), (30, 51, True), (60, 0, False)):
        metric_values(subject, found(now, lag=lag), state)
        assert state.active is active


def test_with_a_formula_its_value_decides_about_activity() -> None:
    subject, state = scaled(kafka(), formula="lag - 10"), State()
    seen = []
    for now, lag in ((0, 10), (30, 11), (60, None)):
        metric_values(subject, found(now, lag=lag), state)
        seen.append(state.active)
    assert seen == [False, True, False]
