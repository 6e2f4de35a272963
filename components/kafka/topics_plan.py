"""KafkaTopics: the plan's, and a retry and a dead-letter topic for each consumer group."""

from typing import Any

from components.base.manifests import Manifest, metadata
from components.kafka.model import API_VERSION, KafkaContext
from settings.kafka_names import PlannedTopic
from settings.topics import Cleanup

KEY_ANNOTATION = "payments.dev/message-key"
"""The field whose value is the key of every message; absent: the messages have none."""
_HOUR_MILLISECONDS = 3600 * 1000


def plan_topics(context: KafkaContext) -> dict[str, Manifest]:
    """Topic name → KafkaTopic, in the order of ``context.topics``."""
    return {name: _topic(topic, context) for name, topic in context.topics.items()}


def topic_config(topic: PlannedTopic) -> dict[str, Any]:
    """The topic's own configuration, in Kafka's spelling."""
    config: dict[str, Any] = {
        "cleanup.policy": str(topic.cleanup),
        "compression.type": str(topic.compression),
        "max.message.bytes": topic.max_message_bytes,
        "min.insync.replicas": topic.min_in_sync_replicas,
    }
    if topic.cleanup is not Cleanup.COMPACT:  # compaction alone never deletes by age
        config["retention.ms"] = topic.retention_hours * _HOUR_MILLISECONDS
    return config


def _topic(topic: PlannedTopic, context: KafkaContext) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaTopic",
        "metadata": metadata(
            topic.name,
            labels={**context.labels("topic"), "payments.dev/topic-role": str(topic.role)},
            namespace=context.namespace,
            annotations={**context.annotations, **({KEY_ANNOTATION: topic.key} if topic.key is not None else {})},
        ),
        "spec": {
            "partitions": topic.partitions,
            "replicas": context.kafka.replication_factor,
            "config": topic_config(topic),
        },
    }
