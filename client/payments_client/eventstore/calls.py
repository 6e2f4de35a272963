"""Every question to the database: its text, its values, what the answer means, and whether it may be asked twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, LiteralString, TypeVar

from psycopg.types.json import Jsonb

from payments_client.eventstore.model import (
    Appended,
    Message,
    NewEvent,
    Position,
    RecordedEvent,
    Snapshot,
    Transferred,
)

Rows = Sequence[tuple[Any, ...]]
Result = TypeVar("Result")
_COLUMNS: LiteralString = (
    "stream_id, version, type, data, metadata, occurred_at, recorded_at, event_id, recorded_xid::text, seq"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Result]):
    """One statement."""

    query: LiteralString
    values: Sequence[Any]
    parse: Callable[[Rows], Result]
    repeatable: bool
    """Asking again after a broken connection changes nothing more."""
    answers: bool = True
    """Whether rows come back."""


def append(stream: str, events: Sequence[NewEvent], expected: int | None, key: str | None) -> Call[Appended]:
    """Append events."""
    if not events:
        raise ValueError("there is nothing to append; give at least one event")
    return Call(
        query="SELECT first_version, last_version, duplicate FROM es.append(%s, %s, %s, %s)",
        values=(stream, expected, Jsonb([_json(event) for event in events]), key),
        parse=lambda rows: Appended(first_version=rows[0][0], last_version=rows[0][1], duplicate=rows[0][2]),
        repeatable=key is not None,
    )


def _json(event: NewEvent) -> dict[str, Any]:
    optional = {
        "metadata": dict(event.metadata) or None,
        "occurred_at": event.occurred_at.isoformat() if event.occurred_at else None,
        "topic": event.topic,
        "key": event.key,
    }
    return {
        "type": event.type,
        "data": dict(event.data),
        "event_id": str(event.event_id),
        **{name: value for name, value in optional.items() if value is not None},
    }


def read_stream(stream: str, after: int, limit: int) -> Call[list[RecordedEvent]]:
    """One page of a stream: every event from ``after`` on, or the database says that some are archived."""
    return Call(
        query="SELECT " + _COLUMNS + " FROM es.read_stream(%s, %s, %s)",  # noqa: S608 # a constant
        values=(stream, after, limit),
        parse=lambda rows: [_event(row) for row in rows],
        repeatable=True,
    )


def read_all(after: Position, limit: int) -> Call[list[RecordedEvent]]:
    """One page of the global order."""
    return Call(
        query="SELECT " + _COLUMNS + " FROM es.read_all(%s::text::xid8, %s, %s)",  # noqa: S608 # a constant
        values=(str(after.xid), after.seq, limit),
        parse=lambda rows: [_event(row) for row in rows],
        repeatable=True,
    )


def _event(row: tuple[Any, ...]) -> RecordedEvent:
    return RecordedEvent(
        stream=row[0],
        version=row[1],
        type=row[2],
        data=row[3],
        metadata=row[4],
        occurred_at=row[5],
        recorded_at=row[6],
        event_id=row[7],
        position=Position(int(row[8]), row[9]),
    )


def version(stream: str) -> Call[int]:
    """The stream's version; 0 where it does not exist."""
    return Call(
        query="SELECT version FROM es.streams WHERE stream_id = %s",
        values=(stream,),
        parse=lambda rows: rows[0][0] if rows else 0,
        repeatable=True,
    )


def save_snapshot(snapshot: Snapshot) -> Call[None]:
    """Keep it unless there is a newer one of the same schema."""
    return Call(
        query="INSERT INTO es.snapshots AS s (stream_id, version, schema, state) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, schema = excluded.schema, "
        "state = excluded.state, taken_at = clock_timestamp() "
        "WHERE s.schema <> excluded.schema OR s.version < excluded.version",
        values=(snapshot.stream, snapshot.version, snapshot.schema, Jsonb(snapshot.state)),
        parse=lambda _: None,
        repeatable=True,
        answers=False,
    )


