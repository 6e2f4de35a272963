"""No read is older than its class allows, whatever is lost, late, doubled, evicted, down or paused.

A hypothesis state machine over three processes on two nodes, on a clock and a bus that only move when told. Three
worlds, because one promise does not hold in all of them: without a replica that lags, an event that L3 took is seen by
every later read; with one, as long as nothing was evicted; after a failover that lost writes, within the class' bound.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from payments_client.cache.scripts import Status
from payments_client.cache.state import Answer, ClassState
from payments_client.cache.values import Loaded, Versions, covers, highest
from payments_client.contract import WALLET_BALANCE, CacheClass
from tests.client.fake_server import FakeServer
from tests.client.world import CLASSES, ITEMS, WALLETS, Commit, FakeProcess, Item, Read, World

SETTINGS = settings(max_examples=120, stateful_step_count=60)
processes = st.integers(0, 2)
positions = st.integers(0, 7)


class Coherence(RuleBasedStateMachine):
    """Everything that can happen where replicas do not lag."""

    lag_seconds = 0.0
    loses_writes = False

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.replica_lag_seconds = self.lag_seconds
        self.reads: list[Read] = []
        self.seen: dict[int, Versions] = {}
        """Process → versions of the balance that its client has seen; each process has one client."""

    @rule(wallet=st.sampled_from(WALLETS), with_balance=st.booleans())
    def wallet_changes(self, *, wallet: str, with_balance: bool) -> None:
        self.world.commit("WalletDeducted", wallet, with_balance=with_balance)

    @rule()
    def configuration_changes(self) -> None:
        self.world.commit("ConfigChanged", "limits", with_balance=False)

    @precondition(lambda self: not self.lag_seconds)
    @rule()
    def payment_completes(self) -> None:
        self.world.commit("PaymentCompleted", f"pay{len(self.world.commits)}", with_balance=False)

    @precondition(lambda self: self.world.outbox)
    @rule(position=positions, keys=st.sampled_from([None, None, None, 1, 2]))
    def event_arrives(self, position: int, keys: int | None) -> None:
        self.world.apply(self._one(self.world.outbox, position), keys=keys)

    @precondition(lambda self: self.world.commits)
    @rule(position=positions)
    def event_arrives_again(self, position: int) -> None:
        commit: Commit = self._one(self.world.commits, position)
        self.world.outbox.append(commit)
        self.world.apply(commit)

    @precondition(lambda self: self.world.outbox)
    @rule(position=positions)
    def event_is_lost(self, position: int) -> None:
        self.world.outbox.remove(self._one(self.world.outbox, position))

    @rule()
    def publisher_gives_a_sign(self) -> None:
        self.world.heartbeat()

    @rule(process=processes, position=positions, twice=st.booleans())
    def message_arrives(self, *, process: int, position: int, twice: bool) -> None:
        owner = self.world.processes[process]
        if owner.inbox:
            message = self._one(owner.inbox, position)
            if not twice:
                owner.inbox.remove(message)
            self.world.hear(owner, message)

    @rule(process=processes, position=positions)
    def message_is_lost(self, process: int, position: int) -> None:
        inbox = self.world.processes[process].inbox
        if inbox:
            inbox.remove(self._one(inbox, position))

    @rule(process=processes)
    def channel_breaks(self, process: int) -> None:
        self.world.reconnect(self.world.processes[process])

    @precondition(lambda self: not self.lag_seconds)
    @rule(server=st.integers(0, 2), position=positions)
    def server_evicts(self, server: int, position: int) -> None:
        victim = (*self.world.nodes, self.world.l3)[server]
        if victim.keys:
            victim.evict(self._one(list(victim.keys), position))

    @rule(server=st.integers(0, 2))
    def server_dies(self, server: int) -> None:
        if server < len(self.world.nodes) or not self.lag_seconds:
            self.world.down.add(id((*self.world.nodes, self.world.l3)[server]))

    @rule(empty=st.booleans())
    def servers_come_back(self, *, empty: bool) -> None:
        for server in (*self.world.nodes, self.world.l3):
            if id(server) in self.world.down and empty:
                server.keys.clear()
                server.expiry_ms.clear()
        self.world.down.clear()

    @rule(process=processes)
    def probe_succeeds(self, process: int) -> None:
        self.world.probe(self.world.processes[process])

    @rule(seconds=st.sampled_from([0.01, 0.5, 2.9, 5.1, 11.0, 58.0, 67.0, 301.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.milliseconds += round(seconds * 1000)

    @rule(process=processes, item=st.sampled_from(ITEMS))
    def read_starts(self, process: int, item: Item) -> None:
        owner = self.world.processes[process]
        started = self.world.start(owner, item, self._seen(process, item))
        if isinstance(started, Answer):
            self._check(owner, item, started, started_at=self.world.seconds, must_contain=owner.told.get(item, 0))
        else:
            self.reads.append(started)

    @rule(process=processes, item=st.sampled_from(ITEMS))
    def read_runs_through(self, process: int, item: Item) -> None:
        self.read_starts(process, item)
        owner = self.world.processes[process]
        for _ in range(400):
            pending = [fetch for fetch in owner.fetches if fetch.item == item]
            if not pending:
                break
            self.world.milliseconds += 20
            self.world.step(owner, pending[-1])
        self._finish_reads()

    # Two rules that are sequences of others: chance alone seldom puts an event between a read and its storing.

    @rule(process=processes, item=st.sampled_from(ITEMS))
    def read_is_paused_when_the_source_has_answered(self, process: int, item: Item) -> None:
        owner = self.world.processes[process]
        before = set(owner.fetches)
        self.read_starts(process, item)
        for fetch in set(owner.fetches) - before:
            while fetch in owner.fetches and not isinstance(fetch.answer, Loaded):
                self.world.milliseconds += 20
                self.world.step(owner, fetch)
        self._finish_reads()

    @rule(aggregate=st.sampled_from((*WALLETS, "limits", "payment")), with_balance=st.booleans())
    def change_is_told_everywhere(self, *, aggregate: str, with_balance: bool) -> None:
        if aggregate == "limits":
            self.configuration_changes()
        elif aggregate == "payment":
            if self.lag_seconds:
                return  # a payment's version is not in the list's: nothing tells a replica that it lags
            self.payment_completes()
        else:
            self.wallet_changes(wallet=aggregate, with_balance=with_balance)
        self.world.apply(self.world.commits[-1])
        for owner in self.world.processes:
            for message in tuple(owner.inbox):
                owner.inbox.remove(message)
                self.world.hear(owner, message)

    def teardown(self) -> None:
        """Whatever was stored wrongly on the way is read now."""
        for owner in self.world.processes:
            while owner.fetches:
                self.world.milliseconds += 20
                self.world.step(owner, owner.fetches[0])
        self._finish_reads()
        for process in range(len(self.world.processes)):
            for item in ITEMS:
                self.read_runs_through(process, item)

    @rule(process=processes, position=positions, steps=st.integers(1, 4))
    def fetch_goes_on(self, process: int, position: int, steps: int) -> None:
        owner = self.world.processes[process]
        for _ in range(steps):
            if owner.fetches:
                self.world.step(owner, self._one(owner.fetches, position))
        self._finish_reads()

    def _finish_reads(self) -> None:
        for read in tuple(self.reads):
            box = read.flight.future
            assert box.error is None, box.error
            if box.answer is None:
                continue
            if not covers(box.answer.versions, read.seen):
                self.world.again(read)
                continue
            self.reads.remove(read)
            self._check(
                read.process, read.item, box.answer,
                started_at=read.flight.started_at_seconds, must_contain=read.must_contain, seen=read.seen,
            )  # fmt: skip

    def _check(
        self, owner: FakeProcess, item: Item, answer: Answer, *,
        started_at: float, must_contain: int, seen: Versions | None = None,
    ) -> None:  # fmt: skip
        key_class: CacheClass = CLASSES[item[0]]
        number = 0 if answer.value is None else answer.value["commit"]
        allowed = key_class.max_staleness_seconds + self.lag_seconds + 0.001  # the server counts milliseconds
        behind = started_at - self.world.superseded_at_seconds(item, number)
        assert behind <= allowed, f"{item} answered commit {number}, {behind} s after it was superseded"
        assert self.loses_writes or number >= must_contain, f"{item} answered commit {number}, told of {must_contain}"
        if item[0] == WALLET_BALANCE.prefix:
            process = self.world.processes.index(owner)
            assert covers(answer.versions, seen or {}), f"{item} went back from {seen} to {answer.versions}"
            self.seen[process] = highest(self.seen.get(process, {}), answer.versions)

    def _seen(self, process: int, item: Item) -> Versions:
        return self.seen.get(process, {}) if item[0] == WALLET_BALANCE.prefix else {}

    @staticmethod
    def _one(among: list[Any], position: int) -> Any:
        return among[position % len(among)]


class CoherenceBehindReplicas(Coherence):
    """Reads that no version is known for come from a replica that is two seconds behind."""

    lag_seconds = 2.0


class CoherenceAfterFailover(Coherence):
    """L3 loses what it has acknowledged: a replica that had not got it takes over."""

    loses_writes = True

    def __init__(self) -> None:
        super().__init__()
        self.replica: tuple[dict[str, Any], dict[str, int]] = ({}, {})

    @rule()
    def replica_catches_up(self) -> None:
        l3 = self.world.l3
        self.replica = {key: dict(held) for key, held in l3.keys.items()}, dict(l3.expiry_ms)

    @rule()
    def replica_takes_over(self) -> None:
        keys, expiry = self.replica
        self.world.l3.keys = {key: dict(held) for key, held in keys.items()}
        self.world.l3.expiry_ms = dict(expiry)


WORLDS = (Coherence, CoherenceBehindReplicas, CoherenceAfterFailover)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__)
def test_t24_t25_no_read_is_older_than_its_class_allows(world: type[Coherence]) -> None:
    run_state_machine_as_test(world, settings=SETTINGS)


def _stores_without_lease(patch: pytest.MonkeyPatch) -> None:
    right = FakeServer._fill

    def fill(self: FakeServer, key: str, held: dict[str, Any], arguments: tuple[Any, ...]) -> list[Any]:
        held |= {"l": arguments[0], "lx": 0}
        return right(self, key, held, arguments)

    patch.setattr(FakeServer, "_fill", fill)


def _stores_older_versions(patch: pytest.MonkeyPatch) -> None:
    right = FakeServer._fill

    def fill(self: FakeServer, key: str, held: dict[str, Any], arguments: tuple[Any, ...]) -> list[Any]:
        reply = right(self, key, held, arguments)
        if reply[0] == Status.OLDER:
            _, generation, schema, ttl, _, negative, payload, *_ = arguments
            held |= self._payload(payload, ttl, generation, schema) | {"n": str(negative)}
            reply[0] = Status.STORED
        return reply

    patch.setattr(FakeServer, "_fill", fill)


def _keeps_what_was_overtaken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClassState, "_overtake", lambda _self, _item_id: None)


@pytest.mark.parametrize(
    ("world", "mistake"),
    [
        (Coherence, _stores_without_lease),
        (CoherenceBehindReplicas, _stores_older_versions),
        (Coherence, _keeps_what_was_overtaken),
    ],
    ids=lambda value: value.__name__,
)
def test_the_machine_finds_what_would_be_wrong(
    monkeypatch: pytest.MonkeyPatch, world: type[Coherence], mistake: Callable[[pytest.MonkeyPatch], None]
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"answered commit"):
        run_state_machine_as_test(
            world, settings=settings(SETTINGS, max_examples=1000, phases=[Phase.generate], report_multiple_bugs=False)
        )
