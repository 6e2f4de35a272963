"""What Strimzi's entity operator does with KafkaTopics and KafkaUsers, as far as a test of them needs it."""

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined] # missing in its stubs only
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from confluent_kafka.cimpl import NewTopic

from sandbox.errors import SandboxError

_ITERATIONS = 4096
_TIMEOUT_SECONDS = 120.0
Manifest = Mapping[str, Any]


def apply_manifests(
    admin: AdminClient, manifests: Iterable[Manifest], passwords: Mapping[tuple[str, str], str]
) -> None:
    """Create the topics and users that ``kafka.strimzi.io/v1`` objects describe, by calls of the admin protocol.

    KafkaTopic: ``spec.topicName`` or the object's name, ``partitions``, ``replicas`` and ``config`` become a
    CreateTopics request. KafkaUser: the password is looked up in ``passwords`` by Secret name and key and becomes a
    SCRAM-SHA-512 credential; each operation of each rule of ``authorization.acls`` becomes one ACL. ``spec.quotas`` are
    carried out by ``kafka_quotas``: the client library has no request for them. Raises ``SandboxError`` for the rest.
    """
    topics: list[NewTopic] = []
    credentials: list[UserScramCredentialAlteration] = []
    rules: list[AclBinding] = []
    for manifest in manifests:
        if manifest["kind"] == "KafkaTopic":
            topics.append(_topic(manifest))
        elif manifest["kind"] == "KafkaUser":
            credentials.append(_credential(manifest, passwords))
            rules += _rules(manifest)
        else:
            raise SandboxError(
                f"{manifest['kind']} {manifest['metadata']['name']} is neither a KafkaTopic nor a KafkaUser",
                next_step="leave it out",
            )
    answers: list[Future[Any]] = []
    if topics:
        answers += admin.create_topics(topics, operation_timeout=_TIMEOUT_SECONDS).values()
    if credentials:
        answers += admin.alter_user_scram_credentials(credentials).values()
    if rules:
        answers += admin.create_acls(rules).values()
    for answer in answers:
        answer.result(timeout=_TIMEOUT_SECONDS)


def _topic(manifest: Manifest) -> NewTopic:
    spec = manifest["spec"]
    return NewTopic(
        spec.get("topicName", manifest["metadata"]["name"]),
        num_partitions=spec["partitions"],
        replication_factor=spec["replicas"],
        config={key: str(value) for key, value in spec.get("config", {}).items()},
    )


def _credential(manifest: Manifest, passwords: Mapping[tuple[str, str], str]) -> UserScramCredentialUpsertion:
    name, authentication = manifest["metadata"]["name"], manifest["spec"]["authentication"]
    if authentication["type"] != "scram-sha-512":
        raise SandboxError(f"KafkaUser {name} authenticates by {authentication['type']}", next_step="use scram-sha-512")
    reference = authentication["password"]["valueFrom"]["secretKeyRef"]
    wanted = (reference["name"], reference["key"])
    if wanted not in passwords:
        raise SandboxError(f"KafkaUser {name} wants key {wanted[1]} of Secret {wanted[0]}", next_step="give its value")
    information = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    return UserScramCredentialUpsertion(name, information, passwords[wanted].encode())


def _rules(manifest: Manifest) -> list[AclBinding]:
    name, authorization = manifest["metadata"]["name"], manifest["spec"]["authorization"]
    if authorization["type"] != "simple":
        raise SandboxError(f"KafkaUser {name} is authorised by {authorization['type']}", next_step="use simple")
    return [
        AclBinding(
            ResourceType[_resource(rule)],
            rule["resource"].get("name", "kafka-cluster"),
            ResourcePatternType.PREFIXED
            if rule["resource"].get("patternType") == "prefix"
            else ResourcePatternType.LITERAL,
            f"User:{name}",
            rule.get("host", "*"),
            AclOperation[_operation(operation)],
            AclPermissionType.DENY if rule.get("type") == "deny" else AclPermissionType.ALLOW,
        )
        for rule in authorization["acls"]
        for operation in rule["operations"]
    ]


def _resource(rule: Manifest) -> str:
    kind = str(rule["resource"]["type"])
    return {"topic": "TOPIC", "group": "GROUP", "cluster": "BROKER", "transactionalId": "TRANSACTIONAL_ID"}[kind]


def _operation(name: str) -> str:
    """``DescribeConfigs`` → ``DESCRIBE_CONFIGS``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
