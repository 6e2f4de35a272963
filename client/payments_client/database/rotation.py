"""Which endpoint a read asks next: round robin over those that answered, the primary at the end."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_REST_SECONDS = 1.0
_MAX_REST_SECONDS = 30.0


@dataclass(kw_only=True, slots=True)
class _State:
    failures: int = 0
    rests_until: float = 0.0


class Rotation:
    """Endpoints 0 … n-1. Safe from several threads; it never waits, so that an event loop may use it as well."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0
        self._states = [_State() for _ in range(count)]

    def order(self) -> list[int]:
        """Endpoints to ask, in this order; the one after the last call's first. Those that rest are left out."""
        with self._lock:
            count = len(self._states)
            if not count:
                return []
            now = self._clock()
            start = self._next
            ring = [(start + step) % count for step in range(count)]
            healthy = [index for index in ring if self._states[index].rests_until <= now]
            self._next = ((healthy[0] if healthy else start) + 1) % count
            for index in healthy:
                if self._states[index].failures:
                    # One caller finds out whether it is back; the others go elsewhere meanwhile.
                    self._states[index].rests_until = now + _FIRST_REST_SECONDS
            return healthy

    def succeeded(self, index: int) -> None:
        """It answered: it takes its turn again."""
        with self._lock:
            self._states[index] = _State()

    def failed(self, index: int) -> None:
        """It did not answer: it rests, twice as long after each failure."""
        with self._lock:
            state = self._states[index]
            state.rests_until = self._clock() + min(
                _MAX_REST_SECONDS, _FIRST_REST_SECONDS * 2.0 ** min(state.failures, 10)
            )
            state.failures += 1
