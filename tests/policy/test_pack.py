"""The pack as a whole: complete metadata, config files that fit it, and modules that can live in its process."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pulumi_policy import EnforcementLevel, ResourceValidationPolicy
from pulumi_policy import policy as sdk

from policies.configuration import PolicyConfigError, config_path, load_config, merge
from policies.decoding import share_decoding
from policies.pack import all_policies
from policies.rules import Policy

PACK = Path(__file__).resolve().parents[2] / "policies"
POLICIES = all_policies()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_policy_says_what_why_and_how_to_fix(policy: Policy) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", policy.name)
    assert policy.enforcement_level is EnforcementLevel.MANDATORY
    assert policy.severity is not None
    assert policy.display_name
    assert policy.tags
    assert policy.description.endswith(".")
    assert policy.remediation_steps
    assert policy.remediation_steps.endswith(".")
    if policy.framework is not None:
        assert (policy.framework.name, policy.framework.version) == ("PCI DSS", "4.0.1")
        assert policy.framework.reference is not None
        assert re.fullmatch(r"\d+\.\d+\.\d+", policy.framework.reference)


def test_names_are_unique_and_the_rules_of_the_issue_are_all_there() -> None:
    names = [policy.name for policy in POLICIES]
    assert len(set(names)) == len(names)
    stack = {policy.name for policy in POLICIES if not isinstance(policy, ResourceValidationPolicy)}
    assert stack == {
        "breaker-only-holds",
        "consumers-within-partitions",
        "one-scaler-per-workload",
        "scaler-metrics-have-a-source",
        "scaler-target-ready",
        "no-static-replicas-beside-scaler",
        "disruption-budget",
        "default-deny",
        "namespace-guardrails",
        "service-targets",
        "edge-keeps-cookies-out-of-cache",
        "edge-rate-limit-present",
        "edge-waf-present",
        "edge-tls-settings",
        "edge-one-ruleset-per-phase",
        "entry-tls",
        "entry-rate-limit",
        "entry-retries-unseen",
        "cost-budget",
        "silence-is-heard",
        "cache-configuration",
        "cache-announced-addresses",
        "database-owner-apart",
        "kafka-topics-agreed",
        "kafka-group-has-one-application",
        "database-quorum",
        "database-connection-budget",
        "database-backup",
    }


def test_every_policy_has_a_violating_fixture() -> None:
    others = [path for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name]
    texts = "".join(path.read_text(encoding="utf-8") for path in others)
    assert [policy.name for policy in POLICIES if f'"{policy.name}"' not in texts] == []


def test_no_module_hides_one_of_the_standard_library() -> None:
    # The pack's folder is on the module path of its process: `selectors.py` there stops it before it starts.
    names = {path.stem for path in PACK.glob("*.py")} - {"__init__", "__main__"}
    assert names & set(sys.stdlib_module_names) == set()


def test_the_project_file_names_the_runtime_and_a_version() -> None:
    project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    assert project["runtime"] == {"name": "python", "options": {"toolchain": "pip", "virtualenv": "../.venv"}}
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["description"]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_each_config_file_fits_the_pack_and_weakens_nothing(stack: str) -> None:
    merged = merge(POLICIES, load_config(config_path(stack)))
    assert set(merged) == {policy.name for policy in POLICIES}
    assert {settings.level for settings in merged.values()} == {EnforcementLevel.MANDATORY}
    assert merged["image-digests"].properties == {"required": stack == "prod"}


def test_the_limits_are_those_of_the_plan() -> None:
    limits = merge(POLICIES, load_config(config_path("prod")))["scaling-limits"].properties["limits"]
    assert isinstance(limits, dict)
    assert {name: (one["minReplicas"], one["maxReplicas"]) for name, one in limits.items()} == {
        "payment-service": (3, 20),
        "wallet-service": (5, 15),
        "gateway-service": (2, 10),
        "payment-processors": (1, 24),
        "wallet-processors": (1, 16),
        "gateway-processors": (1, 12),
    }


def test_every_problem_of_a_config_is_reported_at_once() -> None:
    config = {
        "scaling-limit": {"limits": {}},
        "image-tags": "strict",
        "image-digests": {"required": "yes"},
        "zone-spread": {"zones": 3},
        "scaling-limits": {"limits": {"payment-service": {"maxReplica": 20}}},
        "container-probes": 7,
    }
    with pytest.raises(PolicyConfigError) as caught:
        merge(POLICIES, config)
    assert str(caught.value).splitlines() == [
        "policy config: there is no policy 'scaling-limit'. Did you mean 'scaling-limits'?",
        (
            "policy config: scaling-limits: limits.payment-service: Additional properties are not allowed"
            " ('maxReplica' was unexpected)."
        ),
        "policy config: zone-spread: there is no setting 'zones'. Allowed: none.",
        (
            "policy config: image-tags: the level 'strict' does not exist."
            " Allowed: advisory, mandatory, remediate, disabled."
        ),
        "policy config: image-digests: required: 'yes' is not of type 'boolean'.",
        "policy config: container-probes must be a level or an object.",
    ]


def test_a_level_for_all_is_overruled_by_the_policys_own() -> None:
    merged = merge(
        POLICIES, {"all": "advisory", "image-tags": "disabled", "zone-spread": {"enforcementLevel": "mandatory"}}
    )
    assert merged["image-tags"].level is EnforcementLevel.DISABLED
    assert merged["zone-spread"].level is EnforcementLevel.MANDATORY
    assert merged["scaling-limits"].level is EnforcementLevel.ADVISORY


def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('{"all": ', encoding="utf-8")
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(PolicyConfigError, match=r"dev\.json: line 1, column 9: Expecting value"):
        load_config(tmp_path / "dev.json")
    with pytest.raises(PolicyConfigError, match="must be an object"):
        load_config(tmp_path / "list.json")
    with pytest.raises(PolicyConfigError, match=r"qa\.json: no such file\. Beside it: dev\.json, list\.json"):
        load_config(tmp_path / "qa.json")


def test_decoding_is_left_alone_in_an_sdk_of_another_shape() -> None:
    assert share_decoding(ModuleType("another")) is False


def test_decoding_is_shared_within_one_call_only() -> None:
    copy = ModuleType("copy")
    copy.__dict__.update(sdk.__dict__)
    seen: list[object] = []

    class Servicer:
        def Analyze(self, request: dict[str, object], _context: object) -> None:  # noqa: N802 - the protocol's name
            seen.extend(copy.__dict__["deserialize_properties"](request) for _ in range(2))

    copy.__dict__["_PolicyAnalyzerServicer"] = Servicer
    assert share_decoding(copy) is True
    servicer = copy.__dict__["_PolicyAnalyzerServicer"]()
    for _ in range(2):
        servicer.Analyze({"a": 1}, None)
    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[0] is not seen[2]
    assert copy.__dict__["deserialize_properties"]({"a": 1}) == {"a": 1}
