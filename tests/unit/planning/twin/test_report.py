"""Figures of a run: hand-made tracks with known answers, and runs whose limits are known by arithmetic."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.report import direction_reversals, replica_changes, report
from planning.twin.report_limits import broken_limits
from planning.twin.scenarios import Window, scenario
from planning.twin.simulation import Run, Track, simulate
from planning.twin.workload import Load
from tests.unit.planning.twin.samples import changed_stack, stack, steady
from tests.unit.stacks import STACKS


def consumer_run(lag: list[float], replicas: list[int], rate: float = 100.0) -> Run:
    """One group of payment consumers, one entry a minute."""
    workload = next(each for each in stack("prod").workloads if each.name == "payment-processors")
    track = Track(workload=workload)
    steps = len(lag)
    track.replicas, track.pods, track.ready = list(replicas), list(replicas), list(replicas)
    track.lag, track.rate, track.capacity = list(lag), [rate] * steps, [7200.0] * steps
    track.lost, track.capped = [value > 24_000 for value in lag], [False] * steps
    load = Load(step_seconds=60, requests_per_second=(rate,) * steps)
    shown = replace(steady(rate), load=load)
    return Run(stack=stack("prod"), scenario=shown, tracks=(track,))


def test_changes_and_reversals_are_counted_on_the_replicas() -> None:
    changes = replica_changes([3, 3, 5, 5, 6, 4, 4, 5, 3])
    assert changes == [2, 1, -2, 1, -2]
    assert direction_reversals(changes) == 3


@given(st.lists(st.integers(1, 20), min_size=1))
def test_there_are_fewer_reversals_than_changes_and_a_mirror_has_as_many(replicas: list[int]) -> None:
    changes = replica_changes(replicas)
    assert direction_reversals(changes) <= max(0, len(changes) - 1)
    assert direction_reversals(replica_changes(replicas[::-1])) == direction_reversals(changes)


def test_lag_drain_time_and_pod_hours_of_a_made_up_hour() -> None:
    """Behind from minute 10 (4,000 above 3 x 1,000) until minute 14 (1,000 below half of it)."""
    lag = [0.0] * 10 + [4000.0, 3000.0, 2500.0, 1600.0, 1000.0] + [0.0] * 45
    found = report(consumer_run(lag, [3] * 60)).workloads[0]
    assert found.highest_lag == 4000
    assert found.mean_lag == pytest.approx(sum(lag) / 60)
    assert found.drain_minutes == 4
    assert found.pod_hours == pytest.approx(3.0)
    assert found.oracle_pod_hours == pytest.approx(3.0)
    assert found.slo_minutes_lost == 0
    assert found.binding_limit is None


def test_t17_a_full_group_may_carry_its_threshold_on_every_consumer() -> None:
    """24 consumers at T = 1,000: 24,000 is what the plan's own rule leaves alone, whatever an alert at 10,000 says."""
    found = report(consumer_run([24_000.0, 24_001.0], [24, 24])).workloads[0]
    assert found.slo_minutes_lost == 1
    assert found.objective == "lag ≤ 24,000"


def test_t11_beyond_the_promise_the_report_says_at_which_load_and_why() -> None:
    found = report(simulate(stack("prod"), scenario("stress", seed=1, promised=5000)))
    assert found.beyond_promise
    assert not found.breaks_promise
    assert found.slo_minutes_lost > 0
    assert found.breaks_at_requests_per_second is not None
    assert found.breaks_at_requests_per_second < 10_200
    api = next(each for each in found.workloads if each.name == "payment-service")
    assert api.binding_limit == "pods: max 20, each at its cpu limit"


def test_a_promised_load_that_breaks_an_objective_breaks_the_promise() -> None:
    few = {"services/payment-service/consumer/scaling/messages_per_second_per_consumer": 40}
    run = simulate(changed_stack("dev", few), steady(1000, 20))
    found = report(run)
    assert found.breaks_promise
    assert found.breaks_first == "payment-processors"
    assert found.breaks_because == "partitions: 24 of payment-events, one consumer each"


def test_t14_time_lost_to_the_bank_is_not_blamed_on_the_pods() -> None:
    bank = Window(start_seconds=300, end_seconds=900)
    run = simulate(stack("prod"), steady(1000, 20, slow_bank=bank, slow_bank_mean_seconds=6.0))
    gateway = next(each for each in report(run).workloads if each.name == "gateway-service")
    assert gateway.slo_minutes_lost > 0
    assert gateway.binding_limit == "the bank is slow: more pods do not help"
    assert gateway.breaker_minutes > 5


@pytest.mark.parametrize("name", STACKS)
def test_t11_the_ramp_finds_each_limit_where_arithmetic_puts_it(name: str) -> None:
    found = {
        (each.workload, each.limit): each.requests_per_second
        for each in broken_limits(simulate(stack(name), scenario("ramp", seed=1, promised=0)))
    }
    # 20 pods x 200 requests/s at their request, x 400 at their limit; 24 x 300 messages/s on the partitions.
    assert found["payment-service", "cpu request"] == pytest.approx(4000, abs=50)
    assert found["payment-service", "cpu"] == pytest.approx(8000, abs=50)
    assert found["payment-processors", "partitions"] == pytest.approx(7200, abs=50)
    assert found["gateway-service", "cpu"] == pytest.approx(10_000, abs=50)
    assert found["wallet-service", "database-pool"] is None


def test_a_report_is_plain_json() -> None:
    document = report(simulate(stack("dev"), steady(500, 5))).as_json()
    again = json.loads(json.dumps(document))
    assert again["slo_minutes_lost"] == 0
    assert {row["name"] for row in again["workloads"]} == {each.name for each in stack("dev").workloads}
