"""The whole program through every policy: both stacks are clean, and each fault is found by exactly its policy."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from cli.check import find_violations
from cli.recording import Recorded
from policies.evaluate import Finding
from tests.unit.stacks import STACKS, Changes, platform_of, recording_of

Mutation = Callable[[list[Recorded]], list[Recorded]]
ZERO_DIGEST = f"registry.example.com/x@sha256:{'0' * 64}"


def names(findings: Sequence[Finding]) -> set[str]:
    assert all(finding.enforcement == "mandatory" for finding in findings)
    return {finding.policy for finding in findings}


def edited(name: str, edit: Callable[[Any], object]) -> Mutation:
    """Change the inputs of one resource in place."""

    def mutate(resources: list[Recorded]) -> list[Recorded]:
        assert [r.name for r in resources].count(name) == 1, name
        changed = []
        for resource in resources:
            inputs = deepcopy(dict(resource.inputs))
            if resource.name == name:
                edit(inputs)
            changed.append(replace(resource, inputs=inputs))
        return changed

    return mutate


def dropped(name: str) -> Mutation:
    def mutate(resources: list[Recorded]) -> list[Recorded]:
        left = [resource for resource in resources if resource.name != name]
        assert len(left) == len(resources) - 1, name
        return left

    return mutate


def without_ignored(name: str) -> Mutation:
    return lambda resources: [replace(r, ignore_changes=()) if r.name == name else r for r in resources]


def second_hpa(resources: list[Recorded]) -> list[Recorded]:
    [hpa] = [resource for resource in resources if resource.name == "payment-service-api-scaler"]
    inputs = deepcopy(dict(hpa.inputs))
    inputs["metadata"]["name"] = "another-hpa"
    return [*resources, replace(hpa, urn=f"{hpa.urn}-2", name="another-hpa", inputs=inputs)]


def container(inputs: Any) -> Any:
    return inputs["spec"]["template"]["spec"]["containers"][0]


def maximum(replicas: int) -> Callable[[Any], object]:
    """For both kinds of scaler."""
    return lambda inputs: inputs["spec"].update(
        {"maxReplicas" if "metrics" in inputs["spec"] else "maxReplicaCount": float(replicas)}
    )


def cpu_target(percent: int) -> Callable[[Any], object]:
    """For both kinds of scaler; cpu is the first metric of both."""

    def change(inputs: Any) -> None:
        if "metrics" in inputs["spec"]:
            inputs["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = float(percent)
        else:
            inputs["spec"]["triggers"][0]["metadata"]["value"] = str(percent)

    return change


def image(value: str) -> Callable[[Any], object]:
    return lambda inputs: container(inputs).update(image=value)


API = "payment-service-api-deployment"
CONSUMER = "payment-service-consumer-deployment"
SCALER = "payment-service-api-scaler"
PEERS = platform_of("prod")["services"]["payment-service"]["egress_to"]

MUTATIONS: dict[str, tuple[Mutation, set[str]]] = {
    "maximum above the limit": (edited(SCALER, maximum(21)), {"scaling-limits"}),
    "cpu target out of range": (
        edited(SCALER, cpu_target(95)),
        {"scaling-limits"},
    ),
    "no limits": (edited(API, lambda i: container(i)["resources"].pop("limits")), {"container-resources"}),
    "no readiness probe": (edited(API, lambda i: container(i).pop("readinessProbe")), {"container-probes"}),
    "no requests under a cpu target": (
        edited(API, lambda i: container(i)["resources"].pop("requests")),
        {"container-resources", "scaler-target-ready"},
    ),
    "budget dropped": (dropped("payment-service-api-pdb"), {"disruption-budget"}),
    "budget allows no eviction": (
        edited("payment-service-api-pdb", lambda i: i["spec"].update(maxUnavailable=0.0)),
        {"disruption-budget"},
    ),
    "default deny dropped": (dropped("payments-default-deny"), {"default-deny"}),
    "quota dropped": (dropped("payments-quota"), {"namespace-guardrails"}),
    "pod security not restricted": (
        edited(
            "payments-namespace",
            lambda i: i["metadata"]["labels"].update({"pod-security.kubernetes.io/enforce": "baseline"}),
        ),
        {"namespace-guardrails"},
    ),
    "replicas not ignored": (without_ignored(API), {"no-static-replicas-beside-scaler"}),
    "two autoscalers on one Deployment": (second_hpa, {"one-scaler-per-workload"}),
    "autoscaler without its target": (
        edited(SCALER, lambda i: i["spec"]["scaleTargetRef"].update(name="payment-servise")),
        # The misspelt name is not in the limits' table either, so the smaller defaults hold for it.
        {"scaler-target-ready", "scaling-limits"},
    ),
    "selector of another workload": (
        edited(CONSUMER, lambda i: i["spec"]["selector"]["matchLabels"].update(app="wallet-processors")),
        {"selector-matches-template"},
    ),
    "Service that selects nothing": (
        edited("payment-service-svc", lambda i: i["spec"]["selector"].update(app="nobody")),
        {"service-targets"},
    ),
    "Service to a port that is closed": (
        edited("payment-service-svc", lambda i: i["spec"]["ports"][0].update(targetPort=9999.0)),
        {"service-targets"},
    ),
    "Service open on the nodes": (
        edited("payment-service-svc", lambda i: i["spec"].update(type="NodePort")),
        {"cluster-internal-services"},
    ),
    "may run as root": (
        edited(API, lambda i: i["spec"]["template"]["spec"]["securityContext"].update(runAsNonRoot=False)),
        {"restricted-security-context"},
    ),
    "writable root": (
        edited(API, lambda i: container(i)["securityContext"].update(readOnlyRootFilesystem=False)),
        {"restricted-security-context"},
    ),
    "token mounted": (
        edited(API, lambda i: i["spec"]["template"]["spec"].update(automountServiceAccountToken=True)),
        {"service-accounts"},
    ),
    "host network": (
        edited(API, lambda i: i["spec"]["template"]["spec"].update(hostNetwork=True)),
        {"host-isolation"},
    ),
    "label missing": (edited(API, lambda i: i["metadata"]["labels"].pop("owner")), {"required-labels"}),
    "label of another environment": (
        edited(API, lambda i: i["metadata"]["labels"].update({"payments.dev/environment": "stage"})),
        {"required-labels"},
    ),
    "no zone spread": (
        edited(API, lambda i: i["spec"]["template"]["spec"].pop("topologySpreadConstraints")),
        {"zone-spread"},
    ),
    "API loses capacity while it rolls": (
        edited(API, lambda i: i["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1.0)),
        {"rolling-update-keeps-capacity"},
    ),
    "open to every pod": (
        edited("payment-service-api-flows", lambda i: i["spec"]["ingress"][0].pop("from")),
        {"named-peers-only"},
    ),
    "internet for a service that is not listed": (
        edited(
            "payment-service-api-flows",
            lambda i: i["spec"]["egress"][0].update(to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        ),
        {"named-peers-only"},
    ),
    "in the default namespace": (
        edited("payment-service-account", lambda i: i["metadata"].update(namespace="default")),
        {"no-default-namespace"},
    ),
}


@pytest.mark.parametrize("stack", STACKS)
def test_what_the_program_declares_is_clean(stack: str) -> None:
    assert find_violations(recording_of(stack).resources, stack) == []


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("fault", list(MUTATIONS))
def test_a_fault_is_found_by_exactly_its_policies(stack: str, fault: str) -> None:
    mutate, expected = MUTATIONS[fault]
    findings = find_violations(mutate(list(recording_of(stack).resources)), stack)
    assert names(findings) == expected, "\n".join(f"{f.policy}: {f.message}" for f in findings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("payment-service:latest", {"dev": {"image-tags"}, "prod": {"image-tags", "image-digests"}}),
        ("payment-service:1.0.1", {"dev": set(), "prod": {"image-digests"}}),
        (ZERO_DIGEST, {"dev": set(), "prod": set()}),
    ],
)
@pytest.mark.parametrize("stack", STACKS)
def test_t31_latest_is_refused_everywhere_and_prod_wants_digests(
    stack: str, value: str, expected: dict[str, set[str]]
) -> None:
    mutate = edited(API, image(value))
    assert names(find_violations(mutate(list(recording_of(stack).resources)), stack)) == expected[stack]


@pytest.mark.parametrize(
    ("stack", "changes", "expected"),
    [
        ("dev", {"services/payment-service/api/scaling/max_replicas": 21}, {"scaling-limits"}),
        ("prod", {"services/payment-service/api/scaling/max_replicas": 21}, {"scaling-limits"}),
        ("prod", {"services/wallet-service/api/scaling/min_replicas": 4}, {"scaling-limits"}),
        ("dev", {"services/gateway-service/api/scaling/cpu_target_percent": 81}, {"scaling-limits"}),
        ("prod", {"services/payment-service/egress_to": [*PEERS, "banks"]}, {"named-peers-only"}),
        ("dev", {"services/wallet-service/api/shutdown": {"pre_stop_seconds": 0}}, set()),
    ],
)
def test_settings_accept_what_the_policies_then_refuse(stack: str, changes: Changes, expected: set[str]) -> None:
    findings = find_violations(recording_of(stack, changes).resources, stack)
    assert names(findings) == expected, "\n".join(f"{f.policy}: {f.message}" for f in findings)


def test_a_finding_says_what_where_and_how_to_put_it_right() -> None:
    changes = {"services/payment-service/api/scaling/max_replicas": 21}
    [finding] = find_violations(recording_of("dev", changes).resources, "dev")
    assert finding.urn.endswith("::payment-service-api-scaler")
    assert "scales up to 21 replicas. Allowed: 20 or fewer" in finding.message
    assert finding.remediation
    assert finding.severity


def found_at(resources: Sequence[Recorded]) -> list[tuple[str, str, str]]:
    """Policy, resource and enforcement of everything that is found in dev."""
    return sorted((f.policy, f.urn.split("::")[-1], f.enforcement) for f in find_violations(resources, "dev"))


def test_a_fourth_service_is_held_to_the_default_limits_and_the_agreed_topics() -> None:
    block = platform_of("dev")["services"]["wallet-service"]
    block["consumer"] |= {"name": "refund-processors", "group": "refund-service-group"}
    resources = recording_of("dev", {"services/refund-service": block}).resources
    topics = [
        ("kafka-topics-agreed", f"kafka-topic-refund-service-group-{kind}", "mandatory")
        for kind in ("dead-letter", "retry")
    ]
    scalers = [("scaling-limits", f"refund-service-{part}-scaler", "mandatory") for part in ("api", "consumer")]
    assert found_at(resources) == [*topics, *scalers]
    block["api"]["scaling"]["max_replicas"] = block["consumer"]["scaling"]["max_replicas"] = 10
    assert found_at(recording_of("dev", {"services/refund-service": block}).resources) == topics
