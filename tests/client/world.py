"""A small world for the coherence tests: a database, events, a bus, servers and several processes, one step at a time.

Nothing happens by itself. Every question that a reader asks is answered by the fake server at once, but the answer
waits until the reader is stepped again: a reader that is not stepped is a paused process.
"""

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from payments_client.cache.core import Ask, Effect, Limits, Load, Pause
from payments_client.cache.errors import CacheError, TierUnavailableError
from payments_client.cache.events import Event, changes
from payments_client.cache.invalidation import Receiver, channel
from payments_client.cache.process import Options, Process
from payments_client.cache.state import Answer, ClassState, Flight
from payments_client.cache.values import Entry, Loaded, Versions, covers, json_codec
from payments_client.contract import (
    CONFIG,
    PLAN_CLASSES,
    USER_WALLETS,
    WALLET_BALANCE,
    WALLET_TRANSACTIONS,
    CacheContract,
    RedisEndpoint,
    Tier,
)  # fmt: skip
from tests.client.fake_server import FakeServer

WALLETS = ("w1", "w2")
USER = "u1"
ITEMS = (
    (CONFIG.prefix, "limits"),
    (USER_WALLETS.prefix, USER),
    (WALLET_TRANSACTIONS.prefix, "w1"),
    (WALLET_BALANCE.prefix, "w1"),
)
CLASSES = {key_class.prefix: key_class for key_class in PLAN_CLASSES}
CONTRACT = CacheContract(l2=RedisEndpoint(host="node"), l3=RedisEndpoint(host="cluster"))
Item = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One transaction of the write side and its event."""

    number: int
    at_seconds: float
    event: Event
    items: frozenset[Item]
    """What it changes."""


@dataclass(slots=True)
class Box:
    """Stands where a future stands."""

    answer: Answer | None = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class Fetch:
    """A fetch between two steps, and the answer that it has not been told yet."""

    item: Item
    state: ClassState[Box]
    flight: Flight[Box]
    steps: Generator[Effect, Any, Entry]
    answer: Any = None


@dataclass(slots=True, eq=False)
class Read:
    """A reader's call that waits for a flight."""

    process: "FakeProcess"
    item: Item
    seen: Versions
    flight: Flight[Box]
    must_contain: int
    """Number of the newest commit that its answer may not miss."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way to one process."""

    channel: str
    text: str
    commit: int
    """Whose event it speaks about; 0 for heartbeats and flushes."""


class FakeProcess:
    """One process of a service on one node."""

    def __init__(self, world: "World", node: FakeServer) -> None:
        self.world, self.node = world, node
        options = Options(now=lambda: world.seconds, limits=world.limits)
        self.process: Process[Box] = Process(CONTRACT, options)
        self.states: dict[str, ClassState[Box]] = {
            prefix: self.process.add(CLASSES[prefix], json_codec(), for_display=True) for prefix, _ in ITEMS
        }
        for state in self.states.values():
            state.core.token, state.core.jitter = world.token, world.jitter
        self.ears = {channel(ear.key_class.prefix): ear for ear in self.process.receivers()}
        self.flushes = dict.fromkeys(self.states, 0)
        for ear in self.ears.values():
            ear.flush_process = self._counted(ear.key_class.prefix, ear.flush_process)
        self.inbox: list[Message] = []
        self.told: dict[Item, int] = {}
        """Newest commit of an item that this process has been told of, or has flushed for."""
        self.given_up: set[Tier] = set()
        self.fetches: list[Fetch] = []

    def call(self, ask: Ask) -> Any:
        """What the driver does: one failure, and the tier is given up until a probe."""
        server = self.node if ask.tier is Tier.L2 else self.world.l3
        if id(server) in self.world.down:
            self.given_up.add(ask.tier)
        return None if ask.tier in self.given_up else server.evaluate(ask.script, ask.key, ask.arguments)

    def learn(self, item: Item, commit: int) -> None:
        """From now on this process does not answer with anything older."""
        self.told[item] = max(self.told.get(item, 0), commit)

    def _counted(self, prefix: str, flush: Callable[[], None]) -> Callable[[], None]:
        def counted() -> None:
            self.flushes[prefix] += 1
            flush()

        return counted


