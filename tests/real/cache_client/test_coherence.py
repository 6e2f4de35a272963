# ruff: noqa: S311 -- chaos needs no cryptography
"""Three caches on real servers under writes, lost and broken messages, slow readers and evictions: none is too old."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from payments_client.cache import Event, Loaded, Options, PaymentsCache
from payments_client.cache.core import Limits
from payments_client.cache.sync import DisplayReader, EventPublisher, Reader
from payments_client.cache.values import Versions
from payments_client.contract import CONFIG, WALLET_BALANCE, WALLET_TRANSACTIONS, CacheContract, RedisEndpoint
from tests.real.cache_client.servers import Server

pytestmark = pytest.mark.real

LEASE_SECONDS = 0.5
RUN_SECONDS = 4
WALLETS = ("w1", "w2", "w3")


@dataclass(slots=True)
class Database:
    """The truth, and when L3 was told of each version."""

    versions: dict[str, int] = field(default_factory=lambda: {**dict.fromkeys(WALLETS, 1), "limits": 1})
    told: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, item_id: str, _at_least: Versions) -> Loaded[int]:
        """Reads, and is sometimes paused between the read and the storing of it."""
        version = self.versions[item_id]
        if random.random() < 0.1:
            time.sleep(random.uniform(0, LEASE_SECONDS * 1.5))
        return Loaded(version, {item_id: version})

    def write(self, publisher: EventPublisher, item_id: str) -> None:
        """One transaction and its event."""
        with self.lock:
            self.versions[item_id] += 1
            version = self.versions[item_id]
        kind = "ConfigChanged" if item_id == "limits" else "WalletDeducted"
        data = {"balance": version} if random.random() < 0.5 else {}
        event = Event(
            type=kind, aggregate_id=item_id, version=version, user_id="u", occurred_at_seconds=time.time(), data=data
        )
        publisher.apply(event)
        self.told.setdefault(item_id, []).append((time.monotonic(), version))

    def told_before(self, item_id: str, at: float) -> int:
        """The newest version that L3 had been told of then."""
        return max((version for when, version in self.told.get(item_id, []) if when < at), default=0)


@pytest.fixture
def caches(l2: Server, l3: Server) -> Iterator[list[PaymentsCache]]:
    """Two that share a local server, and one without."""
    ends = [RedisEndpoint(host="127.0.0.1", port=server.port, tls=False) for server in (l2, l3)]
    options = Options(limits=Limits(lease_seconds=LEASE_SECONDS), call_timeout_seconds=20)
    with ExitStack() as stack:
        contracts = [CacheContract(l2=local, l3=ends[1]) for local in (ends[0], ends[0], None)]
        yield [stack.enter_context(PaymentsCache(contract, options=options)) for contract in contracts]


Readers = tuple[DisplayReader[int], Reader[int], Reader[int]]


def test_t24_t25_real_servers_under_chaos(caches: list[PaymentsCache], l3: Server) -> None:
    database = Database()
    publisher = caches[0].publisher()
    readers: list[Readers] = [
        (
            cache.display_reader(WALLET_BALANCE, database.load),
            cache.reader(WALLET_TRANSACTIONS, database.load),
            cache.reader(CONFIG, database.load),
        )
        for cache in caches
    ]
    for cache in caches:
        cache.listen()
    stop_at = time.monotonic() + RUN_SECONDS
    with ThreadPoolExecutor() as pool:
        reading = [pool.submit(read_until, stop_at, database, each) for each in readers for _ in range(2)]
        disturb_until(stop_at, database, publisher, l3)
        assert sum(each.result() for each in reading) > 100
    # Far below every TTL but the deadline: only messages, and flushes for the lost ones, make this come true.
    deadline = time.monotonic() + 30
    while not all(is_new(database, each) for each in readers):
        assert time.monotonic() < deadline, "an invalidation was lost for good"
        publisher.heartbeat()
        time.sleep(0.05)


def read_until(stop_at: float, database: Database, readers: Readers) -> int:
    """A service with one client; the number of its reads."""
    balance, transactions, config = readers
    seen: dict[str, Mapping[str, int]] = {}
    reads = 0
    while time.monotonic() < stop_at:
        wallet, started = random.choice(WALLETS), time.monotonic()
        before = seen.get(wallet, {})
        shown = balance.get(wallet, before)
        assert shown is not None
        version = shown.seen[wallet]
        assert shown.render(str) == str(version), "the value and its version belong together"
        assert version >= before.get(wallet, 0), "a balance went back"
        # A flight may be joined until it is as old as a lease.
        told = database.told_before(wallet, started - LEASE_SECONDS)
        assert version >= told, f"balance {version}, L3 was told {told} before the read's flight began"
        seen[wallet] = shown.seen
        transactions.get(wallet)
        config.get("limits")
        reads += 3
    return reads


def disturb_until(stop_at: float, database: Database, publisher: EventPublisher, l3: Server) -> None:
    """Writes, and now and then a broken channel, a hole in the numbers or an eviction."""
    with l3.client() as client:
        while time.monotonic() < stop_at:
            database.write(publisher, random.choice((*WALLETS, "limits")))
            chance = random.random()
            if chance < 0.05:
                client.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            elif chance < 0.15:
                publisher._publisher.sent[WALLET_TRANSACTIONS.prefix] += 1
            elif chance < 0.25:
                client.delete(f"wallet:balance:{random.choice(WALLETS)}")
            time.sleep(0.01)


def is_new(database: Database, readers: Readers) -> bool:
    """Whether a process answers with nothing but the truth."""
    balance, transactions, config = readers
    for wallet in WALLETS:
        shown, version = balance.get(wallet), database.versions[wallet]
        if shown is None or shown.render(str) != str(version) or transactions.get(wallet) != version:
            return False
    return config.get("limits") == database.versions["limits"]
