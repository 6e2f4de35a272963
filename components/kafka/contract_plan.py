"""Kafka's part of the contract: the listener, every topic, and how each consumer group behaves."""

from payments_client.kafka.contract import KafkaContract, KafkaGroup, KafkaTopic
from settings.kafka import ConsumerGroups
from settings.kafka_names import bootstrap_servers, dead_letter_topic, plan_all_topics, retry_topic
from settings.platform import Settings
from settings.services import Consumer


def kafka_contract(settings: Settings) -> KafkaContract | None:
    """What the services' client has to know, in the order of names; ``None`` where the stack declares no Kafka."""
    if settings.kafka is None:
        return None
    topics = plan_all_topics(settings.kafka, settings.topics, settings.services)
    consumers = [service.consumer for service in settings.services.values() if service.consumer is not None]
    return KafkaContract(
        bootstrap_servers=bootstrap_servers(settings.cluster.namespaces.kafka),
        topics=tuple(
            KafkaTopic(name=name, partitions=t.partitions, key=t.key, max_message_bytes=t.max_message_bytes)
            for name, t in sorted(topics.items())
        ),
        groups=tuple(
            _group(consumer, settings.kafka.groups) for consumer in sorted(consumers, key=lambda one: one.group)
        ),
    )


def _group(consumer: Consumer, groups: ConsumerGroups) -> KafkaGroup:
    return KafkaGroup(
        id=consumer.group,
        application=consumer.name,
        topic=consumer.topic,
        retry_topic=retry_topic(consumer.group),
        dead_letter_topic=dead_letter_topic(consumer.group),
        session_timeout_seconds=groups.session_timeout_seconds,
        heartbeat_interval_seconds=groups.heartbeat_interval_seconds,
        max_poll_records=groups.max_poll_records,
        max_poll_interval_seconds=groups.max_poll_interval_seconds,
        offset_reset=groups.offset_reset.value,
        assignment=groups.assignment.value,
        fetch_max_bytes=groups.fetch_max_bytes,
        max_partition_fetch_bytes=groups.max_partition_fetch_bytes,
        attempts=groups.attempts,
        retry_deliveries=groups.retry_deliveries,
        retry_delay_seconds=groups.retry_delay_seconds,
    )
