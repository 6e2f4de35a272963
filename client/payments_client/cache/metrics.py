"""What is counted, behind a small interface; Prometheus is one implementation and is imported only when asked for."""

from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol


class Count(StrEnum):
    """Things that happen, each counted per class of key and tier."""

    HIT = "hit"
    STALE_HIT = "stale_hit"
    MISS = "miss"
    JOINED = "joined"
    """Waited for another caller's fetch of the same key."""
    WAITED = "waited"
    """Waited for another process' fetch of the same key."""
    STORED = "stored"
    REFUSED = "refused"
    """A payload was not stored because an event was newer or the lease was gone."""
    UNAVAILABLE = "unavailable"
    LOADED = "loaded"
    LOAD_FAILED = "load_failed"
    SOURCE_BEHIND = "source_behind"
    INVALIDATED = "invalidated"
    GAP = "gap"
    FLUSHED = "flushed"


SOURCE = "source"
"""Stands where a tier's name stands, for the database."""


class Metrics(Protocol):
    """Where counts go. Called on hot paths from any thread: must be quick and must not raise."""

    def count(self, what: Count, prefix: str, tier: str) -> None:
        """One more."""

    def load_seconds(self, prefix: str, seconds: float) -> None:
        """How long the source took."""

    def breaker(self, tier: str, shard: str, *, is_open: bool) -> None:
        """A part of a tier is given up, or is back."""


class NoMetrics:
    """Counts nothing."""

    def count(self, what: Count, prefix: str, tier: str) -> None:
        """Ignore it."""

    def load_seconds(self, prefix: str, seconds: float) -> None:
        """Ignore it."""

    def breaker(self, tier: str, shard: str, *, is_open: bool) -> None:
        """Ignore it."""


class PrometheusMetrics:
    """``payments_cache_*`` in a ``CollectorRegistry``, the global one unless told. Needs the extra ``metrics``."""

    def __init__(self, registry: Any = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        target = registry or REGISTRY
        events = Counter("payments_cache_events", "What the caches did.", ("event", "class", "tier"), registry=target)
        self._child = lru_cache(maxsize=None)(events.labels)
        self._loads = Histogram("payments_cache_load_seconds", "Time the source took.", ("class",), registry=target)
        self._open = Gauge(
            "payments_cache_breaker_open", "1 while a part of a tier is given up.", ("tier", "shard"), registry=target
        )

    def count(self, what: Count, prefix: str, tier: str) -> None:
        """One more."""
        self._child(what, prefix, tier).inc()

    def load_seconds(self, prefix: str, seconds: float) -> None:
        """How long the source took."""
        self._loads.labels(prefix).observe(seconds)

    def breaker(self, tier: str, shard: str, *, is_open: bool) -> None:
        """A part of a tier is given up, or is back."""
        self._open.labels(tier, shard).set(1 if is_open else 0)
