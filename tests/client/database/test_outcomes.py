import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import PoolTimeout

from payments_client.database.deadlines import Deadline
from payments_client.database.errors import DeadlineExceededError, OutcomeUnknownError
from payments_client.database.outcomes import Attempts, Outcome, Phase, outcome_of

LOST = psycopg.OperationalError("the connection is lost")
STATES = st.sampled_from(["40001", "40P01", "40003", "57P01", "57P02", "57P03", "08006", "53300", "23505", "42601"])


def error_of(state: str) -> psycopg.Error:
    return psycopg.errors.lookup(state)("x")


@pytest.mark.parametrize(
    ("error", "phase", "expected"),
    [
        (LOST, Phase.BEFORE_COMMIT, Outcome.REPEATABLE),
        (LOST, Phase.COMMIT, Outcome.UNKNOWN),
        (psycopg.InternalError("received 2 results from command 'BEGIN'"), Phase.BEFORE_COMMIT, Outcome.REPEATABLE),
        (psycopg.InternalError("received 2 results from command 'COMMIT'"), Phase.COMMIT, Outcome.UNKNOWN),
        (error_of("57P01"), Phase.BEFORE_COMMIT, Outcome.REPEATABLE),
        (error_of("57P01"), Phase.COMMIT, Outcome.UNKNOWN),
        (error_of("40003"), Phase.COMMIT, Outcome.UNKNOWN),
        (error_of("40001"), Phase.COMMIT, Outcome.REPEATABLE),
        (error_of("25006"), Phase.BEFORE_COMMIT, Outcome.REPEATABLE),
        (error_of("23505"), Phase.BEFORE_COMMIT, Outcome.PERMANENT),
        (error_of("23503"), Phase.COMMIT, Outcome.PERMANENT),
        (error_of("42601"), Phase.BEFORE_COMMIT, Outcome.PERMANENT),
        (PoolTimeout("full"), Phase.BEFORE_COMMIT, Outcome.REPEATABLE),
    ],
)
def test_what_is_known_after_a_failure(error: Exception, phase: Phase, expected: Outcome) -> None:
    assert outcome_of(error, phase) is expected


@given(STATES, st.sampled_from(list(Phase)))
def test_an_unknown_outcome_is_never_repeated_without_a_key(state: str, phase: Phase) -> None:
    attempts = Attempts(deadline=Deadline.after(60), keyed=False, phase=phase, count=1)
    try:
        attempts.pause_seconds(error_of(state))
    except (psycopg.Error, OutcomeUnknownError):
        return
    assert outcome_of(error_of(state), phase) is Outcome.REPEATABLE


def test_a_key_makes_an_unknown_outcome_repeatable_until_the_deadline() -> None:
    attempts = Attempts(deadline=Deadline.after(60), keyed=True)
    attempts.begin()
    attempts.phase = Phase.COMMIT
    assert 0 < attempts.pause_seconds(LOST) <= 0.5
    attempts.deadline = Deadline.after(1e-9)
    attempts.begin()
    with pytest.raises(OutcomeUnknownError):
        attempts.pause_seconds(LOST)


def test_a_deadline_without_a_sent_commit_says_that_nothing_was_committed() -> None:
    attempts = Attempts(deadline=Deadline.after(1e-9), keyed=False)
    attempts.begin()
    with pytest.raises(DeadlineExceededError):
        attempts.pause_seconds(LOST)


def test_a_repetition_that_fails_does_not_hide_an_unanswered_commit() -> None:
    attempts = Attempts(deadline=Deadline.after(60), keyed=True, phase=Phase.COMMIT, count=1)
    attempts.pause_seconds(LOST)
    attempts.begin()
    with pytest.raises(OutcomeUnknownError):
        attempts.pause_seconds(error_of("42601"))