class World:
    """Everything, and the only clock."""

    def __init__(self) -> None:
        self.milliseconds = 1_000_000_000
        self.limits = Limits()
        self._tokens = itertools.count()
        self._jitter = itertools.cycle((1.1, 0.9, 1.0))
        self.l3 = FakeServer(now_ms=lambda: self.milliseconds, publish=self._publish)
        self.nodes = [FakeServer(now_ms=lambda: self.milliseconds) for _ in range(2)]
        self.down: set[int] = set()
        """``id`` of servers that do not answer."""
        self.processes = [FakeProcess(self, self.nodes[n // 2]) for n in range(3)]
        self.commits: list[Commit] = []
        self.versions: dict[str, int] = {}
        self.outbox: list[Commit] = []
        self.publisher = self.processes[0].process.publisher(None)
        self.applied: dict[Item, int] = {}
        """Newest commit that L3 has been told of."""
        self.replica_lag_seconds = 0.0
        self._speaking_of = 0
        self._flight_contains: dict[Flight[Box], int] = {}

    @property
    def seconds(self) -> float:
        """Monotonic time of all processes."""
        return self.milliseconds / 1000

    def token(self) -> str:
        """Leases are told apart."""
        return f"t{next(self._tokens)}"

    def jitter(self) -> float:
        """All of the range, in turn."""
        return next(self._jitter)

    # The write side

    def commit(self, event_type: str, aggregate: str, *, with_balance: bool) -> None:
        """One transaction: the aggregate's next version, and an event in the outbox."""
        number, version = len(self.commits) + 1, self.versions.get(aggregate, 0) + 1
        self.versions[aggregate] = version
        data: dict[str, Any] = {"wallet_id": WALLETS[0]} if event_type.startswith("Payment") else {}
        if with_balance:
            data["balance"] = {"commit": number}
        event = Event(
            type=event_type, aggregate_id=aggregate, version=version, user_id=USER, data=data,
            occurred_at_seconds=self.seconds,
        )  # fmt: skip
        items = frozenset((change.prefix, change.item_id) for change in changes(event))
        commit = Commit(number=number, at_seconds=self.seconds, event=event, items=items)
        self.commits.append(commit)
        self.outbox.append(commit)

    def load(self, item: Item, at_least: Versions) -> Loaded[Any]:
        """The truth, from a replica that lags unless it is behind what is asked for."""
        seen = [c for c in self.commits if c.at_seconds <= self.seconds - self.replica_lag_seconds]
        loaded = _as_of(item, seen)
        return loaded if covers(loaded.versions, at_least) else _as_of(item, self.commits)

    # Events and messages

    def apply(self, commit: Commit, *, keys: int | None = None) -> None:
        """Feed an event; after some ``keys`` the consumer dies, and the event stays in the outbox."""
        self._speaking_of = commit.number
        steps, answer = self.publisher.apply(commit.event), None
        for number in itertools.count():
            try:
                ask = steps.send(answer)
            except StopIteration:
                self.outbox.remove(commit)
                break
            except TierUnavailableError:
                break
            if keys is not None and number >= keys:
                steps.close()
                break
            assert isinstance(ask, Ask)
            answer = None if id(self.l3) in self.down else self.l3.evaluate(ask.script, ask.key, ask.arguments)
            for item in commit.items:
                if answer is not None and f"{item[0]}{item[1]}" == ask.key:
                    self.applied[item] = max(self.applied.get(item, 0), commit.number)
        self._speaking_of = 0

    def heartbeat(self) -> None:
        """What the consumer of events does every second."""
        for name, message in self.publisher.heartbeat():
            self._publish(name, message)

    def hear(self, process: FakeProcess, message: Message) -> None:
        """A process gets one message."""
        ear = process.ears[message.channel]
        self._flushing(process, ear, ear.hear(message.text))
        for item in ITEMS:
            if item[0] == ear.key_class.prefix and message.commit and item in self.commits[message.commit - 1].items:
                process.learn(item, message.commit)

    def reconnect(self, process: FakeProcess) -> None:
        """The channel broke: what was on its way is lost; then it stands again."""
        process.inbox.clear()
        for ear in process.ears.values():
            self._flushing(process, ear, ear.connected())

    def probe(self, process: FakeProcess) -> None:
        """What the driver's probe does when a server is back."""
        for tier in sorted(process.given_up):
            server = process.node if tier is Tier.L2 else self.l3
            if id(server) not in self.down:
                process.given_up.discard(tier)
                for ear in process.ears.values() if tier is Tier.L2 else ():
                    self._run(process, ear.flush())

    def _flushing(self, process: FakeProcess, ear: Receiver, steps: Generator[Effect, Any, None]) -> None:
        prefix = ear.key_class.prefix
        applied, flushes = dict(self.applied), process.flushes[prefix]
        self._run(process, steps)
        if process.flushes[prefix] > flushes:
            for item in ITEMS:
                if item[0] == prefix:
                    process.learn(item, applied.get(item, 0))

    def _run(self, process: FakeProcess, steps: Generator[Effect, Any, None]) -> None:
        answer: Any = None
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration:
                return
            assert isinstance(ask, Ask)
            answer = process.call(ask)

    def _publish(self, name: str, message: str) -> None:
        for process in self.processes:
            if name in process.ears:
                process.inbox.append(Message(name, message, self._speaking_of))

    # Readers

    def start(self, process: FakeProcess, item: Item, seen: Versions) -> Read | Answer:
        """What ``Reader.get`` does until it has to wait; an answer where L1 has one."""
        state, item_id = process.states[item[0]], item[1]
        remembered = state.remembered(item_id)
        if remembered is not None and covers(remembered[0].versions, seen):
            answer, fresh = remembered
            if not fresh and state.under_way(item_id) is None:
                self._board(process, item, seen)
            return answer
        flight = self._board(process, item, seen)
        return Read(process, item, seen, flight, max(process.told.get(item, 0), self._flight_contains[flight]))

    def again(self, read: Read) -> None:
        """The answer of the flight that was joined is too old for this reader: one of its own."""
        read.flight = self._board(read.process, read.item, read.seen, alone=True)

    def step(self, process: FakeProcess, fetch: Fetch) -> None:
        """Tell a fetch its answer, and ask its next question."""
        try:
            effect = fetch.steps.send(fetch.answer)
        except StopIteration as done:
            fetch.flight.future.answer = fetch.state.land(fetch.flight, done.value)
            process.fetches.remove(fetch)
            return
        except CacheError as error:
            fetch.state.crash(fetch.flight)
            fetch.flight.future.error = error
            process.fetches.remove(fetch)
            return
        match effect:
            case Ask():
                fetch.answer = process.call(effect)
            case Load(_, at_least):
                fetch.answer = self.load(fetch.item, at_least)
            case Pause():
                fetch.answer = None

    def superseded_at_seconds(self, item: Item, number: int) -> float:
        """When the state after commit ``number`` stopped being the truth; infinity while it still is."""
        return next((c.at_seconds for c in self.commits if item in c.items and c.number > number), float("inf"))

    def _board(self, process: FakeProcess, item: Item, seen: Versions, *, alone: bool = False) -> Flight[Box]:
        state = process.states[item[0]]
        flight, started = state.board(item[1], Box(), alone=alone)
        if started:
            process.fetches.append(Fetch(item, state, flight, state.core.fetch(item[1], seen)))
            # Nobody announces a balance: what L3 has been told when the fetch starts is what it may not miss.
            alone_in_l3 = item[0] == WALLET_BALANCE.prefix
            self._flight_contains[flight] = self.applied.get(item, 0) if alone_in_l3 else 0
        return flight


def _as_of(item: Item, commits: list[Commit]) -> Loaded[Any]:
    changed = [c for c in commits if item in c.items]
    versions = {c.event.aggregate_id: c.event.version for c in changed if not c.event.type.startswith("Payment")}
    return Loaded({"commit": changed[-1].number} if changed else None, versions)
