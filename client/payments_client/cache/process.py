"""What the blocking and the asyncio caches have in common: one process' classes, generations and ears."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from payments_client.cache.core import Core, Generations, Limits
from payments_client.cache.errors import MoneyDecisionError
from payments_client.cache.invalidation import Publisher, Receiver, is_announced
from payments_client.cache.metrics import Metrics, NoMetrics
from payments_client.cache.state import ClassState
from payments_client.cache.values import Codec
from payments_client.contract import CacheClass, CacheContract, Tier

F = TypeVar("F")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a service may set; the defaults suit a web service."""

    max_entries: int = 10_000
    """L1's bound for each class of key."""
    call_timeout_seconds: float = 0.25
    """The most that connecting, and then one call to a tier, may take: the delay that a dead Redis costs once."""
    probe_after_seconds: float = 1.0
    """How often the background asks whether a dead Redis is back."""
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=NoMetrics)
    now: Callable[[], float] = time.monotonic


class Process(Generic[F]):
    """The classes that this process reads, and what it hears about them."""

    def __init__(self, contract: CacheContract, options: Options) -> None:
        self.contract = contract
        self.options = options
        self.generations = {tier: Generations(raised=self._flush_prefix) for tier in (Tier.L2, Tier.L3)}
        self._states: dict[str, ClassState[F]] = {}

    def add(self, key_class: CacheClass, codec: Codec[Any], *, for_display: bool) -> ClassState[F]:
        """Start reading a class. Raises ``MoneyDecisionError`` when a balance would be readable as a plain value."""
        known = self.contract.of(key_class.prefix)
        if known.display_only and not for_display:
            raise MoneyDecisionError(
                f"'{known.prefix}' is display-only: use display_reader() for screens, and the wallet's write side for "
                f"decisions about money"
            )
        if known.prefix in self._states:
            raise ValueError(f"'{known.prefix}' has a reader in this process already; share it")
        if self.contract.l2 is None and len(known.ttl_seconds) > 1:
            known = known.model_copy(update={"l2_ttl_seconds": None})
        core = Core(
            key_class=known,
            codec=codec,
            now=self.options.now,
            generations=self.generations,
            limits=self.options.limits,
            metrics=self.options.metrics,
        )
        state: ClassState[F] = ClassState(core, max_entries=self.options.max_entries)
        self._states[known.prefix] = state
        return state

    def receivers(self) -> Iterator[Receiver]:
        """An ear for each class that this process reads and that is spoken about."""
        for state in tuple(self._states.values()):
            if is_announced(state.core.key_class):
                yield Receiver(
                    key_class=state.core.key_class,
                    invalidate=state.invalidate,
                    flush_process=state.flush,
                    generations=self.generations,
                    limits=self.options.limits,
                    metrics=self.options.metrics,
                )

    def publisher(self, codecs: dict[str, Codec[Any]] | None) -> Publisher:
        """The event's side."""
        return Publisher(
            classes={entry.prefix: entry for entry in self.contract.classes},
            generations=self.generations[Tier.L3],
            codecs=codecs or {},
            limits=self.options.limits,
            metrics=self.options.metrics,
        )

    def prefixes(self) -> tuple[str, ...]:
        """Classes that are read here."""
        return tuple(self._states)

    def _flush_prefix(self, prefix: str) -> None:
        state = self._states.get(prefix)
        if state is not None:
            state.flush()
