"""Connections whose COMMIT no interruption cancels at the server.

psycopg answers Ctrl-C and the cancellation of a task with a cancel request. During COMMIT that would end the wait for
the synchronous replica and leave a row that everybody sees and that a failover loses.
"""

from typing import Any

import psycopg


class CommitSafeConnection(psycopg.Connection[tuple[Any, ...]]):
    """For threads."""

    _committing = False

    def commit(self) -> None:
        """As psycopg's; interrupted, it still waits for the answer (psycopg gives it 5 s, then drops the socket)."""
        self._committing = True
        try:
            super().commit()
        finally:
            self._committing = False

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """As psycopg's, and nothing during COMMIT."""
        if not self._committing:
            super().cancel_safe(timeout=timeout)


class AsyncCommitSafeConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """For an event loop, whose end cancels every task, whoever waits for it."""

    _committing = False

    async def commit(self) -> None:
        """As ``CommitSafeConnection.commit``."""
        self._committing = True
        try:
            await super().commit()
        finally:
            self._committing = False

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 # psycopg's signature
        """As psycopg's, and nothing during COMMIT."""
        if not self._committing:
            await super().cancel_safe(timeout=timeout)
