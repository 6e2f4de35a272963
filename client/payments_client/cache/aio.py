"""The asyncio caches. The same logic as ``sync``; only waiting differs."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, Generic, Self, TypeVar

from redis.exceptions import MaxConnectionsError, NoScriptError

from payments_client.cache import connections
from payments_client.cache.breaker import Breaker
from payments_client.cache.connections import FAILURES, AsyncClient, Credentials
from payments_client.cache.core import Ask, Effect, Load, Pause
from payments_client.cache.display import DisplayOnly
from payments_client.cache.errors import CacheError
from payments_client.cache.events import Event
from payments_client.cache.invalidation import Publisher, channel
from payments_client.cache.process import Options, Process
from payments_client.cache.scripts import FLUSH, GENERATIONS_KEY, Script
from payments_client.cache.state import Answer, ClassState, Flight
from payments_client.cache.values import NO_VERSIONS, Codec, Loaded, Versions, covers, json_codec
from payments_client.contract import CacheClass, CacheContract, RedisEndpoint, Tier

T = TypeVar("T")
AsyncLoader = Callable[[str, Versions], Awaitable[Loaded[T]]]
"""Id and the versions that are known to exist → the truth. Reads the primary when a replica is behind them."""

_log = logging.getLogger(__name__)


class _AsyncTierClient:
    """One tier: bounded calls, given up shard by shard, probed in the background."""

    def __init__(
        self, tier: Tier, cache: "AsyncPaymentsCache", endpoint: RedisEndpoint, credentials: Credentials
    ) -> None:
        options = cache.process.options
        self.breaker = Breaker(probe_after_seconds=options.probe_after_seconds, now=options.now)
        self.endpoint, self.credentials = endpoint, credentials
        self.client: AsyncClient = connections.async_client(endpoint, credentials, options.call_timeout_seconds)
        self._tier, self._cache, self._timeout = tier, cache, options.call_timeout_seconds
        self._metrics = options.metrics

    async def call(self, script: Script, key: str, arguments: tuple[Any, ...]) -> Any:
        """The reply, or ``None`` when the server is not to be had."""
        shard = connections.shard(self.client, key)
        if not self.breaker.allows(shard):
            if self.breaker.probe_due(shard):
                self._cache.background(self._probe(shard, key))
            return None
        try:
            async with asyncio.timeout(self._timeout):
                return await _evaluate(self.client, script, key, arguments)
        except MaxConnectionsError:
            return None  # this process is short of connections, the server is not dead
        except FAILURES as error:
            if self.breaker.failed(shard):
                name = type(error).__name__
                _log.warning("cache %s %s is given up until a probe succeeds: %s", self._tier, shard, name)
                self._metrics.breaker(self._tier, shard, is_open=True)
            return None

    async def _probe(self, shard: str, key: str) -> None:
        try:
            if self._tier is Tier.L2:
                # What was said while it was away is lost to it: nothing in it is believed.
                for prefix in self._cache.process.prefixes():
                    reply = await _evaluate(self.client, FLUSH, GENERATIONS_KEY, (prefix, "", "{}"))
                    self._cache.process.generations[Tier.L2].learn(reply)
            await self.client.execute_command("EXISTS", key)
        except FAILURES:
            self.breaker.failed(shard)
            return
        self.breaker.recovered(shard)
        _log.info("cache %s %s is back", self._tier, shard)
        self._metrics.breaker(self._tier, shard, is_open=False)


async def _evaluate(client: AsyncClient, script: Script, key: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return await client.execute_command("EVALSHA", script.digest, 1, key, *arguments)
    except NoScriptError:
        return await client.execute_command("EVAL", script.source, 1, key, *arguments)


class AsyncPaymentsCache:
    """All tiers for one event loop. Made and closed in that loop."""

    def __init__(
        self,
        contract: CacheContract,
        *,
        l2: Credentials | None = None,
        l3: Credentials | None = None,
        options: Options | None = None,
    ) -> None:
        self.process: Process[asyncio.Future[Answer]] = Process(contract, options or Options())
        self._tiers = {Tier.L3: _AsyncTierClient(Tier.L3, self, contract.l3, l3 or Credentials())}
        if contract.l2 is not None:
            self._tiers[Tier.L2] = _AsyncTierClient(Tier.L2, self, contract.l2, l2 or Credentials())
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listener: asyncio.Task[None] | None = None

    def reader(self, key_class: CacheClass, load: AsyncLoader[T], codec: Codec[T] | None = None) -> "AsyncReader[T]":
        """Read a class. Raises ``MoneyDecisionError`` for one that is display-only."""
        return AsyncReader(self, self.process.add(key_class, codec or json_codec(), for_display=False), load)

    def display_reader(
        self, key_class: CacheClass, load: AsyncLoader[T], codec: Codec[T] | None = None
    ) -> "AsyncDisplayReader[T]":
        """Read a class for screens: every value comes as ``DisplayOnly``."""
        return AsyncDisplayReader(self, self.process.add(key_class, codec or json_codec(), for_display=True), load)

    def publisher(self, codecs: dict[str, Codec[Any]] | None = None) -> "AsyncEventPublisher":
        """For a consumer of events; it applies them one after the other."""
        return AsyncEventPublisher(self, self.process.publisher(codecs))

    def listen(self) -> None:
        """Hear invalidations in a task of its own; call it when all readers are made."""
        if self._listener is None:
            self._listener = self.background(self._listen())

    async def close(self) -> None:
        """Stop the tasks and drop the connections."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for tier in self._tiers.values():
            await tier.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def background(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something that no caller waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def client(self) -> AsyncClient:
        """L3's client."""
        return self._tiers[Tier.L3].client

    async def run(self, steps: Generator[Effect, Any, T], load: AsyncLoader[Any] | None = None) -> T:
        """Answer a generator's questions until it returns."""
        answer: Any = None
        error: BaseException | None = None
        try:
            while True:
                effect = steps.send(answer) if error is None else steps.throw(error)
                answer, error = None, None
                try:
                    answer = await self._perform(effect, load)
                except BaseException as raised:  # noqa: BLE001 # the generator gives its leases back, then raises it
                    error = raised
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, effect: Effect, load: AsyncLoader[Any] | None) -> Any:
        match effect:
            case Ask(tier, script, key, arguments):
                client = self._tiers.get(tier)
                return None if client is None else await client.call(script, key, arguments)
            case Load(item_id, at_least):
                assert load is not None  # noqa: S101 # only fetches load, and they come with a loader
                return await load(item_id, at_least)
            case Pause(seconds):
                await asyncio.sleep(seconds)
                return None

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except FAILURES as error:
                _log.warning("the invalidation channel is lost, connecting again: %s", type(error).__name__)
            await asyncio.sleep(0.5)

    async def _hear(self) -> None:
        """Until the connection breaks. Flushes after the subscription stands, so that nothing falls between."""
        tier = self._tiers[Tier.L3]
        host, port = random.choice(connections.members(tier.client, tier.endpoint))  # noqa: S311 # spreads listeners
        node = tier.endpoint.model_copy(update={"host": host, "port": port, "cluster": False})
        ears = {channel(receiver.key_class.prefix): receiver for receiver in self.process.receivers()}
        if not ears:
            await asyncio.Event().wait()
        plain = connections.async_client(node, tier.credentials, self.process.options.call_timeout_seconds)
        async with plain, plain.pubsub() as subscription:
            await subscription.subscribe(*ears)
            while True:
                message = await subscription.get_message(timeout=0.2)
                if message is None:
                    continue
                ear = ears[_text(message["channel"])]
                if message["type"] == "subscribe":
                    await self.run(ear.connected())
                elif message["type"] == "message":
                    await self.run(ear.hear(message["data"]))


