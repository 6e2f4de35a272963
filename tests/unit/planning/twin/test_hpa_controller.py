"""One synchronisation as a whole: several metrics, the asked-for and the existing number, conditions, memory."""

import pytest

from planning.twin.hpa import Condition, Observation, UniformPods
from tests.unit.planning.twin.examples import LAG, busy, controller, cpu, decide, follow, lag, observe, utilization

IDLE = busy(10, 35)  # 7 % of the request
HOT = busy(10, 700)  # 140 % of the request: 20 pods


def both(pods: UniformPods, messages: float | None) -> Observation:
    return observe(spec=10, pods=pods, external={LAG: None if messages is None else [round(messages * 1000)]})


def test_of_several_metrics_the_largest_wish_counts() -> None:
    assert decide(cpu(70), lag(), on=both(IDLE, 17_000)).desired_replicas == 17
    assert decide(cpu(70), lag(), on=both(HOT, 17_000)).desired_replicas == 20
    decision = decide(cpu(70), lag(), on=both(HOT, 17_000))
    assert [proposal.replicas for proposal in decision.proposals] == [20, 17]
    assert decision.reason == "cpu resource utilization (percentage of request) above target"


def test_a_metric_that_fails_does_not_stop_the_way_up() -> None:
    decision = decide(cpu(70), lag(), on=both(HOT, None))
    assert decision.desired_replicas == 20
    assert decision.proposals[1].replicas is None
    assert decision.conditions["ScalingActive"] == Condition(status=True, reason="ValidMetricFound")


def test_a_metric_that_fails_stops_the_way_down() -> None:
    decision = decide(cpu(70), lag(), on=both(IDLE, None))
    assert (decision.desired_replicas, decision.rescaled, decision.reason) == (10, False, "")
    assert decision.conditions["ScalingActive"] == Condition(status=False, reason="FailedGetExternalMetric")
    assert decision.recommendation is None


def test_a_metric_that_fails_lets_the_present_number_stand() -> None:
    decision = decide(cpu(70), lag(), on=both(busy(10, 350), None))
    assert decision.desired_replicas == 10
    assert decision.conditions["ScalingActive"].reason == "ValidMetricFound"


def test_the_first_metric_that_fails_gives_the_reason() -> None:
    broken = observe(spec=10, resource_metrics_available=False)
    assert decide(cpu(), lag(), on=broken).conditions["ScalingActive"].reason == "FailedGetResourceMetric"
    assert decide(lag(), cpu(), on=broken).conditions["ScalingActive"].reason == "FailedGetExternalMetric"


def test_a_failed_synchronisation_is_not_remembered_as_a_wish() -> None:
    """The window knows nothing of the time of an outage: afterwards the last wishes before it have aged."""
    rules = {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {
            "stabilizationWindowSeconds": 60,
            "policies": [{"type": "Pods", "value": 50, "periodSeconds": 1}],
        },
    }
    subject = controller(lag(), behavior=rules)
    for step in range(5):
        assert subject.sync(observe(step * 15, spec=10, external={LAG: None})).desired_replicas == 10
    # The 10 of the first synchronisation is 75 s old.
    assert subject.sync(observe(75, spec=10, lag_messages=2_000)).desired_replicas == 2


def test_zero_replicas_switch_the_autoscaler_off() -> None:
    decision = decide(lag(), on=observe(spec=0, lag_messages=9_000))
    assert (decision.desired_replicas, decision.proposals) == (0, ())
    assert decision.conditions["ScalingActive"] == Condition(status=False, reason="ScalingDisabled")


def test_a_negative_wish_is_none() -> None:
    described = {"kind": "Service", "name": "svc"}
    metric = {
        "type": "Object",
        "object": {
            "describedObject": described,
            "metric": {"name": "balance"},
            "target": {"type": "Value", "value": "1"},
        },
    }
    decision = decide(metric, on=observe(spec=4, object_metrics={"Service/svc/balance": -5_000}))
    assert (decision.desired_replicas, decision.recommendation) == (1, 0)


def test_t5_the_number_in_the_manifest_is_the_start_only() -> None:
    """Whoever writes ``replicas`` again resets the scale; the autoscaler has to climb anew."""
    subject = controller(lag(), behavior={})
    climbed = follow(subject, replicas=5, lags=[40_000] * 4)
    assert climbed[-1] == 40
    reset = subject.sync(observe(60, spec=5, lag_messages=40_000))
    assert reset.desired_replicas < 40


def test_inside_a_wide_band_a_surge_becomes_the_asked_for_number() -> None:
    """The controller answers with the pods that exist: each rolling update with a surge ratchets upwards."""
    band = {"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "500m"}}
    subject = controller(lag(), behavior=band)
    during = subject.sync(observe(0, spec=10, status=13, lag_messages=8_000))
    assert during.desired_replicas == 13


def test_conditions_stay_as_they_were_where_a_synchronisation_sets_none() -> None:
    subject = controller(lag(), highest=20)
    subject.sync(observe(0, spec=10, lag_messages=12_000))
    above = subject.sync(observe(15, spec=30, lag_messages=12_000))
    assert above.conditions == {
        "AbleToScale": Condition(status=True, reason="SucceededRescale"),
        "ScalingActive": Condition(status=True, reason="ValidMetricFound"),
        "ScalingLimited": Condition(status=False, reason="DesiredWithinRange"),
    }


def test_memory_and_cpu_together_ask_for_the_larger() -> None:
    pods = UniformPods(ready=4, cpu_millicores=35, memory_bytes=2**30 * 68 // 100)
    assert decide(cpu(70), utilization("memory", 80), on=observe(spec=4, pods=pods)).desired_replicas == 4
    assert decide(cpu(70), on=observe(spec=4, pods=pods)).desired_replicas == 1


def test_time_does_not_go_back() -> None:
    subject = controller(lag())
    subject.sync(observe(30, spec=3, lag_messages=0))
    subject.sync(observe(30, spec=3, lag_messages=0))
    with pytest.raises(ValueError, match=r"an observation at 29\.5 s follows one at 30 s"):
        subject.sync(observe(29.5, spec=3, lag_messages=0))
