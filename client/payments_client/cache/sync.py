"""The blocking caches, for threads."""

import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, Self, TypeVar

from redis.exceptions import MaxConnectionsError, NoScriptError

from payments_client.cache import connections
from payments_client.cache.breaker import Breaker
from payments_client.cache.connections import FAILURES, Credentials, SyncClient
from payments_client.cache.core import Ask, Effect, Load, Pause
from payments_client.cache.display import DisplayOnly
from payments_client.cache.errors import CacheError
from payments_client.cache.events import Event
from payments_client.cache.invalidation import Publisher, channel
from payments_client.cache.process import Options, Process
from payments_client.cache.scripts import FLUSH, GENERATIONS_KEY, Script
from payments_client.cache.state import Answer, ClassState
from payments_client.cache.values import NO_VERSIONS, Codec, Loaded, Versions, covers, json_codec
from payments_client.contract import CacheClass, CacheContract, RedisEndpoint, Tier

T = TypeVar("T")
Loader = Callable[[str, Versions], Loaded[T]]
"""Id and the versions that are known to exist → the truth. Reads the primary when a replica is behind them."""

_log = logging.getLogger(__name__)


class _TierClient:
    """One tier: bounded calls, given up shard by shard, probed in the background."""

    def __init__(self, tier: Tier, cache: "PaymentsCache", endpoint: RedisEndpoint, credentials: Credentials) -> None:
        options = cache.process.options
        self.breaker = Breaker(probe_after_seconds=options.probe_after_seconds, now=options.now)
        self.endpoint, self.credentials = endpoint, credentials
        self._tier, self._cache, self._timeout = tier, cache, options.call_timeout_seconds
        self._metrics = options.metrics
        self._client: SyncClient | None = None
        self._connecting = threading.Lock()

    def call(self, script: Script, key: str, arguments: tuple[Any, ...]) -> Any:
        """The reply, or ``None`` when the server is not to be had."""
        shard = self._shard(key)
        if not self.breaker.allows(shard):
            if self.breaker.probe_due(shard):
                self._cache.background(lambda: self._probe(shard, key))
            return None
        try:
            client = self._connected(shard)
            if client is None:
                return None
            shard = self._shard(key)  # known only now, where this call was the first
            return _evaluate(client, script, key, arguments)
        except MaxConnectionsError:
            return None  # this process is short of connections, the server is not dead
        except FAILURES as error:
            self._give_up(shard, error)
            return None

    def client(self) -> SyncClient:
        """For publishing and listening. May raise one of ``FAILURES``."""
        if self._client is None:
            self._client = connections.sync_client(self.endpoint, self.credentials, self._timeout)
        return self._client

    def close(self) -> None:
        """Drop the connections."""
        if self._client is not None:
            self._client.close()

    def _shard(self, key: str) -> str:
        return "start" if self._client is None else connections.shard(self._client, key)

    def _connected(self, shard: str) -> SyncClient | None:
        if self._client is None:
            with self._connecting:  # those who waited here while one failed do not try again
                return self.client() if self.breaker.allows(shard) else None
        return self._client

    def _give_up(self, shard: str, error: Exception) -> None:
        if self.breaker.failed(shard):
            _log.warning("cache %s %s is given up until a probe succeeds: %s", self._tier, shard, type(error).__name__)
            self._metrics.breaker(self._tier, shard, is_open=True)

    def _probe(self, shard: str, key: str) -> None:
        try:
            client = self.client()
            if self._tier is Tier.L2:
                # What was said while it was away is lost to it: nothing in it is believed.
                for prefix in self._cache.process.prefixes():
                    reply = _evaluate(client, FLUSH, GENERATIONS_KEY, (prefix, "", "{}"))
                    self._cache.process.generations[Tier.L2].learn(reply)
            connections.command(client, "EXISTS", key)
        except FAILURES:
            self.breaker.failed(shard)
            return
        self.breaker.recovered(shard)
        _log.info("cache %s %s is back", self._tier, shard)
        self._metrics.breaker(self._tier, shard, is_open=False)


