"""What one process holds of one class of key: L1, and the fetches that are under way. Safe for threads."""

import threading
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from payments_client.cache.core import Core
from payments_client.cache.memory import Memory, Remembered
from payments_client.cache.metrics import Count
from payments_client.cache.values import Entry, Versions
from payments_client.contract import Tier

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a read returns before it is wrapped for its caller."""

    value: Any
    versions: Versions


@dataclass(slots=True, eq=False)
class Flight(Generic[F]):
    """One fetch that several callers wait for."""

    item_id: str
    future: F
    """A ``concurrent.futures.Future`` or an ``asyncio.Future`` of ``Answer``."""
    started_at_seconds: float
    overtaken: bool = False
    """An invalidation came while it was under way: its answer is for those who wait already, and is not kept."""


class ClassState(Generic[F]):
    """L1 and flights. An invalidation reaches both under one lock, so that no fetch can slip an old value into L1."""

    def __init__(self, core: Core, *, max_entries: int) -> None:
        self.core = core
        ttl = core.key_class.ttl_seconds
        self.memory = Memory(max_entries=max_entries, now=core.now) if Tier.L1 in ttl else None
        self._flights: dict[str, Flight[F]] = {}
        self._lock = threading.Lock()

    def remembered(self, item_id: str) -> tuple[Answer, bool] | None:
        """What L1 has, and whether it is fresh."""
        if self.memory is None:
            return None
        found = self.memory.get(item_id)
        if found is None:
            self.core.count(Count.MISS, Tier.L1)
            return None
        fresh = self.core.now() < found.fresh_until_seconds
        self.core.count(Count.HIT if fresh else Count.STALE_HIT, Tier.L1)
        return Answer(found.value, found.versions), fresh

    def under_way(self, item_id: str) -> Flight[F] | None:
        """A flight that a caller may join: not overtaken, and young enough not to be stuck."""
        flight = self._flights.get(item_id)
        if flight is None or self.core.now() - flight.started_at_seconds > self.core.limits.lease_seconds:
            return None
        return flight

    def board(self, item_id: str, future: F, *, alone: bool = False) -> tuple[Flight[F], bool]:
        """Join the flight of a key, or start one with ``future``; the second value says whether it was started.

        ``alone`` starts one in any case: the other one's answer was too old for this caller.
        """
        with self._lock:
            joined = None if alone else self.under_way(item_id)
            if joined is not None:
                self.core.count(Count.JOINED, Tier.L1)
                return joined, False
            self._overtake(item_id)
            flight = Flight(item_id, future, self.core.now())
            self._flights[item_id] = flight
            return flight, True

    def land(self, flight: Flight[F], entry: Entry) -> Answer:
        """Decode the flight's answer; L1 keeps it unless the flight was overtaken."""
        value = None if entry.payload is None else self.core.codec.decode(entry.payload)
        with self._lock:
            if not flight.overtaken:
                self._flights.pop(flight.item_id, None)
                self._remember(flight.item_id, value, entry)
        return Answer(value, entry.versions)

    def crash(self, flight: Flight[F]) -> None:
        """The fetch failed: the next caller starts anew."""
        with self._lock:
            if not flight.overtaken:
                self._flights.pop(flight.item_id, None)

    def invalidate(self, item_id: str) -> None:
        """An event about one key: later callers start a new fetch."""
        self.core.count(Count.INVALIDATED, Tier.L1)
        with self._lock:
            self._overtake(item_id)
            if self.memory is not None:
                self.memory.drop(item_id)

    def flush(self) -> None:
        """Everything that is held of the class may be old."""
        self.core.count(Count.FLUSHED, Tier.L1)
        with self._lock:
            for item_id in tuple(self._flights):
                self._overtake(item_id)
            if self.memory is not None:
                self.memory.clear()

    def _overtake(self, item_id: str) -> None:
        flight = self._flights.pop(item_id, None)
        if flight is not None:
            flight.overtaken = True

    def _remember(self, item_id: str, value: Any, entry: Entry) -> None:
        if self.memory is None:
            return
        now = self.core.now()
        ttl = self.core.ttl_seconds(Tier.L1, now - entry.read_at_seconds, negative=entry.payload is None)
        if ttl > 0:
            extra = 0 if entry.payload is None else self.core.key_class.stale_while_revalidate_seconds
            self.memory.put(item_id, Remembered(value, entry.versions, now + ttl, now + ttl + extra))
