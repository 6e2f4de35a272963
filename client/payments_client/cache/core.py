"""The read path without any input or output: generators that say what to ask and get told the answer.

``sync.py`` and ``aio.py`` answer them with redis-py, the model tests with a fake bus that may answer late, never, or in
another order. There is one copy of the logic, and a reader can be stopped between any two steps.
"""

import random
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from payments_client.cache.errors import SourceBehindError
from payments_client.cache.metrics import SOURCE, Count, Metrics, NoMetrics
from payments_client.cache.scripts import FILL, GENERATIONS, GENERATIONS_KEY, READ, RELEASE, Script, Status
from payments_client.cache.values import NO_VERSIONS, Codec, Entry, Loaded, Versions, covers, highest
from payments_client.contract import TTL_JITTER, CacheClass, Tier


@dataclass(frozen=True, slots=True)
class Ask:
    """Run a script on one key of a tier. Answered with the reply, or ``None`` when the tier is not to be had."""

    tier: Tier
    script: Script
    key: str
    arguments: tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Ask the source. Answered with ``Loaded``; its error is thrown into the generator."""

    item_id: str
    at_least: Versions


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait. Answered with ``None``."""

    seconds: float


Effect = Ask | Load | Pause
Steps = Generator[Effect, Any, Entry]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Times of the protocol; the defaults suit a database that answers within a second."""

    lease_seconds: float = 3.0
    """How long other processes wait for the holder of a lease before one of them takes over."""
    floor_seconds: float = 600.0
    """How long the version of an event is remembered after its key was dropped: longer than a replica ever lags."""
    generation_seconds: float = 5.0
    """How soon a flush reaches a process that lost its message."""
    attempts: int = 3
    """Reads of the source, and leases waited for, before going on without."""


@dataclass(slots=True)
class Generations:
    """What this process knows of one tier's generations."""

    raised: Callable[[str], None] = lambda _prefix: None
    """Told the prefix of a class that was flushed: what the process holds of it is older than the flush."""
    known: dict[str, int] = field(default_factory=dict)
    due_at_seconds: float = float("-inf")

    def learn(self, reply: Sequence[Any]) -> None:
        """Take over HGETALL's pairs; a generation never goes back."""
        for name, value in zip(reply[::2], reply[1::2], strict=True):
            prefix = _text(name)
            if int(value) > self.known.get(prefix, 0):
                self.known[prefix] = int(value)
                self.raised(prefix)


@dataclass(slots=True)
class Core:
    """The read path of one class of key in one process."""

    key_class: CacheClass
    codec: Codec[Any]
    now: Callable[[], float]
    """Monotonic seconds."""
    generations: dict[Tier, Generations]
    """Shared by all classes of the process."""
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=NoMetrics)
    token: Callable[[], str] = lambda: secrets.token_hex(8)
    jitter: Callable[[], float] = lambda: random.uniform(1 - TTL_JITTER, 1 + TTL_JITTER)  # noqa: S311 # spreads expiry

    def key(self, item_id: str) -> str:
        """The plan's key name."""
        return f"{self.key_class.prefix}{item_id}"

    def ttl_seconds(self, tier: Tier, age_seconds: float, *, negative: bool) -> float:
        """Remaining life in a tier: jittered, and never beyond the class' bound, because the age travels along."""
        nominal = self.key_class.ttl_seconds[tier]
        if negative:
            nominal = min(nominal, self.key_class.negative_ttl_seconds)
        bound = self.key_class.max_staleness_seconds - self.key_class.stale_while_revalidate_seconds
        return min(nominal * self.jitter(), bound - age_seconds)

    def fetch(self, item_id: str, at_least: Versions = NO_VERSIONS) -> Steps:
        """L2, L3, the source, and back up. Raises what the source raises, and ``SourceBehindError``."""
        return _Fetch(self, item_id, at_least).run()

    def count(self, what: Count, tier: str) -> None:
        """One more of this class."""
        self.metrics.count(what, self.key_class.prefix, tier)

    def refresh_generations(self, tier: Tier) -> Generator[Effect, Any, None]:
        """Ask a tier for its generations when what is known is too old."""
        known = self.generations[tier]
        if self.now() < known.due_at_seconds:
            return
        # Set first: while one reader asks, the others go on with what is known.
        known.due_at_seconds = self.now() + self.limits.generation_seconds
        reply = yield Ask(tier, GENERATIONS, GENERATIONS_KEY, ())
        if reply is not None:
            known.learn(reply)


