"""L1: decoded values in the process, one cachetools cache per class of key."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache

from payments_client.cache.values import Versions


@dataclass(frozen=True, slots=True)
class Remembered:
    """A decoded value with the versions it was made of."""

    value: Any
    versions: Versions
    fresh_until_seconds: float
    gone_at_seconds: float
    """Later than ``fresh_until_seconds`` where the class answers stale values while a new one is fetched."""


class Memory:
    """Bounded, least recently used first out. Safe for threads."""

    def __init__(self, *, max_entries: int, now: Callable[[], float]) -> None:
        self._cache: TLRUCache[str, Remembered] = TLRUCache(
            maxsize=max_entries, ttu=lambda _key, entry, _now: entry.gone_at_seconds, timer=now
        )
        self._lock = threading.Lock()

    def get(self, item_id: str) -> Remembered | None:
        """What is remembered, stale or not; the caller compares ``fresh_until_seconds``."""
        with self._lock:
            return self._cache.get(item_id)

    def put(self, item_id: str, entry: Remembered) -> None:
        """Remember until ``gone_at_seconds``."""
        with self._lock:
            self._cache[item_id] = entry

    def drop(self, item_id: str) -> None:
        """Forget one."""
        with self._lock:
            self._cache.pop(item_id, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._cache.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._cache)
