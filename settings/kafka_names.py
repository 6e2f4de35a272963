"""Names that other things resolve, and the topics that a stack has beside those that it states."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from settings.kafka import Kafka, KafkaPassword, KafkaQuota, KafkaUser
from settings.services import Consumer, Service
from settings.topics import Cleanup, Compression, Topic

CLUSTER_NAME = "kafka-cluster"
LISTENER = "tls"
CLIENT_PORT = 9093
PROTOCOL = "SASL_SSL"
MECHANISM = "SCRAM-SHA-512"
BOOTSTRAP_VARIABLE = "KAFKA_BROKERS"


class TopicRole(StrEnum):
    """What a topic is for."""

    MAIN = "main"
    RETRY = "retry"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTopic:
    """One topic of the cluster with everything that it is created with."""

    name: str
    role: TopicRole
    partitions: int
    key: str | None
    retention_hours: int
    cleanup: Cleanup
    compression: Compression
    min_in_sync_replicas: int
    max_message_bytes: int
    path: str
    """Where a stack file states its partitions."""
    group: str | None = None
    """Consumer group that a retry or dead-letter topic belongs to."""


def bootstrap_servers(namespace: str) -> str:
    """Host and port that clients start from; the brokers' certificates name this host."""
    return f"{CLUSTER_NAME}-kafka-bootstrap.{namespace}.svc:{CLIENT_PORT}"


def retry_topic(group: str) -> str:
    """Where a group puts a message that it could not process, to try again later."""
    return f"{group}-retry"


def dead_letter_topic(group: str) -> str:
    """Where a group puts a message that it gives up, with the reason in its headers."""
    return f"{group}-dead-letter"


def plan_all_topics(
    kafka: Kafka, topics: Mapping[str, Topic], services: Mapping[str, Service]
) -> dict[str, PlannedTopic]:
    """Every topic by name: the stated ones, then a retry and a dead-letter topic for each consumer group."""
    planned = {name: _main(name, topic, kafka) for name, topic in topics.items()}
    for service in services.values():
        consumer = service.consumer
        if consumer is None or consumer.topic not in topics:
            continue  # an unknown topic is reported by the settings' own rules
        source = planned[consumer.topic]
        for topic in (
            _of_group(retry_topic(consumer.group), TopicRole.RETRY, consumer.group, source, kafka),
            _of_group(dead_letter_topic(consumer.group), TopicRole.DEAD_LETTER, consumer.group, source, kafka),
        ):
            planned.setdefault(topic.name, topic)
    return planned


def _main(name: str, topic: Topic, kafka: Kafka) -> PlannedTopic:
    return PlannedTopic(
        name=name,
        role=TopicRole.MAIN,
        partitions=topic.partitions,
        key=topic.key,
        retention_hours=topic.retention_hours,
        cleanup=topic.cleanup,
        compression=topic.compression,
        min_in_sync_replicas=topic.min_in_sync_replicas or kafka.min_in_sync_replicas,
        max_message_bytes=topic.max_message_bytes,
        path=f"topics.{name}.partitions",
    )


def _of_group(name: str, role: TopicRole, group: str, source: PlannedTopic, kafka: Kafka) -> PlannedTopic:
    """Keyed like the topic that the group reads; a little larger, for the headers that say what went wrong."""
    section = kafka.retry if role is TopicRole.RETRY else kafka.dead_letter
    return PlannedTopic(
        name=name,
        role=role,
        partitions=section.partitions,
        key=source.key,
        retention_hours=section.retention_hours,
        cleanup=Cleanup.DELETE,
        compression=source.compression,
        min_in_sync_replicas=source.min_in_sync_replicas,
        max_message_bytes=source.max_message_bytes + HEADER_BYTES,
        path=f"kafka.{role.value.replace('-', '_')}.partitions",
        group=group,
    )


HEADER_BYTES = 16 * 1024
"""Room for the headers of a message that failed: topic, partition, offset, attempts and the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedUser:
    """One user of the brokers with everything that it may do."""

    name: str
    password: KafkaPassword
    produces: tuple[str, ...] = ()
    consumer: Consumer | None = None
    """The consumers that sign in with it."""
    watches_lag: bool = False
    quota: KafkaQuota | None = None

    @property
    def is_workload(self) -> bool:
        """Whether pods of a service sign in with it."""
        return not self.watches_lag


def plan_all_users(kafka: Kafka, services: Mapping[str, Service]) -> dict[str, PlannedUser]:
    """Every user by name: each Deployment that reads or writes a topic, then those that watch the lag."""
    users = {}
    for name, service in services.items():
        if service.api.produces:
            users[name] = _user(name, kafka.users.get(name), produces=tuple(service.api.produces))
        consumer = service.consumer
        if consumer is not None:
            stated = kafka.users.get(consumer.name)
            users[consumer.name] = _user(consumer.name, stated, produces=tuple(consumer.produces), consumer=consumer)
    for name, stated in kafka.users.items():
        if stated.watches_lag:
            users.setdefault(name, _user(name, stated, watches_lag=True))
    return users


def _user(
    name: str,
    stated: KafkaUser | None,
    *,
    produces: tuple[str, ...] = (),
    consumer: Consumer | None = None,
    watches_lag: bool = False,
) -> PlannedUser:
    own = stated or KafkaUser()
    return PlannedUser(
        name=name,
        password=own.password or KafkaPassword(existing_secret=f"kafka-{name}"),
        produces=produces,
        consumer=consumer,
        watches_lag=watches_lag,
        quota=own.quota,
    )
