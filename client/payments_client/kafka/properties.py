"""Properties for ``confluent_kafka``, in librdkafka's names, from what the contract promises.

They serve without the rest of this package too: ``confluent_kafka.Consumer(group_properties(…))``.
"""

from collections.abc import Collection
from typing import Any

from payments_client.kafka.access import Access
from payments_client.kafka.contract import KafkaContract, KafkaGroup
from payments_client.kafka.errors import AccessError

Properties = dict[str, Any]

_SECOND_MILLISECONDS = 1000
# What librdkafka wants the largest response to exceed the largest fetch by, and its own default.
_RESPONSE_OVERHEAD_BYTES, _RESPONSE_DEFAULT_BYTES = 512, 100_000_000
# librdkafka would keep a gibibyte of unsent messages: as much as the memory limit of a pod.
_UNSENT_KIBIBYTES = 64 * 1024
_HEADER_BYTES = 16 * 1024
_LINGER_MILLISECONDS = 5
# librdkafka's own default, and what a batch has beside its messages: a topic bounds the whole.
_BATCH_DEFAULT_BYTES, _BATCH_OVERHEAD_BYTES = 1_000_000, 512
_DELIVERY_SECONDS = 120


def connection_properties(contract: KafkaContract, access: Access | None, *, client_id: str) -> Properties:
    """Address, TLS and SCRAM. Raises ``AccessError`` where the contract asks for a user and none is given."""
    found: Properties = {
        "bootstrap.servers": contract.bootstrap_servers,
        "client.id": client_id,
        "security.protocol": contract.security_protocol,
    }
    if contract.security_protocol == "PLAINTEXT":
        return found
    if access is None:
        raise AccessError(f"the brokers speak {contract.security_protocol}: give access=Access.from_environment()")
    return {
        **found,
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": access.username,
        "sasl.password": access.password,
        "ssl.ca.location": str(access.authority_file),
    }


def group_properties(
    group: KafkaGroup, contract: KafkaContract, access: Access | None = None, *, rack: str | None = None
) -> Properties:
    """Properties of one member of a consumer group; offsets are committed by hand.

    librdkafka heeds ``max.poll.records`` for share groups only: a caller bounds a poll by
    ``consume(num_messages=group.max_poll_records)``, as the runner does.
    ``rack`` is the pod's zone: reads then come from the replica in the same zone.
    """
    largest = contract.topic(group.topic).max_message_bytes
    fetch = max(group.fetch_max_bytes, largest)
    found = {
        **connection_properties(contract, access, client_id=group.application),
        "group.id": group.id,
        "group.protocol": "classic",
        "partition.assignment.strategy": group.assignment,
        "session.timeout.ms": group.session_timeout_seconds * _SECOND_MILLISECONDS,
        "heartbeat.interval.ms": group.heartbeat_interval_seconds * _SECOND_MILLISECONDS,
        "max.poll.interval.ms": group.max_poll_interval_seconds * _SECOND_MILLISECONDS,
        "auto.offset.reset": group.offset_reset,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "fetch.max.bytes": fetch,
        "max.partition.fetch.bytes": max(group.max_partition_fetch_bytes, largest),
        "receive.message.max.bytes": max(fetch + _RESPONSE_OVERHEAD_BYTES, _RESPONSE_DEFAULT_BYTES),
    }
    return {**found, "client.rack": rack} if rack else found


def retry_properties(properties: Properties, group: KafkaGroup) -> Properties:
    """The same member in the group that reads the retry topic, which has that topic's name."""
    return {**properties, "group.id": group.retry_topic}


def producer_properties(
    contract: KafkaContract, access: Access | None = None, *, client_id: str, topics: Collection[str] = ()
) -> Properties:
    """Idempotent, acknowledged by every in-sync replica, and with the Java client's partitioner.

    A message that is not acknowledged within two minutes has failed. ``topics`` are those that it writes, all of the
    contract unless told: a topic refuses a whole batch that is larger than its largest message, however small the
    messages in it are, so the smallest of them bounds the batches. Raises ``KeyError`` for a topic that is not there.
    """
    written = [contract.topic(name) for name in topics] or contract.topics
    sizes = [topic.max_message_bytes for topic in written] or [2**20]
    return {
        **connection_properties(contract, access, client_id=client_id),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": _LINGER_MILLISECONDS,
        "delivery.timeout.ms": _DELIVERY_SECONDS * _SECOND_MILLISECONDS,
        "message.max.bytes": max(sizes) + _HEADER_BYTES,
        "batch.size": min(_BATCH_DEFAULT_BYTES, min(sizes) - _BATCH_OVERHEAD_BYTES),
        "queue.buffering.max.kbytes": _UNSENT_KIBIBYTES,
    }
