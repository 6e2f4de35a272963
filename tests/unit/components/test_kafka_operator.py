"""An operator that the program installs, and the room that Kafka's pods have."""

from typing import Any

import pytest

from cli.check import find_violations
from components.kafka.component import peak_amounts
from tests.unit.stacks import STACKS, Changes, manifest, manifests_of, recording_of, settings_of

KAFKA = "kafka"
OPERATOR: Changes = {
    "kafka/operator": {
        "namespace": "strimzi",
        "installed_by_us": True,
        "chart": "oci://registry.example.com/charts/strimzi-kafka-operator",
    }
}


def of_kafka(stack: str, kind: str, name: str, changes: Changes | None = None) -> dict[str, Any]:
    return manifest(stack, kind, name, changes, namespace=KAFKA)


@pytest.mark.parametrize("stack", STACKS)
def test_the_namespaces_quota_holds_every_pod_at_its_peak(stack: str) -> None:
    kafka = settings_of(stack).kafka
    assert kafka is not None
    hard = of_kafka(stack, "ResourceQuota", "quota")["spec"]["hard"]
    assert int(hard["pods"]) >= peak_amounts(kafka)["pods"] == 12


def test_an_operator_of_ours_is_a_release_in_a_closed_namespace_and_waits_for_both_namespaces() -> None:
    found = recording_of("prod", OPERATOR).resources
    [release] = [r for r in found if r.type == "kubernetes:helm.sh/v3:Release"]
    inputs = release.inputs
    assert (inputs["chart"], inputs["version"]) == (OPERATOR["kafka/operator"]["chart"], "1.2.0")  # type: ignore[index]
    assert (inputs["namespace"], inputs["name"]) == ("strimzi", "strimzi")
    assert not inputs.get("skipCrds"), "the chart brings the CRDs, which Helm never deletes"
    values = inputs["values"]
    assert (values["watchNamespaces"], values["watchAnyNamespace"]) == ([KAFKA], False)
    assert release.retain_on_delete
    waited_for = {urn.rpartition("::")[2] for urn in release.dependencies}
    assert {"strimzi-namespace", f"{KAFKA}-namespace"} <= waited_for, "the chart puts RoleBindings into the watched one"
    pools = [r for r in found if r.type.endswith(":KafkaNodePool")]
    assert len(pools) == 2
    assert all(release.urn in pool.dependencies for pool in pools)
    [flows] = [
        m for m in manifests_of("prod", OPERATOR).values() if m["metadata"]["name"] == "strimzi-cluster-operator-flows"
    ]
    assert flows["spec"]["ingress"] == []
    assert not [r for r in recording_of("prod").resources if ":helm." in r.type]
    assert find_violations(found, "prod") == []
