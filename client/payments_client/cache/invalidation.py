"""Invalidation: one side raises versions in L3 and tells all processes, the other side hears it. No input or output.

Messages of one publisher on one channel are numbered. A number that is left out means a lost message: the receiver
flushes the class. Heartbeats carry the last number, so that the loss of a last message is noticed too.
"""

import json
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from payments_client.cache.core import Ask, Effect, Generations, Limits
from payments_client.cache.errors import TierUnavailableError
from payments_client.cache.events import FLUSHED_BY_GAP, Event, KeyChange, changes
from payments_client.cache.metrics import Count, Metrics, NoMetrics
from payments_client.cache.scripts import APPLY, DROP, FLUSH, GENERATIONS, GENERATIONS_KEY
from payments_client.cache.values import Codec, json_codec
from payments_client.contract import CacheClass, Tier

CHANNEL_PREFIX = "cache:invalidate:"
_JSON = json_codec()


def channel(prefix: str) -> str:
    """Where a class is spoken about."""
    return CHANNEL_PREFIX + prefix.rstrip(":")


def is_announced(key_class: CacheClass) -> bool:
    """Whether processes hold copies that L3 does not know of."""
    return bool({Tier.L1, Tier.L2} & set(key_class.ttl_seconds))


@dataclass(slots=True)
class Publisher:
    """The event's side: one for each consumer of events. Not safe for threads: events of a partition are in order."""

    classes: Mapping[str, CacheClass]
    generations: Generations
    """Of L3."""
    codecs: Mapping[str, Codec[Any]] = field(default_factory=dict)
    """Prefix → the codec that its readers use; JSON where none is given."""
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=NoMetrics)
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    sent: dict[str, int] = field(default_factory=dict)

    def apply(self, event: Event) -> Generator[Effect, Any, None]:
        """Do what an event means for the caches. Idempotent, so that a failed one is fed again.

        Raises ``TierUnavailableError`` when L3 did not take all of it: then the event is not done.
        """
        gap = False
        for change in changes(event):
            key_class = self.classes.get(change.prefix)
            if key_class is None:
                continue
            reply = yield self._change(event, change, key_class)
            self._taken(reply, change.prefix)
            if change.aggregate == change.item_id and key_class.event_sourced:
                before = int(reply[1])
                gap = gap or (before >= 0 and event.version > before + 1)
        if gap:
            for prefix in next((v for family, v in FLUSHED_BY_GAP.items() if event.type.startswith(family)), ()):
                self.metrics.count(Count.GAP, prefix, Tier.L3)
                yield from self.flush(prefix)

    def flush(self, prefix: str) -> Generator[Effect, Any, None]:
        """Make all of a class be read anew, everywhere. For consumers that know that they have missed something."""
        spoken = self._spoken(prefix, {})
        reply = yield Ask(Tier.L3, FLUSH, GENERATIONS_KEY, (prefix, *spoken))
        self._taken(reply, prefix)
        self.metrics.count(Count.FLUSHED, prefix, Tier.L3)
        self.generations.learn(reply)

    def heartbeat(self) -> Iterable[tuple[str, str]]:
        """Channel and message to publish about once a second, also when there are no events."""
        for prefix, number in self.sent.items():
            yield channel(prefix), json.dumps({"publisher": self.name, "number": number, "kind": "heartbeat"})

    def _change(self, event: Event, change: KeyChange, key_class: CacheClass) -> Ask:
        key = f"{change.prefix}{change.item_id}"
        if change.aggregate is None:
            return Ask(Tier.L3, DROP, key, self._spoken(change.prefix, {"kind": "drop", "id": change.item_id}))
        codec = self.codecs.get(change.prefix, _JSON)
        at = None if change.value is None else event.occurred_at_seconds
        content = {"kind": "raise", "id": change.item_id, "aggregate": change.aggregate, "version": event.version}
        return Ask(
            Tier.L3,
            APPLY,
            key,
            (
                change.aggregate,
                event.version,
                self.generations.known.get(change.prefix, 0),
                codec.schema,
                key_class.ttl_seconds[Tier.L3] * 1000,
                b"" if change.value is None else codec.encode(change.value),
                round(self.limits.floor_seconds * 1000),
                *self._spoken(change.prefix, content),
                round((at or 0) * 1000),
            ),
        )

    def _spoken(self, prefix: str, content: Mapping[str, Any]) -> tuple[str, str]:
        if not is_announced(self.classes[prefix]):
            return "", "{}"
        # Counted before it is sent: a call that fails leaves a hole in the numbers, which is the safe side.
        self.sent[prefix] = self.sent.get(prefix, 0) + 1
        message = {"kind": "flush", **content, "publisher": self.name, "number": self.sent[prefix]}
        return channel(prefix), json.dumps(message)

    def _taken(self, reply: object, prefix: str) -> None:
        if reply is None:
            self.metrics.count(Count.UNAVAILABLE, prefix, Tier.L3)
            raise TierUnavailableError(f"L3 did not take an invalidation of '{prefix}'; feed the event again")


