"""What a summary of k6 says about the full rate."""

import json
from datetime import UTC, datetime

import pytest

from planning.capacity.k6_summary import measured_capacities
from planning.capacity.measured import MeasuredCapacity
from settings.loadtest import LoadScenario

# 60 s of rise to 5000/s and 300 s at it: 150,000 and 1,500,000 requests.
RISING = LoadScenario(requests_per_second=5000, ramp_seconds=60, duration_seconds=300)
AVERAGE = 1_650_000 / 360


def measured(load: LoadScenario, average: float, *, passed: bool = True) -> MeasuredCapacity:
    metrics = {
        "http_reqs": {"values": {"rate": average, "count": 1}},
        "http_req_duration": {"values": {"p(99)": 120.0}, "thresholds": {"p(99)<500": {"ok": passed}}},
        "http_req_failed": {"values": {"rate": 0.0}},
    }
    [found] = measured_capacities(
        json.dumps({"metrics": metrics}),
        source="summary.json",
        scenario="peak",
        load=load,
        pods={"payment-service": 20},
        taken_at=datetime(2026, 11, 29, tzinfo=UTC),
    )
    return found


def test_the_rise_before_the_full_rate_is_counted_out() -> None:
    assert measured(RISING, AVERAGE).requests_per_second == pytest.approx(5000)
    assert measured(RISING, AVERAGE).requests_per_second_per_pod == pytest.approx(250)


def test_a_rate_that_is_held_from_the_start_is_its_average() -> None:
    steady = LoadScenario(requests_per_second=1000, duration_seconds=600)
    assert measured(steady, 990).requests_per_second == pytest.approx(990)


def test_no_more_than_was_sent_is_believed() -> None:
    assert measured(RISING, 4900).requests_per_second == 5000


def test_a_failed_run_keeps_its_average() -> None:
    # Where along the rise it fell behind, the summary does not say.
    assert measured(RISING, 3000, passed=False).requests_per_second == 3000
