"""What the pack says about images: one row per way to break a rule, with the exact message."""

import pytest

from tests.policy.cases import CONTAINER, Case, assert_violates

CASES = (
    Case(
        policy="image-tags",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">image",
        value="registry.example.com/payment-service:latest",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' uses image "
            "'registry.example.com/payment-service:latest' with the moving tag 'latest'. Allowed: a "
            "released version or a digest. Fix: name the version."
        ),
    ),
    Case(
        policy="image-tags",
        kind="Deployment",
        name="payment-service",
        path=CONTAINER + ">image",
        value="localhost:5000/payment-service",
        culprit="apps/v1:Deployment::payment-service",
        message=(
            "Deployment payments/payment-service: container 'api' uses image 'localhost:5000/payment-"
            "service' with no tag. Allowed: a released version or a digest. Fix: name the version."
        ),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_breaking_one_value_is_refused_with_the_reason(case: Case) -> None:
    assert_violates(case)
