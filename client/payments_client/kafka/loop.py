"""One consumer: polls, hands messages to worker threads, commits what is done, and gives partitions up in order."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from payments_client.kafka.commits import Commits
from payments_client.kafka.errors import AccessError, FatalError
from payments_client.kafka.handling import Handling
from payments_client.kafka.lane import Lane
from payments_client.kafka.metrics import Count
from payments_client.kafka.properties import Properties

_POLL_SECONDS = 0.1
# While partitions are paused, or a message waits for its next attempt, the loop looks after them this often.
_BUSY_POLL_SECONDS = 0.02
# A full partition is given this long to shrink before it is paused: pausing throws away what was fetched ahead.
_PATIENCE_SECONDS = 0.2
_RESUME_SHARE = 0.5
_REFUSED_FETCH = "TOPIC_AUTHORIZATION_FAILED"
_REFUSED = {"_AUTHENTICATION", _REFUSED_FETCH, "GROUP_AUTHORIZATION_FAILED"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopOptions:
    """How much a loop takes at once, and how long it waits."""

    workers: int = 4
    """Threads that handle messages: as many partitions advance at the same time."""
    most_waiting: int = 1000
    """Messages of one partition that wait in memory before it is paused; it resumes at half of it."""
    most_waiting_bytes: int = 16 * 2**20
    """The same in bytes of keys and values; one poll may exceed either."""
    commit_seconds: float = 1.0
    """Time between commits, rebalances excepted: what a killed process handles again."""
    handover_seconds: float = 20.0
    """How long a partition that is taken away, and the whole loop at its end, waits for handlers that run."""
    refused_seconds: float = 30.0
    """How long brokers may refuse the user before the loop ends: a new user, or a new rule, reaches them one by one."""
    first_pause_seconds: float = 2.0
    """Between two attempts at a message that failed; it doubles with each."""
    longest_pause_seconds: float = 30.0


class Loop:
    """Consumes one topic in one group until ``stop``; ``run`` belongs to one thread."""

    def __init__(
        self,
        topic: str,
        properties: Properties,
        handling: Handling,
        options: LoopOptions,
        *,
        consumer: Callable[[Properties], Any] = Consumer,
    ) -> None:
        self._topic, self._handling, self._options = topic, handling, options
        self._most = handling.group.max_poll_records
        self._metrics = handling.metrics
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._at_work: dict[tuple[str, int], Lane] = {}
        """By partition, the lane that a worker has; it may have been taken away while its handler does not end."""
        self._changed = threading.Condition()
        self._stopping = False
        """Not an ``Event``: a signal's handler that sets one can meet the lock that its own thread holds."""
        self._failure: BaseException | None = None
        self._refusal: tuple[float, AccessError] | None = None
        self._is_deaf = False
        """Whether a fetch has been refused: librdkafka says that once of a partition, and never again."""
        self._commits = Commits(topic, self._lanes, self._metrics, every_seconds=options.commit_seconds)
        self.polled_at = time.monotonic()
        """When the loop last asked for messages: a liveness probe's measure."""
        self._properties = {**properties, "on_commit": self._commits.hear, "error_cb": self._complain}
        self._make_consumer = consumer
        self._consumer: Any = None
        self._metrics.watch_handlers(topic, lambda: self.seconds_in_handler)
        self._workers = ThreadPoolExecutor(options.workers, thread_name_prefix=topic)

    def stop(self) -> None:
        """End ``run`` soon. Any thread, and a signal's handler, may call it."""
        self._stopping = True

    @property
    def seconds_in_handler(self) -> float:
        """How long the slowest handler has been at its message; 0 while none is called. Any thread may ask."""
        with self._changed:
            begun = [began for lane in self._at_work.values() if (began := lane.began_at) is not None]
        return time.monotonic() - min(begun) if begun else 0.0

    def run(self) -> None:
        """Consume until ``stop``, then leave the group with everything committed that is done.

        Raises ``AccessError`` when the brokers refuse the user, ``FatalError`` when a client is beyond repair.
        """
        callbacks = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
        self._consumer = self._make_consumer(self._properties)
        try:
            self._consumer.subscribe([self._topic], **callbacks)
            while not self._stopping:
                self.step()
        finally:
            self._leave()
        if self._failure is not None:
            raise self._failure

    def step(self) -> None:
        """One round of ``run``."""
        self.polled_at = time.monotonic()
        self._poll()
        if self._refusal is not None and time.monotonic() - self._refusal[0] > self._options.refused_seconds:
            self._fail(self._refusal[1])
        self._start_workers()
        self._hold_back()
        self._commits.soon(self._consumer)

    def _poll(self) -> None:
        """Accept at most ``max_poll_records``: one that is waited for, and what has been fetched with it.

        The first is accepted before the others are asked for: its partition may be taken away in between.
        """
        now = time.monotonic()
        watched = any(lane.paused or lane.ready_at > now for lane in self._lanes.values())
        first = self._consumer.poll(_BUSY_POLL_SECONDS if watched else _POLL_SECONDS)
        if first is not None:
            self._accept([first])
            if self._most > 1:
                self._accept(self._consumer.consume(self._most - 1, 0))

    def _accept(self, messages: Sequence[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                self._is_deaf |= error.name() == _REFUSED_FETCH and message.partition() is not None
                self._complain(error)
                continue
            self._forgive()
            lane = self._lanes.get((message.topic() or "", message.partition() or 0))
            if lane is not None:  # none: the partition has just been taken away, its new owner gets the message
                lane.add(message)

    def _start_workers(self) -> None:
        now = time.monotonic()
        with self._changed:
            due = [lane for key, lane in self._lanes.items() if key not in self._at_work and lane.is_due(now)]
            self._at_work.update((lane.key, lane) for lane in due)
        for lane in due:
            self._workers.submit(self._work, lane)

    def _work(self, lane: Lane) -> None:
        """Handle a lane's messages in their order, one poll's worth at most: others wait for the thread."""
        handled = 0
        try:
            while handled < self._most and lane.messages and not lane.closed:
                if not self._handling.handle_first(lane):
                    break
                lane.finish_first()
                handled += 1
        except BaseException as error:  # noqa: BLE001 # raised by run, in its own thread; the message is not done with
            self._fail(error)
        self._metrics.count(Count.HANDLED, lane.topic, handled)
        with self._changed:
            goes_on = lane.is_due(time.monotonic()) and not self._stopping
            if not goes_on:
                del self._at_work[lane.key]
            self._changed.notify_all()
        if goes_on:
            self._workers.submit(self._work, lane)

    def _hold_back(self) -> None:
        """Pause partitions whose backlog does not shrink, resume those where it has."""
        new = [lane for lane in self._lanes.values() if lane.is_new]
        if new:  # a pause from before may have outlived the rebalance
            self._consumer.resume([lane.position for lane in new])
        for lane in new:
            lane.is_new = False
        full = self._full()
        if full and not any(lane.ready_at > time.monotonic() for lane in full):
            with self._changed:
                self._changed.wait_for(lambda: not self._full() or self._stopping, _PATIENCE_SECONDS)
            full = self._full()
        if full:
            self._consumer.pause([lane.position for lane in full])
        for lane in full:
            lane.paused = True
            self._metrics.count(Count.PAUSED, lane.topic)
        shrunk = [lane for lane in self._lanes.values() if lane.paused and self._has_room(lane)]
        if shrunk:
            self._consumer.resume([lane.position for lane in shrunk])
        for lane in shrunk:
            lane.paused = False

    def _full(self) -> list[Lane]:
        return [lane for lane in self._lanes.values() if not lane.paused and self._share(lane) >= 1]

    def _has_room(self, lane: Lane) -> bool:
        return self._share(lane) <= _RESUME_SHARE

    def _share(self, lane: Lane) -> float:
        """How much of what may wait does: the larger share of messages and bytes."""
        options = self._options
        return max(len(lane.messages) / options.most_waiting, lane.waiting_bytes / options.most_waiting_bytes)

    def _on_assign(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self._forgive()
        for partition in partitions:
            self._lanes[partition.topic, partition.partition] = Lane(partition.topic, partition.partition)
            self._metrics.count(Count.ASSIGNED, partition.topic)

    def _on_revoke(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Finish what is being handled, commit, and only then let go: the next owner begins where this one ended."""
        lanes = self._take(partitions)
        for lane in lanes:
            self._metrics.count(Count.REVOKED, lane.topic)
        self._finish(lanes)

    def _on_lost(self, _consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Somebody else has them already: nothing may be committed."""
        for lane in self._take(partitions):
            self._metrics.count(Count.LOST, lane.topic)

    def _take(self, partitions: Sequence[TopicPartition]) -> list[Lane]:
        found = [self._lanes.pop((partition.topic, partition.partition), None) for partition in partitions]
        lanes = [lane for lane in found if lane is not None]
        with self._changed:
            for lane in lanes:
                lane.closed = True
        return lanes

    def _finish(self, lanes: Sequence[Lane]) -> None:
        with self._changed:
            ended = self._changed.wait_for(
                lambda: not any(self._at_work.get(lane.key) is lane for lane in lanes), self._options.handover_seconds
            )
        if not ended:
            _log.error(
                "handlers run for more than %.0f s: their messages will come again", self._options.handover_seconds
            )
        self._commits.before_leaving(self._consumer, lanes)

    def _leave(self) -> None:
        try:
            self._finish(self._take([lane.position for lane in self._lanes.values()]))
        finally:
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._consumer.close()

    def _complain(self, error: KafkaError) -> None:
        """An error that came in place of a message, or by itself: most pass, as when one broker of several is away."""
        said = f"{self._topic}: {error.str()} ({error.name()})"
        _log.warning(said)
        if error.fatal():
            self._fail(FatalError(said))
        elif error.name() == "_AUTHENTICATION" and self._lanes:
            return  # one broker of several does not know the user yet; this member has its partitions
        elif error.name() in _REFUSED:
            self._metrics.count(Count.REFUSED, self._topic)
            self._refusal = self._refusal or (
                time.monotonic(),
                AccessError(f"the brokers refuse this user: {said}; compare its access with what it does"),
            )

    def _forgive(self) -> None:
        """The brokers let the user in after all.

        A fetch that was refused is not forgiven: nothing tells whether an idle topic can be read again, and a second
        refusal would not be heard. The runner ends, and a new client hears everything anew.
        """
        if not self._is_deaf:
            self._refusal = None

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopping = True
