"""A short set of the trials; all of them, several times each, are `make failover`."""

import itertools

import pytest

from sandbox.postgres_rig import Rig
from sandbox.postgres_trials import Trial, promised_seconds, run_trial

pytestmark = [pytest.mark.real, pytest.mark.slow]
_NUMBERS = itertools.count()


def tried(rig: Rig, fault: str) -> Trial:
    trial = run_trial(rig, fault, next(_NUMBERS))
    # What the running cluster says, not what was rendered.
    status, timers = rig.rest(rig.host.members[0], "/config")
    assert status == 200, timers
    assert trial.verdict.seconds_without_writes <= promised_seconds(fault, timers)
    assert trial.verdict.acknowledged > 0
    assert trial.verdict.reads > 0
    assert trial.verdict.lost == 0
    assert trial.verdict.wrong_reads == 0
    return trial


@pytest.mark.parametrize("fault", ["switchover", "graceful stop", "primary killed"])
def test_another_member_takes_over_and_no_acknowledged_row_is_lost(rig: Rig, fault: str) -> None:
    assert tried(rig, fault).promoted


@pytest.mark.parametrize("fault", ["postmaster crash", "replica killed", "one etcd lost", "all etcd lost"])
def test_the_primary_stays_and_no_acknowledged_row_is_lost(rig: Rig, fault: str) -> None:
    assert not tried(rig, fault).promoted


def test_a_rollout_of_the_poolers_loses_no_transaction(rig: Rig) -> None:
    trial = tried(rig, "pooler rollout")
    assert not trial.promoted
    assert trial.verdict.failed == 0, "a writer that replaces its connections between transactions sees no error"
    assert trial.verdict.unanswered == 0
