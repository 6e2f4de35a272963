"""Nothing waits for ever, and nothing that waits is cancelled at the server.

A cancel during COMMIT would end the wait for the synchronous replica and leave a row that everybody sees and that a
failover loses. When time is up the client's socket is shut instead: the server finishes what it began.
"""

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

MIN_STATEMENT_TIMEOUT_MS = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadline:
    """A moment of the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """That many seconds from now. Raises ``ValueError`` unless they are positive."""
        if not seconds > 0:
            raise ValueError(f"deadline_seconds is {seconds}; it must be positive")
        return cls(at=time.monotonic() + seconds)

    @property
    def remaining_seconds(self) -> float:
        """Never below 0."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> "Deadline":
        """The same moment, or so many seconds from now, whichever comes first."""
        return Deadline(at=min(self.at, time.monotonic() + seconds))

    @property
    def statement_timeout(self) -> str:
        """For ``statement_timeout``: never 0, which would mean no limit. The server does not apply it to COMMIT."""
        return f"{max(MIN_STATEMENT_TIMEOUT_MS, int(self.remaining_seconds * 1000))}ms"


class SocketEnd:
    """A second handle of a connection's socket, so that a number that is used again is never shut by mistake."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=os.dup(number))

    def shut(self) -> None:
        """End the conversation; whoever reads sees the end of the stream."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close this handle only."""
        self._socket.close()


class Watchdog:
    """One thread that shuts the sockets whose deadline has passed."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked worker: it has the object and not the thread, and its parent may have held the lock."""
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, SocketEnd]] = []
        self._active: set[int] = set()
        self._running = False

    @contextmanager
    def guard(self, number: int, deadline: Deadline) -> Iterator[None]:
        """Shut the socket with this file number when the deadline passes before the block ends."""
        end = SocketEnd(number)
        ticket = next(self._order)
        with self._changed:
            self._ensure_thread()
            self._active.add(ticket)
            heapq.heappush(self._waiting, (deadline.at, ticket, end))
            if self._waiting[0][1] == ticket:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._active.discard(ticket)
                end.release()

    def _ensure_thread(self) -> None:
        if not self._running:
            self._running = True
            threading.Thread(target=self._run, name="database-deadlines", daemon=True).start()

    def _run(self) -> None:
        with self._changed:
            while True:
                while self._waiting and (
                    self._waiting[0][1] not in self._active or self._waiting[0][0] <= time.monotonic()
                ):
                    _, ticket, end = heapq.heappop(self._waiting)
                    if ticket in self._active:
                        end.shut()
                self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)


WATCHDOG = Watchdog()
"""The process's own."""
os.register_at_fork(after_in_child=WATCHDOG.begin_anew)
