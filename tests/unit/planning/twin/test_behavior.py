"""How fast and how late: stabilisation windows, policies and limits, by hand. Lag has a target of 1000 per pod."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from planning.twin.hpa import Controller, ControllerFlags, Limit, Stabilization
from tests.unit.planning.twin.examples import controller, follow, lag, observe


def pods(value: int, period_seconds: int) -> dict[str, Any]:
    return {"type": "Pods", "value": value, "periodSeconds": period_seconds}


def percent(value: int, period_seconds: int) -> dict[str, Any]:
    return {"type": "Percent", "value": value, "periodSeconds": period_seconds}


def direction(*policies: Mapping[str, Any], window: int = 0, select: str = "Max") -> dict[str, Any]:
    return {"stabilizationWindowSeconds": window, "selectPolicy": select, "policies": list(policies)}


def subject(up: Mapping[str, Any] | None = None, down: Mapping[str, Any] | None = None, **others: Any) -> Controller:
    at_once = direction(pods(1000, 1))
    return controller(lag(), behavior={"scaleUp": up or at_once, "scaleDown": down or at_once}, **others)


def sequence(subject: Controller, replicas: int, wishes: Sequence[int], step_seconds: float = 15.0) -> list[int]:
    return follow(subject, replicas=replicas, lags=[wish * 1000 for wish in wishes], step_seconds=step_seconds)


# Windows


def test_a_scale_down_waits_for_the_largest_wish_of_the_window() -> None:
    slow = subject(down=direction(pods(1000, 1), window=60))
    # The first synchronisation records the present 10; at 60 s it is out, and 6 (at 15 s) is the largest left.
    assert sequence(slow, 10, [4, 6, 4, 4, 4, 4]) == [10, 10, 10, 10, 6, 4]


def test_a_scale_up_waits_for_the_smallest_wish_of_the_window() -> None:
    slow = subject(up=direction(pods(1000, 1), window=45))
    assert sequence(slow, 2, [9, 5, 9, 9, 9]) == [2, 2, 2, 5, 9]


def test_a_wish_as_old_as_the_window_is_out() -> None:
    slow = subject(down=direction(pods(1000, 1), window=30))
    assert sequence(slow, 10, [1, 1, 1]) == [10, 10, 1]
    slow = subject(down=direction(pods(1000, 1), window=30))
    assert sequence(slow, 10, [1, 1, 1], step_seconds=14.9) == [10, 10, 10]


def test_windows_remember_wishes_and_not_what_came_of_them() -> None:
    slow = subject(up=direction(pods(1, 1)), down=direction(pods(1000, 1), window=60))
    # 20 was wished for once, and 11 came of it; for a minute nothing below 11 happens.
    assert sequence(slow, 10, [20, 5, 5, 5, 5]) == [11, 11, 11, 11, 5]


def test_between_the_windows_the_present_number_stays() -> None:
    both = subject(up=direction(pods(1000, 1), window=60), down=direction(pods(1000, 1), window=60))
    # Wishes of 4 and 9 within a minute around the present 6: neither direction is unanimous.
    assert sequence(both, 6, [4, 9, 4, 9, 4, 9, 4]) == [6] * 7


def test_without_a_window_of_its_own_scale_down_uses_the_controllers() -> None:
    rules = direction(pods(1000, 1))
    del rules["stabilizationWindowSeconds"]
    flags = ControllerFlags(downscale_stabilization_seconds=30)
    assert sequence(subject(down=rules, flags=flags), 10, [1, 1, 1]) == [10, 10, 1]
    assert sequence(subject(down=rules), 10, [1] * 21)[-2:] == [10, 1]


def test_the_reason_says_which_window_held_the_change_back() -> None:
    slow = subject(down=direction(pods(1000, 1), window=60), up=direction(pods(1000, 1), window=60))
    down = slow.sync(observe(0, spec=10, lag_messages=4_000))
    assert down.stabilization is Stabilization.SCALE_DOWN
    assert (down.limited_by, down.able_to_scale.reason) == ("ScaleDownStabilized", "ScaleDownStabilized")
    up = slow.sync(observe(15, spec=10, lag_messages=14_000))
    assert (up.limited_by, up.desired_replicas) == ("ScaleUpStabilized", 10)


# Policies


@pytest.mark.parametrize(
    ("select", "after"),
    [("Max", [16, 20, 20]), ("Min", [12, 12, 16]), ("Disabled", [8, 8, 8])],
)
def test_which_of_two_policies_decides_a_scale_up(select: str, after: list[int]) -> None:
    both = subject(up=direction(percent(100, 15), pods(4, 30), select=select))
    assert sequence(both, 8, [20, 20, 20]) == after


@pytest.mark.parametrize(("select", "after"), [("Max", [10, 5, 2]), ("Min", [18, 16, 14]), ("Disabled", [20, 20, 20])])
def test_which_of_two_policies_decides_a_scale_down(select: str, after: list[int]) -> None:
    both = subject(down=direction(percent(50, 15), pods(2, 15), select=select))
    assert sequence(both, 20, [1, 1, 1]) == after


def test_a_percentage_is_rounded_up_on_the_way_up_and_towards_fewer_on_the_way_down() -> None:
    assert sequence(subject(up=direction(percent(10, 15))), 3, [50, 50]) == [4, 5]
    assert sequence(subject(down=direction(percent(10, 15))), 15, [1, 1]) == [13, 11]


def test_a_period_counts_what_was_added_and_what_was_removed_in_it() -> None:
    steady = subject(up=direction(pods(4, 60)), down=direction(pods(4, 60)))
    # Every change is counted from the 8 at the start of the period, whatever happened in it: 4 to 12. At 60 s the
    # first +4 is out, and the period starts at 12.
    assert sequence(steady, 8, [20, 1, 20, 20, 20]) == [12, 4, 12, 12, 16]


def test_a_change_as_old_as_the_period_no_longer_counts() -> None:
    assert sequence(subject(up=direction(pods(2, 30))), 2, [50] * 5) == [4, 4, 6, 6, 8]
    assert sequence(subject(up=direction(pods(2, 30))), 2, [50] * 3, step_seconds=14.9) == [4, 4, 4]


def test_a_change_stays_in_the_longer_period_of_the_other_direction_until_its_place_is_taken() -> None:
    """Added pods count for a scale-down's 600 s although scale-up itself forgets them after 15 s."""

    def fresh() -> Controller:
        return subject(up=direction(pods(10, 15)), down=direction(pods(5, 600)))

    # +10 at 0 s. At 45 s: start of the period = 20 - 10 = 10; down to 5 at once.
    assert sequence(fresh(), 10, [20, 20, 20, 1]) == [20, 20, 20, 5]
    # +1 at 30 s takes the place of the outdated +10: start = 21 - 1 = 20, down to 15 only.
    assert sequence(fresh(), 10, [20, 20, 23, 1]) == [20, 20, 23, 15]


