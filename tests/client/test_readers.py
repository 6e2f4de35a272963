"""Readers without any server: L1, stale-while-revalidate, negative entries, errors, metrics."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from payments_client.cache import AsyncPaymentsCache, CacheError, Loaded, Options, PaymentsCache, PrometheusMetrics
from payments_client.cache.values import Versions
from payments_client.contract import CONFIG, CacheContract, RedisEndpoint

NOWHERE = CacheContract(l3=RedisEndpoint(host="127.0.0.1", port=1, tls=False))


class Truth:
    """A database of one number, and the only clock."""

    def __init__(self) -> None:
        self.now, self.value, self.reads = 1000.0, 1, 0
        self.fails = False

    def load(self, item_id: str, _at_least: Versions) -> Loaded[dict[str, int]]:
        self.reads += 1
        if self.fails:
            raise ZeroDivisionError
        return Loaded({"value": self.value} if item_id != "none" else None, {item_id: self.value})

    async def load_async(self, item_id: str, at_least: Versions) -> Loaded[dict[str, int]]:
        return self.load(item_id, at_least)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def test_l1_answers_for_ten_minutes_then_stale_once_while_the_new_value_is_fetched() -> None:
    truth = Truth()
    with PaymentsCache(NOWHERE, options=Options(now=lambda: truth.now)) as cache:
        reader = cache.reader(CONFIG, truth.load)
        reader._state.core.jitter = lambda: 1.0
        assert reader.get("x") == {"value": 1}
        truth.value, truth.now = 2, truth.now + 599
        assert (reader.get("x"), truth.reads) == ({"value": 1}, 1)
        truth.now += 2  # within the minute of staleness
        assert reader.get("x") == {"value": 1}
        until(lambda: reader.get("x") == {"value": 2})
        assert truth.reads == 2
        truth.value, truth.now = 3, truth.now + 661
        assert reader.get("x") == {"value": 3}, "too old to be answered at all"


def test_tasks_answer_stale_and_fetch_the_new_value_too() -> None:
    async def scenario() -> None:
        truth = Truth()
        async with AsyncPaymentsCache(NOWHERE, options=Options(now=lambda: truth.now)) as cache:
            reader = cache.reader(CONFIG, truth.load_async)
            reader._state.core.jitter = lambda: 1.0
            await reader.get("x")
            truth.value, truth.now = 2, truth.now + 601
            assert await reader.get("x") == {"value": 1}
            deadline = time.monotonic() + 30
            while await reader.get("x") != {"value": 2}:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_what_does_not_exist_is_remembered_for_some_seconds_only() -> None:
    truth = Truth()
    with PaymentsCache(NOWHERE, options=Options(now=lambda: truth.now)) as cache:
        reader = cache.reader(CONFIG, truth.load)
        assert [reader.get("none"), reader.get("none")] == [None, None]
        assert truth.reads == 1
        truth.now += 11.1
        reader.get("none")
        assert truth.reads == 2


def test_values_are_shared_and_so_cannot_be_changed() -> None:
    with PaymentsCache(NOWHERE) as cache:
        found = cache.reader(CONFIG, Truth().load).get("x")
        with pytest.raises(TypeError):
            found["value"] = 5  # type: ignore[index]


def test_the_source_s_error_reaches_every_waiting_caller_and_is_not_remembered() -> None:
    truth = Truth()
    inside, go_on = threading.Event(), threading.Event()

    def load(item_id: str, at_least: Versions) -> Loaded[dict[str, int]]:
        inside.set()
        go_on.wait(30)
        return truth.load(item_id, at_least)

    errors: list[Exception] = []

    def read() -> None:
        try:
            reader.get("x")
        except ZeroDivisionError as error:
            errors.append(error)

    with PaymentsCache(NOWHERE) as cache:
        reader = cache.reader(CONFIG, load)
        truth.fails = True
        leader, follower = threading.Thread(target=read), threading.Thread(target=read)
        leader.start()
        assert inside.wait(30)
        follower.start()
        go_on.set()
        leader.join()
        follower.join()
        assert len(errors) == 2
        truth.fails = False
        assert reader.get("x") == {"value": 1}


def test_a_cancelled_task_does_not_take_the_others_with_it() -> None:
    async def scenario() -> None:
        go_on = asyncio.Event()

        async def load(item_id: str, _at_least: Versions) -> Loaded[int]:
            await go_on.wait()
            return Loaded(1, {item_id: 1})

        async with AsyncPaymentsCache(NOWHERE) as cache:
            reader = cache.reader(CONFIG, load)
            first, second = (asyncio.create_task(reader.get("x")) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            go_on.set()
            assert await second == 1
            go_on.clear()
            left = asyncio.create_task(reader.get("y"))
            await asyncio.sleep(0)
        with pytest.raises(CacheError, match="interrupted"):
            await left

    asyncio.run(scenario())


def test_metrics_say_which_tier_answered_and_what_is_given_up() -> None:
    registry = CollectorRegistry()
    with PaymentsCache(NOWHERE, options=Options(metrics=PrometheusMetrics(registry))) as cache:
        reader = cache.reader(CONFIG, Truth().load)
        for _ in range(3):
            reader.get("x")

    def events(event: str, tier: str) -> float | None:
        return registry.get_sample_value(
            "payments_cache_events_total", {"event": event, "class": "config:", "tier": tier}
        )

    assert (events("hit", "l1"), events("miss", "l1"), events("loaded", "source")) == (2, 1, 1)
    assert registry.get_sample_value("payments_cache_breaker_open", {"tier": "l3", "shard": "server"}) == 1
    assert registry.get_sample_value("payments_cache_load_seconds_count", {"class": "config:"}) == 1
