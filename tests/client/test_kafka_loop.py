"""A consumer loop, message by message: what is handled, committed, parked, held back and given up. No broker."""

import dataclasses
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from payments_client.kafka.errors import AccessError, FatalError, GiveUpError, UnavailableError
from payments_client.kafka.failures import PREFIX, Failure
from payments_client.kafka.loop import LoopOptions
from payments_client.kafka.metrics import Count, NoMetrics
from tests.client.kafka_world import GROUP, RunningLoop, message


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


class Seen(NoMetrics):
    def __init__(self) -> None:
        self.counts: dict[Count, int] = {}

    def count(self, what: Count, topic: str, number: int = 1) -> None:  # noqa: ARG002 # the protocol's
        self.counts[what] = self.counts.get(what, 0) + number

    def watch_handlers(self, topic: str, longest_seconds: Callable[[], float]) -> None:  # noqa: ARG002 # the protocol's
        self.longest_seconds = longest_seconds


def _has_committed(loop: RunningLoop, partition: int) -> bool:
    return partition in loop.consumer.committed


def _is_refused(loop: RunningLoop) -> bool:
    return loop.loop._refusal is not None


def _is_let_in(loop: RunningLoop) -> bool:
    return loop.loop._refusal is None


@pytest.fixture
def loops() -> Iterator[Callable[..., RunningLoop]]:
    made: list[RunningLoop] = []

    def start(handler: Callable[[Any], None], **options: Any) -> RunningLoop:
        made.append(RunningLoop(handler, **options))
        return made[-1]

    yield start
    for loop in made:
        loop.stop()


def test_a_message_is_committed_after_its_handler_and_not_before(loops: Callable[..., RunningLoop]) -> None:
    gate, begun = threading.Event(), threading.Event()

    def handle(_: Any) -> None:
        begun.set()
        assert gate.wait(60)

    loop = loops(handle)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(7))
    assert begun.wait(60)
    time.sleep(0.1)  # several times the commit interval
    assert loop.consumer.commits == []
    gate.set()
    wait_for(lambda: loop.consumer.committed == {0: 8})


def test_a_poll_takes_at_most_the_groups_max_poll_records(loops: Callable[..., RunningLoop]) -> None:
    loop = loops(lambda _: None)
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(1200))
    wait_for(lambda: loop.consumer.committed == {0: 1200})
    assert loop.consumer.largest_poll == GROUP.max_poll_records


def test_a_partition_keeps_its_order_and_partitions_advance_together(loops: Callable[..., RunningLoop]) -> None:
    handled: list[tuple[int, int]] = []
    both = threading.Barrier(2, timeout=60)

    def handle(one: Any) -> None:
        if one.offset() == 0:
            both.wait()  # passes only when two partitions are handled at the same time
        handled.append((one.partition(), one.offset()))

    loop = loops(handle)
    loop.consumer.assign(0, 1)
    loop.consumer.waiting.extend(message(n, partition=p) for n in range(600) for p in (0, 1))
    wait_for(lambda: loop.consumer.committed == {0: 600, 1: 600})
    for partition in (0, 1):
        assert [offset for where, offset in handled if where == partition] == list(range(600))


def test_a_failed_message_is_tried_again_where_it_stands_before_its_successors(
    loops: Callable[..., RunningLoop],
) -> None:
    tries: list[int] = []

    def handle(one: Any) -> None:
        tries.append(one.offset())
        if tries.count(5) < GROUP.attempts and one.offset() == 5:
            raise TimeoutError

    loop = loops(handle)
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in (5, 6))
    wait_for(lambda: loop.consumer.committed == {0: 7})
    assert tries == [5] * GROUP.attempts + [6]
    assert loop.topics.written == []


def test_a_message_leaves_for_the_retry_topic_and_at_last_for_the_dead_letter_topic(
    loops: Callable[..., RunningLoop],
) -> None:
    def handle(one: Any) -> None:
        raise ConnectionError(f"no answer about {one.offset()}")

    topic, partition, offset, headers = "events", 3, 41, [("trace", b"t")]
    for delivery in range(1, GROUP.retry_deliveries + 2):
        loop = loops(handle, topic=topic)
        loop.consumer.assign(partition)
        loop.consumer.waiting.append(message(offset, topic=topic, partition=partition, headers=headers))
        wait_for(functools.partial(_has_committed, loop, partition))
        ((topic, key, _, headers),) = loop.topics.written
        assert topic == (GROUP.dead_letter_topic if delivery > GROUP.retry_deliveries else GROUP.retry_topic)
        failure = Failure.read(message(0, headers=headers))
        assert failure is not None
        assert (failure.topic, failure.partition, failure.offset) == ("events", 3, 41), "its first place"
        assert failure.deliveries == delivery
        assert (failure.error, failure.reason) == ("ConnectionError", f"no answer about {offset}")
        assert headers[0] == ("trace", b"t")
        assert len([name for name, _ in headers if name == f"{PREFIX}deliveries"]) == 1
        assert key.startswith(b"key-")
        partition, offset = 1, 1000 + delivery


@pytest.mark.parametrize(
    ("error", "uses_retry_topic"), [(GiveUpError("not a payment"), True), (ValueError("not a payment"), False)]
)
def test_what_cannot_be_handled_goes_to_the_dead_letter_topic_at_once(
    loops: Callable[..., RunningLoop],
    error: Exception,
    uses_retry_topic: bool,  # noqa: FBT001 # a parameter of the case
) -> None:
    tries: list[int] = []

    def handle(one: Any) -> None:
        tries.append(one.offset())
        if one.offset() == 0:
            raise error

    seen = Seen()
    loop = loops(handle, metrics=seen, uses_retry_topic=uses_retry_topic)
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(2))
    wait_for(lambda: loop.consumer.committed == {0: 2})
    assert tries == ([0, 1] if uses_retry_topic else [0] * GROUP.attempts + [1])
    assert [entry[0] for entry in loop.topics.written] == [GROUP.dead_letter_topic]
    assert seen.counts[Count.DEAD_LETTERED] == 1


def test_a_message_that_no_topic_takes_stays_and_is_not_committed(loops: Callable[..., RunningLoop]) -> None:
    seen = Seen()

    def handle(_: Any) -> None:
        raise ValueError

    loop = loops(handle, metrics=seen)
    loop.topics.refuses = True
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    wait_for(lambda: seen.counts.get(Count.PARK_FAILED, 0) >= 2)
    assert loop.consumer.commits == []
    loop.topics.refuses = False
    wait_for(lambda: loop.consumer.committed == {0: 1})
    assert len(loop.topics.written) == 1


def test_a_message_of_the_retry_topic_waits_for_its_time(loops: Callable[..., RunningLoop]) -> None:
    handled: list[float] = []
    group = GROUP.model_copy(update={"retry_delay_seconds": 60})
    failure = Failure.of(message(1), ValueError(), group=GROUP.id, not_before_ms=int((time.time() + 0.4) * 1000))
    loop = loops(lambda _: handled.append(time.time()), topic=GROUP.retry_topic, group=group)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0, topic=GROUP.retry_topic, headers=failure.headers(message(1))))
    wait_for(lambda: handled)
    assert handled[0] * 1000 >= failure.not_before_ms


def test_a_full_partition_is_paused_and_resumed_and_others_are_not(loops: Callable[..., RunningLoop]) -> None:
    gate, handled = threading.Event(), []

    def handle(one: Any) -> None:
        if one.partition() == 0:
            assert gate.wait(60)
        handled.append(one.partition())

    options = LoopOptions(commit_seconds=0.02, most_waiting=20, workers=2)
    loop = loops(handle, options=options, group=GROUP.model_copy(update={"max_poll_records": 10}))
    loop.consumer.assign(0, 1)
    loop.consumer.waiting.extend(message(n) for n in range(100))
    wait_for(lambda: loop.consumer.paused == {0})
    loop.consumer.waiting.extend(message(n, partition=1) for n in range(50))
    wait_for(lambda: handled.count(1) == 50)
    assert len(loop.loop._lanes["events", 0].messages) < 20 + 10
    gate.set()
    wait_for(lambda: loop.consumer.committed == {0: 100, 1: 50})
    assert loop.consumer.paused == set()


