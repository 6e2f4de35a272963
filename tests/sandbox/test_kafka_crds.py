"""Kafka's objects of both stacks against the real API server with Strimzi's own CRDs, generated from its jars."""

import json
from copy import deepcopy
from typing import Any

import pytest

from sandbox import crds, strimzi_crds
from tests.sandbox.conftest import Cluster
from tests.unit.stacks import STACKS, manifests_of

_KINDS = {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser", "KafkaRebalance"}


def _objects(stack: str) -> list[dict[str, Any]]:
    return [m for m in manifests_of(stack).values() if m["apiVersion"] == "kafka.strimzi.io/v1"]


def _one(stack: str, kind: str) -> dict[str, Any]:
    return deepcopy(next(m for m in _objects(stack) if m["kind"] == kind))


def _dry_run(cluster: Cluster, *manifests: dict[str, Any]) -> str:
    """What the API server says about new objects in a namespace that exists, unknown fields being errors."""
    moved = [{**m, "metadata": {**m["metadata"], "namespace": "default"}} for m in manifests]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": moved})
    arguments = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    return cluster.kubectl(*arguments, standard_input=document, check=False)


@pytest.fixture(autouse=True)
def _real_schemas(cluster: Cluster) -> None:
    """The CRDs must be Strimzi's own; the sandbox's unchecked ones would accept anything."""
    assert strimzi_crds.can_generate(), (
        f"these tests need Maven and Java {strimzi_crds.OLDEST_JAVA} or newer: apt-get install maven, and a JDK"
    )
    found = cluster.get("crd", "kafkas.kafka.strimzi.io")["metadata"]["annotations"][crds.SOURCE_ANNOTATION]
    assert found == strimzi_crds.StrimziSet().source
    assert "unchecked" not in found


@pytest.mark.parametrize("stack", STACKS)
def test_every_object_is_accepted(cluster: Cluster, stack: str) -> None:
    objects = _objects(stack)
    assert {m["kind"] for m in objects} == _KINDS
    answer = _dry_run(cluster, *objects)
    assert answer.count("created (server dry run)") == len(objects), answer


@pytest.mark.parametrize("kind", sorted(_KINDS))
def test_a_field_that_the_crd_does_not_know_is_refused(cluster: Cluster, kind: str) -> None:
    wrong = _one("prod", kind)
    wrong["spec"]["replicsa"] = 3
    answer = _dry_run(cluster, wrong)
    assert "unknown field" in answer
    assert "replicsa" in answer


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("Kafka", ("kafka",), "replicas"),  # belongs to the pools since v1
        ("Kafka", ("kafka", "listeners", 0), "port_number"),
        ("Kafka", ("entityOperator", "topicOperator"), "zookeeperSessionTimeoutSeconds"),
        ("KafkaNodePool", ("template", "kafkaContainer", "securityContext"), "readOnly"),
        ("KafkaUser", ("authorization", "acls", 0), "operation"),  # the old, singular spelling
    ],
)
def test_an_unknown_field_far_inside_is_refused_too(
    cluster: Cluster, kind: str, path: tuple[str | int, ...], field: str
) -> None:
    wrong = _one("prod", kind)
    node = wrong["spec"]
    for part in path:
        node = node[part]
    node[field] = "x"
    answer = _dry_run(cluster, wrong)
    assert "unknown field" in answer
    assert field in answer


def test_an_old_version_of_the_api_is_refused(cluster: Cluster) -> None:
    old = {**_one("prod", "KafkaTopic"), "apiVersion": "kafka.strimzi.io/v1beta2"}
    assert "no matches for kind" in _dry_run(cluster, old)
