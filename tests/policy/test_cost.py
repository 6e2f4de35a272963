"""The cost budget: a platform priced by hand just within and just beyond it, and values that are not known yet."""

from collections.abc import Sequence

from policies.evaluate import Finding, Resource, evaluate
from tests.policy.cases import CONTAINER
from tests.policy.samples import DEV, UNKNOWN_MARK, platform, platform_with

# 20 + 24 + 16 pods at the three scalers' maxima, each 0.5 cores at 23 and 1 GiB at 3.1; the CronJob does not count.
TOTAL = 60 * (0.5 * 23.0 + 3.1)
PRICES = {"cpuCoreMonth": 23.0, "memoryGibMonth": 3.1, "diskGibMonth": 0.12}


def _findings(budget: float, resources: Sequence[Resource] | None = None) -> list[Finding]:
    config = {**DEV, "cost-budget": {"monthlyBudget": budget, "prices": PRICES}}
    found = evaluate(platform() if resources is None else resources, config)
    return [finding for finding in found if finding.policy == "cost-budget"]


def test_a_stack_that_costs_its_budget_is_within_it() -> None:
    assert _findings(TOTAL) == []


def test_a_stack_beyond_its_budget_names_the_costliest_workloads() -> None:
    [finding] = _findings(TOTAL - 1)
    assert finding.enforcement == "mandatory"
    assert finding.urn.endswith("::payment-processors")
    assert finding.message == (
        "Deployment payments/payment-processors: all workloads at their most pods cost 876 in a month; the costliest "
        "are payment-processors 350 (24 pods), payment-service 292 (20 pods), wallet-processors 234 (16 pods). "
        "Allowed: 875 (monthlyBudget of this pack). Fix: lower a maximum or a request, or ask the pack's owners for a "
        "higher budget."
    )


def test_a_higher_request_counts_for_every_pod() -> None:
    doubled = platform_with("Deployment", "payment-service", CONTAINER + ">resources>requests>cpu", "1")
    assert _findings(TOTAL + 20 * 0.5 * 23, doubled) == []
    assert len(_findings(TOTAL + 20 * 0.5 * 23 - 1, doubled)) == 1


def test_a_limit_stands_in_for_a_request_that_is_missing() -> None:
    limits_only = platform_with("Deployment", "payment-service", CONTAINER + ">resources>requests", {})
    assert len(_findings(TOTAL - 1, limits_only)) == 1


def test_what_is_not_known_yet_is_passed_over() -> None:
    unknown = platform_with("Deployment", "payment-service", CONTAINER + ">resources>requests>cpu", UNKNOWN_MARK)
    assert _findings(TOTAL - 20 * 0.5 * 23, unknown) == []


def test_the_prices_are_the_packs_own_and_without_a_budget_nothing_is_refused() -> None:
    config = {**DEV, "cost-budget": {"monthlyBudget": TOTAL, "prices": {**PRICES, "cpuCoreMonth": 24.0}}}
    assert [each.policy for each in evaluate(platform(), config)] == ["cost-budget"]
    assert evaluate(platform(), {**DEV, "cost-budget": {"prices": PRICES}}) == []