def test_a_pause_does_not_outlive_a_rebalance(loops: Callable[..., RunningLoop]) -> None:
    gate = threading.Event()
    options = LoopOptions(commit_seconds=0.02, most_waiting=20, handover_seconds=0.05)
    loop = loops(lambda _: gate.wait(60), options=options)
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(100))
    wait_for(lambda: loop.consumer.paused == {0})
    loop.consumer.revoke(0)
    loop.consumer.assign(0)
    gate.set()
    wait_for(lambda: loop.consumer.paused == set())
    loop.consumer.waiting.append(message(200))
    wait_for(lambda: loop.consumer.committed == {0: 201})


def test_a_revoked_partition_is_finished_and_committed_before_it_goes(loops: Callable[..., RunningLoop]) -> None:
    gate, begun, handled = threading.Event(), threading.Event(), []

    def handle(one: Any) -> None:
        begun.set()
        assert gate.wait(60)
        handled.append(one.offset())

    loop = loops(handle, options=LoopOptions(commit_seconds=3600))
    loop.consumer.assign(0, 1)
    loop.consumer.waiting.extend(message(n) for n in range(10))
    assert begun.wait(60)
    loop.consumer.revoke(0)
    threading.Timer(0.1, gate.set).start()
    wait_for(lambda: loop.consumer.synchronous)
    assert handled == [0], "only the message that was being handled"
    assert loop.consumer.synchronous == [{0: 1}]
    assert list(loop.loop._lanes) == [("events", 1)]


def test_a_message_that_was_polled_before_its_partition_went_and_came_back_is_not_taken_twice(
    loops: Callable[..., RunningLoop],
) -> None:
    handled: list[int] = []
    loop = loops(lambda one: handled.append(one.offset()))

    def goes_and_comes_back() -> None:
        loop.consumer.call("on_revoke", 0)
        loop.consumer.call("on_assign", 0)
        loop.consumer.waiting.extend(message(n) for n in (5, 6))

    loop.consumer.events_in_consume.append(goes_and_comes_back)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(5))
    wait_for(lambda: loop.consumer.committed == {0: 7})
    assert handled == [5, 6]


def test_nothing_is_committed_for_a_partition_that_somebody_else_has(loops: Callable[..., RunningLoop]) -> None:
    gate, begun, seen = threading.Event(), threading.Event(), Seen()

    def handle(_: Any) -> None:
        begun.set()
        assert gate.wait(60)

    loop = loops(handle, metrics=seen)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    assert begun.wait(60)
    loop.consumer.lose(0)
    wait_for(lambda: seen.counts.get(Count.LOST) == 1)
    gate.set()
    loop.stop()
    assert loop.consumer.commits == []


def test_a_commit_that_failed_is_asked_for_again(loops: Callable[..., RunningLoop]) -> None:
    seen = Seen()
    loop = loops(lambda _: None, metrics=seen)
    loop.consumer.commit_error = KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    wait_for(lambda: seen.counts.get(Count.COMMIT_FAILED, 0) >= 2)
    loop.consumer.commit_error = None
    wait_for(lambda: loop.consumer.committed == {0: 1})


def test_the_last_commit_is_made_again_while_the_group_is_between_generations(
    loops: Callable[..., RunningLoop],
) -> None:
    handled: list[int] = []
    loop = loops(lambda one: handled.append(one.offset()), options=LoopOptions(commit_seconds=3600))
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(3))
    wait_for(lambda: len(handled) == 3)
    loop.consumer.commit_errors.extend([KafkaError(KafkaError.REBALANCE_IN_PROGRESS)] * 2)
    loop.stop()
    assert loop.consumer.synchronous == [{0: 3}]


