"""``python -m bench.kafka``: our producer and runner beside plain confluent-kafka, and what a rebalance costs.

Three real brokers as the prod stack declares them, TLS on each connection. Throughput: the same messages, the same
properties, in turns. Rebalance: four members read a steady stream, a fifth comes and goes; the pause of a partition is
the longest time that one of its messages waited, from when it was written until it was handled. One such trial says
little: where in the heartbeat's interval it begins decides much of it. Both assignors take turns, several times.
"""

import argparse
import json
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # missing in its stubs only
from rich.console import Console
from rich.table import Table

import components  # noqa: F401 # puts the client on the path
from bench.stacks import ROOT
from payments_client.kafka.contract import KafkaContract, KafkaGroup, KafkaTopic
from payments_client.kafka.handling import Handling
from payments_client.kafka.loop import Loop, LoopOptions
from payments_client.kafka.metrics import NoMetrics
from payments_client.kafka.producer import EventProducer
from payments_client.kafka.properties import Properties, group_properties, producer_properties
from sandbox import kafka
from sandbox.kafka_secure import admin_properties
from tests.sandbox.kafka.stage import Stage

PARTITIONS = 24
VALUE = b'{"type":"PaymentCreated","aggregate_id":"p","version":1,"user_id":"u","data":"' + b"x" * 120 + b'"}'
_ASSIGNMENTS = ("cooperative-sticky", "range")
_ROUNDS = 4
_WAIT_SECONDS = 300.0
_MEMBERS = 4
_STREAM_PER_SECOND = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Throughput:
    """Messages per second, the median of the rounds; ``ratio`` is plain over ours: 1.1 means we take 10 % longer."""

    what: str
    plain: float
    ours: float
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Longest pause of a partition while a member came and went, in seconds."""

    assignment: str
    median_seconds: float
    worst_seconds: float
    paused_partitions: int
    """Partitions that stood still for more than half a second, of 24."""
    kept_partitions: int
    """Those that one member had before, during and after: cooperative's promise is that they do not stand still."""
    kept_median_seconds: float
    kept_worst_seconds: float


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.kafka", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-kafka.json", help="JSON file to write")
    parser.add_argument("--messages", type=int, default=100_000, help="messages of each round; 0: no throughput")
    parser.add_argument("--trials", type=int, default=5, help="rebalances of each assignor")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="payments-bench-kafka-") as folder:
        stage = Stage.build(Path(folder).resolve())
        try:
            bench = Bench(stage)
            measured = (bench.producing, bench.consuming) if options.messages else ()
            throughput = [measure(options.messages) for measure in measured]
            pauses = [bench.pausing(name, trial) for trial in range(options.trials) for name in _ASSIGNMENTS]
        finally:
            kafka.stop(stage.cluster)
    _print(throughput, pauses)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "machine": {"python": platform.python_version(), "machine": platform.machine()},
        "throughput": [asdict(row) for row in throughput],
        "rebalance": [asdict(row) for row in pauses],
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


