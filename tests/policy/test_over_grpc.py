"""The pack in its own process, driven over gRPC as the engine drives it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2
from pulumi.runtime.proto.analyzer_pb2 import AnalyzeResponse
from pulumi.runtime.proto.analyzer_pb2_grpc import AnalyzerStub

from policies.configuration import merge
from policies.evaluate import Resource, evaluate
from policies.pack import PACK_NAME, all_policies
from tests.policy.samples import DEV, UNKNOWN_MARK, find, platform, platform_with

PACK = Path(__file__).resolve().parents[2] / "policies"
_DEADLINE_SECONDS = 30
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


@pytest.fixture(scope="module")
def analyzer() -> Iterator[AnalyzerStub]:
    environment = {**os.environ, "PULUMI_PROJECT": "payments-platform", "PULUMI_STACK": "dev", "PULUMI_DRY_RUN": "true"}
    environment.pop("PYTHONPATH", None)  # the pack finds its own folder
    command = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(PACK)]
    with subprocess.Popen(command, cwd=PACK, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.strip().isdigit(), f"the pack printed {line!r} where its port belongs; see its stderr above"
            with grpc.insecure_channel(f"127.0.0.1:{int(line)}") as channel:
                stub = AnalyzerStub(channel)
                stub.ConfigureStack(
                    analyzer_pb2.AnalyzerStackConfigureRequest(
                        stack="dev", project="payments-platform", dry_run=True, tags={"environment": "dev"}
                    ),
                    timeout=_DEADLINE_SECONDS,
                )
                yield stub
        finally:
            process.terminate()
            process.wait(timeout=_DEADLINE_SECONDS)


def _configure(analyzer: AnalyzerStub, config: Mapping[str, object]) -> None:
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    for name, settings in merge(all_policies(), config).items():
        entry = request.policyConfig[name]
        entry.enforcementLevel = analyzer_pb2.EnforcementLevel.Value(settings.level.name)
        entry.properties.update(cast("dict[str, Any]", settings.properties))
    analyzer.Configure(request, timeout=_DEADLINE_SECONDS)


def _struct(props: Mapping[str, object]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(cast("dict[str, Any]", props))
    return struct


def _said(response: AnalyzeResponse) -> set[tuple[str, str]]:
    """Return policy and message of each diagnostic; the SDK puts the description on a line of its own before it."""
    return {(one.policyName, one.message.removeprefix(f"{one.description}\n")) for one in response.diagnostics}


def _analyze(analyzer: AnalyzerStub, resource: Resource) -> AnalyzeResponse:
    request = analyzer_pb2.AnalyzeRequest(
        type=resource.type,
        urn=resource.urn,
        name=resource.name,
        properties=_struct(resource.props),
        options=analyzer_pb2.AnalyzerResourceOptions(ignoreChanges=resource.ignore_changes),
    )
    return cast("AnalyzeResponse", analyzer.Analyze(request, timeout=_DEADLINE_SECONDS))


def _analyze_stack(analyzer: AnalyzerStub, resources: Sequence[Resource]) -> AnalyzeResponse:
    request = analyzer_pb2.AnalyzeStackRequest(
        resources=[
            analyzer_pb2.AnalyzerResource(
                type=one.type,
                urn=one.urn,
                name=one.name,
                properties=_struct(one.props),
                options=analyzer_pb2.AnalyzerResourceOptions(ignoreChanges=one.ignore_changes),
            )
            for one in resources
        ]
    )
    return cast("AnalyzeResponse", analyzer.AnalyzeStack(request, timeout=_DEADLINE_SECONDS))


def test_the_pack_introduces_itself(analyzer: AnalyzerStub) -> None:
    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty(), timeout=_DEADLINE_SECONDS)
    assert info.name == PACK_NAME
    assert [policy.name for policy in info.policies] == [policy.name for policy in all_policies()]
    assert {policy.enforcementLevel for policy in info.policies} == {analyzer_pb2.MANDATORY}
    assert all(policy.severity and policy.remediation_steps for policy in info.policies)
    limits = next(policy for policy in info.policies if policy.name == "scaling-limits")
    assert "limits" in limits.configSchema.properties


def test_a_compliant_platform_passes(analyzer: AnalyzerStub) -> None:
    _configure(analyzer, DEV)
    assert [_said(_analyze(analyzer, resource)) for resource in platform()] == [set()] * len(platform())
    assert _said(_analyze_stack(analyzer, platform())) == set()


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("HorizontalPodAutoscaler", "payment-service-hpa", "spec>maxReplicas", 21),
        ("HorizontalPodAutoscaler", "payment-service-hpa", "spec>scaleTargetRef>name", "payment-servise"),
        ("Deployment", "payment-service", "spec>template>spec>containers>0>securityContext", {"privileged": True}),
        ("Deployment", "payment-service", "spec>replicas", 7),
        ("PodDisruptionBudget", "payment-service", "spec>maxUnavailable", 0),
        ("NetworkPolicy", "default-deny", "spec>policyTypes", ["Ingress"]),
        ("ConfigMap", "payment-service", "data>DB_PASSWORD", "canary-7f3a91"),
    ],
)
def test_the_engine_sees_what_the_evaluation_in_process_sees(
    analyzer: AnalyzerStub,
    kind: str,
    name: str,
    path: str,
    value: object,
) -> None:
    _configure(analyzer, DEV)
    resources = platform_with(kind, name, path, value)
    responses = [*(_analyze(analyzer, resource) for resource in resources), _analyze_stack(analyzer, resources)]
    expected = {(finding.policy, finding.message) for finding in evaluate(resources, DEV)}
    assert expected
    assert set().union(*map(_said, responses)) == expected
    assert {one.enforcementLevel for response in responses for one in response.diagnostics} == {analyzer_pb2.MANDATORY}
    assert "canary" not in str(responses)


def test_a_stack_violation_names_the_resource(analyzer: AnalyzerStub) -> None:
    _configure(analyzer, DEV)
    resources = platform_with("PodDisruptionBudget", "payment-service", "spec>maxUnavailable", 0)
    (diagnostic,) = _analyze_stack(analyzer, resources).diagnostics
    assert diagnostic.urn == find(resources, "PodDisruptionBudget", "payment-service").urn


def test_the_configuration_reaches_the_rules(analyzer: AnalyzerStub) -> None:
    scaler = find(platform(), "HorizontalPodAutoscaler", "payment-service-hpa")
    for maximum, expected in ((20, 0), (19, 1)):
        limits = {"payment-service": {"minReplicas": 3, "maxReplicas": maximum}}
        _configure(analyzer, {"scaling-limits": {"enforcementLevel": "advisory", "limits": limits}})
        diagnostics = _analyze(analyzer, scaler).diagnostics
        assert [one.enforcementLevel for one in diagnostics] == [analyzer_pb2.ADVISORY] * expected
    _configure(analyzer, {"scaling-limits": "disabled"})
    assert _said(_analyze(analyzer, scaler)) == set()


def test_an_unknown_value_neither_hides_nor_downgrades_a_violation(analyzer: AnalyzerStub) -> None:
    _configure(analyzer, DEV)
    path = "spec>template>spec>containers>0"
    unknown = find(
        platform_with("Deployment", "payment-service", f"{path}>image", UNKNOWN_MARK), "Deployment", "payment-service"
    )
    assert _said(_analyze(analyzer, unknown)) == set()
    spec: Any = unknown.props["spec"]
    spec["template"]["spec"]["hostNetwork"] = True
    (diagnostic,) = _analyze(analyzer, unknown).diagnostics
    assert (diagnostic.policyName, diagnostic.enforcementLevel) == ("host-isolation", analyzer_pb2.MANDATORY)


def test_a_secret_stays_out_of_the_message(analyzer: AnalyzerStub) -> None:
    _configure(analyzer, DEV)
    variable = {"name": "DB_PASSWORD", "value": {**_SECRET, "value": "canary-7f3a91"}}
    path = "spec>template>spec>containers>0>env>0"
    resource = find(platform_with("Deployment", "payment-service", path, variable), "Deployment", "payment-service")
    response = _analyze(analyzer, resource)
    assert {policy for policy, _ in _said(response)} == {"no-secrets-in-pods"}
    assert "canary" not in str(response)
