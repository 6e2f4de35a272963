"""When a call is made again: never when that could do something twice, always when nothing was done."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors

from payments_client.eventstore import (
    ConflictError,
    EventStore,
    InsufficientFundsError,
    NewEvent,
    Position,
    TryAgainError,
    UncertainError,
    calls,
)
from payments_client.eventstore.calls import Call
from payments_client.eventstore.retry import Attempts

WITH_KEY = calls.append("s", [NewEvent(type="A", data={})], 0, "key")
WITHOUT = calls.append("s", [NewEvent(type="A", data={})], 0, None)


def state(code: str) -> psycopg.Error:
    """An error with one of our own codes, as the driver raises it."""
    error = psycopg.DatabaseError("refused")
    error.sqlstate = code
    return error


def outcome(error: psycopg.Error, call: Call[Any], *, sent: bool = True) -> type[Exception] | None:
    """What the caller sees; ``None``: the call is made again."""
    attempts = Attempts(deadline_seconds=60)
    try:
        pause = attempts.pause_after(error, call, sent=sent)
    except Exception as raised:  # noqa: BLE001 # any of them is an answer
        return type(raised)
    assert 0 <= pause <= 2
    return None


@pytest.mark.parametrize(
    ("error", "with_key", "without"),
    [
        (psycopg.OperationalError("server closed the connection"), None, UncertainError),
        (errors.AdminShutdown("terminating"), None, UncertainError),
        (errors.CannotConnectNow("starting up"), None, None),
        (errors.ReadOnlySqlTransaction("a standby"), None, None),
        (errors.SerializationFailure("try again"), None, None),
        (errors.DeadlockDetected("try again"), None, None),
        (errors.QueryCanceled("too long"), errors.QueryCanceled, errors.QueryCanceled),
        (errors.CheckViolation("no partition"), errors.CheckViolation, errors.CheckViolation),
        (errors.InsufficientPrivilege("no"), errors.InsufficientPrivilege, errors.InsufficientPrivilege),
        (state("ES001"), ConflictError, ConflictError),
        (state("LE001"), InsufficientFundsError, InsufficientFundsError),
        # Ours says bucket and shard; another's of the same name is shown as it is.
        (state("SH001"), psycopg.DatabaseError, psycopg.DatabaseError),
    ],
)
def test_what_follows_an_error(
    error: psycopg.Error, with_key: type[Exception] | None, without: type[Exception] | None
) -> None:
    assert outcome(error, WITH_KEY) is with_key
    assert outcome(error, WITHOUT) is without


def test_a_connection_that_was_never_made_is_tried_again_without_a_key_too() -> None:
    assert outcome(psycopg.OperationalError("connection refused"), WITHOUT, sent=False) is None


def test_attempts_end_at_the_deadline_with_the_last_reason() -> None:
    attempts = Attempts(deadline_seconds=-1)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        attempts.pause_after(psycopg.OperationalError("connection refused"), WITH_KEY, sent=False)
    with pytest.raises(TryAgainError):
        attempts.pause_after(errors.SerializationFailure("again"), WITH_KEY, sent=True)


def test_a_store_goes_on_when_the_primary_is_back() -> None:
    tried: list[int] = []

    class Cursor:
        def fetchall(self) -> list[tuple[int, int, bool]]:
            return [(1, 1, False)]

    class Connection:
        def execute(self, *_: object) -> Cursor:
            return Cursor()

    @contextmanager
    def connections() -> Iterator[Any]:
        tried.append(1)
        if len(tried) < 3:
            raise psycopg.OperationalError("connection refused")
        yield Connection()

    appended = EventStore(connections).append("s", [NewEvent(type="A", data={})], expected=0)
    assert (appended.last_version, len(tried)) == (1, 3)


def test_what_cannot_be_appended_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        NewEvent(type="A", data={}, occurred_at=datetime(2026, 1, 1))  # noqa: DTZ001 # the mistake
    with pytest.raises(ValueError, match="at least one event"):
        calls.append("s", [], 0, None)
    assert NewEvent(type="A", data={}, occurred_at=datetime(2026, 1, 1, tzinfo=UTC)).event_id


def test_a_position_survives_being_written_down() -> None:
    assert Position.parse(str(Position(17, 4))) == Position(17, 4)
    assert Position() < Position(1, 0) < Position(1, 1) < Position(2, 0)