class _BaseAsyncReader(Generic[T]):
    """Single flight, L1 and refreshing in the background."""

    def __init__(
        self, cache: AsyncPaymentsCache, state: ClassState[asyncio.Future[Answer]], load: AsyncLoader[T]
    ) -> None:
        self._cache, self._state, self._load = cache, state, load

    async def _answer(self, item_id: str, at_least: Versions) -> Answer:
        remembered = self._state.remembered(item_id)
        if remembered is not None and covers(remembered[0].versions, at_least):
            answer, fresh = remembered
            if not fresh and self._state.under_way(item_id) is None:
                self._start(item_id, at_least)
            return answer
        answer = await self._fetch(item_id, at_least)
        if not covers(answer.versions, at_least):
            answer = await self._fetch(item_id, at_least, alone=True)
        return answer

    async def _fetch(self, item_id: str, at_least: Versions, *, alone: bool = False) -> Answer:
        future = self._start(item_id, at_least, alone=alone)
        # Shielded: the others who wait for the same fetch do not lose it when one caller is cancelled.
        return await asyncio.shield(future)

    def _start(self, item_id: str, at_least: Versions, *, alone: bool = False) -> "asyncio.Future[Answer]":
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        flight, started = self._state.board(item_id, future, alone=alone)
        if started:
            task = self._cache.background(self._fly(flight, at_least))
            task.add_done_callback(lambda _: self._ground(flight))
        return flight.future

    def _ground(self, flight: Flight[asyncio.Future[Answer]]) -> None:
        """A task that is cancelled before its first step runs none of its own code."""
        if not flight.future.done():
            self._state.crash(flight)
            flight.future.set_exception(CacheError("the fetch was interrupted"))
            flight.future.exception()

    async def _fly(self, flight: Flight[asyncio.Future[Answer]], at_least: Versions) -> None:
        try:
            entry = await self._cache.run(self._state.core.fetch(flight.item_id, at_least), self._load)
            flight.future.set_result(self._state.land(flight, entry))
        except BaseException as error:
            self._state.crash(flight)
            followers = error if isinstance(error, Exception) else CacheError("the fetch was interrupted")
            flight.future.set_exception(followers)
            flight.future.exception()  # nobody may be waiting any more
            if not isinstance(error, Exception):
                raise


