"""Loads: deterministic, and a recording that cannot be used says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.scenarios import SCENARIOS, ScenarioError, scenario
from planning.twin.workload import Load, WorkloadError, diurnal, read_csv, sample, through

HEADER = "time_seconds,requests_per_second"


def test_lines_pass_through_their_points_and_stay_outside_them() -> None:
    shape = through([(0, 100), (60, 400), (120, 400)])
    assert [shape(now) for now in (-5, 0, 30, 60, 90, 500)] == [100, 100, 250, 400, 400, 400]


@given(seed=st.integers(0, 1000), noise=st.floats(0, 0.5))
def test_noise_stays_within_its_share_and_repeats_with_its_seed(seed: int, noise: float) -> None:
    def draw() -> Load:
        return sample(lambda _: 100.0, 600, step_seconds=5, noise=noise, seed=seed)

    assert draw() == draw()
    assert all(100 * (1 - noise) - 1e-9 <= rate <= 100 * (1 + noise) + 1e-9 for rate in draw().requests_per_second)


def test_another_seed_is_another_noise() -> None:
    loads = {scenario("four-hours", seed=seed, promised=1000).load for seed in range(3)}
    assert len(loads) == 3


def test_a_day_stays_between_its_low_and_its_high_and_reaches_both() -> None:
    rates = [diurnal(100, 900, peak_hour=20)(minute * 60) for minute in range(24 * 60)]
    assert min(rates) == pytest.approx(100, rel=0.05)
    assert max(rates) == pytest.approx(900)
    assert rates.index(max(rates)) // 60 == 20


@pytest.mark.parametrize(("name", "rate", "minutes"), [("normal", 1000, 10), ("peak", 5000, 5), ("stress", 10000, 2)])
def test_the_plans_k6_stages_hold_their_rate_for_their_time(name: str, rate: float, minutes: int) -> None:
    found = scenario(name, seed=1, promised=1000)
    held = [value for value in found.load.requests_per_second if value > 0.979 * rate]
    assert found.nominal_peak == rate
    assert len(held) * found.load.step_seconds == pytest.approx(minutes * 60, abs=15)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_keeps_the_autoscalers_pace(name: str) -> None:
    load = scenario(name, seed=3, promised=5000).load
    assert 15 % load.step_seconds == 0
    assert min(load.requests_per_second) >= 0


def test_an_unknown_scenario_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ScenarioError, match=r"'flash-sail' is unknown.*did you mean flash-sale"):
        scenario("flash-sail", seed=1, promised=1000)


def test_a_recording_keeps_its_rates_at_the_twins_own_step() -> None:
    load = read_csv([HEADER, "100,10", "110,20", "120,30"], source="own.csv")
    assert load == Load(step_seconds=5, requests_per_second=(10, 10, 20, 20, 30, 30))


def test_a_recording_of_a_day_is_read_in_steps_of_the_autoscaler() -> None:
    load = read_csv([HEADER, *(f"{minute * 60},{minute}" for minute in range(1440))], source="own.csv")
    assert (load.step_seconds, load.duration_seconds) == (15, 86400)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,1", "10,2", "30,3"], r"line 4: time_seconds jumps from 10 to 30, a gap; allowed: 10 s after .*fill in"),
        (["0,1", "10,2", "12,3"], r"line 4: time_seconds jumps from 10 to 12, too close"),
        (["0,1", "10,2", "5,3"], r"line 4: time_seconds 5 is not after 10; allowed: rising times; fix: sort"),
        (["10,1", "10,2"], r"line 3: time_seconds 10 is not after 10"),
        (["0,1", "10,-2"], r"line 3: requests_per_second is -2; allowed: 0 or more"),
        (["-10,1", "0,2"], r"line 2: time_seconds is -10; allowed: 0 or more"),
        (["0,1", "10,many"], r"line 3: '10,many'; allowed: two numbers"),
        (["0,1", "10,nan"], r"line 3: '10,nan'; allowed: two numbers"),
        (["0,1", "10,2,3"], r"line 3: '10,2,3'; allowed: two numbers"),
        (["0,1"], r"1 rows; allowed: at least 2"),
        ([], r"0 rows; allowed: at least 2"),
    ],
)
def test_a_recording_that_cannot_be_used_says_where_what_and_how(rows: list[str], message: str) -> None:
    with pytest.raises(WorkloadError, match=rf"own\.csv.*{message}") as raised:
        read_csv([HEADER, *rows], source="own.csv")
    assert len(str(raised.value).splitlines()) == 1


def test_another_header_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"line 1: the header is 'seconds,rps'; allowed: time_seconds,requests"):
        read_csv(["seconds,rps", "0,1"], source="own.csv")


def test_everything_wrong_is_told_at_once_but_not_a_thousand_times() -> None:
    with pytest.raises(WorkloadError) as raised:
        read_csv([HEADER, *(f"{index},-1" for index in range(1000))], source="own.csv")
    lines = str(raised.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "… and 990 more"
