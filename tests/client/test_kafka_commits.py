"""What becomes of commits while a group moves from one generation to the next. No broker, no thread."""

from collections import Counter, deque

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from payments_client.kafka.commits import Commits
from payments_client.kafka.lane import Lane
from payments_client.kafka.metrics import Count, NoMetrics
from tests.client.kafka_world import message

TOPIC = "events"
BETWEEN = [KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS]


class Coordinator:
    """A consumer whose asynchronous commits are answered when the test says so, its synchronous ones by a script."""

    def __init__(self) -> None:
        self.asked: list[list[TopicPartition]] = []
        self.refusals: deque[int] = deque()
        """Codes for the next synchronous commits; afterwards they pass."""
        self.attempts = 0
        self.offsets: dict[int, int] = {}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        if asynchronous:
            self.asked.append(offsets)
            return None
        self.attempts += 1
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.popleft()))
        self.offsets.update({entry.partition: entry.offset for entry in offsets})
        return offsets


class World:
    """A member with two partitions."""

    def __init__(self) -> None:
        self.counts: Counter[Count] = Counter()
        self.lanes = {(TOPIC, number): Lane(TOPIC, number) for number in range(2)}
        counts = self.counts

        class Seen(NoMetrics):
            def count(self, what: Count, topic: str, number: int = 1) -> None:  # noqa: ARG002 # the protocol's
                counts[what] += number

        self.consumer = Coordinator()
        self.commits = Commits(TOPIC, self.lanes, Seen(), every_seconds=0)

    def handled(self, partition: int, offset: int) -> None:
        lane = self.lanes[TOPIC, partition]
        lane.messages.append(message(offset, partition=partition))
        lane.finish_first()

    def answer(self, code: int | None = None) -> None:
        """Answer the oldest commit on its way."""
        self.commits.hear(None if code is None else KafkaError(code), self.consumer.asked.pop(0))

    def take(self, partition: int) -> Lane:
        return self.lanes.pop((TOPIC, partition))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("payments_client.kafka.commits.time.sleep", slept.append)
    return slept


def _said(offsets: list[TopicPartition]) -> dict[int, int]:
    return {entry.partition: entry.offset for entry in offsets}


@pytest.mark.parametrize("code", BETWEEN)
def test_a_kept_partitions_commit_that_met_a_rebalance_is_made_again_and_is_no_failure(world: World, code: int) -> None:
    world.handled(0, 4)
    world.commits.soon(world.consumer)
    world.answer(code)
    world.handled(0, 5)
    assert world.counts == {Count.COMMIT_DEFERRED: 1}
    world.commits.soon(world.consumer)
    assert [_said(offsets) for offsets in world.consumer.asked] == [{0: 6}], "with what has been done since"
    world.answer()
    world.commits.soon(world.consumer)
    assert world.consumer.asked == [], "confirmed: nothing is left to commit"


def test_one_commit_at_a_time_is_on_its_way(world: World) -> None:
    for offset in range(5):
        world.handled(0, offset)
        world.handled(1, offset)
        world.commits.soon(world.consumer)
    assert len(world.consumer.asked) == 1
    world.answer()
    world.commits.soon(world.consumer)
    assert _said(world.consumer.asked[0]) == {0: 5, 1: 5}


def test_a_commit_on_its_way_is_not_trusted_when_the_partition_goes(world: World) -> None:
    world.handled(0, 4)
    world.commits.soon(world.consumer)
    world.commits.before_leaving(world.consumer, [world.take(0)])
    assert world.consumer.offsets == {0: 5}
    world.answer(KafkaError.ILLEGAL_GENERATION)
    assert world.counts == {}, "the partition was handed over with its offset: nobody minds the other answer"
    world.handled(1, 0)
    world.commits.soon(world.consumer)
    assert _said(world.consumer.asked[0]) == {1: 1}, "the others go on"


def test_what_is_confirmed_is_not_committed_again_when_the_partition_goes(world: World) -> None:
    world.handled(0, 4)
    world.commits.soon(world.consumer)
    world.answer()
    world.commits.before_leaving(world.consumer, [world.take(0)])
    assert world.consumer.attempts == 0


@pytest.mark.parametrize("code", [*BETWEEN, KafkaError.NOT_COORDINATOR, KafkaError._TRANSPORT])
def test_a_last_commit_is_made_again_where_the_refusal_passes(world: World, pauses: list[float], code: int) -> None:
    world.handled(0, 4)
    world.consumer.refusals.extend([code, code])
    world.commits.before_leaving(world.consumer, [world.take(0)])
    assert world.consumer.offsets == {0: 5}
    assert world.counts == {}
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("code", "attempts"), [(KafkaError.ILLEGAL_GENERATION, 6), (KafkaError.GROUP_AUTHORIZATION_FAILED, 1)]
)
def test_a_last_commit_that_stays_refused_is_counted_once_for_each_partition(
    world: World, code: int, attempts: int
) -> None:
    world.handled(0, 4)
    world.handled(1, 9)
    world.consumer.refusals.extend([code] * 20)
    world.commits.before_leaving(world.consumer, [world.take(0), world.take(1)])
    assert world.consumer.attempts == attempts
    assert world.counts == {Count.COMMIT_FAILED: 2}


def test_a_late_answer_does_not_confirm_what_was_asked_for_after_it(world: World) -> None:
    world.handled(0, 4)
    world.commits.soon(world.consumer)
    world.take(0)
    world.lanes[TOPIC, 0] = Lane(TOPIC, 0)  # the partition came back
    world.handled(0, 4)
    world.handled(0, 5)
    world.commits.soon(world.consumer)
    world.answer()
    world.commits.soon(world.consumer)
    assert [_said(offsets) for offsets in world.consumer.asked] == [{0: 6}], "that one is still on its way"
    world.commits.before_leaving(world.consumer, [world.take(0)])
    assert world.consumer.offsets == {0: 6}
