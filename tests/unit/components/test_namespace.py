"""The namespace: restricted, bounded, and large enough for everything at its maximum."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.namespace import QUOTA_HEADROOM_PERCENT, quota_amounts
from settings.quantities import parse_quantity
from settings.services import Service, peak_amounts
from tests.unit.stacks import STACKS, manifest, settings_of

CLOSED = {"services.nodeports": "0", "services.loadbalancers": "0", "persistentvolumeclaims": "0"}


@pytest.mark.parametrize("stack", STACKS)
def test_pod_security_is_restricted_in_every_mode(stack: str) -> None:
    labels = manifest(stack, "Namespace", "payments")["metadata"]["labels"]
    modes = {key: value for key, value in labels.items() if key.startswith("pod-security")}
    assert modes == {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    assert labels["payments.dev/environment"] == stack
    assert labels["owner"] == "platform"
    assert labels["pci-scope"] == "cde"


@pytest.mark.parametrize("stack", STACKS)
def test_the_quota_is_the_plans_maximum_with_surge_and_a_fifth_more(stack: str) -> None:
    # APIs 20+5, 15+4, 10+3 and consumers 24, 16, 12 are 109 pods; each asks for 0.5 cores, 1Gi, at most 1 and 2Gi.
    # A shard's migrations, care, balances and figures add a pod each (0.05 cores, 64Mi, at most 0.5 and 128Mi): 4, in
    # prod 8.
    hard = manifest(stack, "ResourceQuota", "quota")["spec"]["hard"]
    assert hard == {
        "pods": {"dev": "136", "prod": "141"}[stack],
        "requests.cpu": {"dev": "65640m", "prod": "65880m"}[stack],
        "requests.memory": {"dev": "134247Mi", "prod": "134554Mi"}[stack],
        "requests.ephemeral-storage": {"dev": "33562Mi", "prod": "33639Mi"}[stack],
        "limits.cpu": {"dev": "133200m", "prod": "135600m"}[stack],
        "limits.memory": {"dev": "268493Mi", "prod": "269108Mi"}[stack],
        "limits.ephemeral-storage": {"dev": "33639Mi", "prod": "33Gi"}[stack],
        **CLOSED,
    }


@pytest.mark.parametrize("stack", STACKS)
def test_a_container_that_states_nothing_gets_small_bounds(stack: str) -> None:
    assert manifest(stack, "LimitRange", "limits")["spec"]["limits"] == [
        {
            "type": "Container",
            "defaultRequest": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
            "default": {"cpu": "200m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
        }
    ]


def service_with(maximum: int, consumers: int, cpu: int, memory: int) -> Service:
    amounts = {"cpu": f"{cpu}m", "memory": f"{memory}Ki"}
    resources = {"requests": amounts, "limits": {"cpu": f"{2 * cpu}m", "memory": f"{2 * memory}Ki"}}
    path = "services/wallet-service"
    settings = settings_of(
        "dev",
        {
            # More connections than the poolers of dev accept: a rule of another part.
            "postgres": None,
            "capacity/database_client_connections": 100_000,
            f"{path}/api/scaling/min_replicas": 1,
            f"{path}/api/scaling/max_replicas": maximum,
            f"{path}/api/resources": resources,
            f"{path}/consumer/scaling/min_replicas": 1,
            f"{path}/consumer/scaling/max_replicas": consumers,
            f"{path}/consumer/resources": resources,
        },
    )
    return settings.services["wallet-service"]


SERVICES = st.builds(
    service_with,
    maximum=st.integers(1, 1000),
    consumers=st.integers(1, 16),
    cpu=st.integers(1, 4000),
    memory=st.integers(1, 2**22),
)


@given(st.lists(SERVICES, min_size=1, max_size=3))
def test_the_quota_holds_all_services_at_their_maximum_with_the_headroom(services: list[Service]) -> None:
    hard = quota_amounts(services)
    for key, written in hard.items():
        needed = sum((peak_amounts(service)[key] for service in services), Decimal(0))
        with_headroom = needed * (100 + QUOTA_HEADROOM_PERCENT) / 100
        unit = Decimal("0.001") if key.endswith(".cpu") else Decimal(1) if key == "pods" else Decimal(2**20)
        assert with_headroom <= parse_quantity(written) < with_headroom + unit, key


@given(st.lists(SERVICES, min_size=2, max_size=3))
def test_the_quota_does_not_depend_on_the_order_of_services(services: list[Service]) -> None:
    assert quota_amounts(services) == quota_amounts(services[::-1])
