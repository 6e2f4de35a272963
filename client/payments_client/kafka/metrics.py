"""What runners and producers count, behind a small interface; Prometheus is one, imported only when asked for."""

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol


class Count(StrEnum):
    """Things that happen, each counted per topic."""

    HANDLED = "handled"
    FAILED = "failed"
    """An attempt of the handler that raised."""
    UNAVAILABLE = "unavailable"
    """An attempt that found what it needs down: its partition waits, and the attempt does not count."""
    RETRIED = "retried"
    """A message that went to the retry topic."""
    DEAD_LETTERED = "dead_lettered"
    PARK_FAILED = "park_failed"
    """Neither topic took the message: its partition waits."""
    COMMIT_FAILED = "commit_failed"
    """A partition whose commit was refused; in a handover, so that its last messages are handled twice."""
    COMMIT_DEFERRED = "commit_deferred"
    """A partition whose commit met a rebalance and is made again in the new generation: nothing is lost by it."""
    PAUSED = "paused"
    """A partition that is not fetched until its backlog has shrunk."""
    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"
    """A partition that was taken away because this member was given up: its last messages are handled twice."""
    REFUSED = "refused"
    """A word of the brokers that they do not let this user in, to the topic or to the group: the runner ends soon."""
    NOT_ACKNOWLEDGED = "not_acknowledged"
    """A message of a producer that may or may not be in the topic."""
    PRODUCER_BROKEN = "producer_broken"
    """A message that a producer did not take because it is beyond repair: end its process."""


OF_PRODUCERS = (Count.NOT_ACKNOWLEDGED, Count.PRODUCER_BROKEN)
"""What producers count, by the topic that they write."""


class Metrics(Protocol):
    """Where counts go. Called on hot paths from any thread: must be quick and must not raise."""

    def count(self, what: Count, topic: str, number: int = 1) -> None:
        """So many more. 0: nothing yet, but it may come; so that the first one is seen as a rise."""

    def handler_seconds(self, topic: str, seconds: float) -> None:
        """How long the handler took for one message."""

    def watch_handlers(self, topic: str, longest_seconds: Callable[[], float]) -> None:
        """Told once per loop: what to call for how long the slowest handler has been at its message; 0 for none."""


class NoMetrics:
    """Counts nothing."""

    def count(self, what: Count, topic: str, number: int = 1) -> None:
        """Ignore it."""

    def handler_seconds(self, topic: str, seconds: float) -> None:
        """Ignore it."""

    def watch_handlers(self, topic: str, longest_seconds: Callable[[], float]) -> None:
        """Ignore it."""


class PrometheusMetrics:
    """``payments_kafka_*`` in a ``CollectorRegistry``, the global one unless told. Needs the extra ``metrics``."""

    def __init__(self, registry: Any = None) -> None:
        from prometheus_client import REGISTRY, Counter, Gauge, Histogram

        target = registry or REGISTRY
        events = Counter(
            "payments_kafka_events", "What a runner or a producer did.", ("event", "topic"), registry=target
        )
        seconds = Histogram("payments_kafka_handler_seconds", "Time of the handler.", ("topic",), registry=target)
        self._inside = Gauge(
            "payments_kafka_seconds_in_handler",
            "How long the slowest handler has been at its message.",
            ("topic",),
            registry=target,
        )
        self._events = lru_cache(maxsize=None)(events.labels)
        self._seconds = lru_cache(maxsize=None)(seconds.labels)

    def count(self, what: Count, topic: str, number: int = 1) -> None:
        """So many more."""
        self._events(what, topic).inc(number)

    def handler_seconds(self, topic: str, seconds: float) -> None:
        """How long the handler took for one message."""
        self._seconds(topic).observe(seconds)

    def watch_handlers(self, topic: str, longest_seconds: Callable[[], float]) -> None:
        """Asked at each scrape: a loop that stands still cannot tell of it by itself.

        Everything that a runner counts begins here with 0: a counter that appears as 1 has no rate, and the first dead
        letter of a pod, or the only one, would wake nobody.
        """
        for what in Count:
            if what not in OF_PRODUCERS:
                self._events(what, topic)
        self._inside.labels(topic).set_function(longest_seconds)
