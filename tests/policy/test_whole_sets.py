"""Rules that need more than one changed value: missing objects, second objects, other stacks, other kinds of pods."""

import dataclasses
from typing import Any

import pytest

from policies.evaluate import Finding, Resource, evaluate
from tests.policy.samples import (
    DEV,
    DIGEST,
    PROD,
    REMOVED,
    budget,
    changed,
    container,
    deployment,
    find,
    hpa,
    kubernetes,
    platform,
    platform_and,
    platform_with,
    platform_without,
    pod_spec,
    scaled_object,
)


def _said(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.policy, finding.message) for finding in findings]


def _replaced(old: Resource, new: Resource) -> list[Resource]:
    return [new if one.urn == old.urn else one for one in platform()]


def test_a_compliant_platform_has_no_finding() -> None:
    assert evaluate(platform(), DEV) == []


def test_the_same_platform_in_any_order_has_no_finding() -> None:
    assert evaluate(list(reversed(platform())), DEV) == []


def test_an_empty_stack_has_no_finding() -> None:
    assert evaluate([], DEV) == []


def test_a_second_scaler_on_a_workload_is_refused() -> None:
    findings = evaluate(platform_and(scaled_object("payment-service", 3, 20)), DEV)
    assert _said(findings) == [
        (
            "one-scaler-per-workload",
            (
                "ScaledObject payments/payment-service-scaler: scales Deployment 'payment-service', which"
                " HorizontalPodAutoscaler payments/payment-service-hpa already scales."
                " Allowed: one scaler per workload."
                " Fix: remove one of the two."
            ),
        )
    ]


def test_replicas_beside_a_scaler_need_to_be_ignored_after_the_start() -> None:
    service = find(platform(), "Deployment", "payment-service")
    findings = evaluate(_replaced(service, dataclasses.replace(service, ignore_changes=())), DEV)
    assert _said(findings) == [
        (
            "no-static-replicas-beside-scaler",
            (
                "Deployment payments/payment-service: fixes 3 replicas beside HorizontalPodAutoscaler"
                " payments/payment-service-hpa: each deployment would reset the scale. Allowed: no replicas, or the"
                " scaler's minimum with ignore_changes=['spec.replicas']. Fix: add that option."
            ),
        )
    ]
    without = dataclasses.replace(changed(service, "spec>replicas", REMOVED), ignore_changes=())
    assert evaluate(_replaced(service, without), DEV) == []


def test_replicas_beside_a_scaler_start_at_its_minimum() -> None:
    findings = evaluate(platform_with("Deployment", "payment-service", "spec>replicas", 5), DEV)
    assert _said(findings) == [
        (
            "no-static-replicas-beside-scaler",
            (
                "Deployment payments/payment-service: starts with 5 replicas. Allowed beside HorizontalPodAutoscaler"
                " payments/payment-service-hpa: its minimum, 3. Fix: start at the minimum."
            ),
        )
    ]


def test_replicas_that_the_scaler_has_set_on_the_live_object_are_no_violation() -> None:
    service = find(platform(), "Deployment", "payment-service")
    live = changed(changed(service, "spec>replicas", 17), "metadata>resourceVersion", "4711")
    assert evaluate(_replaced(service, live), DEV) == []


def test_what_the_program_declared_counts_where_the_provider_keeps_it_beside_the_live_object() -> None:
    service = dataclasses.replace(find(platform(), "Deployment", "payment-service"), ignore_changes=())
    declared = changed(service, "spec>replicas", REMOVED)
    live = dataclasses.replace(service, props={**service.props, "__inputs": declared.props})
    assert evaluate(_replaced(service, live), DEV) == []


def test_a_service_that_the_pack_does_not_list_holds_the_default_limits() -> None:
    service = [deployment("refund-service", "api", 2), budget("refund-service")]
    assert evaluate(platform_and(*service, hpa("refund-service", 2, 10, [])), DEV) == []
    (finding,) = evaluate(platform_and(*service, hpa("refund-service", 2, 11, [])), DEV)
    assert "scales up to 11 replicas. Allowed: 10 or fewer (the default limits, as 'refund-service'" in finding.message


