"""What a service asks for at its maximum, in arithmetic of its own."""

from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.services import Surge, peak_amounts, peak_database_connections
from tests.unit.stacks import settings_of


def test_the_payment_service_at_its_maximum_with_every_rollout() -> None:
    # API: 20 pods and 25 % surge = 25; consumers: 24 and no surge. Each pod: requests 500m/1Gi, limits 1000m/2Gi.
    assert peak_amounts(settings_of("dev").services["payment-service"]) == {
        "pods": Decimal(49),
        "requests.cpu": Decimal("24.5"),
        "requests.memory": Decimal(49 * 2**30),
        "requests.ephemeral-storage": Decimal(49 * 256 * 2**20),
        "limits.cpu": Decimal(49),
        "limits.memory": Decimal(49 * 2 * 2**30),
        "limits.ephemeral-storage": Decimal(49 * 256 * 2**20),
    }


@pytest.mark.parametrize(("replicas", "surge"), [(1, 1), (2, 1), (4, 1), (5, 2), (10, 3), (20, 5)])
def test_the_surge_is_rounded_up_as_kubernetes_does(replicas: int, surge: int) -> None:
    assert Surge.api_pods(replicas) == surge


@given(st.integers(min_value=1, max_value=1000))
def test_the_surge_is_a_quarter_at_least(replicas: int) -> None:
    assert Surge.api_pods(replicas) == ceil(replicas / 4)


@given(st.integers(min_value=5, max_value=1000), st.integers(min_value=3, max_value=24))
def test_the_peak_is_the_sum_of_both_deployments(api_pods: int, consumers: int) -> None:
    settings = settings_of(
        "dev",
        {
            "services/payment-service/api/scaling/max_replicas": api_pods,
            # More connections than the poolers of dev accept: a rule of another part.
            "postgres": None,
            "capacity/database_client_connections": 100_000,
            "services/payment-service/consumer/scaling/max_replicas": consumers,
            "services/payment-service/consumer/resources/requests/cpu": "250m",
        },
    )
    peak = peak_amounts(settings.services["payment-service"])
    pods = api_pods + ceil(api_pods / 4)
    assert peak["pods"] == pods + consumers
    assert peak["requests.cpu"] == pods * Decimal("0.5") + consumers * Decimal("0.25")
    assert peak["limits.memory"] == (pods + consumers) * 2 * 2**30


@given(
    st.integers(min_value=5, max_value=500),
    st.integers(min_value=3, max_value=24),
    st.integers(min_value=0, max_value=50),
    st.integers(min_value=0, max_value=50),
)
def test_t13_connections_are_counted_at_the_maximum_while_the_api_rolls(
    api_pods: int, consumers: int, of_api: int, of_consumer: int
) -> None:
    path = "services/payment-service"
    settings = settings_of(
        "dev",
        {
            # More connections than the poolers of dev accept: a rule of another part.
            "postgres": None,
            "capacity/database_client_connections": 100_000,
            f"{path}/api/scaling/max_replicas": api_pods,
            f"{path}/api/database_connections_per_pod": of_api,
            f"{path}/consumer/scaling/max_replicas": consumers,
            f"{path}/consumer/database_connections_per_pod": of_consumer,
        },
    )
    expected = (api_pods + ceil(api_pods / 4)) * of_api + consumers * of_consumer
    assert peak_database_connections(settings.services["payment-service"]) == expected