class Bench:
    """Topics and members of the benchmark's own, with the brokers' identity: who may do what is not measured."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._identity = admin_properties(stage.cluster)
        self._groups = 0

    def producing(self, messages: int) -> Throughput:
        """From the first message until the last is acknowledged."""
        properties = {**self._producer(), "linger.ms": 5}

        def plain(topic: str) -> float:
            client, failed = Producer(properties), []
            started = time.perf_counter()
            for number in range(messages):
                while True:
                    try:
                        client.produce(
                            topic, VALUE, _key(number), on_delivery=lambda e, _: failed.append(e) if e else None
                        )
                        break
                    except BufferError:
                        client.poll(0.05)
                client.poll(0)
            _require(client.flush(_WAIT_SECONDS) == 0 and not failed, "not everything was acknowledged")
            return messages / (time.perf_counter() - started)

        def ours(topic: str) -> float:
            started = time.perf_counter()
            with EventProducer(properties) as producer:
                for number in range(messages):
                    producer.send(topic, key=_key(number), value=VALUE)
            return messages / (time.perf_counter() - started)

        with self._topic("bench-producing") as topic:
            return _compare("produce, acks=all, idempotent", lambda: plain(topic), lambda: ours(topic))

    def consuming(self, messages: int) -> Throughput:
        """From the first message that is handled to the last; the handler only counts."""
        with self._topic("bench-consuming") as topic:
            self._fill(topic, messages)
            return _compare(
                "consume, handle, commit",
                lambda: self._consume_plain(topic, messages),
                lambda: self._consume_ours(topic, messages),
            )

    def pausing(self, assignment: str, trial: int) -> Pause:
        """Pauses of the partitions while a fifth member comes and goes."""
        with self._topic(f"bench-pausing-{assignment}-{trial}") as topic, self._stream(topic):
            group = self._group(topic).model_copy(update={"assignment": assignment})
            pauses = dict.fromkeys(range(PARTITIONS), 0.0)
            owners: dict[int, set[int]] = {number: set() for number in range(PARTITIONS)}
            begun = float("inf")

            def handler(member: int) -> Callable[[Any], None]:
                def handle(message: Any) -> None:
                    number, written = message.partition(), message.timestamp()[1] / 1000
                    if written > begun:
                        pauses[number] = max(pauses[number], time.time() - written)
                        owners[number].add(member)

                return handle

            loops = [self._loop(group, handler(member)) for member in range(_MEMBERS + 1)]
            with _running(loops[:_MEMBERS]):
                self._settle(group, _MEMBERS)
                begun = time.time()
                with _running(loops[_MEMBERS:]):
                    self._settle(group, _MEMBERS + 1)
                    time.sleep(3)
                self._settle(group, _MEMBERS)
                time.sleep(3)
        kept = [pauses[number] for number, members in owners.items() if len(members) == 1]
        return Pause(
            assignment=assignment,
            median_seconds=statistics.median(pauses.values()),
            worst_seconds=max(pauses.values()),
            paused_partitions=sum(pause > 0.5 for pause in pauses.values()),  # noqa: PLR2004 # far above the usual few ms
            kept_partitions=len(kept),
            kept_median_seconds=statistics.median(kept) if kept else float("nan"),
            kept_worst_seconds=max(kept, default=float("nan")),
        )

    def _consume_plain(self, topic: str, messages: int) -> float:
        """What a service would write by hand with the same promises: poll, handle, commit what is done each second.

        As the runner does it waits for one message and takes what has been fetched with it: ``consume(500, 0.1)`` would
        hold back a batch that is not full, and be slow for no reason of the library's.
        """
        group = self._group(topic)
        consumer = Consumer(self._member(group))
        consumer.subscribe([topic])
        handled, begun, commit_at = 0, 0.0, time.monotonic() + 1
        done: dict[int, int] = {}
        while handled < messages:
            first = consumer.poll(0.1)
            batch = [] if first is None else [first, *consumer.consume(group.max_poll_records - 1, 0)]
            for message in batch:
                _require(message.error() is None, str(message.error()))
                begun = begun or time.perf_counter()
                handled += 1
                done[message.partition() or 0] = (message.offset() or 0) + 1
            if time.monotonic() >= commit_at and done:
                consumer.commit(offsets=[TopicPartition(topic, *place) for place in done.items()], asynchronous=True)
                done, commit_at = {}, time.monotonic() + 1
        taken = time.perf_counter() - begun
        consumer.close()
        return messages / taken

    def _consume_ours(self, topic: str, messages: int) -> float:
        seen = [0] * PARTITIONS
        begun: list[float] = []
        done = threading.Event()

        def handle(message: Any) -> None:
            if not begun:
                begun.append(time.perf_counter())
            seen[message.partition()] += 1  # one thread at a time for each partition
            if sum(seen) >= messages:
                done.set()

        with _running([self._loop(self._group(topic), handle)]):
            _require(done.wait(_WAIT_SECONDS), "not everything was handled")
            return messages / (time.perf_counter() - begun[0])

    def _loop(self, group: KafkaGroup, handle: Callable[[Any], None]) -> Loop:
        handling = Handling(
            handler=handle,
            group=group,
            parking=EventProducer(self._producer()),
            metrics=NoMetrics(),
            first_pause_seconds=LoopOptions().first_pause_seconds,
            longest_pause_seconds=LoopOptions().longest_pause_seconds,
            uses_retry_topic=False,
        )
        return Loop(group.topic, self._member(group), handling, LoopOptions())

    def _group(self, topic: str) -> KafkaGroup:
        self._groups += 1
        name = f"{topic}-{self._groups}"
        return KafkaGroup(
            id=name, application=name, topic=topic, retry_topic=f"{name}-retry", dead_letter_topic=f"{name}-dead-letter"
        )

    def _member(self, group: KafkaGroup) -> Properties:
        topics = tuple(
            KafkaTopic(name=name, partitions=PARTITIONS, key="user_id")
            for name in (group.topic, group.retry_topic, group.dead_letter_topic)
        )
        contract = KafkaContract(
            bootstrap_servers="replaced:1", security_protocol="PLAINTEXT", topics=topics, groups=(group,)
        )
        return {**group_properties(group, contract), **self._identity}

    def _producer(self) -> Properties:
        contract = self._stage.contract.model_copy(update={"security_protocol": "PLAINTEXT"})
        return {**producer_properties(contract, client_id="bench"), **self._identity}

    def _fill(self, topic: str, messages: int) -> None:
        with EventProducer(self._producer()) as producer:
            for number in range(messages):
                producer.send(topic, key=_key(number), value=VALUE)

    @contextmanager
    def _topic(self, name: str) -> Iterator[str]:
        new = NewTopic(name, PARTITIONS, self._stage.cluster.brokers)
        self._stage.admin.create_topics([new], operation_timeout=_WAIT_SECONDS)[name].result(timeout=_WAIT_SECONDS)
        yield name
        self._stage.admin.delete_topics([name])[name].result(timeout=_WAIT_SECONDS)

    @contextmanager
    def _stream(self, topic: str) -> Iterator[None]:
        """A steady stream over all partitions, about 25 messages per second each."""
        ended = threading.Event()

        def write() -> None:
            with EventProducer(self._producer()) as producer:
                number = 0
                while not ended.wait(1 / _STREAM_PER_SECOND):
                    producer.send(topic, key=_key(number), value=VALUE)
                    number += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _settle(self, group: KafkaGroup, members: int) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            found = self._stage.assignments(group.id)
            if len(found) == members and all(found) and sum(map(len, found)) == PARTITIONS:
                return
            _require(time.monotonic() < deadline, f"{group.id} never had {members} members")
            time.sleep(0.1)


@contextmanager
def _running(loops: Sequence[Loop]) -> Iterator[None]:
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        for thread in threads:
            thread.join()


def _compare(what: str, plain: Callable[[], float], ours: Callable[[], float]) -> Throughput:
    plain(), ours()  # warm: Java compiles, files are in the page cache
    # In turns, and each goes first every other time: what the machine does meanwhile falls on both.
    rounds = []
    for number in range(_ROUNDS):
        first, second = (plain, ours) if number % 2 == 0 else (ours, plain)
        pair = first(), second()
        rounds.append(pair if number % 2 == 0 else pair[::-1])
    theirs, own = (statistics.median(side) for side in zip(*rounds, strict=True))
    return Throughput(what=what, plain=theirs, ours=own, ratio=theirs / own)


def _require(condition: bool, told: str) -> None:  # noqa: FBT001 # reads like an assertion
    if not condition:
        raise RuntimeError(told)


def _key(number: int) -> bytes:
    return b"user-%d" % (number % 5000)


def _print(throughput: Sequence[Throughput], pauses: Sequence[Pause]) -> None:
    table = Table("messages/s", "plain confluent-kafka", "ours", "plain / ours")
    for row in throughput:
        table.add_row(row.what, f"{row.plain:,.0f}", f"{row.ours:,.0f}", f"{row.ratio:.2f}")
    Console().print(table)
    table = Table(
        "a member comes and goes", "trials", "median pause s", "worst pause s", "stood still", "kept", "kept: worst s"
    )
    for assignment in _ASSIGNMENTS:
        trials = [pause for pause in pauses if pause.assignment == assignment]
        if trials:
            table.add_row(
                assignment,
                str(len(trials)),
                _over([trial.median_seconds for trial in trials]),
                _over([trial.worst_seconds for trial in trials]),
                _over([trial.paused_partitions for trial in trials], digits=0),
                _over([trial.kept_partitions for trial in trials], digits=0),
                _over([trial.kept_worst_seconds for trial in trials]),
            )
    Console().print(table)


def _over(values: Sequence[float], *, digits: int = 2) -> str:
    """Median over the trials, and their range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