def _evaluate(client: SyncClient, script: Script, key: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return connections.command(client, "EVALSHA", script.digest, 1, key, *arguments)
    except NoScriptError:
        return connections.command(client, "EVAL", script.source, 1, key, *arguments)


class PaymentsCache:
    """All tiers for one process. Make it after forking; ``close`` it at the end."""

    def __init__(
        self,
        contract: CacheContract,
        *,
        l2: Credentials | None = None,
        l3: Credentials | None = None,
        options: Options | None = None,
    ) -> None:
        self.process: Process[Future[Answer]] = Process(contract, options or Options())
        self._tiers = {Tier.L3: _TierClient(Tier.L3, self, contract.l3, l3 or Credentials())}
        if contract.l2 is not None:
            self._tiers[Tier.L2] = _TierClient(Tier.L2, self, contract.l2, l2 or Credentials())
        self._workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="payments-cache")
        self._stop = threading.Event()
        self._listener: threading.Thread | None = None

    def reader(self, key_class: CacheClass, load: Loader[T], codec: Codec[T] | None = None) -> "Reader[T]":
        """Read a class. Raises ``MoneyDecisionError`` for one that is display-only."""
        return Reader(self, self.process.add(key_class, codec or json_codec(), for_display=False), load)

    def display_reader(
        self, key_class: CacheClass, load: Loader[T], codec: Codec[T] | None = None
    ) -> "DisplayReader[T]":
        """Read a class for screens: every value comes as ``DisplayOnly``."""
        return DisplayReader(self, self.process.add(key_class, codec or json_codec(), for_display=True), load)

    def publisher(self, codecs: dict[str, Codec[Any]] | None = None) -> "EventPublisher":
        """For a consumer of events: one for each thread that consumes."""
        return EventPublisher(self, self.process.publisher(codecs))

    def listen(self) -> None:
        """Hear invalidations in a thread of its own; call it when all readers are made."""
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, name="payments-cache-listener", daemon=True)
            self._listener.start()

    def close(self) -> None:
        """Stop the threads and drop the connections."""
        self._stop.set()
        if self._listener is not None:
            self._listener.join()
        self._workers.shutdown(cancel_futures=True)
        for tier in self._tiers.values():
            tier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def background(self, work: Callable[[], object]) -> None:
        """Run something that no caller waits for."""
        if not self._stop.is_set():
            self._workers.submit(work)

    def client(self) -> SyncClient:
        """L3's client. May raise one of ``connections.FAILURES``."""
        return self._tiers[Tier.L3].client()

    def run(self, steps: Generator[Effect, Any, T], load: Loader[Any] | None = None) -> T:
        """Answer a generator's questions until it returns."""
        answer: Any = None
        error: BaseException | None = None
        try:
            while True:
                effect = steps.send(answer) if error is None else steps.throw(error)
                answer, error = None, None
                try:
                    answer = self._perform(effect, load)
                except BaseException as raised:  # noqa: BLE001 # the generator gives its leases back, then raises it
                    error = raised
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, effect: Effect, load: Loader[Any] | None) -> Any:
        match effect:
            case Ask(tier, script, key, arguments):
                client = self._tiers.get(tier)
                return None if client is None else client.call(script, key, arguments)
            case Load(item_id, at_least):
                assert load is not None  # noqa: S101 # only fetches load, and they come with a loader
                return load(item_id, at_least)
            case Pause(seconds):
                time.sleep(seconds)
                return None

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._hear()
            except FAILURES as error:
                _log.warning("the invalidation channel is lost, connecting again: %s", type(error).__name__)
            self._stop.wait(0.5)

    def _hear(self) -> None:
        """Until the connection breaks. Flushes after the subscription stands, so that nothing falls between."""
        tier = self._tiers[Tier.L3]
        host, port = random.choice(connections.members(tier.client(), tier.endpoint))  # noqa: S311 # spreads listeners
        node = tier.endpoint.model_copy(update={"host": host, "port": port, "cluster": False})
        ears = {channel(receiver.key_class.prefix): receiver for receiver in self.process.receivers()}
        if not ears:
            self._stop.wait()
            return
        plain: Any = connections.sync_client(node, tier.credentials, self.process.options.call_timeout_seconds)
        with plain, plain.pubsub() as subscription:
            subscription.subscribe(*ears)
            while not self._stop.is_set():
                message = subscription.get_message(timeout=0.2)
                if message is None:
                    continue
                ear = ears[_text(message["channel"])]
                if message["type"] == "subscribe":
                    self.run(ear.connected())
                elif message["type"] == "message":
                    self.run(ear.hear(message["data"]))


