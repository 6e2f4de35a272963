"""The client against a server in cluster mode: routing, scripts, messages through any member, and its loss."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments_client.cache import AsyncPaymentsCache, Event, Loaded, Options, PaymentsCache
from payments_client.cache.values import Versions
from payments_client.contract import CONFIG, WALLET_BALANCE, CacheContract, RedisEndpoint
from tests.real.cache_client.servers import Server, running

pytestmark = pytest.mark.real


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Server]:
    """One node that owns all slots."""
    with running(tmp_path, "--cluster-enabled", "yes", "--cluster-config-file", "node.conf") as server:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 30
            while client.cluster("info")["cluster_state"] != "ok":
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield server


def contract(server: Server) -> CacheContract:
    return CacheContract(l3=RedisEndpoint(host="127.0.0.1", port=server.port, tls=False, cluster=True))


class Truth:
    """A database of one number."""

    def __init__(self) -> None:
        self.version, self.reads = 1, 0

    def load(self, item_id: str, _at_least: Versions) -> Loaded[int]:
        self.reads += 1
        return Loaded(self.version, {item_id: self.version})

    async def load_async(self, item_id: str, at_least: Versions) -> Loaded[int]:
        return self.load(item_id, at_least)


def test_threads_read_invalidate_and_hear_through_a_cluster(cluster: Server) -> None:
    truth = Truth()
    with PaymentsCache(contract(cluster), options=Options(call_timeout_seconds=20)) as cache:
        config = cache.reader(CONFIG, truth.load)
        balance = cache.display_reader(WALLET_BALANCE, truth.load)
        cache.listen()
        assert [config.get("x"), config.get("x")] == [1, 1]
        shown = balance.get("w1")
        assert shown is not None
        truth.version = 2
        publisher = cache.publisher()
        event = Event(
            type="WalletDeducted", aggregate_id="w1", version=2, occurred_at_seconds=time.time(), data={"balance": 2}
        )
        publisher.apply(event)
        reads = truth.reads
        shown = balance.get("w1", shown.seen)
        assert shown is not None
        assert (shown.render(str), shown.seen, truth.reads) == ("2", {"w1": 2}, reads), "the event carried it"
        publisher.apply(Event(type="ConfigChanged", aggregate_id="x", version=2))
        deadline = time.monotonic() + 30
        while config.get("x") != 2:
            assert time.monotonic() < deadline, "L1 was not told"
            time.sleep(0.02)


def test_tasks_do_the_same(cluster: Server) -> None:
    async def scenario() -> None:
        truth = Truth()
        async with AsyncPaymentsCache(contract(cluster), options=Options(call_timeout_seconds=20)) as cache:
            config = cache.reader(CONFIG, truth.load_async)
            cache.listen()
            assert await config.get("x") == 1
            truth.version = 2
            await cache.publisher().apply(Event(type="ConfigChanged", aggregate_id="x", version=2))
            deadline = time.monotonic() + 30
            while await config.get("x") != 2:
                assert time.monotonic() < deadline, "L1 was not told"
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_cluster_that_is_dead_from_the_start_is_waited_for_once(cluster: Server) -> None:
    cluster.freeze()
    truth = Truth()
    with PaymentsCache(contract(cluster), options=Options(call_timeout_seconds=0.5)) as cache:
        balance = cache.display_reader(WALLET_BALANCE, truth.load)
        taken = []
        for number in range(100):
            started = time.monotonic()
            assert balance.get(f"w{number}") is not None
            taken.append(time.monotonic() - started)
        cluster.thaw()
    assert len([seconds for seconds in taken if seconds > 0.25]) == 1
    assert truth.reads == 100
