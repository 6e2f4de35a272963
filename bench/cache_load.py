"""The client's read path on a Zipf trace with invalidations: which tier answers, and what is left for the database."""

import random
from dataclasses import dataclass, field
from typing import Any

from payments_client.cache.core import Ask, Load
from payments_client.cache.events import Event
from payments_client.cache.metrics import SOURCE, Count
from payments_client.cache.process import Options, Process
from payments_client.cache.state import ClassState
from payments_client.cache.values import Loaded, json_codec
from payments_client.contract import (
    RATES,
    USER_WALLETS,
    WALLET_BALANCE,
    WALLET_TRANSACTIONS,
    CacheContract,
    RedisEndpoint,
    Tier,
)  # fmt: skip
from tests.client.fake_server import FakeServer

NODES, PROCESSES = 3, 12
IDS = {RATES: 200, USER_WALLETS: 5_000, WALLET_TRANSACTIONS: 5_000, WALLET_BALANCE: 5_000}
"""Different ids of each class; a wallet has one user."""
SHARE = {RATES: 0.4, USER_WALLETS: 0.2, WALLET_TRANSACTIONS: 0.2, WALLET_BALANCE: 0.2}
ZIPF_EXPONENT = 1.0
SEED = 20261124


@dataclass(slots=True)
class Counting:
    """Hits per class and tier."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, what: Count, prefix: str, tier: str) -> None:
        """Keep hits and loads."""
        if what in (Count.HIT, Count.STALE_HIT, Count.LOADED):
            self.counts[prefix, tier] = self.counts.get((prefix, tier), 0) + 1

    def load_seconds(self, prefix: str, seconds: float) -> None:
        """Nothing takes time here."""

    def breaker(self, tier: str, shard: str, *, is_open: bool) -> None:
        """Nothing breaks here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a trace came to."""

    reads_per_second: int
    writes_per_second: int
    seconds: int
    answered: dict[str, int]
    reads: int

    def row(self) -> dict[str, float | int]:
        """Shares of all reads, and the database's reads per second."""
        shares = {tier: self.answered.get(tier, 0) / self.reads for tier in (Tier.L1, Tier.L2, Tier.L3, SOURCE)}
        return {
            "reads/s": self.reads_per_second,
            "writes/s": self.writes_per_second,
            **{str(tier): share for tier, share in shares.items()},
            "hit ratio": 1 - shares[SOURCE],
            "database reads/s": self.answered.get(SOURCE, 0) / self.seconds,
        }


def simulate(*, seconds: int, reads_per_second: int, writes_per_second: int) -> Outcome:
    """Run a trace; deterministic. Writes choose wallets by the same Zipf law: what is read most changes most."""
    chance = random.Random(SEED)  # noqa: S311 # a trace, no secret
    clock = [1_000_000_000]
    l3 = FakeServer(now_ms=lambda: clock[0])
    nodes = [FakeServer(now_ms=lambda: clock[0]) for _ in range(NODES)]
    metrics = Counting()
    contract = CacheContract(l2=RedisEndpoint(host="node"), l3=RedisEndpoint(host="cluster"))
    options = Options(now=lambda: clock[0] / 1000, metrics=metrics)
    processes: list[Process[None]] = [Process(contract, options) for _ in range(PROCESSES)]
    states: list[dict[str, ClassState[None]]] = [
        {c.prefix: process.add(c, json_codec(), for_display=True) for c in IDS} for process in processes
    ]
    publisher = processes[0].publisher(None)
    versions: dict[str, int] = {}
    weights = {count: [1 / rank**ZIPF_EXPONENT for rank in range(1, count + 1)] for count in set(IDS.values())}
    totals = {count: _cumulative(w) for count, w in weights.items()}

    def told(channel: str, _text: str) -> None:
        # Delivered at once and to all: losses are the coherence tests' matter.
        for number, process in enumerate(states):
            state = process.get(channel.removeprefix("cache:invalidate:") + ":")
            if state is not None:
                state.invalidate(current[0])
                nodes[number % NODES].evict(f"{state.core.key_class.prefix}{current[0]}")

    l3.publish = told
    current = [""]
    for second in range(seconds):
        for n in range(reads_per_second):
            clock[0] = 1_000_000_000 + second * 1000 + n * 1000 // reads_per_second
            key_class = chance.choices(list(IDS), list(SHARE.values()))[0]
            count = IDS[key_class]
            item_id = str(chance.choices(range(count), cum_weights=totals[count])[0])
            number = chance.randrange(PROCESSES)
            _read(states[number][key_class.prefix], item_id, nodes[number % NODES], l3, versions)
        for _ in range(writes_per_second):
            wallet = str(chance.choices(range(5_000), cum_weights=totals[5_000])[0])
            versions[wallet] = versions.get(wallet, 1) + 1
            current[0] = wallet
            data = {"balance": {"cents": 1}}
            event = Event(
                type="WalletDeducted", aggregate_id=wallet, user_id=wallet, version=versions[wallet], data=data,
                occurred_at_seconds=clock[0] / 1000,
            )  # fmt: skip
            _drain(publisher.apply(event), l3)
    answered: dict[str, int] = {}
    for (_, tier), hits in metrics.counts.items():
        answered[tier] = answered.get(tier, 0) + hits
    return Outcome(
        reads_per_second=reads_per_second,
        writes_per_second=writes_per_second,
        seconds=seconds,
        answered=answered,
        reads=seconds * reads_per_second,
    )


def _read(
    state: ClassState[None], item_id: str, node: FakeServer, l3: FakeServer, versions: dict[str, int]
) -> None:  # fmt: skip
    found = state.remembered(item_id)
    if found is not None and found[1]:
        return
    flight, _ = state.board(item_id, None)
    steps = state.core.fetch(item_id)
    answer: Any = None
    while True:
        try:
            effect = steps.send(answer)
        except StopIteration as done:
            state.land(flight, done.value)
            return
        if isinstance(effect, Ask):
            server = node if effect.tier is Tier.L2 else l3
            answer = server.evaluate(effect.script, effect.key, effect.arguments)
        elif isinstance(effect, Load):
            answer = Loaded({"id": item_id}, {item_id: versions.get(item_id, 1)})


def _drain(steps: Any, l3: FakeServer) -> None:
    answer = None
    while True:
        try:
            ask = steps.send(answer)
        except StopIteration:
            return
        answer = l3.evaluate(ask.script, ask.key, ask.arguments)


def _cumulative(weights: list[float]) -> list[float]:
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums
