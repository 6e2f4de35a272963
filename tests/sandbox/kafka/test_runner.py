"""The services' consumer runner on three real brokers: groups that grow, shrink, fail and are held back."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from payments_client.kafka.contract import KafkaGroup
from payments_client.kafka.failures import Failure
from payments_client.kafka.loop import LoopOptions
from payments_client.kafka.metrics import Count
from payments_client.kafka.runner import Runner
from tests.sandbox.kafka.pods import Pods
from tests.sandbox.kafka.stage import Counts, Stage, event, numbers_by_key, wait_for


class Journal:
    """What all members of a group handled, in the order in which they did."""

    def __init__(self, run: str) -> None:
        self._run = f"{run}-".encode()
        self._lock = threading.Lock()
        self.messages: list[Any] = []

    def handle(self, message: Any) -> None:
        """A handler that only remembers."""
        if message.key().startswith(self._run):
            with self._lock:
                self.messages.append(message)

    @property
    def by_key(self) -> dict[str, list[int]]:
        """Key → numbers of its events as they were handled."""
        with self._lock:
            return numbers_by_key(self.messages)

    @property
    def duplicates(self) -> int:
        """Times that an event was handled again."""
        return sum(len(numbers) - len(set(numbers)) for numbers in self.by_key.values())


@contextmanager
def running(runners: Sequence[Runner]) -> Iterator[None]:
    """Members in threads; each must end without an error."""
    failures: list[BaseException] = []

    def run(runner: Runner) -> None:
        try:
            runner.run()
        except BaseException as error:  # noqa: BLE001 # asserted below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for runner in runners:
            runner.stop()
        for thread in threads:
            thread.join()
    assert failures == []


def _write(stage: Stage, user: str, topic: str, run: str, *, keys: int, numbers: range) -> None:
    with stage.producer(user) as producer:
        for number in numbers:
            for key in (f"{run}-{index}" for index in range(keys)):
                producer.send(topic, key=key, value=event(key, number))


def _stream(stage: Stage, topic: str, run: str, ended: threading.Event, written: list[int]) -> None:
    """Write one message of each of 48 keys, ten times per second."""
    with stage.producer("payment-service") as producer:
        while not ended.wait(0.1):
            for key in (f"{run}-{index}" for index in range(48)):
                producer.send(topic, key=key, value=event(key, len(written)))
            written.append(len(written))


def _all(run: str, keys: int, numbers: range) -> dict[str, list[int]]:
    return {f"{run}-{index}": list(numbers) for index in range(keys)}


def _complete(journal: Journal, expected: dict[str, list[int]]) -> Callable[[], bool]:
    return lambda: {key: sorted(set(numbers)) for key, numbers in journal.by_key.items()} == expected


def _firsts(numbers: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def _balanced(stage: Stage, group: KafkaGroup, members: int) -> bool:
    found = stage.assignments(group.id)
    return len(found) == members and all(found) and sum(map(len, found)) == stage.contract.topic(group.topic).partitions


def test_order_per_key_holds_while_members_come_and_go(stage: Stage) -> None:
    journal, group = Journal("order"), stage.group("payment-processors")
    members = [stage.runner("payment-processors", journal.handle, uses_retry_topic=False) for _ in range(3)]
    write = threading.Thread(
        target=_write, args=(stage, "payment-service", group.topic, "order"), kwargs={"keys": 50, "numbers": range(400)}
    )
    expected = _all("order", 50, range(400))
    with running([members[0]]):
        with running([members[1]]):
            wait_for(lambda: _balanced(stage, group, 2), "two members share the topic")
            write.start()
            wait_for(lambda: journal.by_key, "the first message")
            with running([members[2]]):
                wait_for(lambda: _balanced(stage, group, 3), "three members share the topic")
        write.join()
        wait_for(_complete(journal, expected), "every message handled")
    assert {key: _firsts(numbers) for key, numbers in journal.by_key.items()} == expected
    assert journal.duplicates == 0, "members that leave in order hand over what they have committed"


def test_a_join_under_load_leaves_no_failed_commit_and_repeats_nothing(stage: Stage) -> None:
    """A third member comes, and one goes while the others wait for each other: as a rollout does."""
    journal, counts, group = Journal("join"), Counts(), stage.group("payment-processors")
    members = [
        stage.runner(
            "payment-processors",
            journal.handle,
            options=LoopOptions(commit_seconds=0.1),
            metrics=counts,
            uses_retry_topic=False,
        )
        for _ in range(3)
    ]
    ended, written = threading.Event(), list[int]()
    write = threading.Thread(target=_stream, args=(stage, group.topic, "join", ended, written))
    with running([members[0]]):
        with running([members[1]]):
            wait_for(lambda: _balanced(stage, group, 2), "two members share the topic")
            write.start()
            wait_for(lambda: journal.by_key, "the first message")
            revoked, deferred = counts.seen[Count.REVOKED], counts.seen[Count.COMMIT_DEFERRED]
            with running([members[2]]):
                wait_for(lambda: counts.seen[Count.REVOKED] - revoked >= 8, "both have given up a third of theirs")
                members[1].stop()
                wait_for(lambda: _balanced(stage, group, 2), "the one that stays and the one that came share the topic")
                assert counts.seen[Count.COMMIT_DEFERRED] > deferred, "commits met the rebalance"
            wait_for(lambda: _balanced(stage, group, 1), "one member has the topic")
        ended.set()
        write.join()
        wait_for(_complete(journal, _all("join", 48, range(len(written)))), "every message handled")
    assert counts.seen[Count.COMMIT_FAILED] == 0
    assert counts.seen[Count.LOST] == 0
    assert journal.duplicates == 0
    assert all(numbers == sorted(numbers) for numbers in journal.by_key.values())


def test_twenty_consumers_share_twenty_four_partitions_and_none_idles(stage: Stage) -> None:
    group = stage.group("payment-processors")
    journals = [Journal("twenty") for _ in range(20)]
    _write(stage, "payment-service", group.topic, "twenty", keys=2000, numbers=range(1))
    members = [stage.runner("payment-processors", journal.handle) for journal in journals]
    with running(members):
        wait_for(lambda: _balanced(stage, group, 20), "twenty members, each with partitions")
        sizes = sorted(len(assigned) for assigned in stage.assignments(group.id))
        assert sizes == [1] * 16 + [2] * 4
        _write(stage, "payment-service", group.topic, "twenty", keys=2000, numbers=range(1, 2))
        wait_for(lambda: sum(len(journal.messages) for journal in journals) >= 4000, "every message handled")
        wait_for(lambda: all(journal.messages for journal in journals), "each member has handled something")


def test_a_poison_message_ends_in_the_dead_letter_topic_and_the_group_goes_on(stage: Stage) -> None:
    group = stage.group("gateway-processors")
    journal, counts = Journal("poison"), Counts()
    tries: list[Any] = []

    def handle(message: Any) -> None:
        if message.key() == b"poison-3" and b'"number": 1}' in message.value():
            tries.append(message)
            raise ValueError("cannot be read: no amount")
        journal.handle(message)

    member = stage.runner("gateway-processors", handle, group_changes={"retry_delay_seconds": 1}, metrics=counts)
    _write(stage, "gateway-service", group.topic, "poison", keys=10, numbers=range(3))
    expected = _all("poison", 10, range(3))
    expected["poison-3"] = [0, 2]
    with running([member]):
        wait_for(_complete(journal, expected), "the other messages")
        wait_for(lambda: counts.seen[Count.DEAD_LETTERED] == 1, "the message is given up")
        _write(stage, "gateway-service", group.topic, "poison", keys=10, numbers=range(3, 4))
        expected = {key: [*numbers, 3] for key, numbers in expected.items()}
        wait_for(_complete(journal, expected), "what came after it")
    first = tries[0]
    assert len(tries) == group.attempts * (1 + group.retry_deliveries)
    assert counts.seen[Count.RETRIED] == group.retry_deliveries
    (dead,) = [m for m in stage.read_all(group.dead_letter_topic) if m.key() == b"poison-3"]
    assert dead.value() == first.value()
    failure = Failure.read(dead)
    assert failure is not None
    assert (failure.topic, failure.partition, failure.offset) == (group.topic, first.partition(), first.offset())
    assert (failure.error, failure.reason) == ("ValueError", "cannot be read: no amount")
    assert (failure.group, failure.deliveries) == (group.id, 1 + group.retry_deliveries)
    assert stage.committed(group, "gateway-processors")[first.partition()] > first.offset()


def test_a_message_that_fails_for_a_while_is_handled_from_the_retry_topic(stage: Stage) -> None:
    group, counts = stage.group("wallet-processors"), Counts()
    tries: list[str] = []
    done: list[Any] = []

    def handle(message: Any) -> None:
        if message.key() != b"while":
            return
        tries.append(message.topic())
        if len(tries) <= group.attempts + 1:
            raise ConnectionError("the bank does not answer")
        done.append(message)

    member = stage.runner("wallet-processors", handle, group_changes={"retry_delay_seconds": 1}, metrics=counts)
    with stage.producer("wallet-service") as producer:
        producer.send(group.topic, key="while", value=b"{}", headers=[("trace", b"42")])
    with running([member]):
        wait_for(lambda: done, "it is handled at last")
    assert tries == [group.topic] * group.attempts + [group.retry_topic] * 2
    assert ("trace", b"42") in done[0].headers()
    assert counts.seen[Count.DEAD_LETTERED] == 0


def test_a_handler_that_is_too_slow_holds_fetching_back_and_keeps_its_membership(stage: Stage) -> None:
    group, counts, journal = stage.group("gateway-processors"), Counts(), Journal("slow")
    gate = threading.Event()

    def handle(message: Any) -> None:
        assert gate.wait(timeout=600)
        journal.handle(message)

    options = LoopOptions(most_waiting=100, workers=2)
    member = stage.runner(
        "gateway-processors",
        handle,
        group_changes={"max_poll_records": 50},
        options=options,
        metrics=counts,
        uses_retry_topic=False,
    )
    _write(stage, "gateway-service", group.topic, "slow", keys=24, numbers=range(250))
    try:
        with running([member]):
            wait_for(lambda: counts.seen[Count.PAUSED] >= 6, "partitions that are not fetched any more")
            (lanes,) = [loop._lanes for loop in member._loops]
            wait_for(
                lambda: all(lane.paused for lane in lanes.values() if len(lane.messages) >= 100), "all full paused"
            )
            assert max(len(lane.messages) for lane in lanes.values()) < 100 + 50
            assert len(stage.assignments(group.id)) == 1
            assert journal.messages == []
            gate.set()
            wait_for(_complete(journal, _all("slow", 24, range(250))), "every message, once the handler is quick again")
            assert member.seconds_since_poll < 60
    finally:
        gate.set()
    assert journal.duplicates == 0
    assert all(numbers == sorted(numbers) for numbers in journal.by_key.values())


@pytest.mark.parametrize("kills", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_a_process_that_ends_hands_its_partitions_over(stage: Stage, pods: Pods, kills: bool) -> None:  # noqa: FBT001
    run, group = f"handover-{kills}", stage.group("wallet-processors")
    first, second = pods.start("first", run), pods.start("second", run)
    wait_for(lambda: _balanced(stage, group, 2), "both members share the topic")
    _write(stage, "wallet-service", group.topic, run, keys=64, numbers=range(100))
    wait_for(lambda: first.handled and second.handled, "both members at work")
    # A member that never commits would repeat all of its work, and the trial would show nothing.
    wait_for(lambda: _committed_of(stage, group, first.handled), "the first one commits what it has handled")
    assert first.end(kills=kills) == (-9 if kills else 0)
    # The second member learns of the first one's end by the session's timeout, and has committed nothing of its.
    committed = stage.committed(group, "wallet-processors")
    written = [m for m in stage.read_all(group.topic) if (m.key() or b"").startswith(f"{run}-".encode())]
    expected = {(m.partition(), m.offset()) for m in written}
    wait_for(lambda: {*first.handled, *second.handled} >= expected, "the other member handles the rest")
    assert second.end(kills=False) == 0
    for member in (first, second):
        assert _in_order(member.handled), "each partition, and so each key, in its order and once per member"
    again = {*first.handled} & {*second.handled}
    open_at_the_end = {place for place in first.handled if place[1] >= committed.get(place[0], 0)}
    if kills:
        assert again == open_at_the_end, "what was handled and not committed is repeated, and nothing else"
        assert len(again) < len(first.handled), "what it had committed is not"
    else:
        assert again == set(), "a member that leaves in order leaves nothing to be done twice"


def _committed_of(stage: Stage, group: KafkaGroup, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    committed = stage.committed(group, group.application)
    return [(partition, offset) for partition, offset in places if offset < committed.get(partition, 0)]


def _in_order(places: Sequence[tuple[int, int]]) -> bool:
    last: dict[int, int] = {}
    for partition, offset in places:
        if offset <= last.get(partition, -1):
            return False
        last[partition] = offset
    return True