def test_a_last_commit_that_is_refused_is_counted_and_the_loop_ends(loops: Callable[..., RunningLoop]) -> None:
    seen, handled = Seen(), list[int]()
    options = LoopOptions(commit_seconds=3600)
    loop = loops(lambda one: handled.append(one.offset()), options=options, metrics=seen)
    loop.consumer.commit_error = KafkaError(KafkaError.ILLEGAL_GENERATION)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    wait_for(lambda: handled)
    loop.stop()
    assert seen.counts[Count.COMMIT_FAILED] >= 1
    assert loop.consumer.closed
    assert loop.failures == []


def test_the_end_waits_for_handlers_commits_and_leaves(loops: Callable[..., RunningLoop]) -> None:
    begun, handled = threading.Event(), []

    def handle(one: Any) -> None:
        begun.set()
        time.sleep(0.1)
        handled.append(one.offset())

    loop = loops(handle, options=LoopOptions(commit_seconds=3600))
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(100))
    assert begun.wait(60)
    loop.stop()
    assert 1 <= len(handled) < 100
    assert loop.consumer.synchronous == [{0: handled[-1] + 1}]
    assert loop.consumer.closed
    assert loop.failures == []


def test_a_handler_that_does_not_end_costs_its_message_a_second_time_and_no_more(
    loops: Callable[..., RunningLoop],
) -> None:
    gate, begun = threading.Event(), threading.Event()

    def handle(one: Any) -> None:
        if one.offset() == 1:
            begun.set()
            assert gate.wait(60)

    loop = loops(handle, options=LoopOptions(commit_seconds=3600, handover_seconds=0.1))
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(3))
    assert begun.wait(60)
    loop.stop()
    assert loop.consumer.synchronous == [{0: 1}]
    gate.set()


def test_a_user_without_access_ends_the_loop_after_a_while_and_not_at_once(loops: Callable[..., RunningLoop]) -> None:
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    loop = loops(lambda _: None, options=LoopOptions(refused_seconds=0.2))
    loop.consumer.waiting.append(message(0, error=refused))
    loop.join()
    (failure,) = loop.failures
    assert isinstance(failure, AccessError)
    assert "TOPIC_AUTHORIZATION_FAILED" in str(failure)
    # Refused as a whole, it has no partition; it may get none, where the group has more members than partitions.
    for assigned in ((0,), ()):
        patient = loops(lambda _: None, options=LoopOptions(refused_seconds=2))
        patient.consumer.waiting.append(message(0, partition=-1, error=refused))
        wait_for(functools.partial(_is_refused, patient))
        patient.consumer.assign(*assigned)
        wait_for(functools.partial(_is_let_in, patient))


def test_a_fetch_that_was_refused_ends_the_loop_although_another_partition_delivers(
    loops: Callable[..., RunningLoop],
) -> None:
    counts = Seen()
    loop = loops(lambda _: None, options=LoopOptions(refused_seconds=0.3, commit_seconds=0.02), metrics=counts)
    loop.consumer.assign(0, 1)
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    loop.consumer.waiting.extend([message(0, error=refused), message(5, partition=1)])
    wait_for(lambda: loop.consumer.committed == {1: 6})
    loop.join()
    (failure,) = loop.failures
    assert isinstance(failure, AccessError)
    assert counts.counts[Count.REFUSED] == 1


def test_errors_that_pass_do_not_end_the_loop_and_fatal_ones_do(loops: Callable[..., RunningLoop]) -> None:
    loop = loops(lambda _: None)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0, error=KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    loop.consumer.waiting.append(message(0))
    wait_for(lambda: loop.consumer.committed == {0: 1})
    loop.consumer.waiting.append(message(0, error=KafkaError(KafkaError._FATAL, "fenced", fatal=True)))
    loop.join()
    assert isinstance(loop.failures[0], FatalError)
    assert loop.consumer.closed


