"""The brokers' own settings: ``spec.kafka.config`` of the Kafka object, and ``server.properties`` of any broker."""

from settings.kafka_names import HEADER_BYTES
from settings.platform import Settings

BrokerConfig = dict[str, str | int | bool]
_SECOND_MILLISECONDS = 1000
# Offsets of a group that is away longer are forgotten, and it would start at the earliest message again.
_OFFSETS_RETENTION_MINUTES = 30 * 24 * 60
_REBALANCE_DELAY_MILLISECONDS = 3000


def broker_config(settings: Settings) -> BrokerConfig:
    """Replication, durability and the bounds that clients are held to. Needs ``settings.kafka``."""
    kafka = settings.kafka
    if kafka is None:
        message = "the stack declares no Kafka"
        raise ValueError(message)
    largest = max((topic.max_message_bytes for topic in settings.topics.values()), default=2**20) + HEADER_BYTES
    return {
        "auto.create.topics.enable": False,
        "default.replication.factor": kafka.replication_factor,
        # Strimzi sets it to 1 when it is left out.
        "min.insync.replicas": kafka.min_in_sync_replicas,
        "offsets.topic.replication.factor": kafka.replication_factor,
        "transaction.state.log.replication.factor": kafka.replication_factor,
        "transaction.state.log.min.isr": kafka.min_in_sync_replicas,
        "share.coordinator.state.topic.replication.factor": kafka.replication_factor,
        "share.coordinator.state.topic.min.isr": kafka.min_in_sync_replicas,
        # A replica that fell behind must not become leader: it would lose acknowledged messages.
        "unclean.leader.election.enable": False,
        "offsets.retention.minutes": _OFFSETS_RETENTION_MINUTES,
        "group.initial.rebalance.delay.ms": _REBALANCE_DELAY_MILLISECONDS,
        "group.min.session.timeout.ms": kafka.group_min_session_timeout_seconds * _SECOND_MILLISECONDS,
        "group.max.session.timeout.ms": kafka.group_max_session_timeout_seconds * _SECOND_MILLISECONDS,
        "message.max.bytes": largest,
        # Followers fetch whole batches; smaller than the largest one, they would fetch one at a time.
        "replica.fetch.max.bytes": largest,
        # With the rack of each broker known, a consumer reads from the replica in its own zone.
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }
