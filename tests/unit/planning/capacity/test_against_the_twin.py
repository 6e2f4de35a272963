"""The planner and the twin: the same beliefs, two computations, one result within a tenth."""

import pytest

from planning.capacity.inputs import Inputs
from planning.capacity.plan import horizons, plan_capacity
from planning.twin.plant_api import ApiSpec
from planning.twin.plant_stack import read_stack
from planning.twin.scenarios import recorded
from planning.twin.simulation import simulate
from planning.twin.workload import Load, constant, sample, through
from tests.unit.planning.capacity.test_plan import applied
from tests.unit.stacks import manifests_of, settings_of

HORIZONS = {demand.name: demand for demand in horizons()}


def _slow_climb(peak: float) -> Load:
    """From a fifth of the peak to all of it in an hour, then two hours at it: the autoscalers settle."""
    points = [(0.0, 0.2 * peak), (3600.0, peak), (10_800.0, peak)]
    return sample(through(points), 10_800, step_seconds=15)


@pytest.mark.parametrize("horizon", list(HORIZONS))
def test_the_twins_autoscalers_settle_where_the_planner_says(horizon: str) -> None:
    demand = HORIZONS[horizon]
    changes = applied("prod", plan_capacity("prod", demand, Inputs(settings=settings_of("prod"))), horizon)
    settings = settings_of("prod", changes)
    plan = plan_capacity("prod", demand, Inputs(settings=settings))
    assert plan.feasible
    stack = read_stack("prod", manifests_of("prod", changes).values(), settings)
    run = simulate(stack, recorded("climb", _slow_climb(demand.peak_requests_per_second)))
    for track in run.tracks:
        kind = "pods" if isinstance(track.workload.spec, ApiSpec) else "consumers"
        needed = plan.figure(f"{kind}/{track.workload.name}").needed
        settled = track.replicas[-1]
        # A tenth, and never less than one pod: the controller's own tolerance is a tenth.
        assert abs(settled - needed) <= max(1.0, 0.1 * needed), (track.workload.name, settled, needed)
        assert not any(track.lost[-40:]), track.workload.name


@pytest.mark.parametrize("share", [0.95, 1.05])
def test_the_twin_breaks_where_the_planner_says_consumers_do(share: float) -> None:
    """24 consumers of 300 messages/s on 24 partitions carry 7,200 and no more."""
    settings = settings_of("prod")
    stack = read_stack("prod", manifests_of("prod").values(), settings)
    run = simulate(stack, recorded("flat", sample(constant(share * 7200), 3600, step_seconds=15)))
    [track] = [track for track in run.tracks if track.workload.name == "payment-processors"]
    growing = track.lag[-1] > track.lag[len(track.lag) // 2]
    assert growing == (share > 1)
