"""What one metric asks for: every branch of the replica calculator, by hand. Pods request 500m cpu and 1Gi memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from planning.twin.hpa import ContainerUsage, Observation, Phase, Pod, UniformPods, metric_key
from tests.unit.planning.twin.examples import (
    LAG,
    busy,
    controller,
    cpu,
    decide,
    external,
    lag,
    observe,
    utilization,
)

NOW = 10_000.0
GIBIBYTE = 2**30


def wanted(*metrics: dict[str, Any], on: Observation) -> int:
    decision = decide(*metrics, on=on)
    (proposal,) = decision.proposals
    assert proposal.replicas is not None, proposal.error
    return proposal.replicas


def failure(*metrics: dict[str, Any], on: Observation) -> str:
    decision = decide(*metrics, on=on)
    assert decision.desired_replicas == decision.current_replicas
    assert decision.scaling_active is not None
    assert not decision.scaling_active.status
    return decision.scaling_active.reason


def pods(*millicores: int | None, **others: Any) -> list[Pod]:
    return [Pod(name=f"pod-{index}", cpu_millicores=value, **others) for index, value in enumerate(millicores)]


# Targets per pod: lag, rates, queues


@pytest.mark.parametrize(
    ("messages", "replicas"),
    [
        (10_000, 10),
        (11_000, 10),  # ratio 1.1 is still inside
        (11_000.001, 12),
        (9_000, 10),  # ratio 0.9 is still inside
        (8_999.999, 9),
        (0, 0),
        (12_500, 13),
    ],
)
def test_a_target_per_pod_holds_inside_the_band_edges_included_and_else_asks_for_the_total(
    messages: float, replicas: int
) -> None:
    assert wanted(lag(), on=observe(spec=10, lag_messages=messages)) == replicas


def test_a_target_per_pod_compares_with_the_pods_that_exist_and_answers_with_them() -> None:
    during_surge = observe(spec=10, status=13, lag_messages=13_000)
    assert wanted(lag(), on=during_surge) == 13
    assert wanted(lag(), on=observe(spec=10, status=10, lag_messages=13_000)) == 13
    assert wanted(lag(), on=observe(spec=10, status=13, lag_messages=10_000)) == 10


def test_a_target_per_pod_asks_for_the_total_when_no_pod_exists_yet() -> None:
    assert wanted(lag(), on=observe(spec=3, status=0, lag_messages=7_500)) == 8
    assert wanted(lag(), on=observe(spec=3, status=0, lag_messages=0)) == 0


def test_several_values_of_one_external_metric_are_added() -> None:
    assert wanted(lag(), on=observe(spec=10, external={LAG: [4_000_000, 2_500_000, 500_000]})) == 7


def test_an_overflow_is_the_largest_number_and_so_is_a_sum_below_zero() -> None:
    largest = 2**63 - 1
    decision = decide(lag(), on=observe(spec=10, external={LAG: [largest, largest]}))
    assert decision.proposals[0].replicas == 2**31 - 1
    assert decision.desired_replicas == 100
    for below in ([-1], [2_000, -5_000]):
        assert wanted(lag(), on=observe(spec=10, external={LAG: below})) == 2**31 - 1


def test_a_ratio_below_zero_is_taken_as_it_is() -> None:
    ratio = external({"type": "Value", "value": "1"})
    assert wanted(ratio, on=observe(spec=10, external={LAG: [2_000, -5_000]})) == -30


@pytest.mark.parametrize("answer", [{LAG: None}, {LAG: []}, {}])
def test_an_external_metric_without_a_value_is_unavailable(answer: dict[str, Any]) -> None:
    assert failure(lag(), on=observe(spec=10, external=answer)) == "FailedGetExternalMetric"


# Targets for the whole: ratios


def test_t15_a_ratio_multiplies_the_ready_pods() -> None:
    ratio = external({"type": "Value", "value": "1"})
    assert wanted(ratio, on=observe(spec=4, external={LAG: [1_500]})) == 6
    assert wanted(ratio, on=observe(spec=4, external={LAG: [10_000]})) == 40


def test_t14_a_ratio_of_one_holds_and_an_average_at_its_target_holds_too() -> None:
    assert wanted(external({"type": "Value", "value": "1"}), on=observe(spec=7, external={LAG: [1_000]})) == 7
    assert wanted(lag(), on=observe(spec=7, lag_messages=7_000)) == 7


def test_t14_a_breaker_that_holds_blocks_a_scale_down_that_cpu_asks_for() -> None:
    hold = external({"type": "Value", "value": "1"}, name="breaker_hold")
    key = metric_key("breaker_hold", {"group": "payments"})
    idle = busy(8, 50)
    assert decide(cpu(), on=observe(spec=8, pods=idle)).desired_replicas == 2
    assert decide(cpu(), hold, on=observe(spec=8, external={key: [1_000]}, pods=idle)).desired_replicas == 8
    assert decide(cpu(), hold, on=observe(spec=8, external={key: [0]}, pods=idle)).desired_replicas == 2


def test_t13_a_pool_at_its_cap_grows_by_half_at_most() -> None:
    pool = external({"type": "Value", "value": "1"})
    assert wanted(pool, on=observe(spec=6, external={LAG: [1_500]})) == 9


def test_a_ratio_counts_running_ready_pods_only_and_keeps_the_asked_for_number_inside_the_band() -> None:
    ratio = external({"type": "Value", "value": "1"})
    some = UniformPods(ready=4, starting=3, pending=1)
    assert wanted(ratio, on=observe(spec=8, pods=some, external={LAG: [2_000]})) == 8
    assert wanted(ratio, on=observe(spec=8, pods=some, external={LAG: [3_000]})) == 12
    assert wanted(ratio, on=observe(spec=8, pods=some, external={LAG: [1_100]})) == 8


def test_a_terminating_pod_counts_as_ready_for_a_ratio_while_it_still_is() -> None:
    ratio = external({"type": "Value", "value": "1"})
    leaving = UniformPods(ready=4, terminating=2)
    assert wanted(ratio, on=observe(spec=4, pods=leaving, external={LAG: [2_000]})) == 12
    leaving.terminating_ready = False
    assert wanted(ratio, on=observe(spec=4, pods=leaving, external={LAG: [2_000]})) == 8


def test_a_ratio_needs_a_pod() -> None:
    ratio = external({"type": "Value", "value": "1"})
    none: list[UniformPods | list[Pod]] = [UniformPods(), []]
    for nobody in none:
        assert failure(ratio, on=observe(spec=4, pods=nobody, external={LAG: [2_000]})) == "FailedGetExternalMetric"


def test_object_metrics_do_the_same_arithmetic() -> None:
    def requests(target: dict[str, str]) -> dict[str, Any]:
        described = {"kind": "Service", "name": "svc"}
        return {
            "type": "Object",
            "object": {"describedObject": described, "metric": {"name": "rate"}, "target": target},
        }

    rate = {"Service/svc/rate": 9_000}
    assert wanted(requests({"type": "AverageValue", "averageValue": "2"}), on=observe(spec=3, object_metrics=rate)) == 5
    assert wanted(requests({"type": "Value", "value": "6"}), on=observe(spec=3, object_metrics=rate)) == 5
    assert failure(requests({"type": "Value", "value": "6"}), on=observe(spec=3)) == "FailedGetObjectMetric"


# Utilisation


def test_utilization_is_cut_to_a_whole_percentage() -> None:
    # 3 pods with 386m of 500m: 77.2 % → 77 %; 77/70 = 1.1 is inside. With 78 %: 1.114, ceil(3.34) = 4.
    assert wanted(cpu(70), on=observe(spec=3, pods=busy(3, 386))) == 3
    assert wanted(cpu(70), on=observe(spec=3, pods=busy(3, 389))) == 3
    assert wanted(cpu(70), on=observe(spec=3, pods=busy(3, 390))) == 4


def test_utilization_uses_the_sum_over_the_pods() -> None:
    # (100 + 900 + 500) of 1500: 100 %, 100/50 = 2 → 6.
    assert wanted(cpu(50), on=observe(spec=3, pods=pods(100, 900, 500))) == 6


def test_t6_memory_of_a_heap_that_does_not_shrink_pins_the_count() -> None:
    used = GIBIBYTE * 68 // 100
    full = UniformPods(ready=4, memory_bytes=used + 1)
    assert wanted(utilization("memory", 80), on=observe(spec=4, pods=full)) == 4
    # The count that would follow is the present one: 68 · 4 / 80 = 3.4.
    full.memory_bytes = GIBIBYTE * 60 // 100
    assert wanted(utilization("memory", 80), on=observe(spec=4, pods=full)) == 3


def test_container_metrics_look_at_one_container() -> None:
    usage = {"app": ContainerUsage(cpu_millicores=500), "proxy": ContainerUsage(cpu_millicores=0)}
    alike = UniformPods(ready=2, cpu_millicores=500, containers=usage)
    assert wanted(cpu(50, "app"), on=observe(spec=2, pods=alike)) == 4
    assert wanted(cpu(50, "app"), on=observe(spec=2, pods=alike.expand(0.0))) == 4
    without = UniformPods(ready=2, cpu_millicores=500, containers={})
    for form in (without, without.expand(0.0)):
        assert failure(cpu(50, "app"), on=observe(spec=2, pods=form)) == "FailedGetContainerResourceMetric"


def test_the_resource_metrics_api_may_fail() -> None:
    assert failure(cpu(), on=observe(spec=3, resource_metrics_available=False)) == "FailedGetResourceMetric"


def test_pods_without_any_sample_make_the_metric_unavailable() -> None:
    assert failure(cpu(), on=observe(spec=2, pods=pods(None, None))) == "FailedGetResourceMetric"
    assert failure(cpu(), on=observe(spec=2, pods=[])) == "FailedGetResourceMetric"
    assert failure(cpu(), on=observe(spec=2, pods=UniformPods(unsampled=2))) == "FailedGetResourceMetric"


# Missing samples: the cautious assumption, never the opposite direction


def test_missing_pods_count_as_full_when_the_others_ask_for_fewer() -> None:
    # 4 of 5 with 40 %: 40/80 = 0.5 alone would give 2. With one at 100 %: 260/5 = 52 %, 0.65 · 5 → 4.
    assert wanted(cpu(80), on=observe(spec=5, pods=pods(200, 200, 200, 200, None))) == 4


def test_missing_pods_count_as_the_target_where_it_is_above_the_request() -> None:
    # Target 150 %: 2 at 60 % and 2 missing at 150 %: 420/4 = 105 %, 0.7 · 4 → 3 (at 100 % it would be 0.53 → 3: not 2).
    assert wanted(cpu(150), on=observe(spec=4, pods=pods(300, 300, None, None))) == 3
    # 6 pods, 1 at 0 %, 5 missing at 150 %: 750/6 = 125 %, 0.833 · 6 → 5; at 100 % each it would be 83 % → 4.
    assert wanted(cpu(150), on=observe(spec=6, pods=pods(0, *[None] * 5))) == 5


def test_missing_pods_count_as_idle_when_the_others_ask_for_more() -> None:
    # 3 at 200 % and 1 missing: 600/4 = 150 %, 150/80 · 4 → 8 (alone: 2.5 · 3 → 8); with 2 at 120 %: 240/4 = 60 %.
    assert wanted(cpu(80), on=observe(spec=4, pods=pods(1000, 1000, 1000, None))) == 8
    assert wanted(cpu(80), on=observe(spec=3, pods=pods(500, 500, None))) == 3  # 66 %: it would have turned down
    assert wanted(cpu(80), on=observe(spec=4, pods=pods(600, 600, None, None))) == 4


def test_missing_pods_never_turn_a_scale_down_into_a_scale_up() -> None:
    # 1 idle, 3 missing at 100 % and a target of 60 %: 75 % → 1.25, the other direction.
    assert wanted(cpu(60), on=observe(spec=4, pods=pods(0, None, None, None))) == 4


def test_a_correction_that_falls_into_the_band_changes_nothing() -> None:
    # 2 at 60 % (0.75) and 1 missing at 100 %: 73 %/80 = 0.9125, inside.
    assert wanted(cpu(80), on=observe(spec=3, pods=pods(300, 300, None))) == 3


def test_exactly_at_the_target_missing_pods_are_not_filled_in() -> None:
    assert wanted(cpu(80), on=observe(spec=5, pods=pods(400, 400, None))) == 5


def test_the_number_of_samples_may_not_turn_the_direction() -> None:
    # 4 samples with 60 % of a target of 80 % ask for 3, which is more than the 2 that are asked for now: keep 2.
    surge = pods(300, 300, 300, 300, None)
    assert wanted(cpu(80), on=observe(spec=2, pods=surge)) == 2
    # And up: 3 of 9 samples… 2 at 900 % of the requests, asked for 40: fewer samples than pods may not shrink it.
    assert wanted(cpu(80), on=observe(spec=40, pods=pods(4500, 4500, None))) == 40


# Pods that are not ready


def test_unready_pods_count_as_idle_on_the_way_up() -> None:
    # 2 ready at 200 %, 2 starting: 400/4 = 100 %, 100/50 = 2 · 4 → 8 (alone: 4 · 2 → 8). At 120 %: 60/50 = 1.2 · 4 → 5.
    assert wanted(cpu(50), on=observe(spec=4, pods=UniformPods(ready=2, starting=2, cpu_millicores=1000))) == 8
    assert wanted(cpu(50), on=observe(spec=4, pods=UniformPods(ready=2, starting=2, cpu_millicores=600))) == 5
    # At 100 %: 50/50 = 1, inside: no change although the ready ones are at twice the target.
    assert wanted(cpu(50), on=observe(spec=4, pods=UniformPods(ready=2, starting=2, cpu_millicores=500))) == 4


def test_unready_pods_are_left_out_on_the_way_down() -> None:
    # Exactly at the target nothing changes; with two idle pods counted it would be a half.
    assert wanted(cpu(50), on=observe(spec=4, pods=UniformPods(ready=2, starting=2, cpu_millicores=250))) == 4
    assert wanted(cpu(50), on=observe(spec=4, pods=UniformPods(ready=2, starting=2, cpu_millicores=100))) == 1


def test_pending_pods_are_unready_for_memory_too_and_unready_ones_are_not() -> None:
    memory = utilization("memory", 50)
    assert wanted(memory, on=observe(spec=4, pods=UniformPods(ready=2, starting=2, memory_bytes=GIBIBYTE))) == 8
    # 2 at 100 % and 2 Pending: 200/4 = 50 %: exactly the target.
    assert wanted(memory, on=observe(spec=4, pods=UniformPods(ready=2, pending=2, memory_bytes=GIBIBYTE))) == 4


def test_terminating_and_failed_pods_are_left_out() -> None:
    leaving = [
        *pods(500, 500),
        Pod(name="gone", deleted=True, cpu_millicores=5000),
        Pod(name="dead", phase=Phase.FAILED, cpu_millicores=5000),
    ]
    assert wanted(cpu(50), on=observe(spec=2, pods=leaving)) == 4


def test_a_sample_of_a_pod_that_no_longer_exists_counts_as_a_sample_only() -> None:
    # 2 at 40 %, 1 missing: (40 + 40 + 100)/3 = 60 % of 100 → 0.6 · (3 samples + 1 stale) = 2.4 → 3, not 2.
    stale = Pod(name="stale", listed=False, cpu_millicores=5000)
    assert wanted(cpu(100), on=observe(spec=4, pods=[*pods(200, 200, None), stale])) == 3
    assert wanted(cpu(100), on=observe(spec=4, pods=pods(200, 200, None))) == 2


@pytest.mark.parametrize(
    ("pod", "counts"),
    [
        # Within 300 s of its start: Ready, and a whole window of 60 s since.
        ({"started_seconds": NOW - 200, "ready_transition_seconds": NOW - 60, "sample_seconds": NOW}, True),
        ({"started_seconds": NOW - 200, "ready_transition_seconds": NOW - 59, "sample_seconds": NOW}, False),
        ({"started_seconds": NOW - 200, "ready_transition_seconds": NOW - 150, "ready": False}, False),
        ({"started_seconds": NOW - 200, "ready_transition_seconds": NOW - 150, "ready": None}, True),
        # At 300 s exactly the period is over.
        ({"started_seconds": NOW - 299, "ready_transition_seconds": NOW - 10, "sample_seconds": NOW}, False),
        ({"started_seconds": NOW - 300, "ready_transition_seconds": NOW - 10, "sample_seconds": NOW}, True),
        # Later: not Ready counts as starting only when it was never ready (no change within 30 s of the start).
        ({"started_seconds": NOW - 900, "ready_transition_seconds": NOW - 871, "ready": False}, False),
        ({"started_seconds": NOW - 900, "ready_transition_seconds": NOW - 870, "ready": False}, True),
        ({"started_seconds": None}, False),
        ({"ready_transition_seconds": None}, False),
    ],
)
def test_when_a_cpu_sample_of_a_young_pod_counts(pod: dict[str, Any], *, counts: bool) -> None:
    given = {"sample_seconds": NOW} | pod
    young = Pod(name="young", cpu_millicores=1000, **given)
    two: Sequence[Pod] = [*pods(1000, ready_transition_seconds=0.0), young]
    # Both at 200 % of a target of 100 %: 4 pods; with one unready (idle): 100 %, no change.
    assert wanted(cpu(100), on=observe(NOW, spec=2, pods=two)) == (4 if counts else 2)


# Averages over the pods


def test_average_values_of_a_resource_and_of_the_custom_metrics_api() -> None:
    memory = {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
    raw = {"type": "Resource", "resource": memory}
    assert wanted(raw, on=observe(spec=2, pods=UniformPods(ready=2, memory_bytes=GIBIBYTE * 3 // 2))) == 3
    queue = {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}
    custom = {"type": "Pods", "pods": queue}
    assert wanted(custom, on=observe(spec=2, pod_metrics={"queue": 15_000})) == 3
    named = {"pod-0": 30_000, "pod-1": 1}
    # (30000 + 1) // 2 = 15000 milli-units: whole again.
    assert wanted(custom, on=observe(spec=2, pods=pods(0, 0), pod_metrics={"queue": named})) == 3
    # A missing pod counts as exactly the target on the way down: (2 + 10) / 2 = 6 → 0.6 · 2 → 2.
    assert wanted(custom, on=observe(spec=2, pods=pods(0, 0), pod_metrics={"queue": {"pod-0": 2_000}})) == 2
    assert failure(custom, on=observe(spec=2, pod_metrics={"queue": None})) == "FailedGetPodsMetric"
    assert failure(custom, on=observe(spec=2)) == "FailedGetPodsMetric"


def test_pods_metrics_do_not_wait_for_readiness() -> None:
    custom = {
        "type": "Pods",
        "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    }
    young = UniformPods(ready=1, starting=1)
    assert wanted(custom, on=observe(spec=2, pods=young, pod_metrics={"queue": 20_000})) == 4


# Own tolerances


def test_t_and_half_t_are_tolerances_of_zero_and_a_half() -> None:
    band = {
        "scaleUp": {"tolerance": "0", "stabilizationWindowSeconds": 0},
        "scaleDown": {"tolerance": "500m", "stabilizationWindowSeconds": 0},
    }

    def after(messages: float) -> int | None:
        decision = controller(lag(), behavior=band).sync(observe(spec=10, lag_messages=messages))
        return decision.proposals[0].replicas

    assert [after(5_000), after(4_999.999), after(10_000), after(10_000.001)] == [10, 5, 10, 11]
