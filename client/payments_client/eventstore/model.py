"""What goes into the store and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid4

NEW = 0
"""Expected version of a stream that must not exist yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """One event to append."""

    type: str
    data: Mapping[str, Any]
    """JSON. Money as text: a JSON number is a binary fraction to most readers."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON that is no part of the fact: trace ids, who asked."""
    occurred_at: datetime | None = None
    """With a time zone; ``None``: now, by the database's clock."""
    event_id: UUID = field(default_factory=uuid4)
    topic: str | None = None
    """Kafka topic that tells it; ``None``: nobody outside learns of it."""
    key: str | None = None
    """Kafka key; ``None``: the stream's name."""

    def __post_init__(self) -> None:
        if self.occurred_at is not None and self.occurred_at.tzinfo is None:
            raise ValueError(f"occurred_at of '{self.type}' has no time zone; give one, for example UTC")


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """A place in the global order, before the first event by default."""

    xid: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.xid}/{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` gave. Raises ``ValueError``."""
        xid, _, seq = text.partition("/")
        return cls(int(xid), int(seq))


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedEvent:
    """One event as it was appended."""

    stream: str
    version: int
    """From 1, without holes in a stream."""
    type: str
    data: Any
    metadata: Any
    occurred_at: datetime
    recorded_at: datetime
    event_id: UUID
    position: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """Where the events are now."""

    first_version: int
    last_version: int
    duplicate: bool
    """Nothing was done: the key had been used for the same request, and the versions are those of then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The state of a stream at a version."""

    stream: str
    version: int
    schema: str
    """Which code wrote it; another one begins at the first event instead."""
    state: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the outbox."""

    id: int
    topic: str
    key: str
    payload: Any
    """JSON: ``type``, ``aggregate_id``, ``version``, ``user_id``, ``occurred_at_seconds``, ``data``. A message may be
    sent twice: consumers keep the newest version of each aggregate.
    """
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """Versions of both wallets after a transfer."""

    source_version: int
    target_version: int
    duplicate: bool
