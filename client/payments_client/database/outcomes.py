"""Whether a failed transaction may have been committed, and whether it is worth another attempt."""

import random
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolClosed, TooManyRequests

from payments_client.database.deadlines import Deadline
from payments_client.database.errors import DeadlineExceededError, OutcomeUnknownError, TransactionBrokenError
from payments_client.database.occupancy import PoolFullError

_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 0.5
_EARLY_SECONDS = 0.1
_FAIR_SECONDS = 0.1
"""An endpoint that had less time than this to answer is not blamed."""


class Phase(StrEnum):
    """How far a transaction had come."""

    BEFORE_COMMIT = "before-commit"
    """COMMIT was not sent: whatever happened, the server rolls back."""
    COMMIT = "commit"


class Outcome(StrEnum):
    """What is known after a failure."""

    REPEATABLE = "repeatable"
    """Not committed, and the cause may pass."""
    PERMANENT = "permanent"
    """Not committed, and the same attempt would fail again."""
    UNKNOWN = "unknown"


# SQLSTATEs after which the server says itself that it rolled back and that the cause may pass.
_ROLLED_BACK = frozenset({
    "40001", "40P01", # serialization failure, deadlock
    "25006", # the primary became a replica
})  # fmt: skip
# A server that is ending, starting or full; or a connection that broke.
_SERVER_AWAY = frozenset({"57P01", "57P02", "57P03", "53300", "58000"})


def outcome_of(error: Exception, phase: Phase) -> Outcome:
    """Classify by SQLSTATE and phase. Without a SQLSTATE, a connection broke or a pool gave none."""
    if not isinstance(error, psycopg.Error):
        return Outcome.PERMANENT if phase is Phase.BEFORE_COMMIT else Outcome.UNKNOWN
    state = error.sqlstate
    if state in _ROLLED_BACK:
        return Outcome.REPEATABLE
    # A pooler that loses its server in the middle of an answer leaves libpq with one result too many: InternalError.
    broken = isinstance(error, psycopg.OperationalError | psycopg.InternalError) and (
        state is None or state in _SERVER_AWAY or state.startswith("08")
    )
    # A pool that was closed stays closed.
    broken = broken and not isinstance(error, PoolClosed)
    if phase is Phase.COMMIT:
        # A refused constraint is an answer; a lost connection, an ending server and 40003 are none.
        answered = state is not None and state[:2] in {"23", "40", "P0"} and state != "40003"
        return Outcome.PERMANENT if answered else Outcome.UNKNOWN
    return Outcome.REPEATABLE if broken else Outcome.PERMANENT


def require_open(status: TransactionStatus) -> None:
    """Before COMMIT: the server answers the COMMIT of a failed transaction by rolling back, and psycopg says nothing.

    Raises ``TransactionBrokenError``, or ``psycopg.OperationalError`` when the connection is gone.
    """
    if status is TransactionStatus.INTRANS:
        return
    if status is TransactionStatus.UNKNOWN:
        raise psycopg.OperationalError("the connection broke during the transaction, and work hid it")
    if status is TransactionStatus.INERROR:
        raise TransactionBrokenError(
            "a statement failed and work went on: nothing was committed. Put what may fail into a savepoint: "
            "'with connection.transaction(): …'"
        )
    raise TransactionBrokenError(
        "work ended the transaction itself, or left a statement running: what it committed stands, the rest is gone"
    )


@dataclass(kw_only=True, slots=True)
class Attempts:
    """The attempts of one call: what may be repeated, and what the caller is told at the end."""

    deadline: Deadline
    keyed: bool
    """Whether doing the same twice does it once."""
    phase: Phase = Phase.BEFORE_COMMIT
    count: int = 0
    _unknown: bool = field(default=False)

    def begin(self) -> None:
        """A new attempt has sent no COMMIT."""
        self.phase = Phase.BEFORE_COMMIT
        self.count += 1

    def endpoint_failed(self, error: Exception, given_seconds: float) -> bool:
        """Whether a read's failure is the endpoint's own. Raises what every endpoint would answer.

        A conflict with replay is an answer, a full pool is this process's own, and a socket that was shut because the
        call's time was up proves nothing.
        """
        if outcome_of(error, Phase.BEFORE_COMMIT) is not Outcome.REPEATABLE:
            self.pause_seconds(error)
        if isinstance(error, PoolFullError | TooManyRequests):
            return False
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        if state is not None:
            return state not in _ROLLED_BACK
        return given_seconds >= _FAIR_SECONDS and self.deadline.remaining_seconds > 0

    def pause_seconds(self, error: Exception) -> float:
        """How long to wait before the next attempt. Raises what the caller must know when there is none."""
        outcome = outcome_of(error, self.phase)
        self._unknown = self._unknown or outcome is Outcome.UNKNOWN
        if outcome is Outcome.UNKNOWN and not self.keyed:
            raise OutcomeUnknownError("COMMIT was sent and not answered; it may or may not have happened") from error
        # statement_timeout is this call's own deadline, a moment early.
        ended = isinstance(error, psycopg.errors.QueryCanceled) and self.deadline.remaining_seconds <= _EARLY_SECONDS
        if outcome is Outcome.PERMANENT and not ended:
            if self._unknown:
                raise OutcomeUnknownError("an earlier COMMIT was not answered, and the repetition failed") from error
            raise error
        ceiling = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(self.count, 10))
        pause = ceiling * random.uniform(0.5, 1)  # noqa: S311
        if ended or self.deadline.remaining_seconds <= pause:
            if self._unknown:
                raise OutcomeUnknownError(
                    f"COMMIT was not answered before the deadline, in {self.count} attempts"
                ) from error
            raise DeadlineExceededError(
                f"nothing was committed before the deadline, in {self.count} attempts"
            ) from error
        return pause
