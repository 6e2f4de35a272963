"""Label selectors: the answers of Kubernetes, and a third one where a label is not known."""

import pytest

from policies.label_selectors import Match, is_empty, selects
from policies.values import UNKNOWN

_LABELS = {"app": "payment-service", "tier": "api"}


def _expression(operator: str, key: str = "tier", *values: object) -> dict[str, object]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "payment-service"}}, True),
        ({"matchLabels": {"app": "payment-service", "tier": "worker"}}, False),
        ({"matchLabels": {"zone": "a"}}, False),
        (_expression("Exists"), True),
        (_expression("Exists", "zone"), False),
        (_expression("DoesNotExist"), False),
        (_expression("DoesNotExist", "zone"), True),
        (_expression("In", "tier", "api", "web"), True),
        (_expression("In", "tier", "web"), False),
        (_expression("In", "zone", "a"), False),
        (_expression("NotIn", "tier", "web"), True),
        (_expression("NotIn", "tier", "api"), False),
        (_expression("NotIn", "zone", "a"), True),  # a missing label is not in any list
        ({"matchLabels": {"app": "other"}, **_expression("Exists")}, False),
        (_expression("In", "tier", UNKNOWN), UNKNOWN),
        ({"matchLabels": {"app": UNKNOWN}}, UNKNOWN),
        ({"matchLabels": {"app": UNKNOWN, "tier": "worker"}}, False),  # one known mismatch decides
        ({"matchExpressions": [UNKNOWN]}, UNKNOWN),
        (UNKNOWN, UNKNOWN),
    ],
    ids=repr,
)
def test_selectors(selector: object, expected: Match) -> None:
    assert selects(selector, _LABELS) is expected


def test_labels_that_are_not_known_are_never_a_mismatch() -> None:
    assert selects({"matchLabels": {"app": "x"}}, UNKNOWN) is UNKNOWN
    assert selects(_expression("In", "tier", "web"), {"tier": UNKNOWN}) is UNKNOWN


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {}}, True),
        ({"matchLabels": {"app": "x"}}, False),
        (_expression("Exists"), False),
        (UNKNOWN, False),
        ({"matchLabels": UNKNOWN}, False),
    ],
    ids=repr,
)
def test_an_empty_selector_selects_everything(selector: object, *, expected: bool) -> None:
    assert is_empty(selector) is expected
