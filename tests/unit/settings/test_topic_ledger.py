"""The ledger: no sequence of changes loses a partition or moves a key without an acknowledgement."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.base import Environment
from settings.kafka import GrowthAcknowledgement
from settings.kafka_names import PlannedTopic, plan_all_topics
from settings.topic_ledger import Change, Ledger, LedgerRow, check, compare, parse_ledger, record
from tests.unit.stacks import STACKS, settings_of


def _template() -> PlannedTopic:
    settings = settings_of("dev")
    assert settings.kafka is not None
    return plan_all_topics(settings.kafka, settings.topics, settings.services)["payment-events"]


TEMPLATE = _template()


def topic(name: str, partitions: int, key: str | None) -> PlannedTopic:
    return dataclasses.replace(TEMPLATE, name=name, partitions=partitions, key=key, path=f"topics.{name}.partitions")


def acknowledged(name: str, before: int, after: int) -> GrowthAcknowledgement:
    return GrowthAcknowledgement(
        topic=name, from_partitions=before, to_partitions=after, reason="drained at night", date="2026-11-24"
    )


_NAMES = st.sampled_from(["a", "b", "c"])
_COUNTS = st.integers(min_value=1, max_value=12)
_STATES = st.dictionaries(_NAMES, st.tuples(_COUNTS, st.sampled_from([None, "id", "other"])), max_size=3)
_WORDS = st.lists(
    st.tuples(_NAMES, _COUNTS, _COUNTS).filter(lambda step: step[2] > step[1]).map(lambda s: acknowledged(*s)),
    max_size=4,
)


@given(st.lists(st.tuples(_STATES, _WORDS), max_size=8), st.sampled_from(list(Environment)))
def test_t9_no_sequence_of_changes_loses_a_partition_or_moves_a_key(
    steps: list[tuple[dict[str, tuple[int, str | None]], list[GrowthAcknowledgement]]], environment: Environment
) -> None:
    ledger = Ledger()
    for state, words in steps:
        topics = {name: topic(name, *stated) for name, stated in state.items()}
        changes = compare(ledger, topics, words)
        if check(changes, environment=environment, stack="x").refused:
            continue
        after = record(ledger, changes)
        assert check(compare(after, topics, words), environment=environment, stack="x").problems == []
        for name, row in ledger.topics.items():
            new = after.topics[name]
            assert new.partitions >= row.partitions
            assert new.key == row.key
            if row.key is not None and new.partitions != row.partitions:
                assert acknowledged(name, row.partitions, new.partitions) in words
                assert new.growth[: len(row.growth)] == row.growth
        assert parse_ledger(after.to_json(), source="x") == after
        ledger = after


@pytest.mark.parametrize(
    ("partitions", "key", "words", "change"),
    [
        (24, "user_id", [], Change.NONE),
        (12, "user_id", [], Change.DECREASE),
        (48, "user_id", [], Change.UNACKNOWLEDGED_GROWTH),
        (48, "user_id", [acknowledged("payment-events", 24, 48)], Change.ACKNOWLEDGED_GROWTH),
        (48, "user_id", [acknowledged("payment-events", 24, 36)], Change.UNACKNOWLEDGED_GROWTH),
        (48, "user_id", [acknowledged("wallet-events", 24, 48)], Change.UNACKNOWLEDGED_GROWTH),
        (24, "wallet_id", [], Change.NEW_KEY),
    ],
)
def test_t9_only_the_acknowledged_step_is_taken(
    partitions: int, key: str, words: list[GrowthAcknowledgement], change: Change
) -> None:
    ledger = Ledger(topics={"payment-events": LedgerRow(partitions=24, key="user_id")})
    (found,) = compare(ledger, {"payment-events": topic("payment-events", partitions, key)}, words)
    assert found.change is change


def test_a_topic_that_is_left_out_is_refused_in_prod_and_remembered_in_dev() -> None:
    ledger = Ledger(topics={"payment-events": LedgerRow(partitions=24, key="user_id")})
    gone = compare(ledger, {}, [])
    (problem,) = check(gone, environment=Environment.PROD, stack="prod").refused
    assert "every topic of the ledger in prod" in str(problem)
    assert check(gone, environment=Environment.DEV, stack="dev").problems == []
    assert record(ledger, gone) == ledger


@pytest.mark.parametrize("stack", STACKS)
def test_s6_the_committed_ledger_agrees_with_the_stack(stack: str) -> None:
    from cli.recording import ROOT
    from settings.ledger_file import require_agreement

    require_agreement(settings_of(stack), folder=ROOT, stack=stack, source="x")