class AsyncReader(_BaseAsyncReader[T]):
    """Values of one class."""

    async def get(self, item_id: str, at_least: Versions = NO_VERSIONS) -> T | None:
        """The value, ``None`` where there is no such thing. Raises what the loader raises."""
        value: T | None = (await self._answer(item_id, at_least)).value
        return value


class AsyncDisplayReader(_BaseAsyncReader[T]):
    """Values of one display-only class."""

    async def get(self, item_id: str, seen: Mapping[str, int] = NO_VERSIONS) -> DisplayOnly[T] | None:
        """What a screen may show. With ``seen`` of an earlier answer: never an older one.

        Raises ``SourceBehindError`` when the source insists on an older one, and what the loader raises.
        """
        answer = await self._answer(item_id, seen)
        return None if answer.value is None else DisplayOnly(answer.value, answer.versions)


class AsyncEventPublisher:
    """Feeds events into the caches. One event after the other."""

    def __init__(self, cache: AsyncPaymentsCache, publisher: Publisher) -> None:
        self._cache, self._publisher = cache, publisher

    async def apply(self, event: Event) -> None:
        """Invalidate everywhere. Commit the offset afterwards; on ``TierUnavailableError`` feed it again."""
        await self._cache.run(self._publisher.apply(event))

    async def flush(self, prefix: str) -> None:
        """Have a class read anew everywhere, when events are known to be lost."""
        await self._cache.run(self._publisher.flush(prefix))

    async def heartbeat(self) -> None:
        """Call it about once a second, so that the loss of a last message is noticed."""
        try:
            for name, message in self._publisher.heartbeat():
                await self._cache.client.execute_command("PUBLISH", name, message)
        except FAILURES:
            _log.debug("no heartbeat: L3 is not to be had")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
