"""Forecasts: the same load before and after, and when a change is no help."""

from dataclasses import replace

import pytest

from planning.actions.forecast import Outcome, forecast, observed_load
from planning.actions.propose import Action, propose
from planning.twin.plant_stack import Stack, read_stack
from tests.unit.planning.actions.test_propose import finding, lag, situation
from tests.unit.stacks import manifests_of, settings_of

MINIMUM = "services/payment-service/consumer/scaling/min_replicas"
BURST = [(float(time), 300.0 if time < 300 else 2000.0) for time in range(0, 600, 15)]

LAGGING = {("replicas_of_maximum", "payment-processors"): 5 / 24, ("lag_per_consumer", "payment-processors"): 8000.0}


def _stack(minimum: int) -> Stack:
    changes = {MINIMUM: minimum}
    return read_stack("dev", manifests_of("dev", changes).values(), settings_of("dev", changes))


def test_minutes_before_the_decision_are_nobodys_to_save() -> None:
    """The burst began 285 s before; a change can only shorten the 300 s that come."""
    found = forecast(_stack(3), _stack(8), lag(), 1500.0, observed_load(BURST, hold_seconds=300), latest=LAGGING)
    assert 0 < found.after.over_threshold_minutes < found.before.over_threshold_minutes <= 300 / 60
    assert found.before.slo_minutes_lost <= 300 / 60


def test_both_ways_start_from_what_is_measured() -> None:
    """Five consumers with 5 × 8,000 messages, whatever the twin made of the burst."""
    found = forecast(_stack(3), _stack(8), lag(), 1500.0, observed_load(BURST, hold_seconds=300), latest=LAGGING)
    assert min(found.before.highest, found.after.highest) >= 8000.0


def test_a_finding_of_which_the_twin_sees_nothing_from_now_on_is_not_foreseen() -> None:
    """The twin's autoscaler was done with the burst before the decision: reality is not as the settings believe."""
    found = forecast(_stack(3), _stack(8), lag(), 1500.0, observed_load(BURST, hold_seconds=300))
    assert found.before.over_threshold_minutes == 0
    assert found.not_modelled is not None


def test_more_consumers_from_now_on_shorten_a_lag() -> None:
    [action] = propose(situation(lag()))
    assert isinstance(action, Action)
    found = forecast(
        _stack(3), _stack(8), action.finding, 1500.0, observed_load(BURST, hold_seconds=300), latest=LAGGING
    )
    assert found.helps
    assert found.after.over_threshold_minutes < found.before.over_threshold_minutes
    assert found.after.slo_minutes_lost < found.before.slo_minutes_lost


def test_a_change_that_changes_nothing_is_no_help() -> None:
    found = forecast(_stack(3), _stack(3), lag(), 1500.0, observed_load(BURST, hold_seconds=300), latest=LAGGING)
    assert not found.helps
    assert found.before == found.after


def test_without_a_load_the_promised_flash_sale_is_used() -> None:
    found = forecast(_stack(3), _stack(8), lag(), 1500.0, None)
    assert "a fifth of the promised peak" in found.load


def test_the_observed_load_is_replayed_and_held() -> None:
    load = observed_load(BURST, hold_seconds=300)
    assert load is not None
    rates = load.scenario.load.requests_per_second
    assert (rates[0], rates[-1], load.scenario.load.duration_seconds) == (300.0, 2000.0, 585 + 300)
    assert rates.index(2000.0) * load.scenario.load.step_seconds == 300
    assert load.decided_seconds == 585


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)]])
def test_one_point_is_no_course(points: list[tuple[float, float]]) -> None:
    assert observed_load(points, hold_seconds=60) is None


def test_what_one_of_the_subject_can_do_is_said() -> None:
    load = observed_load(BURST, hold_seconds=60)
    assert forecast(_stack(3), _stack(3), lag(), 1500.0, load).assumed == (
        "one consumer handles 300 messages/s, as messages_per_second_per_consumer says"
    )
    slow = finding("API_LATENCY")
    assert forecast(_stack(3), _stack(3), slow, 0.5, load).assumed == "a pod uses its CPU request at 200 requests/s"


def test_what_the_twin_does_not_model_is_said() -> None:
    database = replace(lag(), kind="DB_CONNECTIONS")
    found = forecast(_stack(3), _stack(3), database, 1500.0, observed_load(BURST, hold_seconds=60))
    assert found.not_modelled is not None
    assert isinstance(found.before, Outcome)
