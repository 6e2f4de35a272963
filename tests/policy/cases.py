"""A row of the tables of violations, and how it is checked."""

from dataclasses import dataclass

from policies.evaluate import evaluate
from tests.policy.samples import DEV, UNKNOWN_MARK, platform_with

POD = "spec>template>spec"
CONTAINER = POD + ">containers>0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Setting `path` of one object to `value` breaks `policy`; `culprit` is `type::name` of the reported URN."""

    policy: str
    kind: str
    name: str
    path: str
    value: object
    culprit: str
    message: str

    def __str__(self) -> str:
        return f"{self.policy}-{self.kind}-{self.path.rpartition('>')[2]}"


def assert_violates(case: Case) -> None:
    """Check the policy, the URN and the whole message; that the value alone is at fault; and that it may be unknown."""
    found = [
        finding
        for finding in evaluate(platform_with(case.kind, case.name, case.path, case.value), DEV)
        if finding.policy == case.policy
    ]
    assert [(finding.urn, finding.message) for finding in found] == [
        (f"urn:pulumi:dev::payments-platform::kubernetes:{case.culprit}", case.message)
    ]
    assert found[0].enforcement == "mandatory"
    assert found[0].severity in ("medium", "high", "critical")
    assert found[0].remediation
    assert evaluate(platform_with(case.kind, case.name, case.path, UNKNOWN_MARK), DEV) == []
