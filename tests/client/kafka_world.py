"""A Kafka of one process: a consumer that hands out what a test puts in, and a topic that failed messages go to."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from payments_client.kafka.contract import KafkaContract, KafkaGroup, KafkaTopic
from payments_client.kafka.errors import DeliveryError, FatalError
from payments_client.kafka.failures import Headers
from payments_client.kafka.handling import Handling
from payments_client.kafka.loop import Loop, LoopOptions
from payments_client.kafka.metrics import Metrics, NoMetrics

GROUP = KafkaGroup(
    id="payments",
    application="payment-processors",
    topic="events",
    retry_topic="payments-retry",
    dead_letter_topic="payments-dead-letter",
    retry_delay_seconds=0,
)
CONTRACT = KafkaContract(
    bootstrap_servers="broker.example:9093",
    topics=(
        KafkaTopic(name="events", partitions=24, key="user_id"),
        KafkaTopic(name="payments-retry", partitions=12, key="user_id"),
        KafkaTopic(name="payments-dead-letter", partitions=3, key="user_id"),
    ),
    groups=(GROUP,),
)


def message(
    offset: int,
    *,
    partition: int = 0,
    topic: str = "events",
    headers: Headers | None = None,
    error: KafkaError | None = None,
    value: bytes | None = None,
) -> Message:
    """One message, as librdkafka would hand it over."""
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        key=f"key-{partition}".encode(),
        value=str(offset).encode() if value is None else value,
        headers=[*headers] if headers else None,
        timestamp=(1, 1_700_000_000_000 + offset),
        error=error,
    )


class FakeConsumer:
    """What a loop uses of ``confluent_kafka.Consumer``. Callbacks run inside ``poll``, as with the real one."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.properties = dict(properties)
        self.waiting: deque[Message] = deque()
        self.events: deque[Callable[[], None]] = deque()
        self.events_in_consume: deque[Callable[[], None]] = deque()
        self.callbacks: dict[str, Any] = {}
        self.commits: list[dict[int, int]] = []
        self.synchronous: list[dict[int, int]] = []
        self.paused: set[int] = set()
        self.commit_error: KafkaError | None = None
        """Of every commit."""
        self.commit_errors: deque[KafkaError] = deque()
        """Of the next ones."""
        self.closed = False
        self.largest_poll = 0

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.topics, self.callbacks = topics, callbacks

    def poll(self, timeout: float) -> Message | None:
        while self.events:
            self.events.popleft()()
        taken = self._take(1)
        if not taken:
            threading.Event().wait(min(timeout, 0.005))
        return taken[0] if taken else None

    def consume(self, number: int, timeout: float) -> list[Message]:
        assert timeout == 0
        self.largest_poll = max(self.largest_poll, number + 1)
        while self.events_in_consume:
            self.events_in_consume.popleft()()
        return self._take(number)

    def _take(self, number: int) -> list[Message]:
        taken = [m for m in self.waiting if m.partition() not in self.paused][:number]
        for one in taken:
            self.waiting.remove(one)
        return taken

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {entry.partition for entry in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {entry.partition for entry in partitions}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        said = {entry.partition: entry.offset for entry in offsets}
        error = self.commit_errors.popleft() if self.commit_errors else self.commit_error
        if error is None:
            self.commits.append(said)
            if not asynchronous:
                self.synchronous.append(said)
        elif not asynchronous:
            raise KafkaException(error)
        if asynchronous:
            self.events.append(lambda: self.properties["on_commit"](error, offsets))
            return None
        return offsets

    def close(self) -> None:
        self.closed = True

    def assign(self, *partitions: int) -> None:
        """Give partitions, in the next poll."""
        self._later("on_assign", partitions)

    def revoke(self, *partitions: int) -> None:
        """Take partitions in order."""
        self._later("on_revoke", partitions)

    def lose(self, *partitions: int) -> None:
        """Take partitions without asking."""
        self._later("on_lost", partitions)

    def _later(self, name: str, partitions: tuple[int, ...]) -> None:
        self.events.append(lambda: self.call(name, *partitions))

    def call(self, name: str, *partitions: int) -> None:
        """Run a callback now; only for events."""
        self.callbacks[name](self, [TopicPartition(self.topics[0], number) for number in partitions])

    @property
    def committed(self) -> dict[int, int]:
        """Partition → offset, after all commits."""
        return {partition: offset for said in self.commits for partition, offset in said.items()}


class FakeTopics:
    """Where failed messages are written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any, Any, Headers]] = []
        self.refuses = False
        self.broken = False

    def send_and_wait(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        if self.broken:
            raise FatalError(f"{topic}: out of order (_FATAL)")
        if self.refuses:
            raise DeliveryError(f"{topic}: not acknowledged")
        self.written.append((topic, key, value, headers))


class RunningLoop:
    """A loop on a fake consumer, in a thread."""

    def __init__(
        self,
        handler: Callable[[Any], None],
        *,
        topic: str = GROUP.topic,
        group: KafkaGroup = GROUP,
        options: LoopOptions | None = None,
        metrics: Metrics | None = None,
        uses_retry_topic: bool = True,
    ) -> None:
        self.topics = FakeTopics()
        handling = Handling(
            handler=handler,
            group=group,
            parking=self.topics,
            metrics=metrics or NoMetrics(),
            first_pause_seconds=0.01,
            longest_pause_seconds=0.04,
            uses_retry_topic=uses_retry_topic,
        )
        self.consumer: FakeConsumer
        made = threading.Event()

        def make(properties: Mapping[str, Any]) -> FakeConsumer:
            self.consumer = FakeConsumer(properties)
            made.set()
            return self.consumer

        chosen = options or LoopOptions(commit_seconds=0.02)
        self.loop = Loop(topic, {}, handling, chosen, consumer=make)
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert made.wait(60)
        while not self.consumer.callbacks:
            threading.Event().wait(0.001)

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001 # looked at by the test
            self.failures.append(error)

    def join(self) -> None:
        """Wait until the loop has ended by itself."""
        self._thread.join(60)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """End it."""
        self.loop.stop()
        self.join()
