import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolClosed, PoolTimeout

from payments_client.database.deadlines import Deadline
from payments_client.database.errors import DeadlineExceededError, OutcomeUnknownError, TransactionBrokenError
from payments_client.database.occupancy import Occupancy, PoolFullError
from payments_client.database.outcomes import Attempts, Outcome, Phase, outcome_of, require_open

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
        (PoolTimeout("full"), Phase.COMMIT, Outcome.UNKNOWN),
        (PoolClosed("closed"), Phase.BEFORE_COMMIT, Outcome.PERMANENT),
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


@pytest.mark.parametrize(
    ("error", "given_seconds", "failed"),
    [
        (LOST, 1.0, True),
        (PoolTimeout("no connection could be made"), 1.0, True),
        (error_of("57P01"), 0.01, True),
        (error_of("53300"), 1.0, True),
        (LOST, 0.05, False),
        (PoolTimeout("no time to make a connection"), 0.05, False),
        (PoolFullError("all are out"), 1.0, False),
        (error_of("40001"), 1.0, False),
        (error_of("40P01"), 1.0, False),
    ],
)
def test_which_failures_of_a_read_are_the_endpoints_own(
    error: Exception, given_seconds: float, *, failed: bool
) -> None:
    attempts = Attempts(deadline=Deadline.after(60), keyed=True, count=1)
    assert attempts.endpoint_failed(error, given_seconds) is failed


def test_a_socket_that_was_shut_at_the_calls_own_deadline_says_nothing_of_the_endpoint() -> None:
    assert not Attempts(deadline=Deadline(at=0), keyed=True, count=1).endpoint_failed(LOST, 1.0)


def test_what_every_endpoint_would_answer_ends_a_read() -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        Attempts(deadline=Deadline.after(60), keyed=True, count=1).endpoint_failed(error_of("42601"), 1.0)


def test_a_pool_is_full_while_all_its_connections_are_out() -> None:
    occupancy = Occupancy(1)
    with pytest.raises(PoolTimeout) as unreachable, occupancy.asking():
        raise PoolTimeout("x")
    assert not isinstance(unreachable.value, PoolFullError)
    with occupancy.asking():
        pass
    assert occupancy.full
    with pytest.raises(PoolFullError), occupancy.asking():
        raise PoolTimeout("x")
    occupancy.returned()
    assert not occupancy.full


def test_only_an_open_transaction_is_committed() -> None:
    require_open(TransactionStatus.INTRANS)
    for status in (TransactionStatus.INERROR, TransactionStatus.IDLE, TransactionStatus.ACTIVE):
        with pytest.raises(TransactionBrokenError):
            require_open(status)
    with pytest.raises(psycopg.OperationalError):
        require_open(TransactionStatus.UNKNOWN)
