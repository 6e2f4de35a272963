"""``python -m bench.cache``: what a hit costs in each tier beside its rivals, and what the tiers spare the database.

Hit cost: real Valkey servers on loopback, L3 a cluster of one node; ours, cachetools, redis-py alone and aiocache in
the same run, rounds in turn, the median of all rounds. Database load: the client's own read path on a Zipf trace with
invalidations, on a clock that is not real, with the plan's TTLs.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from aiocache import Cache
from aiocache.serializers import JsonSerializer
from cachetools import TTLCache
from rich.console import Console
from rich.table import Table

from bench.cache_load import Outcome, simulate
from bench.stacks import ROOT
from payments_client.cache import AsyncPaymentsCache, Loaded, PaymentsCache
from payments_client.contract import RATES, USER_WALLETS, WALLET_BALANCE, CacheContract, RedisEndpoint
from tests.real.cache_client.servers import Server, running

ROUNDS = 15
VALUE = {"rate": "1.0734", "from": "EUR", "to": "USD", "at": "2026-11-24T16:00:00Z"}
Microseconds = dict[str, float]


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-cache.json", help="JSON file to write")
    parser.add_argument("--seconds", type=int, default=600, help="length of the simulated trace")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as folder, ExitStack() as stack:
        l2 = stack.enter_context(running(Path(folder)))
        l3 = stack.enter_context(running(Path(folder), "--cluster-enabled", "yes", "--cluster-config-file", "l3.conf"))
        with l3.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.cluster("info")["cluster_state"] != "ok":
                time.sleep(0.05)
        contract = CacheContract(l2=_endpoint(l2), l3=_endpoint(l3).model_copy(update={"cluster": True}))
        costs = _threads(contract, l2, l3) | asyncio.run(_tasks(contract, l2, l3))
    outcomes = [
        simulate(seconds=options.seconds, reads_per_second=reads, writes_per_second=writes)
        for reads, writes in ((200, 0), (200, 2), (200, 20))
    ]
    _print(costs, outcomes)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    rows = [outcome.row() for outcome in outcomes]
    options.out.write_text(json.dumps({"machine": machine, "hit_microseconds": costs, "load": rows}, indent=2) + "\n")


def _endpoint(server: Server) -> RedisEndpoint:
    return RedisEndpoint(host="127.0.0.1", port=server.port, tls=False)


def _threads(contract: CacheContract, l2: Server, l3: Server) -> Microseconds:
    memory: TTLCache[str, Any] = TTLCache(maxsize=10_000, ttl=600)
    memory["x"] = VALUE
    lock = threading.Lock()

    def from_cachetools() -> object:
        with lock:
            return memory["x"]

    cluster: Any
    with (
        PaymentsCache(contract) as cache,
        l2.client() as plain,
        redis.RedisCluster(host="127.0.0.1", port=l3.port) as cluster,
    ):
        plain.set("bench", json.dumps(VALUE))
        cluster.set("bench", json.dumps(VALUE))
        l1 = cache.reader(RATES, lambda _id, _versions: Loaded(VALUE, {"x": 1}))
        local = cache.reader(USER_WALLETS, lambda _id, _versions: Loaded(VALUE, {"x": 1}))
        shared = cache.display_reader(WALLET_BALANCE, lambda _id, _versions: Loaded(VALUE, {"x": 1}))
        return _in_turn(
            {
                "L1 ours, threads": (2000, lambda: l1.get("x")),
                "L1 cachetools + lock, threads": (2000, from_cachetools),
                "L2 ours, threads": (200, lambda: local.get("x")),
                "L2 redis-py GET + json, threads": (200, lambda: json.loads(plain.get("bench"))),
                "L3 ours, threads": (200, lambda: shared.get("x")),
                "L3 redis-py cluster GET + json, threads": (200, lambda: json.loads(cluster.get("bench"))),
            }
        )


def _in_turn(works: dict[str, tuple[int, Callable[[], object]]]) -> Microseconds:
    rounds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (times, work) in works.items():
            work()
            started = time.perf_counter()
            for _ in range(times):
                work()
            rounds[name].append((time.perf_counter() - started) / times * 1e6)
    return {name: round(statistics.median(taken), 2) for name, taken in rounds.items()}


async def _tasks(contract: CacheContract, l2: Server, l3: Server) -> Microseconds:
    async def load(_item_id: str, _versions: object) -> Loaded[Any]:
        return Loaded(VALUE, {"x": 1})

    async with AsyncExitStack() as stack:
        cache = await stack.enter_async_context(AsyncPaymentsCache(contract))
        plain: Any = await stack.enter_async_context(redis.asyncio.Redis(port=l2.port))
        cluster: Any = await stack.enter_async_context(redis.asyncio.RedisCluster(host="127.0.0.1", port=l3.port))
        await plain.set("bench", json.dumps(VALUE))
        await cluster.set("bench", json.dumps(VALUE))
        memory = Cache(Cache.MEMORY, ttl=600)
        remote = Cache(Cache.REDIS, endpoint="127.0.0.1", port=l2.port, ttl=60, serializer=JsonSerializer())
        stack.push_async_callback(remote.close)
        await memory.set("x", VALUE)
        await remote.set("bench-aiocache", VALUE)
        l1 = cache.reader(RATES, load)
        local = cache.reader(USER_WALLETS, load)
        shared = cache.display_reader(WALLET_BALANCE, load)

        async def plain_get(client: Any) -> object:
            return json.loads(await client.get("bench"))

        works: dict[str, tuple[int, Callable[[], Awaitable[object]]]] = {
            "L1 ours, asyncio": (2000, lambda: l1.get("x")),
            "L1 aiocache memory, asyncio": (2000, lambda: memory.get("x")),
            "L2 ours, asyncio": (200, lambda: local.get("x")),
            "L2 redis-py GET + json, asyncio": (200, lambda: plain_get(plain)),
            "L2 aiocache redis, asyncio": (200, lambda: remote.get("bench-aiocache")),
            "L3 ours, asyncio": (200, lambda: shared.get("x")),
            "L3 redis-py cluster GET + json, asyncio": (200, lambda: plain_get(cluster)),
        }
        rounds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, (times, work) in works.items():
                await work()
                started = time.perf_counter()
                for _ in range(times):
                    await work()
                rounds[name].append((time.perf_counter() - started) / times * 1e6)
    return {name: round(statistics.median(taken), 2) for name, taken in rounds.items()}


def _print(costs: Microseconds, outcomes: list[Outcome]) -> None:
    console = Console(width=120)
    table = Table("hit", "µs", title="cost of one hit, median of rounds")
    for name, microseconds in costs.items():
        table.add_row(name, f"{microseconds:.2f}")
    console.print(table)
    table = Table(*outcomes[0].row(), title="Zipf trace with the plan's TTLs: share of reads answered by each tier")
    for outcome in outcomes:
        table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in outcome.row().values()))
    console.print(table)


if __name__ == "__main__":
    main()
