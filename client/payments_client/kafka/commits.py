"""When offsets are committed: each second while a partition is kept, and for the last time before it goes.

A commit carries the generation that the member had when it was sent. librdkafka sends it on the connection on which its
JoinGroup waits, and a broker answers the requests of a connection one after the other: what is committed while the
member waits for the others is read after the new generation has begun, and refused. The offset is still right: it is
committed again in the new generation, as the partition is kept until this member gives it up.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from payments_client.kafka.lane import Lane
from payments_client.kafka.metrics import Count, Metrics

_BETWEEN_GENERATIONS = {"ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS"}
_PASSING = _BETWEEN_GENERATIONS | {
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "REQUEST_TIMED_OUT",
    "_TIMED_OUT",
    "_TRANSPORT",
    "_WAIT_COORD",
}
_AGAIN_SECONDS = 0.1
_LAST_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
_log = logging.getLogger(__name__)


class Commits:
    """Commits of one consumer. All methods belong to the loop's thread; ``lanes`` are those that the member has now."""

    def __init__(
        self, topic: str, lanes: Mapping[tuple[str, int], Lane], metrics: Metrics, *, every_seconds: float
    ) -> None:
        self._topic, self._lanes, self._metrics, self._every_seconds = topic, lanes, metrics, every_seconds
        self._next = 0.0

    def soon(self, consumer: Any) -> None:
        """Where it is time, ask for commits of what is done; ``hear`` gets the answer in a later poll.

        One request at a time: in a rebalance that takes 10 s, ten of them would wait to be refused.
        """
        lanes = self._lanes.values()
        if time.monotonic() < self._next or any(lane.requested is not None for lane in lanes):
            return
        self._next = time.monotonic() + self._every_seconds
        offsets = _uncommitted(lanes)
        if not offsets:
            return
        for offset in offsets:
            self._lanes[offset.topic, offset.partition].requested = offset.offset
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as refused:
            self.hear(refused.args[0], offsets)

    def hear(self, error: KafkaError | None, offsets: Sequence[TopicPartition]) -> None:
        """Take an answer (``on_commit``). Partitions that have gone since were settled by ``before_leaving``."""
        refused: list[KafkaError] = []
        for offset in offsets:
            why = error or offset.error
            lane = self._lanes.get((offset.topic, offset.partition))
            if lane is not None and lane.hear(offset.offset, accepted=why is None) and why is not None:
                refused.append(why)
        if not refused:
            return
        if all(why.name() in _BETWEEN_GENERATIONS for why in refused):
            self._metrics.count(Count.COMMIT_DEFERRED, self._topic, len(refused))
            _log.info("%s: commit of %d partitions waits for the new generation", self._topic, len(refused))
            self._next = time.monotonic() + min(_AGAIN_SECONDS, self._every_seconds)
        else:
            self._metrics.count(Count.COMMIT_FAILED, self._topic, len(refused))
            _log.warning("%s: commit of %d partitions failed: %s", self._topic, len(refused), refused[0])

    def before_leaving(self, consumer: Any, lanes: Collection[Lane]) -> None:
        """Commit what is done and wait for it: the last chance for partitions that go.

        A commit that is on its way counts for nothing: it may be refused when nobody hears of it any more. At the
        process's end the member may wait in JoinGroup; then the first attempt comes back refused when the others have
        joined, and the next one passes, as what a member has is not given to another before the member gives it up.
        """
        for pause_seconds in (*_LAST_PAUSES_SECONDS, None):
            offsets = _uncommitted(lanes)
            if not offsets:
                return
            refused = _commit(consumer, offsets)
            if not refused:
                return
            if pause_seconds is None or any(why.name() not in _PASSING for why in refused):
                break
            time.sleep(pause_seconds)
        self._metrics.count(Count.COMMIT_FAILED, self._topic, len(refused))
        _log.error(
            "%s: the last commit of %d partitions failed, their last messages will come again: %s",
            self._topic,
            len(refused),
            refused[0],
        )


def _commit(consumer: Any, offsets: Sequence[TopicPartition]) -> list[KafkaError]:
    """Commit and wait; an error for each partition that was refused."""
    try:
        answers = consumer.commit(offsets=offsets, asynchronous=False) or ()
    except KafkaException as refused:
        return [refused.args[0]] * len(offsets)
    return [answer.error for answer in answers if answer.error is not None]


def _uncommitted(lanes: Collection[Lane]) -> list[TopicPartition]:
    return [offset for lane in lanes if (offset := lane.uncommitted) is not None]
