"""Only one reconciler acts at a time: a lock that dies with the connection that holds it.

Before any slot has an owner no key can be written, so a lock cannot be a key. It is a subscription instead: whoever
subscribes to the channel on every pod that answers, and then finds itself the only subscriber on each, holds the lock.
Two runs that reach one common pod cannot both see "1" there, because a server handles one command after another:
the later one counts two and gives way. A killed process loses its connections and with them the lock; a vanished host
loses it when the server's keepalive ends the connection. Nothing is stored, nothing has to expire.
"""

import random
import time
from collections.abc import Callable, Iterable

from .protocol import Access, Connection, ServerError

CHANNEL = "cache:reconciler"


class Lock:
    """The subscriptions of one run."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held: dict[tuple[str, int], Connection] = {}

    def acquire(self, nodes: Iterable[tuple[str, int]], *, wait_seconds: float, sleep: Callable[[float], None]) -> bool:
        """Whether this run is the only one. Tries for ``wait_seconds``, at random moments, so that one of two wins."""
        deadline = time.monotonic() + wait_seconds
        wanted = list(nodes)
        while True:
            if self._try(wanted):
                return True
            self.release()
            if time.monotonic() > deadline:
                return False
            sleep(random.uniform(0.1, 1.0))  # noqa: S311 # a moment, not a secret

    def still_held(self, nodes: Iterable[tuple[str, int]]) -> bool:
        """Whether no subscription was lost; pods that have come back since are subscribed to as well.

        A pod that vanished took its subscription along: the lock then rests on the others, and at least one is needed.
        """
        for node, connection in list(self._held.items()):
            try:
                connection.call("PING")
            except (OSError, ServerError):
                connection.close()
                del self._held[node]
        return bool(self._held) and self._try([node for node in nodes if node not in self._held])

    def release(self) -> None:
        """End every subscription."""
        for connection in self._held.values():
            connection.close()
        self._held.clear()

    def _try(self, nodes: list[tuple[str, int]]) -> bool:
        for node in nodes:
            try:
                self._held[node] = connection = Connection(*node, self._access)
                connection.call("SUBSCRIBE", CHANNEL)
                with Connection(*node, self._access) as counter:
                    answer = counter.call("PUBSUB", "NUMSUB", CHANNEL)
            except (OSError, ServerError):
                held = self._held.pop(node, None)
                if held is not None:
                    held.close()
                continue
            if not isinstance(answer, list) or answer[1] != 1:
                return False
        return bool(self._held)