@dataclass(slots=True)
class _Fetch:
    """One walk down the tiers."""

    core: Core
    item_id: str
    at_least: Versions
    leases: dict[Tier, str] = field(default_factory=dict)
    """Tiers that this fetch may fill, with its token."""
    lease_generation: dict[Tier, int] = field(default_factory=dict)

    def run(self) -> Steps:
        tiers = [tier for tier in (Tier.L2, Tier.L3) if tier in self.core.key_class.ttl_seconds]
        for tier in tiers:
            found = yield from self._look(tier)
            if found is not None:
                yield from self._fill_upwards(found, [above for above in tiers if above < tier])
                return found
        try:
            entry = yield from self._load()
        except GeneratorExit:
            raise  # nobody is left to ask for anything; the lease ends by itself
        except BaseException:
            yield from self._release()
            raise
        yield from self._fill_upwards(entry, [tier for tier in tiers if tier is not Tier.L3])
        return entry

    def _look(self, tier: Tier) -> Generator[Effect, Any, Entry | None]:
        """A payload, or ``None`` and perhaps the lease. Only L3 is worth waiting for: behind L2 there is L3."""
        core, pause = self.core, 0.005
        token = core.token()
        yield from core.refresh_generations(tier)
        give_up_at = core.now() + core.limits.lease_seconds * core.limits.attempts
        while True:
            asked_at = core.now()
            generation = core.generations[tier].known.get(core.key_class.prefix, 0)
            reply = yield Ask(
                tier,
                READ,
                core.key(self.item_id),
                (
                    generation,
                    core.codec.schema,
                    token,
                    _milliseconds(core.limits.lease_seconds),
                    *_pairs(self.at_least),
                ),
            )
            if reply is None:
                core.count(Count.UNAVAILABLE, tier)
                return None
            status, versions = Status(reply[0]), _versions(reply[4:])
            if status is Status.HIT:
                core.count(Count.HIT, tier)
                payload = None if _text(reply[2]) == "1" else bytes(reply[3])
                return Entry(payload, versions, asked_at - int(reply[1]) / 1000)
            self.at_least = highest(self.at_least, versions)
            if status is Status.LEASE:
                self.leases[tier], self.lease_generation[tier] = token, generation
            if status is not Status.BUSY or tier is Tier.L2 or core.now() >= give_up_at:
                core.count(Count.MISS, tier)
                return None
            core.count(Count.WAITED, tier)
            yield Pause(pause * core.jitter())
            pause = min(pause * 2, 0.1)

    def _load(self) -> Steps:
        """The source, until it is not behind what is known; L3 is filled on the way."""
        core = self.core
        for _ in range(core.limits.attempts):
            started_at = core.now()
            loaded: Loaded[Any] = yield Load(self.item_id, self.at_least)
            core.count(Count.LOADED, SOURCE)
            core.metrics.load_seconds(core.key_class.prefix, core.now() - started_at)
            payload = None if loaded.value is None else core.codec.encode(loaded.value)
            entry = Entry(payload, loaded.versions, started_at)
            if covers(entry.versions, self.at_least) and (yield from self._fill(Tier.L3, entry)):
                return entry
            core.count(Count.SOURCE_BEHIND, SOURCE)
        if core.key_class.display_only:
            raise SourceBehindError(
                f"{core.key(self.item_id)}: the source answered versions {dict(entry.versions)} "
                f"{core.limits.attempts} times, {dict(self.at_least)} is known; read the primary when a version is "
                f"asked for"
            )
        self.leases.clear()  # too old to be kept, still within what the class may show
        return entry

    def _fill(self, tier: Tier, entry: Entry) -> Generator[Effect, Any, bool]:
        """Store under the lease. False when an event is newer: then the source has to be asked again."""
        token = self.leases.get(tier)
        if token is None:
            return True
        core = self.core
        age = core.now() - entry.read_at_seconds
        ttl = core.ttl_seconds(tier, age, negative=entry.payload is None)
        if ttl <= 0:
            return True
        reply = yield Ask(
            tier,
            FILL,
            core.key(self.item_id),
            (
                token,
                self.lease_generation[tier],
                core.codec.schema,
                _milliseconds(ttl),
                _milliseconds(age),
                int(entry.payload is None),
                entry.payload or b"",
                *_pairs(entry.versions),
            ),
        )
        if reply is None:
            core.count(Count.UNAVAILABLE, tier)
            return True
        status = Status(reply[0])
        core.count(Count.STORED if status is Status.STORED else Count.REFUSED, tier)
        if status is Status.OLDER:
            self.at_least = highest(self.at_least, _versions(reply[4:]))
            return False
        return True

    def _fill_upwards(self, entry: Entry, tiers: Iterable[Tier]) -> Generator[Effect, Any, None]:
        for tier in tiers:
            yield from self._fill(tier, entry)

    def _release(self) -> Generator[Effect, Any, None]:
        self.core.count(Count.LOAD_FAILED, SOURCE)
        for tier, token in self.leases.items():
            yield Ask(tier, RELEASE, self.core.key(self.item_id), (token,))


def _pairs(versions: Versions) -> Iterable[str | int]:
    for aggregate, version in sorted(versions.items()):
        yield aggregate
        yield version


def _versions(flat: Sequence[Any]) -> Versions:
    return {_text(name): int(version) for name, version in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
