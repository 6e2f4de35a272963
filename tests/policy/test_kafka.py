"""What the pack says about Kafka: replication, listeners, rules, protection, and the table of topics."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import UNKNOWN_MARK, deployment, kubernetes

KAFKA = "kafka.strimzi.io/v1"
TABLE = {"payment-events": {"partitions": 24, "key": "user_id"}, "audit-events": {"partitions": 3, "key": None}}
CONFIG: Mapping[str, Any] = {
    "kafka-topics-agreed": {"topics": TABLE},
    "kafka-state-is-protected": {"required": True},
}
CLUSTER: dict[str, Any] = {
    "kafka": {
        "listeners": [{"name": "tls", "port": 9093, "tls": True, "authentication": {"type": "scram-sha-512"}}],
        "authorization": {"type": "simple"},
        "config": {
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "auto.create.topics.enable": False,
        },
    }
}
POOL: dict[str, Any] = {"storage": {"volumes": [{"id": 0, "type": "persistent-claim", "deleteClaim": False}]}}
USER: dict[str, Any] = {
    "authorization": {
        "acls": [
            {
                "resource": {"type": "topic", "name": "payment-events", "patternType": "literal"},
                "operations": ["Describe", "Read"],
            },
            {"resource": {"type": "group", "name": "payment-service-group"}, "operations": ["Read"]},
        ]
    }
}


def protected(resource: Resource) -> Resource:
    return dataclasses.replace(resource, protect=True)


def topic(name: str, partitions: object, key: str | None, **changes: Any) -> Resource:
    body: dict[str, Any] = {
        "spec": {
            "partitions": partitions,
            "replicas": 3,
            "config": {"min.insync.replicas": 2, "cleanup.policy": "delete", "retention.ms": 168 * 3600 * 1000},
        }
    }
    body["spec"] |= changes
    found = kubernetes(f"{KAFKA}:KafkaTopic", name, body)
    metadata = dict(found.props["metadata"])  # type: ignore[call-overload]
    if key is not None:
        metadata["annotations"] = {"payments.dev/message-key": key}
    return protected(dataclasses.replace(found, props={**found.props, "metadata": metadata}))


def good() -> dict[str, Resource]:
    return {
        "cluster": protected(kubernetes(f"{KAFKA}:Kafka", "kafka-cluster", {"spec": copy.deepcopy(CLUSTER)})),
        "pool": protected(kubernetes(f"{KAFKA}:KafkaNodePool", "broker", {"spec": copy.deepcopy(POOL)})),
        "user": kubernetes(f"{KAFKA}:KafkaUser", "payment-processors", {"spec": copy.deepcopy(USER)}),
        "payment": topic("payment-events", 24, "user_id"),
        "audit": topic("audit-events", 3, None),
    }


def found(**changes: Resource | None) -> list[tuple[str, str]]:
    """(policy, message) for the compliant objects with some replaced, added or (None) left out."""
    resources = [resource for resource in {**good(), **changes}.values() if resource is not None]
    return [
        (f.policy, f.message) for f in evaluate(resources, CONFIG) if f.policy.startswith("kafka-")
    ]  # what is not Kafka's is not what these objects are about


def with_spec(role: str, path: str, value: object) -> Resource:
    base = good()[role]
    props = copy.deepcopy(dict(base.props))
    node: Any = props["spec"]
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(">")]
    for part in parents:
        node = node[part]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return dataclasses.replace(base, props=props)


def test_a_compliant_cluster_has_no_finding() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("role", "path", "value", "policy", "words"),
    [
        ("payment", "replicas", 2, "kafka-replication", "replicas is 2. Allowed: at least 3"),
        ("payment", "config>min.insync.replicas", 1, "kafka-replication", "is 1. Allowed: at least 2"),
        ("payment", "config>min.insync.replicas", 3, "kafka-replication", "is 3 of 3 replicas"),
        ("payment", "config>min.insync.replicas", None, "kafka-replication", "is not set. Allowed: at least 2"),
        ("cluster", "kafka>config>default.replication.factor", 1, "kafka-replication", "at least 3"),
        ("cluster", "kafka>config>min.insync.replicas", None, "kafka-replication", "is not set"),
        ("cluster", "kafka>config>offsets.topic.replication.factor", 1, "kafka-replication", "is 1"),
        ("cluster", "kafka>config>auto.create.topics.enable", True, "kafka-replication", "is true. Allowed: false"),
        ("cluster", "kafka>config>auto.create.topics.enable", None, "kafka-replication", "is not set. Allowed: false"),
        ("cluster", "kafka>config>unclean.leader.election.enable", True, "kafka-replication", "is true"),
        ("cluster", "kafka>listeners>0>tls", False, "kafka-listeners-closed", "in plain text"),
        ("cluster", "kafka>listeners>0>authentication", None, "kafka-listeners-closed", "asks nobody who he is"),
        ("cluster", "kafka>authorization", None, "kafka-listeners-closed", "every user may do everything"),
        ("cluster", "kafka>authorization>type", "custom", "kafka-listeners-closed", "authorization.type is 'custom'"),
        ("cluster", "kafka>authorization>superUsers", ["root"], "kafka-listeners-closed", "superUsers holds 'root'"),
        ("cluster", "kafka>config>allow.everyone.if.no.acl.found", True, "kafka-listeners-closed", "everybody"),
        ("user", "authorization>acls>0>resource>name", "*", "kafka-acls-are-narrow", "covers 'topic' '*'"),
        ("user", "authorization>acls>0>resource>patternType", "prefix", "kafka-acls-are-narrow", "as a prefix"),
        ("user", "authorization>acls>0>resource>type", "cluster", "kafka-acls-are-narrow", "covers 'cluster'"),
        ("user", "authorization>acls>0>operations", ["All"], "kafka-acls-are-narrow", "allows 'All'"),
        ("pool", "storage>volumes>0>deleteClaim", True, "kafka-state-is-protected", "goes with its pool"),
        ("pool", "storage>volumes>0>type", "ephemeral", "kafka-state-is-protected", "goes with its pod"),
        ("payment", "partitions", 12, "kafka-topics-agreed", "has 12 partitions. Allowed: 24"),
        ("payment", "partitions", 48, "kafka-topics-agreed", "break their order"),
        ("payment", "config>retention.ms", -1, "kafka-retention-bounded", "keeps messages for ever"),
        ("payment", "config>retention.ms", 3_600_000, "kafka-retention-bounded", "keeps messages 1 hours"),
        ("payment", "config>retention.ms", 721 * 3_600_000, "kafka-retention-bounded", "721 hours"),
        ("payment", "config>retention.ms", None, "kafka-retention-bounded", "is not set"),
        ("payment", "topicName", "payments", "kafka-topic-names", "is the topic 'payments'"),
    ],
)
def test_a_changed_value_is_refused_and_an_unknown_one_passed_over(
    role: str, path: str, value: object, policy: str, words: str
) -> None:
    findings = found(**{role: with_spec(role, path, value)})
    assert {name for name, _ in findings} == {policy}
    assert any(words in message for _, message in findings)
    assert all(" Fix: " in message for _, message in findings)
    if value is not None:
        assert found(**{role: with_spec(role, path, UNKNOWN_MARK)}) == []


@pytest.mark.parametrize("role", ["cluster", "pool", "payment"])
def test_state_that_may_be_deleted_is_refused_where_protection_is_required(role: str) -> None:
    bare = dataclasses.replace(good()[role], protect=False)
    ((policy, message),) = found(**{role: bare})
    assert policy == "kafka-state-is-protected"
    assert "an update may delete it" in message
    lenient = {**CONFIG, "kafka-state-is-protected": {"required": False}}
    rest = {**good(), role: bare}.values()
    assert [f for f in evaluate(list(rest), lenient) if f.policy.startswith("kafka-")] == []


def test_a_topic_without_a_key_may_grow_and_none_may_change_its_key() -> None:
    assert found(audit=topic("audit-events", 6, None)) == []
    ((_, message),) = found(payment=topic("payment-events", 24, "payment_id"))
    assert "has the key 'payment_id'. Allowed: 'user_id'" in message
    ((_, message),) = found(payment=topic("payment-events", 24, None))
    assert "has the key not set" in message


def test_a_renamed_topic_is_two_findings_and_a_cluster_of_others_none() -> None:
    said = [message for policy, message in found(payment=topic("payments", 24, "user_id"))]
    assert any("is not in this pack's table" in message for message in said)
    assert any("the topic 'payment-events' of this pack's table is not declared" in message for message in said)
    assert len(said) == 2
    assert evaluate([], CONFIG) == []


@pytest.mark.parametrize("name", ["Payment-events", "payment_events", "payment.events", "payment--events", "events-"])
def test_names_that_cannot_be_told_apart_are_refused(name: str) -> None:
    assert "kafka-topic-names" in [policy for policy, _ in found(extra=topic(name, 3, None))]


def test_one_group_has_one_application_and_one_user() -> None:
    second = kubernetes(f"{KAFKA}:KafkaUser", "reports", {"spec": copy.deepcopy(USER)})
    ((policy, message),) = found(second=second)
    assert policy == "kafka-group-has-one-application"
    assert "consumer group 'payment-service-group', and so is KafkaUser payments/payment-processors" in message
    one = deployment("payment-processors", "consumer", 3, topic="payment-events")
    other = deployment("reports", "consumer", 3, topic="payment-events")
    same_group = [f for f in evaluate([one, other], CONFIG) if f.policy == "kafka-group-has-one-application"]
    assert len(same_group) == 1
    assert "Deployment payments/reports" in same_group[0].message


def test_kinds_of_another_group_are_left_alone() -> None:
    foreign = kubernetes("example.com/v1:KafkaTopic", "Foreign_Topic", {"spec": {"replicas": 1}})
    assert found(foreign=foreign) == []
