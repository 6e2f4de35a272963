"""Why a message left its place: the headers that it carries through the retry topic into the dead-letter topic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from confluent_kafka import Message

PREFIX = "payments-failure-"
_REASON_CHARACTERS = 1000
Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Where a message stood first, how often it came, and what went wrong the last time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """When it was written there."""
    group: str
    """Group that failed to handle it."""
    deliveries: int
    """Times that it was delivered to the handler, those through the retry topic included."""
    not_before_ms: int
    """When it may be handled again; 0 where it is given up."""
    error: str
    """Class of the exception."""
    reason: str
    """Its text, at most 1,000 characters."""

    @classmethod
    def read(cls, message: Message) -> Self | None:
        """What the headers say; ``None`` for a message that has never failed, or whose headers cannot be read."""
        texts = {name.removeprefix(PREFIX): _text(value) for name, value in _headers(message) if _is_ours(name)}
        try:
            return cls(
                topic=texts["topic"],
                partition=int(texts["partition"]),
                offset=int(texts["offset"]),
                timestamp_ms=int(texts["timestamp-ms"]),
                group=texts["group"],
                deliveries=int(texts["deliveries"]),
                not_before_ms=int(texts["not-before-ms"]),
                error=texts["error"],
                reason=texts["reason"],
            )
        except (KeyError, ValueError):
            return None

    @property
    def deliveries_so_far(self) -> int:
        """Deliveries of this round: one that was given up and is written again by a person begins anew."""
        return self.deliveries if self.not_before_ms else 0

    @classmethod
    def of(cls, message: Message, error: BaseException, *, group: str, not_before_ms: int) -> Self:
        """One more delivery that failed; the first place is kept."""
        before = cls.read(message)
        return cls(
            topic=before.topic if before else str(message.topic()),
            partition=before.partition if before else message.partition() or 0,
            offset=before.offset if before else message.offset() or 0,
            timestamp_ms=before.timestamp_ms if before else message.timestamp()[1],
            group=group,
            deliveries=(before.deliveries_so_far if before else 0) + 1,
            not_before_ms=not_before_ms,
            error=type(error).__name__,
            reason=str(error)[:_REASON_CHARACTERS],
        )

    def headers(self, message: Message) -> Headers:
        """The message's own headers, followed by this failure's."""
        own = [(name, value) for name, value in _headers(message) if not _is_ours(name)]
        said = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp-ms": self.timestamp_ms,
            "group": self.group,
            "deliveries": self.deliveries,
            "not-before-ms": self.not_before_ms,
            "error": self.error,
            "reason": self.reason,
        }
        return [*own, *((f"{PREFIX}{key}", str(value).encode(errors="replace")) for key, value in said.items())]


def _headers(message: Message) -> Sequence[tuple[str, bytes]]:
    found = message.headers() or []
    return [(name, value) for name, value in (found.items() if isinstance(found, dict) else found)]  # type: ignore[misc]


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX)


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