class _BaseReader(Generic[T]):
    """Single flight, L1 and refreshing in the background."""

    def __init__(self, cache: PaymentsCache, state: ClassState[Future[Answer]], load: Loader[T]) -> None:
        self._cache, self._state, self._load = cache, state, load

    def _answer(self, item_id: str, at_least: Versions) -> Answer:
        remembered = self._state.remembered(item_id)
        if remembered is not None and covers(remembered[0].versions, at_least):
            answer, fresh = remembered
            if not fresh and self._state.under_way(item_id) is None:
                self._cache.background(lambda: self._fetch(item_id, at_least))
            return answer
        answer = self._fetch(item_id, at_least)
        if not covers(answer.versions, at_least):
            answer = self._fetch(item_id, at_least, alone=True)
        return answer

    def _fetch(self, item_id: str, at_least: Versions, *, alone: bool = False) -> Answer:
        flight, started = self._state.board(item_id, Future(), alone=alone)
        if not started:
            if wait([flight.future], timeout=self._state.core.limits.lease_seconds).done:
                return flight.future.result()
            return self._fetch(item_id, at_least, alone=True)  # the other thread is stuck
        try:
            answer = self._state.land(flight, self._cache.run(self._state.core.fetch(item_id, at_least), self._load))
        except BaseException as error:
            self._state.crash(flight)
            followers = error if isinstance(error, Exception) else CacheError("the fetch was interrupted")
            flight.future.set_exception(followers)
            raise
        flight.future.set_result(answer)
        return answer


class Reader(_BaseReader[T]):
    """Values of one class."""

    def get(self, item_id: str, at_least: Versions = NO_VERSIONS) -> T | None:
        """The value, ``None`` where there is no such thing. Raises what the loader raises."""
        value: T | None = self._answer(item_id, at_least).value
        return value


class DisplayReader(_BaseReader[T]):
    """Values of one display-only class."""

    def get(self, item_id: str, seen: Mapping[str, int] = NO_VERSIONS) -> DisplayOnly[T] | None:
        """What a screen may show. With ``seen`` of an earlier answer: never an older one.

        Raises ``SourceBehindError`` when the source insists on an older one, and what the loader raises.
        """
        answer = self._answer(item_id, seen)
        return None if answer.value is None else DisplayOnly(answer.value, answer.versions)


class EventPublisher:
    """Feeds events into the caches. Not safe for threads."""

    def __init__(self, cache: PaymentsCache, publisher: Publisher) -> None:
        self._cache, self._publisher = cache, publisher

    def apply(self, event: Event) -> None:
        """Invalidate everywhere. Commit the offset afterwards; on ``TierUnavailableError`` feed it again."""
        self._cache.run(self._publisher.apply(event))

    def flush(self, prefix: str) -> None:
        """Have a class read anew everywhere, when events are known to be lost."""
        self._cache.run(self._publisher.flush(prefix))

    def heartbeat(self) -> None:
        """Call it about once a second, so that the loss of a last message is noticed."""
        try:
            for name, message in self._publisher.heartbeat():
                connections.command(self._cache.client(), "PUBLISH", name, message)
        except FAILURES:
            _log.debug("no heartbeat: L3 is not to be had")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
