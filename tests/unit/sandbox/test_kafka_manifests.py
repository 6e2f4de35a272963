"""KafkaTopics and KafkaUsers as requests of the admin protocol, without a broker."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.kafka_manifests import apply_manifests

TOPIC = {
    "kind": "KafkaTopic",
    "metadata": {"name": "payment-events"},
    "spec": {"partitions": 24, "replicas": 3, "config": {"min.insync.replicas": 2, "retention.ms": 1000}},
}
USER = {
    "kind": "KafkaUser",
    "metadata": {"name": "payment-processors"},
    "spec": {
        "authentication": {
            "type": "scram-sha-512",
            "password": {"valueFrom": {"secretKeyRef": {"name": "kafka-payment-processors", "key": "password"}}},
        },
        "authorization": {
            "type": "simple",
            "acls": [
                {
                    "type": "allow",
                    "host": "*",
                    "operations": ["Read", "DescribeConfigs"],
                    "resource": {"type": "topic", "name": "payment-", "patternType": "prefix"},
                }
            ],
        },
    },
}
CANARY = "canary-91c2"
PASSWORDS = {("kafka-payment-processors", "password"): CANARY}


class FakeAdmin:
    """Remembers what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def _answer(self, requests: Sequence[Any]) -> dict[int, "Future[None]"]:
        self.asked += requests
        done: Future[None] = Future()
        done.set_result(None)
        return dict.fromkeys(range(len(requests)), done)

    def create_topics(self, topics: Sequence[Any], **_: Any) -> dict[int, "Future[None]"]:
        return self._answer(topics)

    alter_user_scram_credentials = create_topics
    create_acls = create_topics


def test_a_topic_and_a_user_become_the_requests_that_their_fields_state() -> None:
    admin: Any = FakeAdmin()
    apply_manifests(admin, [TOPIC, USER], PASSWORDS)
    topic, credential, *rules = admin.asked
    assert (topic.topic, topic.num_partitions, topic.replication_factor) == ("payment-events", 24, 3)
    assert topic.config == {"min.insync.replicas": "2", "retention.ms": "1000"}
    assert (credential.user, credential.password) == ("payment-processors", CANARY.encode())
    found = [(r.restype.name, r.name, r.resource_pattern_type.name, r.principal, r.operation.name) for r in rules]
    assert found == [
        ("TOPIC", "payment-", "PREFIXED", "User:payment-processors", "READ"),
        ("TOPIC", "payment-", "PREFIXED", "User:payment-processors", "DESCRIBE_CONFIGS"),
    ]
    assert {rule.permission_type.name for rule in rules} == {"ALLOW"}


def _user(**spec: Any) -> dict[str, Any]:
    return {**USER, "spec": {**USER["spec"], **spec}}  # type: ignore[dict-item] # a document


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ({"kind": "Kafka", "metadata": {"name": "cluster"}}, "neither a KafkaTopic nor a KafkaUser"),
        (_user(authentication={"type": "tls"}), "authenticates by tls"),
        (_user(authorization={"type": "custom"}), "authorised by custom"),
    ],
)
def test_what_it_cannot_carry_out_is_refused(manifest: dict[str, Any], told: str) -> None:
    admin: Any = FakeAdmin()
    with pytest.raises(SandboxError, match=told):
        apply_manifests(admin, [manifest], PASSWORDS)
    assert admin.asked == []


def test_a_password_that_is_not_given_is_named_by_its_secret() -> None:
    admin: Any = FakeAdmin()
    with pytest.raises(SandboxError, match="wants key password of Secret kafka-payment-processors"):
        apply_manifests(admin, [USER], {})
