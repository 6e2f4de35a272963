"""Circuit breaking per shard of a tier: the first failure gives the shard up, only a probe in the background ends that.

No caller pays for finding out whether a dead server is back. One breaker per shard, so that the loss of one primary of
the cluster does not take the other two thirds of the keys.
"""

import threading
from collections.abc import Callable


class Breaker:
    """Which shards of one tier are given up. Safe for threads."""

    def __init__(self, *, probe_after_seconds: float, now: Callable[[], float]) -> None:
        self._probe_after = probe_after_seconds
        self._now = now
        self._open: dict[str, float] = {}
        """Shard → time of the next probe."""
        self._lock = threading.Lock()

    def allows(self, shard: str) -> bool:
        """Whether callers may use the shard."""
        return shard not in self._open

    def failed(self, shard: str) -> bool:
        """A call or a probe failed; true when the shard was not given up before."""
        with self._lock:
            first = shard not in self._open
            self._open[shard] = self._now() + self._probe_after
            return first

    def probe_due(self, shard: str) -> bool:
        """Whether this caller has to start a probe; true for one caller per interval."""
        with self._lock:
            due = self._open.get(shard)
            if due is None or self._now() < due:
                return False
            self._open[shard] = self._now() + self._probe_after
            return True

    def recovered(self, shard: str) -> None:
        """A probe succeeded."""
        with self._lock:
            self._open.pop(shard, None)

    @property
    def open_shards(self) -> tuple[str, ...]:
        """For people and metrics."""
        return tuple(self._open)
