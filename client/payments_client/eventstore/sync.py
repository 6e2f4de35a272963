"""The event store for threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, TypeVar

import psycopg

from payments_client.eventstore import calls
from payments_client.eventstore.calls import Call, Rows
from payments_client.eventstore.errors import translate
from payments_client.eventstore.model import Appended, NewEvent, Position, RecordedEvent, Snapshot, Transferred
from payments_client.eventstore.retry import Attempts

Connection = psycopg.Connection[Any]
Connections = Callable[[], AbstractContextManager[Connection]]
"""Gives a connection to the primary for a ``with`` block that commits: ``pool.connection`` of psycopg_pool, for one."""
Result = TypeVar("Result")
State = TypeVar("State")
_PAGE = 1000
DEADLINE_SECONDS = 60.0


class Session:
    """Makes calls: each in a transaction of its own, again where that is safe, or inside the caller's."""

    def __init__(self, connections: Connections, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self.connections = connections
        self._deadline_seconds = deadline_seconds

    def run(self, call: Call[Result], connection: Connection | None = None) -> Result:
        """Make a call. With a connection it is part of the caller's transaction and is made once."""
        if connection is not None:
            return self._inside(call, connection)
        attempts = Attempts(deadline_seconds=self._deadline_seconds)
        while True:
            sent = False
            try:
                with self.connections() as own:
                    sent = True
                    rows = _ask(own, call)
                return call.parse(rows)
            except psycopg.Error as error:
                pause = attempts.pause_after(error, call, sent=sent)
            time.sleep(pause)

    @staticmethod
    def _inside(call: Call[Result], connection: Connection) -> Result:
        try:
            return call.parse(_ask(connection, call))
        except psycopg.Error as error:
            translated = translate(error)
            if translated is None:
                raise
            raise translated from error


def _ask(connection: Connection, call: Call[Any]) -> Rows:
    cursor = connection.execute(call.query, call.values)
    return cursor.fetchall() if call.answers else ()


class EventStore:
    """Streams of events in one database. Safe for threads as far as ``connections`` is."""

    def __init__(self, connections: Connections, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._session = Session(connections, deadline_seconds)

    def append(
        self,
        stream: str,
        events: list[NewEvent],
        *,
        expected: int | None,
        key: str | None = None,
        connection: Connection | None = None,
    ) -> Appended:
        """Append events, all or none.

        ``expected`` is the version that the decision was based on (``NEW`` for a stream that must not exist, ``None``
        to append whatever happened). With an idempotency ``key`` the call survives a failover and a repetition changes
        nothing. Raises ``ConflictError``, ``KeyReusedError``, ``UncertainError``.
        """
        return self._session.run(calls.append(stream, events, expected, key), connection)

    def version(self, stream: str, *, connection: Connection | None = None) -> int:
        """The stream's version; 0 where it does not exist."""
        return self._session.run(calls.version(stream), connection)

    def read_stream(
        self, stream: str, *, after: int = 0, connection: Connection | None = None
    ) -> Iterator[RecordedEvent]:
        """Events above a version, in order. Raises ``ArchivedError`` where early ones are not here any more."""
        while True:
            page = self._session.run(calls.read_stream(stream, after, _PAGE), connection)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].version

    def read_all(self, after: Position | None = None, limit: int = _PAGE) -> list[RecordedEvent]:
        """The next events of all streams. Their order never changes and no late commit is skipped: an event appears
        when every transaction older than its own has ended.
        """
        return self._session.run(calls.read_all(after or Position(), limit))

    def save_snapshot(self, snapshot: Snapshot, *, connection: Connection | None = None) -> None:
        """Keep a state, so that loading need not begin at the first event."""
        self._session.run(calls.save_snapshot(snapshot), connection)

    def load_snapshot(self, stream: str, schema: str, *, connection: Connection | None = None) -> Snapshot | None:
        """The newest snapshot that this schema wrote."""
        return self._session.run(calls.load_snapshot(stream, schema), connection)

    def load(
        self,
        stream: str,
        initial: State,
        fold: Callable[[State, RecordedEvent], State],
        *,
        schema: str | None = None,
    ) -> tuple[State, int]:
        """State and version of a stream: the snapshot of the schema, if any, and every event after it."""
        snapshot = None if schema is None else self.load_snapshot(stream, schema)
        state, version = (initial, 0) if snapshot is None else (snapshot.state, snapshot.version)
        for event in self.read_stream(stream, after=version):
            state, version = fold(state, event), event.version
        return state, version

    def project(
        self, projection: str, handle: Callable[[Connection, list[RecordedEvent]], None], limit: int = _PAGE
    ) -> int:
        """Hand a projection its next events, once each: what ``handle`` writes over the connection commits with the
        checkpoint. Returns how many; 0 also while another worker holds the projection.
        """
        with self._session.connections() as connection, connection.transaction():
            position = self._session.run(calls.take_checkpoint(projection), connection)
            if position is None:
                self._session.run(calls.make_checkpoint(projection), connection)
                position = self._session.run(calls.take_checkpoint(projection), connection)
            if position is None:
                return 0
            events = self._session.run(calls.read_all(position, limit), connection)
            if events:
                handle(connection, events)
                self._session.run(calls.move_checkpoint(projection, events[-1].position), connection)
            return len(events)


class Ledger:
    """Wallets and transfers in one database; the write side, which decisions about money read."""

    def __init__(self, connections: Connections, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._session = Session(connections, deadline_seconds)

    def open_wallet(self, wallet: str, user: str, currency: str, *, connection: Connection | None = None) -> bool:
        """Make a customer's wallet; whether it is new. Raises ``WalletOwnerError``."""
        return self._session.run(calls.open_wallet(wallet, user, currency), connection)

    def transfer(
        self,
        transfer_id: str,
        *,
        source: str,
        target: str,
        amount: Decimal,
        currency: str,
        reason: str = "transfer",
        metadata: dict[str, Any] | None = None,
        connection: Connection | None = None,
    ) -> Transferred:
        """Move money once for each id, also across a failover.

        Raises ``InsufficientFundsError``, ``UnknownWalletError``, ``CurrencyError``, ``AmountError``,
        ``KeyReusedError``.
        """
        call = calls.transfer(
            transfer_id,
            source=source,
            target=target,
            amount=amount,
            currency=currency,
            reason=reason,
            metadata=metadata or {},
        )
        return self._session.run(call, connection)

    def balance(self, wallet: str, *, connection: Connection | None = None) -> tuple[Decimal, int] | None:
        """Balance and version; ``None`` where there is no such wallet."""
        return self._session.run(calls.balance(wallet), connection)

    def refresh_balances(self, bucket: int) -> int | None:
        """Bring a quarter (0..3) of the read model up to date; ``None`` while another worker does."""
        return self._session.run(calls.refresh_balances(bucket))