def test_policies_never_turn_the_direction() -> None:
    # 6 pods were removed; the start of the period is 12; 25 % of it downwards is 9, above the present 6: stay.
    assert sequence(subject(down=direction(percent(25, 60))), 12, [6, 6, 1]) == [9, 9, 9]
    jump = subject(up=direction(pods(1, 60)), highest=50)
    first = jump.sync(observe(0, spec=5, lag_messages=9_000))
    assert first.desired_replicas == 6
    # Someone scaled by hand to 20 in between: what was added in the period is still counted from there.
    assert jump.sync(observe(15, spec=20, lag_messages=40_000)).desired_replicas == 20


def test_a_limit_on_the_wrong_side_of_the_present_number_holds_it() -> None:
    # 4 → 8, then 5 by hand: the period starts at 5 - 4 = 1, twice of which is 2.
    up = subject(up=direction(percent(100, 60)))
    assert up.sync(observe(0, spec=4, lag_messages=20_000)).desired_replicas == 8
    assert up.sync(observe(15, spec=5, lag_messages=20_000)).desired_replicas == 5
    # 12 → 9, then 4 by hand: the period starts at 4 + 3 = 7, three quarters of which are 5.
    down = subject(down=direction(percent(25, 60)))
    assert down.sync(observe(0, spec=12, lag_messages=1_000)).desired_replicas == 9
    assert down.sync(observe(15, spec=4, lag_messages=1_000)).desired_replicas == 4


