"""Bills: priced by hand, counted at their bounds, compared."""

from typing import Any

import pytest

from planning.capacity.inputs import Inputs
from planning.capacity.plan import horizons, plan_capacity
from planning.cost.amounts import AmountsError, load_balancers, read_amounts
from planning.cost.bill import CurrencyError, bill, difference, typical_pods
from planning.cost.planned import planned_cost
from planning.twin.plant_stack import read_stack
from tests.unit.stacks import manifests_of, settings_of

PRICES = {
    "currency": "EUR", "cpu_core_month": 20.0, "memory_gib_month": 4.0, "disk_gib_month": 0.5,
    "load_balancer_month": 10.0, "cdn_zone_month": 100.0, "node_overhead_percent": 0,
}  # fmt: skip
MINIMUM = "services/payment-service/api/scaling/min_replicas"


def _bill(stack: str = "prod", typical: dict[str, float] | None = None, **changes: object) -> Any:
    prices = {"prices": PRICES, **{key.replace("__", "/"): value for key, value in changes.items()}}
    return bill(stack, manifests_of(stack, prices).values(), settings_of(stack, prices), typical)


def test_a_pod_is_priced_by_what_it_requests() -> None:
    [line] = [line for line in _bill().lines if line.name == "payment-service"]
    each = 0.5 * 20.0 + 1.0 * 4.0
    assert (line.service, line.component) == ("payment-service", "api")
    assert (line.minimum, line.typical, line.maximum) == pytest.approx((3 * each, 3 * each, 20 * each))


def test_a_stateful_pod_has_its_volume_and_every_container() -> None:
    [line] = [line for line in _bill().lines if line.name == "redis-cluster"]
    [pods] = [
        m["spec"]
        for m in manifests_of("prod").values()
        if m["metadata"]["name"] == "redis-cluster" and m["kind"] == "StatefulSet"
    ]
    cpu = sum(
        {"1000m": 1.0, "20m": 0.02}[c["resources"]["requests"]["cpu"]] for c in pods["template"]["spec"]["containers"]
    )
    memory = sum(
        {"4Gi": 4.0, "32Mi": 1 / 32}[c["resources"]["requests"]["memory"]]
        for c in pods["template"]["spec"]["containers"]
    )
    assert line.minimum == pytest.approx(6 * (cpu * 20.0 + memory * 4.0 + 1.0 * 0.5))


def test_typical_pods_come_from_the_twins_day() -> None:
    stack = read_stack("prod", manifests_of("prod").values(), settings_of("prod"))
    typical = typical_pods(stack)
    found = _bill(typical=typical)
    for line in found.lines:
        assert line.minimum <= line.typical + 1e-9 <= line.maximum + 2e-9, line.name
    assert found.minimum < found.typical < found.maximum


def test_the_gateways_proxies_and_its_load_balancer_count() -> None:
    found = {line.name: line for line in _bill().lines}
    assert (found["edge"].fewest_pods, found["edge"].most_pods) == (2, 10)
    assert found["load balancer"].minimum == found["load balancer"].maximum == 10.0
    assert found["Cloudflare zone"].minimum == 100.0
    assert load_balancers(manifests_of("prod").values()) == 1


def test_sums_are_those_of_the_lines_by_service() -> None:
    found = _bill()
    assert sum(low for low, _, _ in found.by_service().values()) == pytest.approx(found.minimum)
    assert sum(high for _, _, high in found.by_service().values()) == pytest.approx(found.maximum)
    assert found.as_json()["maximum"] == found.maximum


@pytest.mark.parametrize("minimum", [3, 4, 20])
def test_two_bills_differ_by_the_pods_that_were_added(minimum: int) -> None:
    changes: dict[str, object] = {MINIMUM: minimum}
    first = bill("prod", manifests_of("prod").values(), settings_of("prod"))
    second = bill("prod", manifests_of("prod", changes).values(), settings_of("prod", changes))
    found = difference(first, second)
    each = (0.5 * 23.0 + 3.1) * 1.15
    assert (found.minimum, found.maximum) == pytest.approx(((minimum - 3) * each, 0.0))
    assert [name for name, *_ in found.lines] == (["payment-service"] if minimum > 3 else [])
    back = difference(second, first)
    assert back.minimum == pytest.approx(-found.minimum)
    assert found.largest == pytest.approx(max(found.minimum, 0.0))


def test_bills_in_two_currencies_are_not_compared() -> None:
    with pytest.raises(CurrencyError, match=r"prices\.currency: prod counts in EUR, prod in USD"):
        difference(_bill(), bill("prod", manifests_of("prod").values(), settings_of("prod")))


def test_a_plan_costs_its_pods_and_the_rest_as_declared() -> None:
    stack_bill = _bill()
    plans = [plan_capacity("prod", demand, Inputs(settings=settings_of("prod"))) for demand in horizons()]
    costs = [planned_cost(plan, stack_bill) for plan in plans]
    assert costs == sorted(costs)
    each = 0.5 * 20.0 + 4.0
    counted = sum(f.needed for f in plans[0].figures if f.key.startswith(("pods/", "consumers/")))
    own = sum(line.fewest_pods for line in stack_bill.lines if line.service.endswith("-service"))
    assert costs[0] == pytest.approx(stack_bill.minimum + (counted - own) * each)


def test_a_container_whose_cost_is_not_known_is_named() -> None:
    pod = {"spec": {"containers": [{"name": "api", "resources": {"requests": {"memory": "1Gi"}}}]}}
    manifest = {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"replicas": 2, "template": pod}}
    with pytest.raises(AmountsError, match=r"Deployment x: container api requests no cpu.*fix: give resources"):
        read_amounts([manifest], nodes=3)


def test_brokers_of_a_node_pool_count_with_their_disks() -> None:
    spec = {
        "replicas": 3,
        "resources": {"requests": {"cpu": "2", "memory": "8Gi"}},
        "storage": {"type": "jbod", "volumes": [{"size": "100Gi"}, {"size": "50Gi"}]},
    }
    [found] = read_amounts([{"kind": "KafkaNodePool", "metadata": {"name": "brokers"}, "spec": spec}], nodes=3)
    assert (found.fewest_pods, found.cpu_cores, found.memory_gib, found.disk_gib) == (3, 2.0, 8.0, 150.0)
