"""The bank behind the gateway, and the circuit breaker in front of it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from planning.twin.plant_constants import PlantConstants


class BreakerState(StrEnum):
    """What a circuit breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"


@dataclass(slots=True)
class Breaker:
    """Opens when enough calls fail for long enough; an open one refuses, then tries a few."""

    constants: PlantConstants
    state: BreakerState = BreakerState.CLOSED
    failing_since: float | None = None
    until: float = 0.0

    def refused_share(self, now: float, bank_seconds: float) -> float:
        """Share of calls refused from ``now`` on, while the bank answers in ``bank_seconds`` on average."""
        constants = self.constants
        failing = slow_share(bank_seconds, constants.breaker_timeout_seconds) >= constants.breaker_failure_share
        if self.state is BreakerState.CLOSED:
            self._watch(now, failing=failing)
        elif now >= self.until:
            self._next(now, failing=failing)
        if self.state is BreakerState.CLOSED:
            return 0.0
        return 1.0 if self.state is BreakerState.OPEN else 1.0 - constants.breaker_trial_share

    def _watch(self, now: float, *, failing: bool) -> None:
        if not failing:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now
        elif now - self.failing_since >= self.constants.breaker_window_seconds:
            self._open(now)

    def _next(self, now: float, *, failing: bool) -> None:
        if self.state is BreakerState.OPEN:
            self.state, self.until = BreakerState.TRIAL, now + self.constants.breaker_trial_seconds
        elif failing:
            self._open(now)
        else:
            self.state, self.failing_since = BreakerState.CLOSED, None

    def _open(self, now: float) -> None:
        self.state, self.until = BreakerState.OPEN, now + self.constants.breaker_open_seconds


def slow_share(mean_seconds: float, limit_seconds: float) -> float:
    """Share of answers slower than a limit, for exponential answers."""
    return math.exp(-limit_seconds / mean_seconds)
