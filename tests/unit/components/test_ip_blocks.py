"""Address blocks and their exceptions, as the API server accepts them."""

import pytest
from pydantic import ValidationError

from components.base.labels import Labels
from components.base.network import plan_workload_flows
from settings.base import Environment
from settings.cluster import Peer


def test_an_exception_goes_with_the_network_that_contains_it() -> None:
    """The API server refuses an `except` that is no strict part of its own `cidr`."""
    peer = Peer(cidrs=["198.51.100.0/24", "203.0.113.0/24", "::/0"], except_cidrs=["203.0.113.8/32"], ports=[443])
    labels = Labels(name="a", environment=Environment.DEV)
    policy = plan_workload_flows("a", "payments", labels, port=8080, ingress_from=[], egress_to={"banks": peer})
    assert [to["ipBlock"] for to in policy["spec"]["egress"][0]["to"]] == [
        {"cidr": "198.51.100.0/24"},
        {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/32"]},
        {"cidr": "::/0"},
    ]


@pytest.mark.parametrize("outside", ["198.51.100.0/24", "203.0.113.0/24", "::/64"])
def test_an_exception_that_no_network_strictly_contains_is_refused(outside: str) -> None:
    with pytest.raises(ValidationError, match="no strict part of any of cidrs"):
        Peer(cidrs=["203.0.113.0/24"], except_cidrs=[outside], ports=[443])