def test_without_a_config_file_the_defaults_are_the_cautious_ones() -> None:
    findings = evaluate(platform(), {})
    assert {finding.policy for finding in findings} == {
        "scaling-limits",
        "named-peers-only",
        "scaler-metrics-have-a-source",
        "consumers-within-partitions",
    }
    assert any("scales up to 20 replicas. Allowed: 10 or fewer" in finding.message for finding in findings)


def test_a_scaler_that_leaves_its_minimum_out_has_the_api_servers() -> None:
    findings = evaluate(
        platform_with("HorizontalPodAutoscaler", "payment-service-hpa", "spec>minReplicas", REMOVED), DEV
    )
    assert "scales down to 1 replicas. Allowed: 3 or more" in "".join(finding.message for finding in findings)


@pytest.mark.parametrize(
    ("field", "value", "blocks"),
    [
        ("maxUnavailable", "0%", True),
        ("maxUnavailable", "1%", False),  # a percentage is rounded up: one pod
        ("minAvailable", 2, False),
        ("minAvailable", 3, True),
        ("minAvailable", "67%", True),  # 2.01 of 3, rounded up
        ("minAvailable", "66%", False),
    ],
)
def test_a_budget_allows_one_eviction_at_the_scalers_minimum(field: str, value: object, *, blocks: bool) -> None:
    old = find(platform(), "PodDisruptionBudget", "payment-service")
    new = changed(changed(old, "spec>maxUnavailable", REMOVED), f"spec>{field}", value)
    assert [finding.policy for finding in evaluate(_replaced(old, new), DEV)] == ["disruption-budget"] * blocks


def test_two_budgets_for_the_same_pods_are_refused() -> None:
    second = dataclasses.replace(budget("payment-service"), urn="urn:second")
    (finding,) = evaluate(platform_and(second), DEV)
    assert "2 budgets select its pods" in finding.message
    assert "refuses every eviction" in finding.message


def test_a_single_replica_without_a_scaler_needs_no_budget_but_none_may_block_it() -> None:
    single = deployment("reporting", "worker", 1)
    assert evaluate(platform_and(single), DEV) == []
    blocking = changed(budget("reporting"), "spec>maxUnavailable", 0)
    (finding,) = evaluate(platform_and(single, blocking), DEV)
    assert "allows no eviction of Deployment payments/reporting at 1 pods (its replicas)" in finding.message


@pytest.mark.parametrize("kind", ["ResourceQuota", "LimitRange"])
def test_a_namespace_without_a_guardrail_is_refused(kind: str) -> None:
    name = {"ResourceQuota": "quota", "LimitRange": "limits"}[kind]
    assert _said(evaluate(platform_without(kind, name), DEV)) == [
        ("namespace-guardrails", f"Namespace payments: has no {kind}. Allowed: at least one. Fix: declare one in it.")
    ]


def test_a_namespace_that_only_a_workload_names_needs_default_deny_too() -> None:
    stray = changed(deployment("stray", "worker", 1), "metadata>namespace", "elsewhere")
    findings = evaluate(platform_and(stray), DEV)
    assert [finding.policy for finding in findings] == ["default-deny", "default-deny"]
    assert all("Open today: the pods of Deployment elsewhere/stray." in finding.message for finding in findings)


def test_a_service_in_another_namespace_does_not_select_the_workload() -> None:
    findings = evaluate(platform_with("Service", "payment-service-svc", "metadata>namespace", "elsewhere"), DEV)
    assert [finding.policy for finding in findings] == ["service-targets"]