def test_a_thread_that_is_told_to_exit_ends_the_loop_without_a_commit(loops: Callable[..., RunningLoop]) -> None:
    times: list[int] = []

    def handle(one: Any) -> None:
        times.append(one.offset())
        raise SystemExit(3)

    loop = loops(handle)
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    loop.join()
    assert isinstance(loop.failures[0], SystemExit)
    assert times == [0]
    assert loop.consumer.commits == []


def test_a_dead_letter_that_a_person_writes_again_has_all_its_deliveries_before_it(
    loops: Callable[..., RunningLoop],
) -> None:
    def handle(_: Any) -> None:
        raise ConnectionError("still no answer")

    given_up = Failure.of(message(1), ValueError(), group=GROUP.id, not_before_ms=0)
    given_up = dataclasses.replace(given_up, deliveries=GROUP.retry_deliveries + 1)
    for topic in (GROUP.topic, GROUP.retry_topic):
        loop = loops(handle, topic=topic)
        loop.consumer.assign(0)
        loop.consumer.waiting.append(message(9, headers=given_up.headers(message(1)), topic=topic))
        wait_for(functools.partial(_has_committed, loop, 0))
        [(where, headers)] = [(written[0], written[-1]) for written in loop.topics.written]
        failure = Failure.read(message(0, headers=headers))
        assert failure is not None
        assert (where, failure.deliveries, failure.offset) == (GROUP.retry_topic, 1, given_up.offset)


def test_an_outage_longer_than_all_attempts_leaves_no_dead_letter_and_keeps_the_order(
    loops: Callable[..., RunningLoop],
) -> None:
    down, calls, handled, seen = threading.Event(), list[float](), list[int](), Seen()
    down.set()

    def handle(one: Any) -> None:
        if one.partition() == 0 and down.is_set():
            calls.append(time.monotonic())
            raise UnavailableError("the database fails over")
        handled.append(one.offset())

    loop = loops(handle, metrics=seen)
    loop.consumer.assign(0, 1)
    loop.consumer.waiting.extend(message(n, partition=p) for n in range(5) for p in (0, 1))
    outlasted = GROUP.attempts * (1 + GROUP.retry_deliveries)
    wait_for(lambda: len(calls) > outlasted)
    assert loop.consumer.committed == {1: 5}, "the others go on"
    assert handled == list(range(5))
    polled = loop.loop.polled_at
    wait_for(lambda: loop.loop.polled_at > polled)
    down.clear()
    wait_for(lambda: loop.consumer.committed == {0: 5, 1: 5})
    assert handled == [*range(5), *range(5)]
    assert loop.topics.written == []
    assert seen.counts[Count.UNAVAILABLE] == len(calls)
    assert Count.FAILED not in seen.counts
    pauses = [after - before for before, after in itertools.pairwise(calls)]
    assert all(pause >= least for pause, least in zip(pauses, [0.01, 0.02, *[0.04] * outlasted], strict=False))


def test_an_outage_counts_no_attempt_of_a_message_that_fails_before_and_after_it(
    loops: Callable[..., RunningLoop],
) -> None:
    errors = [ValueError(), *[UnavailableError()] * 5, *[ValueError()] * (GROUP.attempts - 1)]
    left = list(errors)

    def handle(_: Any) -> None:
        if left:
            raise left.pop(0)

    seen = Seen()
    loop = loops(handle, metrics=seen)
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n) for n in range(2))
    wait_for(lambda: loop.consumer.committed == {0: 2})
    assert (seen.counts[Count.FAILED], seen.counts[Count.UNAVAILABLE]) == (GROUP.attempts, 5)
    assert [entry[0] for entry in loop.topics.written] == [GROUP.retry_topic]


def test_pauses_double_up_to_the_longest_and_never_overflow(loops: Callable[..., RunningLoop]) -> None:
    handling = loops(lambda _: None).loop._handling
    given = dataclasses.replace(handling, first_pause_seconds=2.0, longest_pause_seconds=30.0)
    assert [given._pause_seconds(before) for before in (0, 1, 2, 3, 4, 5, 10_000)] == [2, 4, 8, 16, 30, 30, 30]
    options = LoopOptions()
    assert (options.first_pause_seconds, options.longest_pause_seconds) == (2.0, 30.0)


