"""Publishes the outbox: in the order of facts within a key, at least once.

A publisher holds a lane's lock from reading its messages until they are acknowledged and dropped. When it dies before
that, its transaction ends and the next one sends them again. Any number of publishers may run; 16 of them have work.
"""

import random
from collections.abc import Awaitable, Callable, Sequence

from payments_client.eventstore import aio, calls, sync
from payments_client.eventstore.model import Message

LANES = 16
_BATCH = 500
"""A batch is held in one transaction: send it within the server's idle_in_transaction_session_timeout."""


class Outbox:
    """A publisher for threads. ``send`` returns when every message is acknowledged, and raises when one is not."""

    def __init__(
        self, connections: sync.Connections, send: Callable[[Sequence[Message]], None], batch: int = _BATCH
    ) -> None:
        self._session = sync.Session(connections)
        self._send = send
        self._batch = batch

    def publish(self) -> int:
        """Go through all lanes once, from any of them on; returns how many messages were sent."""
        return sum(self._lane(lane) for lane in _lanes())

    def _lane(self, lane: int) -> int:
        with self._session.connections() as connection, connection.transaction():
            messages = self._session.run(calls.take_outbox(lane, self._batch), connection)
            if messages:
                self._send(messages)
                self._session.run(calls.drop_outbox(lane, messages), connection)
            return len(messages)


class AsyncOutbox:
    """A publisher for asyncio."""

    def __init__(
        self, connections: aio.Connections, send: Callable[[Sequence[Message]], Awaitable[None]], batch: int = _BATCH
    ) -> None:
        self._session = aio.AsyncSession(connections)
        self._send = send
        self._batch = batch

    async def publish(self) -> int:
        """Go through all lanes once, from any of them on; returns how many messages were sent."""
        return sum([await self._lane(lane) for lane in _lanes()])

    async def _lane(self, lane: int) -> int:
        async with self._session.connections() as connection, connection.transaction():
            messages = await self._session.run(calls.take_outbox(lane, self._batch), connection)
            if messages:
                await self._send(messages)
                await self._session.run(calls.drop_outbox(lane, messages), connection)
            return len(messages)


def _lanes() -> list[int]:
    first = random.randrange(LANES)  # noqa: S311
    return [(first + step) % LANES for step in range(LANES)]
