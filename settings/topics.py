"""Kafka topics: what bounds their consumers, and what may never be changed back."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import Strict
from settings.problems import RuleError

TopicName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$", max_length=200)]
"""Lower case, so that a KafkaTopic has the same name; no ``_``, which collides with ``.`` in metrics' names."""
MINIMUM_MESSAGE_BYTES = 1024


class Cleanup(StrEnum):
    """What happens to old messages: ``cleanup.policy``."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_AND_DELETE = "compact,delete"


class Compression(StrEnum):
    """How the broker stores batches: ``compression.type``; ``producer`` keeps them as they came."""

    PRODUCER = "producer"
    ZSTD = "zstd"
    LZ4 = "lz4"
    SNAPPY = "snappy"
    GZIP = "gzip"
    UNCOMPRESSED = "uncompressed"


class Topic(Strict):
    """One topic. Partitions bound the consumers of a group: one more consumer than partitions idles."""

    partitions: Annotated[int, Field(ge=1, le=1000)]
    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None
    """Field whose value is the message key; its order holds within a partition. ``null``: messages without a key."""
    retention_hours: Annotated[int, Field(ge=1, le=87600)] = 168
    """How long a message is kept at least; a consumer that is behind by more loses messages."""
    cleanup: Cleanup = Cleanup.DELETE
    compression: Compression = Compression.PRODUCER
    min_in_sync_replicas: Annotated[int, Field(ge=1, le=9)] | None = None
    """Replicas that must hold a message before it is acknowledged; ``kafka.min_in_sync_replicas`` when absent."""
    max_message_bytes: Annotated[int, Field(ge=MINIMUM_MESSAGE_BYTES, le=10 * 2**20)] = 2**20
    """Largest batch that the topic takes, after compression."""

    @model_validator(mode="after")
    def _compaction_needs_keys(self) -> Self:
        if self.key is None and self.cleanup is not Cleanup.DELETE:
            raise RuleError(
                why=f"cleanup {self.cleanup} keeps the last message of each key, and the topic has no key",
                fix="name the key, or set cleanup to delete",
            )
        return self