def test_a_handler_that_hangs_is_seen_while_polls_go_on_and_after_its_partition_has_gone(
    loops: Callable[..., RunningLoop],
) -> None:
    gate, begun, seen = threading.Event(), threading.Event(), Seen()

    def handle(_: Any) -> None:
        begun.set()
        assert gate.wait(60)

    loop = loops(handle, metrics=seen, options=LoopOptions(commit_seconds=0.02, handover_seconds=0.01))
    assert loop.loop.seconds_in_handler == 0
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    assert begun.wait(60)
    wait_for(lambda: loop.loop.seconds_in_handler > 0.1)
    assert time.monotonic() - loop.loop.polled_at < loop.loop.seconds_in_handler
    lane = loop.loop._lanes["events", 0]
    loop.consumer.revoke(0)
    wait_for(lambda: not loop.loop._lanes)
    assert seen.longest_seconds() > 0.1
    gate.set()
    wait_for(lambda: seen.longest_seconds() == 0)
    assert lane.began_at is None, "what comes after the handler is not its time"


@pytest.mark.parametrize("takes", ["revoke", "lose"])
def test_a_partition_that_comes_back_waits_for_the_handler_that_did_not_end(
    loops: Callable[..., RunningLoop], takes: str
) -> None:
    gate, begun, inside, most = threading.Event(), threading.Event(), list[int](), list[int]()

    def handle(one: Any) -> None:
        inside.append(one.offset())
        most.append(len(inside))
        begun.set()
        assert gate.wait(60)
        inside.remove(one.offset())

    loop = loops(handle, options=LoopOptions(commit_seconds=0.02, handover_seconds=0.01))
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    assert begun.wait(60)
    getattr(loop.consumer, takes)(0)
    wait_for(lambda: not loop.loop._lanes)
    loop.consumer.assign(0)
    wait_for(lambda: loop.loop._lanes)
    loop.consumer.waiting.extend(message(n) for n in range(2))
    wait_for(lambda: len(loop.loop._lanes["events", 0].messages) == 2)
    time.sleep(0.1)  # several rounds
    assert most == [1], "the new lane's first message waits"
    gate.set()
    wait_for(lambda: loop.consumer.committed == {0: 2})
    assert most == [1, 1, 1]


def test_large_messages_pause_their_partition_by_their_bytes(loops: Callable[..., RunningLoop]) -> None:
    gate = threading.Event()
    options = LoopOptions(commit_seconds=0.02, most_waiting=1000, most_waiting_bytes=10_000)
    loop = loops(lambda _: gate.wait(60), options=options, group=GROUP.model_copy(update={"max_poll_records": 2}))
    loop.consumer.assign(0)
    loop.consumer.waiting.extend(message(n, value=bytes(1000)) for n in range(100))
    wait_for(lambda: loop.consumer.paused == {0})
    lane = loop.loop._lanes["events", 0]
    each = 1000 + len("key-0")
    assert 10_000 <= lane.waiting_bytes == len(lane.messages) * each < 10_000 + 2 * each
    gate.set()
    wait_for(lambda: loop.consumer.committed == {0: 100})
    assert (lane.waiting_bytes, loop.consumer.paused) == (0, set())


@pytest.mark.parametrize("raises", ["handler", "parking"])
def test_a_client_beyond_repair_ends_the_loop_and_its_message_stays(
    loops: Callable[..., RunningLoop], raises: str
) -> None:
    def handle(_: Any) -> None:
        raise FatalError("no message is at fault") if raises == "handler" else GiveUpError

    loop = loops(handle)
    loop.topics.broken = raises == "parking"
    loop.consumer.assign(0)
    loop.consumer.waiting.append(message(0))
    loop.join()
    assert isinstance(loop.failures[0], FatalError)
    assert (loop.consumer.commits, loop.topics.written) == ([], [])
    assert loop.consumer.closed
