"""A dead Redis costs one bounded delay, and then nothing until a probe in the background has succeeded."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from payments_client.cache import AsyncPaymentsCache, Event, Loaded, Options, PaymentsCache, TierUnavailableError
from payments_client.contract import USER_WALLETS, WALLET_TRANSACTIONS, CacheContract, RedisEndpoint
from tests.real.cache_client.servers import Server, running

pytestmark = pytest.mark.real

TIMEOUT_SECONDS = 0.5
READS = 200


def endpoint(server: Server) -> RedisEndpoint:
    return RedisEndpoint(host="127.0.0.1", port=server.port, tls=False)


def load(item_id: str, _at_least: object) -> Loaded[str]:
    return Loaded("truth", {item_id: 1})


async def load_async(item_id: str, _at_least: object) -> Loaded[str]:
    return Loaded("truth", {item_id: 1})


def slow(seconds: list[float]) -> list[float]:
    """Reads that waited for a server: half the timeout is far from anything that a dictionary takes."""
    return [taken for taken in seconds if taken > TIMEOUT_SECONDS / 2]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


OPTIONS = Options(call_timeout_seconds=TIMEOUT_SECONDS, probe_after_seconds=0.2)


def test_a_frozen_server_costs_one_timeout_and_comes_back_by_itself(tmp_path: Path, l2: Server) -> None:
    with (
        running(tmp_path) as l3,
        PaymentsCache(CacheContract(l2=endpoint(l2), l3=endpoint(l3)), options=OPTIONS) as cache,
    ):
        reader = cache.reader(WALLET_TRANSACTIONS, load)
        assert reader.get("before") == "truth"
        l3.freeze()
        taken = [_seconds(reader.get, f"w{n}") for n in range(READS)]
        assert len(slow(taken)) == 1
        assert taken[0] == max(taken)
        with pytest.raises(TierUnavailableError, match="feed the event again"):
            cache.publisher().apply(Event(type="WalletDeducted", aggregate_id="w1", version=2))
        l3.thaw()

        def stored_again() -> bool:
            reader.get(f"after{time.monotonic()}")
            with l3.client() as client:
                return any(key.startswith(b"wallet:transactions:after") for key in client.scan_iter())

        until(stored_again)


def test_a_dead_server_costs_tasks_nothing_after_the_first(tmp_path: Path) -> None:
    async def scenario(contract: CacheContract, l2: Server) -> tuple[list[float], bool]:
        async with AsyncPaymentsCache(contract, options=OPTIONS) as cache:
            reader = cache.reader(USER_WALLETS, load_async)
            assert await reader.get("before") == "truth"
            l2.freeze()
            taken = []
            for n in range(READS):
                started = time.monotonic()
                assert await reader.get(f"u{n}") == "truth"
                taken.append(time.monotonic() - started)
            l2.thaw()
            deadline = time.monotonic() + 60
            back = False
            while not back and time.monotonic() < deadline:
                await reader.get(f"after{time.monotonic()}")
                with l2.client() as client:
                    back = any(key.startswith(b"user:wallets:after") for key in client.scan_iter())
                await asyncio.sleep(0.05)
            return taken, back

    with running(tmp_path) as l2, running(tmp_path) as l3:
        taken, back = asyncio.run(scenario(CacheContract(l2=endpoint(l2), l3=endpoint(l3)), l2))
    assert len(slow(taken)) == 1
    assert taken[0] == max(taken)
    assert back


def test_what_a_local_server_kept_while_it_was_away_is_not_believed(tmp_path: Path, l3: Server) -> None:
    truth: dict[str, Any] = {"value": "old", "version": 1}

    def load_truth(_item_id: str, _at_least: object) -> Loaded[str]:
        return Loaded(truth["value"], {"w1": truth["version"]})

    with (
        running(tmp_path) as l2,
        PaymentsCache(CacheContract(l2=endpoint(l2), l3=endpoint(l3)), options=OPTIONS) as cache,
    ):
        reader = cache.reader(WALLET_TRANSACTIONS, load_truth)
        cache.listen()
        assert reader.get("w1") == "old"
        l2.freeze()
        reader.get("other")  # notices
        truth.update(value="new", version=2)
        cache.publisher().apply(Event(type="WalletDeducted", aggregate_id="w1", version=2))
        assert reader.get("w1") == "new"
        l2.thaw()

        def back() -> bool:
            reader.get(f"x{time.monotonic()}")
            with l2.client() as client:
                return any(key.startswith(b"wallet:transactions:x") for key in client.scan_iter())

        until(back)
        assert reader.get("w1") == "new"


def _seconds(read: Callable[[str], object], item_id: str) -> float:
    started = time.monotonic()
    read(item_id)
    return time.monotonic() - started


def test_a_server_that_was_never_there_is_waited_for_once(tmp_path: Path) -> None:
    with running(tmp_path) as l3:
        l3.freeze()
        with PaymentsCache(CacheContract(l3=endpoint(l3)), options=OPTIONS) as cache:
            reader = cache.reader(WALLET_TRANSACTIONS, load)
            taken = [_seconds(reader.get, f"w{n}") for n in range(READS)]
        l3.thaw()
    assert len(slow(taken)) == 1
