"""The planner: its figures by hand, its properties, its answers to loads that the limits do not carry."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.recording import ROOT
from planning.capacity.consumers import even_choices, needed_consumers, needed_partitions, sustainable
from planning.capacity.inputs import Inputs
from planning.capacity.measured import MeasuredCapacities, MeasuredCapacity
from planning.capacity.model import CapacityPlan, Demand, Status
from planning.capacity.plan import horizons, plan_capacity
from planning.capacity.pods import memory_floor
from planning.capacity.sensitivity import HIGHEST_PEAK, break_points
from tests.unit.stacks import platform_of, problems_of, settings_of

HORIZONS = {demand.name: demand for demand in horizons()}
PROD = Inputs(settings=settings_of("prod"))


def _plan(peak: float, inputs: Inputs = PROD) -> CapacityPlan:
    demand = Demand(name="own", payments_per_day=100 * peak, peak_requests_per_second=peak)
    return plan_capacity("prod", demand, inputs)


def _documented() -> dict[str, list[float]]:
    """The table of docs/capacity.md: row → its three values."""
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    return {name: [float(value) for value in values] for name, *values in rows}


def test_the_hand_calculation_of_the_page_is_what_the_planner_says() -> None:
    plans = [plan_capacity("prod", demand, PROD) for demand in HORIZONS.values()]
    compared = 0
    for name, values in _documented().items():
        key = name.split(":")[0].split(",")[0]
        if "/" in key and key in {figure.key for figure in plans[0].figures}:
            for plan, value in zip(plans, values, strict=True):
                assert plan.figure(key).needed == pytest.approx(value, rel=0.012), (name, plan.demand.name)
            compared += 1
    assert compared == 8


def test_the_plans_own_figures_stand_beside_ours() -> None:
    rows = _documented()
    for index, demand in enumerate(HORIZONS.values()):
        plan = plan_capacity("prod", demand, PROD)
        assert plan.figure("pods/payment-service").plan == rows["the plan's pods"][index]
        assert plan.figure("partitions/payment-events").plan == rows["the plan's partitions"][index]
        assert plan.figure("database/server-connections").plan == rows["the plan's connections"][index]
    assert _plan(3500).figure("pods/payment-service").plan is None


def test_t10_the_ratio_of_peak_and_mean_is_said_and_what_a_request_is_taken_for() -> None:
    [note] = [warning for warning in plan_capacity("prod", HORIZONS["now"], PROD).warnings if "864 times" in warning]
    assert "1.16 a second" in note
    assert "every request a payment" in note
    assert "disks are counted by payments a day" in note


def test_t32_cpu_is_the_binding_trigger_and_not_the_requests_of_a_pod() -> None:
    plan = plan_capacity("prod", HORIZONS["now"], PROD)
    figure = plan.figure("pods/payment-service")
    assert figure.binding == "cpu_target"
    assert figure.inputs["rate_at_http_requests_per_second"] == 1000
    assert figure.inputs["rate_per_pod"] == pytest.approx(140)
    assert any("payment-service: http_requests_per_second" in w and "cpu is the binding" in w for w in plan.warnings)


def test_t06_a_heap_that_does_not_shrink_pins_the_pods() -> None:
    """4 pods at 68 % of the request against a target of 80 %: 4 × 0.68 / 0.8 = 3.4 is 4 pods again."""
    assert memory_floor(0.68, 0.80, 4) == 4
    assert memory_floor(0.40, 0.80, 20) == 1
    assert memory_floor(0.78, 0.80, 17) == 17  # within a tenth of the target nothing changes
    [note] = [warning for warning in plan_capacity("prod", HORIZONS["now"], PROD).warnings if "memory pins" in warning]
    assert note.startswith("payment-service")
    assert "never goes below 4 pods" in note


@given(st.floats(0.05, 1.2), st.integers(1, 100))
def test_t06_the_floor_is_a_fixed_point_of_the_controllers_formula(share: float, maximum: int) -> None:
    floor = memory_floor(share, 0.8, maximum)
    within = abs(share / 0.8 - 1) <= 0.1
    assert 1 <= floor <= maximum
    assert floor == 1 or within or math.ceil(floor * share / 0.8 - 1e-9) >= floor


@pytest.mark.parametrize(
    ("partitions", "maximum", "even"),
    [(24, 20, [1, 2, 3, 4, 6, 8, 12]), (16, 15, [1, 2, 4, 8]), (12, 10, [1, 2, 3, 4, 6])],
)
def test_t07_uneven_partitions_are_named_with_the_even_choices(partitions: int, maximum: int, even: list[int]) -> None:
    assert even_choices(partitions, maximum) == even
    assert sustainable(partitions, maximum, 300) == sustainable(partitions, even[-1], 300)
    services = {"payment-service": 24, "wallet-service": 16, "gateway-service": 12}
    [name] = [service for service, count in services.items() if count == partitions]
    changed = settings_of("prod", {f"services/{name}/consumer/scaling/max_replicas": maximum})
    warnings = plan_capacity("prod", HORIZONS["now"], Inputs(settings=changed)).warnings
    assert any(f"even choices: {', '.join(map(str, even))}" in warning for warning in warnings)


def test_t08_a_horizon_beyond_the_limits_is_an_answer_with_what_must_change_in_order() -> None:
    plan = plan_capacity("prod", HORIZONS["1-year"], PROD)
    assert not plan.feasible
    paths = [change.path for change in plan.changes]
    assert paths.index("topics.payment-events.partitions") < paths.index(
        "policies/config: scaling-limits.limits.payment-processors.maxReplicas"
    )
    assert paths.index("policies/config: scaling-limits.limits.payment-service.maxReplicas") < paths.index(
        "services.payment-service.api.scaling.max_replicas"
    )
    after = {change.path: change.after for change in plan.changes}
    assert after["topics.payment-events.partitions"] == 48
    assert after["services.payment-service.api.scaling.max_replicas"] == 72
    # And twelve partitions are enough for now, though the plan's topic table has 24.
    now = plan_capacity("prod", HORIZONS["now"], PROD).figure("partitions/payment-events")
    assert (now.plan, now.available, now.needed) == (12.0, 24.0, 6.0)


def test_t08_settings_refuse_a_horizon_that_their_limits_cannot_carry() -> None:
    problems = problems_of("prod", {"capacity/horizon": "1-year"})
    assert any("services.payment-service.api.scaling.max_replicas" in problem for problem in problems)
    assert any("topics.payment-events.partitions" in problem for problem in problems)


def applied(stack: str, plan: CapacityPlan, horizon: str) -> dict[str, Any]:
    """The changes of a plan that stand in the stack file, as ``platform_of`` takes them."""
    ours: dict[str, int | str] = {
        change.path.replace(".", "/"): f"{change.after:.0f}{change.unit}" if change.unit else int(change.after)
        for change in plan.changes
        if not change.path.startswith("policies/")
    }
    platform = platform_of(stack)
    capacity = {key: value for key, value in ours.items() if key.startswith("capacity/")}
    found: dict[str, Any] = {key: value for key, value in ours.items() if key not in capacity}
    merged = {**platform["capacity"], "horizon": horizon}
    for key, value in capacity.items():
        *parents, last = key.split("/")[1:]
        node = merged
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return {**found, "capacity": merged}


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("horizon", list(HORIZONS))
def test_the_changes_of_a_plan_are_enough_and_the_settings_accept_them(stack: str, horizon: str) -> None:
    demand = HORIZONS[horizon]
    changes = applied(stack, plan_capacity(stack, demand, Inputs(settings=settings_of(stack))), horizon)
    after = plan_capacity(stack, demand, Inputs(settings=settings_of(stack, changes)))
    assert {
        figure.key: str(figure.status) for figure in after.figures if figure.status.rank > Status.CARRIED.rank
    } == {}
    assert after.feasible
    assert after.changes == []


def test_t12_server_connections_follow_the_work_and_not_the_pods() -> None:
    plan = plan_capacity("prod", HORIZONS["1-year"], PROD)
    server, client = plan.figure("database/server-connections"), plan.figure("database/client-connections")
    assert server.plan == 1000
    assert server.needed < 500 < client.needed
    assert "pooler" in client.note


def test_t13_scaling_on_the_pool_is_bounded_by_the_pool_budget() -> None:
    assert any("a full database pool adds pods" in warning for warning in _plan(1000).warnings)
    problems = problems_of("prod", {"services/wallet-service/api/scaling/max_replicas": 200})
    assert any("capacity.database_client_connections" in problem for problem in problems)


peaks = st.floats(1, 50_000)


@settings(deadline=None)
@given(peaks, peaks)
def test_every_figure_is_monotone_in_the_load(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for before, after in zip(_plan(low).figures, _plan(high).figures, strict=True):
        # A group's consumers may fall when the load asks for more partitions: those are then shared evenly.
        if not before.key.startswith("consumers/"):
            assert after.needed >= before.needed - 1e-9, before.key
        assert after.status.rank >= before.status.rank, before.key


@settings(deadline=None)
@given(peaks)
def test_the_same_input_gives_the_same_plan(peak: float) -> None:
    assert _plan(peak) == _plan(peak)


@settings(deadline=None)
@given(peaks)
def test_a_load_that_is_called_feasible_fits_every_hard_limit(peak: float) -> None:
    plan = _plan(peak)
    if not plan.feasible:
        return
    for name, service in PROD.settings.services.items():
        pods = min(plan.figure(f"pods/{name}").needed, service.api.scaling.max_replicas)
        hard = [v for k, v in plan.figure(f"pods/{name}").inputs.items() if k.startswith("rate_limit_of_")]
        assert peak <= pods * hard[0] + 1e-6
        consumer = service.consumer
        assert consumer is not None
        partitions = PROD.settings.topics[consumer.topic].partitions
        members = int(min(plan.figure(f"consumers/{consumer.name}").needed, consumer.scaling.max_replicas, partitions))
        assert peak <= sustainable(partitions, members, consumer.scaling.messages_per_second_per_consumer)


@given(st.floats(1, 20_000), st.integers(1, 200))
def test_consumers_that_are_found_keep_up_with_whole_partitions(rate: float, partitions: int) -> None:
    consumer = PROD.settings.services["payment-service"].consumer
    assert consumer is not None
    found, binding = needed_consumers(rate, partitions, consumer.scaling, 300.0)
    if found is None:
        assert binding == "partitions"
        assert rate > partitions * 300 * 0.9
    elif found <= partitions:
        assert sustainable(partitions, found, 300.0) >= rate
    enough = needed_partitions(rate, consumer.scaling, 300.0, 3)
    at_enough, _ = needed_consumers(rate, enough, consumer.scaling, 300.0)
    assert enough % 3 == 0
    assert at_enough is not None
    assert at_enough <= max(enough, consumer.scaling.min_replicas)


def test_units_are_what_the_names_say() -> None:
    """Doubling an input doubles the figure that is proportional to it."""
    changes: Mapping[str, object] = {
        "capacity": {"horizon": "6-months", "database": {"bytes_per_payment": 12288}, "cache": {"entry_bytes": 2048}}
    }
    doubled = _plan(1000, Inputs(settings=settings_of("prod", changes)))
    for key, log_gib in (("database/disk", 60 + 16 + 4), ("cache/memory", 0)):
        single, double = _plan(1000).figure(key), doubled.figure(key)
        assert double.needed - log_gib == pytest.approx(2 * (single.needed - log_gib))
        assert double.unit == "GiB"
    # 100,000 payments of 6 KiB in 30.4 days are 17.4 GiB, on two shards.
    assert _plan(1000).figure("database/disk").inputs["growth_gib_per_month"] == pytest.approx(17.4 / 2, rel=0.01)


def test_a_measured_capacity_replaces_the_belief() -> None:
    measured = MeasuredCapacity.model_validate(
        {
            "service": "payment-service", "scenario": "normal", "taken_at": "2026-01-01T00:00:00Z", "pods": 5,
            "wanted_requests_per_second": 2000, "requests_per_second": 1500, "p99_milliseconds": 400,
            "failed_share": 0, "dropped_iterations": 0, "passed": True,
        }
    )  # fmt: skip
    inputs = Inputs(settings=settings_of("prod"), measured=MeasuredCapacities(capacities=[measured]))
    # 300 requests/s a pod at its limit of two cpu requests: 150 at the request, 105 at 70 % of it.
    assert _plan(1000, inputs).figure("pods/payment-service").needed == math.ceil(1000 / 105)
    assert inputs.twin_constants().requests_per_second_per_pod == pytest.approx(150)
    assert _plan(1000, inputs).figure("pods/wallet-service") == _plan(1000).figure("pods/wallet-service")


def test_break_points_are_where_the_status_changes_and_stand_in_order() -> None:
    points = break_points("prod", HORIZONS["6-months"], PROD)
    shorts = [point.short_at for point in points]
    known = [value for value in shorts if value is not None]
    assert known == sorted(known)
    assert shorts[: len(known)] == known
    for point in points:
        for at, worst in ((point.tight_at, Status.TIGHT), (point.short_at, Status.SHORT)):
            if at is not None and 1.0 < at < HIGHEST_PEAK:
                assert _plan(at * 1.0001).figure(point.key).status.rank >= worst.rank
                assert _plan(at * 0.999).figure(point.key).status.rank < worst.rank


def test_t11_each_horizon_breaks_where_its_limits_say() -> None:
    """20 pods of 400 requests/s at their cpu limit: the plan's stress at 10,000 is beyond them."""
    points = {point.key: point for point in break_points("prod", HORIZONS["now"], PROD)}
    assert points["pods/payment-service"].short_at == pytest.approx(20 * 400, rel=1e-4)
    assert points["consumers/payment-processors"].short_at == pytest.approx(24 * 300, rel=1e-4)
    assert not plan_capacity("prod", HORIZONS["now"].at_peak(10_000), PROD).feasible


def test_a_plan_is_plain_json() -> None:
    document = json.loads(json.dumps(plan_capacity("prod", HORIZONS["1-year"], PROD).as_json()))
    assert document["feasible"] is False
    assert document["figures"][0]["formula"]
    assert document["changes"][0]["order"] == 10
