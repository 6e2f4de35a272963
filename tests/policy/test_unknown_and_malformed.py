"""Values that the preview does not know, and values of the wrong shape: neither may hide or invent a finding."""

from collections.abc import Iterator

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import DEV, UNKNOWN_MARK, changed, leaves, platform

_MALFORMED: tuple[object, ...] = (7, [{}], {"a": {"b": [1]}})


def _with_each_value(mark: object, base: list[Resource]) -> Iterator[tuple[str, list[Resource]]]:
    for position, resource in enumerate(base):
        for path in leaves(resource.props):
            yield f"{resource.name}: {path}", [*base[:position], changed(resource, path, mark), *base[position + 1 :]]


def test_an_unknown_value_anywhere_in_a_compliant_platform_is_passed_over() -> None:
    surprises = {
        where: [finding.message for finding in findings]
        for where, resources in _with_each_value(UNKNOWN_MARK, platform())
        if (findings := evaluate(resources, DEV))
    }
    assert surprises == {}


def test_an_unknown_value_does_not_hide_a_violation_beside_it() -> None:
    base = platform()
    (position,) = [
        i for i, one in enumerate(base) if one.type.endswith(":Deployment") and one.name == "payment-service"
    ]
    broken = changed(base[position], "spec>template>spec>hostNetwork", True)  # noqa: FBT003 - a wire value
    broken = changed(broken, "spec>template>spec>volumes", UNKNOWN_MARK)
    broken = changed(broken, "spec>template>spec>containers>0>image", UNKNOWN_MARK)
    findings = evaluate([*base[:position], broken, *base[position + 1 :]], DEV)
    assert [(finding.policy, finding.enforcement) for finding in findings] == [("host-isolation", "mandatory")]


@pytest.mark.parametrize("mark", _MALFORMED, ids=repr)
def test_a_malformed_value_never_breaks_a_rule(mark: object) -> None:
    # One Deployment, one scaler, one Service, one policy stand for their kinds: the rules do not tell names apart.
    chosen = {"payment-service", "payment-service-hpa", "payment-service-svc", "wallet-processors-scaler", "payments"}
    base = [one for one in platform() if one.name in chosen]
    for where, resources in _with_each_value(mark, base):
        broken = [finding for finding in evaluate(resources, DEV) if "could not be evaluated" in finding.message]
        assert not broken, (where, broken)
