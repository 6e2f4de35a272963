"""Whether a failed transaction may have been committed, and whether it is worth another attempt."""

import random
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from payments_client.database.deadlines import Deadline
from payments_client.database.errors import DeadlineExceededError, OutcomeUnknownError

_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 0.5
_EARLY_SECONDS = 0.1


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
    """Classify by SQLSTATE and phase. An error without SQLSTATE is a connection that broke."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return Outcome.REPEATABLE
    if not isinstance(error, psycopg.Error):
        return Outcome.PERMANENT if phase is Phase.BEFORE_COMMIT else Outcome.UNKNOWN
    state = error.sqlstate
    if state in _ROLLED_BACK:
        return Outcome.REPEATABLE
    # A pooler that loses its server in the middle of an answer leaves libpq with one result too many: InternalError.
    broken = isinstance(error, psycopg.OperationalError | psycopg.InternalError) and (
        state is None or state in _SERVER_AWAY or state.startswith("08")
    )
    if phase is Phase.COMMIT:
        # A refused constraint is an answer; a lost connection, an ending server and 40003 are none.
        answered = state is not None and state[:2] in {"23", "40", "P0"} and state != "40003"
        return Outcome.PERMANENT if answered else Outcome.UNKNOWN
    return Outcome.REPEATABLE if broken else Outcome.PERMANENT


@dataclass(kw_only=True, slots=True)
class Attempts:
    """The attempts of one call: what may be repeated, and what the caller is told at the end."""

    deadline: Deadline
    keyed: bool
    phase: Phase = Phase.BEFORE_COMMIT
    count: int = 0
    _unknown: bool = field(default=False)

    def begin(self) -> None:
        """A new attempt has sent no COMMIT."""
        self.phase = Phase.BEFORE_COMMIT
        self.count += 1

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
