"""Whether a pool is empty because its endpoint does not answer, or because this process has every connection out."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg_pool import PoolTimeout


class PoolFullError(PoolTimeout):
    """Every connection of the pool is out: it says nothing against the endpoint."""


class Occupancy:
    """Counts the connections of one pool that are out. Safe from several threads; it never waits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._out = 0
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether the pool has no connection left to give, however well its endpoint is."""
        with self._lock:
            return self._out >= self._size

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around ``getconn``. Raises ``PoolFullError`` in place of ``PoolTimeout`` where that was the cause."""
        before = self.full
        try:
            yield
        except PoolTimeout as error:
            if before or self.full:
                raise PoolFullError(f"all {self._size} connections of the pool are in use") from error
            raise
        with self._lock:
            self._out += 1

    def returned(self) -> None:
        """After ``putconn``."""
        with self._lock:
            self._out -= 1
