"""KafkaUsers: what each Deployment may do, and nothing else; everything that no rule allows is denied."""

from collections.abc import Iterable, Mapping
from typing import Any

from components.base.manifests import Manifest, metadata
from components.kafka.model import API_VERSION, KafkaContext
from settings.kafka import KafkaQuota
from settings.kafka_names import PlannedUser, dead_letter_topic, retry_topic

_HOST = "*"
PASSWORD_KEY = "password"  # noqa: S105 # a key's name


def plan_users(context: KafkaContext) -> dict[str, Manifest]:
    """User name → KafkaUser."""
    return {name: _user(user, context) for name, user in context.users.items()}


def password_secret(user: PlannedUser) -> tuple[str, str]:
    """Name and key of the Secret that holds a user's password, the same in both namespaces."""
    if user.password.existing_secret is not None:
        return user.password.existing_secret, user.password.key
    return f"kafka-{user.name}", PASSWORD_KEY


def plan_password_secrets(context: KafkaContext, values: Mapping[str, Any]) -> dict[str, Manifest]:
    """Role → Secret, in both namespaces, of the users whose password is a Pulumi secret of the stack.

    ``values`` maps config keys to secret outputs in base64; nothing here reads them.
    """
    return {
        f"password-{name}-{where}": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata(password_secret(user)[0], labels=context.labels("secret"), namespace=namespace),
            "type": "Opaque",
            "data": {PASSWORD_KEY: values[user.password.config_key]},
        }
        for name, user in context.users.items()
        if user.password.config_key is not None
        for where, namespace in (("kafka", context.namespace), ("services", context.services_namespace))
    }


def _user(user: PlannedUser, context: KafkaContext) -> Manifest:
    secret, key = password_secret(user)
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaUser",
        "metadata": metadata(
            user.name, labels=context.labels("user"), namespace=context.namespace, annotations=context.annotations
        ),
        "spec": {
            "authentication": {
                "type": "scram-sha-512",
                "password": {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}},
            },
            "authorization": {"type": "simple", "acls": _merged(_rules(user, context))},
            **({} if user.quota is None else {"quotas": quota_rates(user.quota)}),
        },
    }


def _rules(user: PlannedUser, context: KafkaContext) -> Iterable[tuple[str, str, tuple[str, ...]]]:
    """Resource type, its name, operations."""
    for topic in user.produces:
        yield "topic", topic, ("Describe", "Write")
    if user.consumer is not None:
        group = user.consumer.group
        yield "topic", user.consumer.topic, ("Describe", "Read")
        yield "topic", retry_topic(group), ("Describe", "Read", "Write")
        yield "topic", dead_letter_topic(group), ("Describe", "Write")
        # Retries are read by a group of their own, named like their topic: they never hold up the main one.
        yield "group", group, ("Read",)
        yield "group", retry_topic(group), ("Read",)
    if user.watches_lag:
        for topic in sorted(context.topics):
            yield "topic", topic, ("Describe",)
        groups = {other.consumer.group for other in context.users.values() if other.consumer is not None}
        for group in sorted({*groups, *map(retry_topic, groups)}):
            yield "group", group, ("Describe",)


def _merged(rules: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[dict[str, Any]]:
    """One rule for each resource, with the operations of all."""
    operations: dict[tuple[str, str], set[str]] = {}
    for kind, name, allowed in rules:
        operations.setdefault((kind, name), set()).update(allowed)
    return [
        {
            "type": "allow",
            "resource": {"type": kind, "name": name, "patternType": "literal"},
            "operations": sorted(allowed),
            "host": _HOST,
        }
        for (kind, name), allowed in operations.items()
    ]


def quota_rates(quota: KafkaQuota) -> dict[str, Any]:
    """A quota in Strimzi's spelling, the same for one user and for all."""
    return {
        "producerByteRate": quota.produced_bytes_per_second,
        "consumerByteRate": quota.consumed_bytes_per_second,
        "requestPercentage": quota.request_percent,
    }