@dataclass(slots=True)
class Receiver:
    """A process' ear for one class: hears messages, tells the L2 beside it, then drops what the process holds."""

    key_class: CacheClass
    invalidate: Callable[[str], None]
    flush_process: Callable[[], None]
    generations: Mapping[Tier, Generations]
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=NoMetrics)
    last: dict[str, int] = field(default_factory=dict)
    """Publisher → number of its last message."""

    def connected(self) -> Generator[Effect, Any, None]:
        """The channel was (re)opened: what was said meanwhile is lost."""
        self.last.clear()
        yield from self.flush()

    def hear(self, text: bytes | str) -> Generator[Effect, Any, None]:
        """Act on one message; one that cannot be read flushes the class."""
        try:
            message = json.loads(text)
            publisher, number, kind = str(message["publisher"]), int(message["number"]), str(message["kind"])
            item_id = str(message["id"]) if kind in ("raise", "drop") else ""
            raised = (str(message["aggregate"]), int(message["version"])) if kind == "raise" else None
            generation = int(message["generation"]) if kind == "flush" else 0
        except (ValueError, KeyError, TypeError):
            yield from self.flush()
            return
        # A heartbeat repeats the last number; a reordered message is older than it. Both are no loss.
        expected = self.last.get(publisher, 0) + 1
        missed = number > expected or (kind == "heartbeat" and number == expected)
        self.last[publisher] = max(number, self.last.get(publisher, 0))
        if kind == "flush":
            self.generations[Tier.L3].learn((self.key_class.prefix, generation))
        if missed or kind == "flush":
            self.metrics.count(Count.GAP if missed else Count.INVALIDATED, self.key_class.prefix, Tier.L2)
            yield from self.flush()
        elif kind in ("raise", "drop"):
            yield from self._change(item_id, raised)

    def flush(self) -> Generator[Effect, Any, None]:
        """Read the class anew: first L2 and what is known of L3, then the process, which reads from them."""
        if Tier.L2 in self.key_class.ttl_seconds:
            reply = yield Ask(Tier.L2, FLUSH, GENERATIONS_KEY, (self.key_class.prefix, "", "{}"))
            if reply is not None:
                self.generations[Tier.L2].learn(reply)
        reply = yield Ask(Tier.L3, GENERATIONS, GENERATIONS_KEY, ())
        if reply is not None:
            self.generations[Tier.L3].learn(reply)
        self.flush_process()

    def _change(self, item_id: str, raised: tuple[str, int] | None) -> Generator[Effect, Any, None]:
        if Tier.L2 in self.key_class.ttl_seconds:
            key = f"{self.key_class.prefix}{item_id}"
            floor_ms = round(self.limits.floor_seconds * 1000)
            if raised is None:
                yield Ask(Tier.L2, DROP, key, ("", ""))
            else:
                yield Ask(Tier.L2, APPLY, key, (*raised, 0, "", 0, b"", floor_ms, "", "", 0))
        self.invalidate(item_id)
