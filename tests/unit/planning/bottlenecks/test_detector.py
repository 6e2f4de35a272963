"""The detector: durations, hysteresis, one finding for one thing, and silence."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.bottlenecks.findings import MISSING_DATA, Detector, Event, EventKind, Finding, Severity
from planning.bottlenecks.rules import Watch, read_rules, watches
from tests.unit.stacks import settings_of

LAG = ("lag_per_consumer", "payment-processors")
DURATION, CLEAR, MISSING = 180, 60, 120
STEP = 15


def _watched() -> list[Watch]:
    """CONSUMER_LAG of one group: warning at 1,500, critical at 3,000, ends below 1,350."""
    return [watch for watch in watches(read_rules(), settings_of("dev")) if watch.series == LAG]


def _run(values: Sequence[float | None]) -> tuple[Detector, list[Event]]:
    """One look each 15 s from 0; ``None`` is a look without the sample."""
    detector = Detector(_watched())
    events = [
        event
        for index, value in enumerate(values)
        for event in detector.observe(index * STEP, {} if value is None else {LAG: value})
    ]
    return detector, events


def _kinds(events: list[Event]) -> list[tuple[EventKind, str]]:
    return [(event.kind, event.finding.kind) for event in events]


def test_t29_a_condition_is_reported_after_its_duration_and_not_before() -> None:
    steps = DURATION // STEP
    early, _ = _run([2000.0] * steps)
    assert early.findings == []
    detector, [event] = _run([2000.0] * (steps + 1))
    [finding] = detector.findings
    assert event.kind is EventKind.OPENED
    assert (finding.kind, finding.severity, finding.since_seconds, finding.found_seconds) == (
        "CONSUMER_LAG", Severity.WARNING, 0.0, float(DURATION),
    )  # fmt: skip
    assert (finding.value, finding.threshold) == (2000.0, 1500.0)


def test_t29_one_sample_below_the_threshold_starts_the_duration_anew() -> None:
    steps = DURATION // STEP
    detector, _ = _run([2000.0] * steps + [1499.0] + [2000.0] * steps)
    assert detector.findings == []


def test_a_hole_in_the_samples_starts_the_duration_anew() -> None:
    steps = DURATION // STEP
    detector, _ = _run([*[2000.0] * steps, None, *[2000.0] * steps])
    assert detector.findings == []


def test_t17_a_full_group_at_its_target_is_healthy() -> None:
    """19,000 messages on 20 consumers: the plan's alert at 10,000 would fire for ever."""
    detector, events = _run([19_000 / 20] * 100)
    assert (detector.findings, events) == ([], [])


def test_a_value_around_the_threshold_neither_ends_nor_repeats_a_finding() -> None:
    steps = DURATION // STEP + 1
    detector, events = _run([2000.0] * steps + [1400.0, 1600.0] * 40)
    assert _kinds(events) == [(EventKind.OPENED, "CONSUMER_LAG")]
    assert [finding.since_seconds for finding in detector.findings] == [0.0]


def test_a_finding_ends_when_it_has_been_low_for_long_enough() -> None:
    steps, clear = DURATION // STEP + 1, CLEAR // STEP
    still, _ = _run([2000.0] * steps + [1300.0] * clear)
    assert len(still.findings) == 1
    detector, events = _run([2000.0] * steps + [1300.0] * (clear + 1))
    assert detector.findings == []
    assert _kinds(events)[-1] == (EventKind.CLEARED, "CONSUMER_LAG")


def test_a_finding_is_raised_and_lowered_in_place() -> None:
    steps = DURATION // STEP + 1
    detector, events = _run([2000.0] * steps + [4000.0] * steps + [2900.0] * steps + [2000.0])
    assert [event.kind for event in events] == [EventKind.OPENED, EventKind.RAISED, EventKind.LOWERED]
    [finding] = detector.findings
    assert (finding.severity, finding.since_seconds) == (Severity.WARNING, 0.0)


@pytest.mark.parametrize("hole", [None, float("nan")])
def test_silence_is_a_finding_of_its_own_and_holds_the_open_one(hole: float | None) -> None:
    steps = DURATION // STEP + 1
    detector, events = _run([*[2000.0] * steps, *[hole] * (MISSING // STEP + 1)])
    assert {(finding.kind, finding.subject) for finding in detector.findings} == {
        ("CONSUMER_LAG", LAG[1]),
        (MISSING_DATA, LAG[1]),
    }
    assert _kinds(events) == [(EventKind.OPENED, "CONSUMER_LAG"), (EventKind.OPENED, MISSING_DATA)]
    after = detector.observe(10_000, {LAG: 100.0})
    assert _kinds(after) == [(EventKind.CLEARED, MISSING_DATA)]


def test_a_series_that_never_was_there_is_missing_too() -> None:
    detector, [event] = _run([None] * (MISSING // STEP + 1))
    assert event.finding.kind == MISSING_DATA
    assert "never seen" in detector.findings[0].recommendation


def test_a_look_that_is_not_newer_changes_nothing() -> None:
    detector, _ = _run([2000.0] * 5)
    assert detector.observe(30, {LAG: 9e9}) == []
    assert detector.observe(60, {LAG: 9e9}) == []


values = st.lists(st.one_of(st.none(), st.floats(0, 10_000)), min_size=1, max_size=120)


@given(values)
def test_every_finding_is_backed_by_its_samples(samples: list[float | None]) -> None:
    detector = Detector(_watched())
    for index, value in enumerate(samples):
        for event in detector.observe(index * STEP, {} if value is None else {LAG: value}):
            if event.kind is EventKind.OPENED and event.finding.kind == "CONSUMER_LAG":
                window = samples[index - DURATION // STEP : index + 1]
                assert all(each is not None and each >= 1500 for each in window)
                assert len(window) == DURATION // STEP + 1
        assert len({finding.key for finding in detector.findings}) == len(detector.findings)


@given(values)
def test_a_finding_opens_and_ends_by_turns(samples: list[float | None]) -> None:
    _, events = _run(samples)
    for kind in ("CONSUMER_LAG", MISSING_DATA):
        turns = [e.kind for e in events if e.finding.kind == kind and e.kind in (EventKind.OPENED, EventKind.CLEARED)]
        assert turns == list(itertools.islice(itertools.cycle((EventKind.OPENED, EventKind.CLEARED)), len(turns)))


def test_the_worst_finding_stands_first() -> None:
    detector = Detector(watches(read_rules(), settings_of("dev")))
    for moment in range(0, 1000, STEP):
        detector.observe(moment, {LAG: 2000.0, ("api_p99_seconds", "payment-service"): 1.2})
    found: list[Finding] = [finding for finding in detector.findings if finding.kind != MISSING_DATA]
    assert [finding.kind for finding in found] == ["API_LATENCY", "CONSUMER_LAG"]