# Limits


def test_limits_come_last_and_are_named() -> None:
    free = subject(lowest=3, highest=12)
    up = free.sync(observe(0, spec=5, lag_messages=40_000))
    assert (up.desired_replicas, up.limited_by, up.recommendation) == (12, Limit.TOO_MANY_REPLICAS, 40)
    down = free.sync(observe(15, spec=5, lag_messages=0))
    assert (down.desired_replicas, down.limited_by, down.recommendation) == (3, Limit.TOO_FEW_REPLICAS, 0)
    within = free.sync(observe(30, spec=5, lag_messages=7_000))
    assert (within.desired_replicas, within.limited_by) == (7, "")
    assert within.conditions["ScalingLimited"].reason == "DesiredWithinRange"


def test_a_rate_that_binds_is_named() -> None:
    slow = subject(up=direction(pods(1, 60)), down=direction(pods(1, 60)))
    assert slow.sync(observe(0, spec=5, lag_messages=40_000)).limited_by == Limit.SCALE_UP_LIMIT
    assert slow.sync(observe(300, spec=5, lag_messages=0)).limited_by == Limit.SCALE_DOWN_LIMIT


@pytest.mark.parametrize(("start", "bound"), [(2, 3), (1, 3), (30, 12)])
def test_outside_the_limits_the_way_back_asks_neither_metrics_nor_policies(start: int, bound: int) -> None:
    slow = subject(up=direction(pods(1, 60)), down=direction(pods(1, 60), window=300), lowest=3, highest=12)
    decision = slow.sync(observe(0, spec=start))
    assert (decision.desired_replicas, decision.proposals, decision.scaling_active) == (bound, (), None)
    assert decision.reason.startswith("Current number of replicas ")


def test_a_way_back_inside_the_limits_counts_as_a_change() -> None:
    slow = subject(up=direction(pods(4, 60)), lowest=3, highest=50)
    # 1 → 3 adds 2 within the minute: of the 4 pods, 2 are left.
    assert sequence(slow, 1, [40, 40]) == [3, 5]


# Without behaviour


def test_without_behavior_at_most_twice_as_many_or_four() -> None:
    plain = controller(lag(), behavior=None)
    assert sequence(plain, 1, [90] * 6) == [4, 8, 16, 32, 64, 90]


def test_without_behavior_a_scale_down_waits_for_the_controllers_window_with_its_start() -> None:
    plain = controller(lag(), behavior=None, flags=ControllerFlags(downscale_stabilization_seconds=30))
    assert sequence(plain, 10, [1, 1, 1, 1]) == [10, 10, 10, 1]
    held = controller(lag(), behavior=None).sync(observe(0, spec=10, lag_messages=1_000))
    assert (held.desired_replicas, held.limited_by) == (10, "ScaleDownStabilized")


def test_without_behavior_limits_are_named_too() -> None:
    plain = controller(lag(), behavior=None, lowest=2, highest=6)
    assert plain.sync(observe(0, spec=5, lag_messages=40_000)).limited_by == Limit.TOO_MANY_REPLICAS
    assert plain.sync(observe(600, spec=5, lag_messages=0)).limited_by == Limit.TOO_FEW_REPLICAS
    wide = controller(lag(), behavior=None)
    assert wide.sync(observe(0, spec=5, lag_messages=40_000)).limited_by == Limit.SCALE_UP_LIMIT