def load_snapshot(stream: str, schema: str) -> Call[Snapshot | None]:
    """The newest snapshot that this schema wrote."""
    return Call(
        query="SELECT version, state FROM es.snapshots WHERE stream_id = %s AND schema = %s",
        values=(stream, schema),
        parse=lambda rows: (
            Snapshot(stream=stream, version=rows[0][0], schema=schema, state=rows[0][1]) if rows else None
        ),
        repeatable=True,
    )


def make_checkpoint(projection: str) -> Call[None]:
    """A projection begins before the first event."""
    return Call(
        query="INSERT INTO es.checkpoints (projection) VALUES (%s) ON CONFLICT DO NOTHING",
        values=(projection,),
        parse=lambda _: None,
        repeatable=True,
        answers=False,
    )


def take_checkpoint(projection: str) -> Call[Position | None]:
    """Where the projection is, locked until the transaction ends; ``None`` while somebody else holds it."""
    return Call(
        query="SELECT xid::text, seq FROM es.checkpoints WHERE projection = %s FOR UPDATE SKIP LOCKED",
        values=(projection,),
        parse=lambda rows: Position(int(rows[0][0]), rows[0][1]) if rows else None,
        repeatable=False,
    )


def move_checkpoint(projection: str, position: Position) -> Call[None]:
    """Where the projection is now."""
    return Call(
        query="UPDATE es.checkpoints SET xid = %s::text::xid8, seq = %s, updated_at = clock_timestamp() "
        "WHERE projection = %s",
        values=(str(position.xid), position.seq, projection),
        parse=lambda _: None,
        repeatable=False,
        answers=False,
    )


def take_outbox(lane: int, limit: int) -> Call[list[Message]]:
    """The lane's oldest messages; none while somebody else publishes them."""
    return Call(
        query="SELECT id, topic, key, payload, created_at FROM es.take_outbox(%s, %s)",
        values=(lane, limit),
        parse=lambda rows: [
            Message(id=row[0], topic=row[1], key=row[2], payload=row[3], created_at=row[4]) for row in rows
        ],
        repeatable=False,
    )


def drop_outbox(lane: int, messages: Sequence[Message]) -> Call[None]:
    """Forget published messages."""
    return Call(
        query="SELECT es.drop_outbox(%s, %s)",
        values=(lane, [message.id for message in messages]),
        parse=lambda _: None,
        repeatable=False,
        answers=False,
    )


def open_wallet(wallet: str, user: str, currency: str) -> Call[bool]:
    """Make a customer's wallet; whether it is new."""
    return Call(
        query="SELECT ledger.open_wallet(%s, %s, %s)",
        values=(wallet, user, currency),
        parse=lambda rows: bool(rows[0][0]),
        repeatable=True,
    )


def transfer(
    transfer_id: str, *, source: str, target: str, amount: Decimal, currency: str, reason: str, metadata: dict[str, Any]
) -> Call[Transferred]:
    """Move money; the id makes it repeatable."""
    if not isinstance(amount, Decimal):
        raise TypeError(f"an amount is a Decimal, not {type(amount).__name__}: a float is not the number that it shows")
    return Call(
        query="SELECT source_version, target_version, duplicate FROM ledger.transfer(%s, %s, %s, %s, %s, %s, %s)",
        values=(transfer_id, source, target, amount, currency, reason, Jsonb(metadata)),
        parse=lambda rows: Transferred(source_version=rows[0][0], target_version=rows[0][1], duplicate=rows[0][2]),
        repeatable=True,
    )


def balance(wallet: str) -> Call[tuple[Decimal, int] | None]:
    """Balance and version of the write side."""
    return Call(
        query="SELECT balance, version FROM ledger.read_balance(%s)",
        values=(wallet,),
        parse=lambda rows: (rows[0][0], rows[0][1]) if rows else None,
        repeatable=True,
    )


def refresh_balances(bucket: int) -> Call[int | None]:
    """Take up new events; ``None`` while somebody else does."""
    return Call(
        query="SELECT es.refresh_wallet_balances(%s)",
        values=(bucket,),
        parse=lambda rows: None if rows[0][0] < 0 else int(rows[0][0]),
        repeatable=False,
    )
