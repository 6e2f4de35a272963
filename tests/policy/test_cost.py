"""The cost budget: a platform priced by hand just within and just beyond it, and values that are not known yet."""

from collections.abc import Sequence

from policies.evaluate import Finding, Resource, evaluate
from tests.policy.cases import CONTAINER
from tests.policy.samples import DEV, UNKNOWN_MARK, container, kubernetes, platform, platform_with

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


def _brokers(**changes: object) -> Resource:
    amounts = {"cpu": "2", "memory": "8Gi"}
    volumes = [{"id": 0, "type": "persistent-claim", "size": "500Gi"}, {"id": 1, "size": "100Gi"}]
    spec = {"replicas": 3, "resources": {"requests": amounts, "limits": amounts}, "storage": {"volumes": volumes}}
    return kubernetes("kafka.strimzi.io/v1:KafkaNodePool", "brokers", {"spec": {**spec, **changes}})


def _proxies(**changes: object) -> Resource:
    amounts = {"cpu": "500m", "memory": "512Mi"}
    provider = {
        "envoyDeployment": {"replicas": 2, "container": {"resources": {"requests": amounts}}},
        "envoyHpa": {"minReplicas": 2, "maxReplicas": 10},
    }
    spec = {"provider": {"type": "Kubernetes", "kubernetes": {**provider, **changes}}}
    return kubernetes("gateway.envoyproxy.io/v1alpha1:EnvoyProxy", "edge", {"spec": spec})


BROKERS = 3 * (2 * 23.0 + 8 * 3.1 + 600 * 0.12)
PROXIES = 10 * (0.5 * 23.0 + 0.5 * 3.1)


def _budget_holds(resource: Resource, costs: float) -> bool:
    """Whether exactly this much more than the platform's own total is counted."""
    stack = [*platform(), resource]
    within = not _findings(TOTAL + costs + 0.01, stack)
    return within and len(_findings(TOTAL + costs - 0.01, stack)) == 1


def test_brokers_and_their_disks_count_though_an_operator_makes_their_pods() -> None:
    assert _budget_holds(_brokers(), BROKERS)
    assert _budget_holds(_brokers(storage={"type": "persistent-claim", "size": "600Gi"}), BROKERS)
    assert _budget_holds(_brokers(replicas=UNKNOWN_MARK), 0.0)


def test_proxies_count_at_their_most() -> None:
    assert _budget_holds(_proxies(), PROXIES)
    assert _budget_holds(_proxies(envoyHpa=None), PROXIES / 5)


def test_members_of_a_database_count_with_their_volumes() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "500Gi"}}}}
    pod = {"containers": [container()]}
    spec = {"replicas": 3, "volumeClaimTemplates": [claim], "template": {"spec": pod}}
    members = kubernetes("apps/v1:StatefulSet", "postgres-cluster", {"spec": spec})
    assert _budget_holds(members, 3 * (0.5 * 23.0 + 3.1 + 500 * 0.12))


def test_the_prices_are_the_packs_own_and_without_a_budget_nothing_is_refused() -> None:
    config = {**DEV, "cost-budget": {"monthlyBudget": TOTAL, "prices": {**PRICES, "cpuCoreMonth": 24.0}}}
    assert [each.policy for each in evaluate(platform(), config)] == ["cost-budget"]
    assert evaluate(platform(), {**DEV, "cost-budget": {"prices": PRICES}}) == []