def test_production_wants_digests_and_its_own_label() -> None:
    findings = evaluate(platform(), PROD)
    assert {finding.policy for finding in findings} == {
        "required-labels",  # the sample says dev
        "zones-covered-at-minimum",  # and its consumers start at two
    }
    image = "registry.example.com/payments/payment-service:1.4.2"
    path = "spec>template>spec>containers>0>image"
    findings = evaluate(platform_with("Deployment", "payment-service", path, image), PROD)
    (finding,) = [one for one in findings if one.policy == "image-digests"]
    assert finding.message == (
        f"Deployment payments/payment-service: container 'api' uses image '{image}' without a digest."
        " Allowed here: name@sha256:<64 hex digits>. Fix: append the digest of the released image."
    )
    assert evaluate(platform_with("Deployment", "payment-service", path, image), DEV) == []


def test_images_come_from_the_registries_that_the_config_lists() -> None:
    allowed = {**DEV, "image-registries": {"allowed": ["registry.example.com/payments"]}}
    assert evaluate(platform(), allowed) == []
    path = "spec>template>spec>containers>0>image"
    (finding,) = evaluate(platform_with("Deployment", "payment-service", path, f"nginx@{DIGEST}"), allowed)
    assert finding.policy == "image-registries"
    assert "from 'docker.io'. Allowed: registry.example.com/payments." in finding.message
    lookalike = f"registry.example.com/payments-evil/app@{DIGEST}"
    assert len(evaluate(platform_with("Deployment", "payment-service", path, lookalike), allowed)) == 1


@pytest.mark.parametrize("key", ["initContainers", "ephemeralContainers"])
def test_init_and_ephemeral_containers_are_held_to_the_security_context(key: str) -> None:
    path = f"spec>template>spec>{key}"
    careless = container(name="helper", securityContext={"privileged": True})
    findings = evaluate(platform_with("Deployment", "payment-service", path, [careless]), DEV)
    assert {finding.policy for finding in findings} == {"restricted-security-context"}
    role = {"initContainers": "init container", "ephemeralContainers": "ephemeral container"}[key]
    assert any(f"{role} 'helper': is privileged" in finding.message for finding in findings)


_TEMPLATE = ("StatefulSet", "DaemonSet", "ReplicaSet", "Deployment", "Job")


@pytest.mark.parametrize("kind", [*_TEMPLATE, "CronJob", "Pod"])
def test_every_kind_that_has_pods_is_looked_into(kind: str) -> None:
    spec = pod_spec("worker", [container()], hostPID=True)
    template: dict[str, Any] = {"metadata": {"labels": {"app": "worker"}}, "spec": spec}
    selector = {"matchLabels": {"app": "worker"}}
    body = {
        "CronJob": {"spec": {"jobTemplate": {"spec": {"template": template}}}},
        "Pod": {"spec": spec},
    }.get(kind, {"spec": {"template": template, "selector": selector}})
    group = {"Pod": "core/v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    findings = evaluate(
        platform_and(kubernetes(f"{group}:{kind}", "worker", body, component="worker", service=True)), DEV
    )
    assert [finding.policy for finding in findings] == ["host-isolation"]
    assert findings[0].message.startswith(f"{kind} payments/worker: hostPID is true")


def test_operator_kinds_that_share_a_name_with_a_core_kind_are_left_alone() -> None:
    other = kubernetes(
        "serving.knative.dev/v1:Service", "knative", {"spec": {"selector": {"app": "none"}}}, service=True
    )
    assert evaluate(platform_and(other), DEV) == []


def test_a_long_list_of_open_workloads_is_cut_short() -> None:
    crowd = [changed(deployment(f"stray-{i}", "worker", 1), "metadata>namespace", "elsewhere") for i in range(7)]
    findings = evaluate(platform_and(*crowd), DEV)
    assert all("elsewhere/stray-4 and 2 more." in finding.message for finding in findings)
    assert len(findings) == 2


def test_a_listed_workload_may_reach_the_internet_on_named_ports_only() -> None:
    rule = "spec>egress>0>ports"
    name = "gateway-service-providers"
    assert evaluate(platform_with("NetworkPolicy", name, rule, [{"port": 443}, {"port": 8443}]), DEV) == []
    findings = evaluate(platform_with("NetworkPolicy", name, rule, [{"port": 443}, {"protocol": "TCP"}]), DEV)
    assert [finding.policy for finding in findings] == ["named-peers-only"]
