"""How fast and how late an autoscaler follows its metrics: stabilisation windows and scaling policies.

Source: Kubernetes 1.36.3, ``pkg/controller/podautoscaler/horizontal.go`` (normalizeDesiredReplicas and below).
A window or period holds what happened strictly later than its start. The controller's own rule for manifests
without ``behavior`` includes the start itself.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from planning.twin.spec import PolicyKind, Rules, Select

SCALE_UP_FACTOR = 2.0
SCALE_UP_MINIMUM = 4.0


class Limit(StrEnum):
    """Reason of the ScalingLimited condition."""

    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"


class Stabilization(StrEnum):
    """Reason of the AbleToScale condition after the windows were applied."""

    READY = "ReadyForNewScale"
    SCALE_UP = "ScaleUpStabilized"
    SCALE_DOWN = "ScaleDownStabilized"


class Normalized(NamedTuple):
    """What is left of a recommendation."""

    replicas: int
    stabilization: Stabilization
    limit: Limit
    limited: bool


class _Window:
    """The smallest or largest recommendation of the last seconds: a queue that keeps only what can still win."""

    __slots__ = ("_inclusive", "_kept", "_seconds", "_sign")

    def __init__(self, seconds: float, *, largest: bool, inclusive: bool = False) -> None:
        self._seconds = seconds
        self._sign = 1 if largest else -1
        self._inclusive = inclusive
        self._kept: deque[tuple[float, int]] = deque()

    def best(self, now_seconds: float, recommendation: int) -> int:
        """The best of the window and this one, which is not yet in it."""
        kept, cutoff, sign = self._kept, now_seconds - self._seconds, self._sign
        while kept and (kept[0][0] < cutoff or (kept[0][0] == cutoff and not self._inclusive)):
            kept.popleft()
        if kept and sign * kept[0][1] > sign * recommendation:
            return kept[0][1]
        return recommendation

    def add(self, now_seconds: float, recommendation: int) -> None:
        """Record a recommendation, before stabilisation."""
        kept, value = self._kept, self._sign * recommendation
        while kept and self._sign * kept[-1][1] <= value:
            kept.pop()
        kept.append((now_seconds, recommendation))


@dataclass(slots=True)
class _Event:
    change: int
    seconds: float
    outdated: bool = False


class _Events:
    """Changes of one direction. A new one takes the place of the last outdated one, the others stay.

    They stay because the other direction may count them over a longer period than this one.
    """

    __slots__ = ("_events", "_longest_seconds")

    def __init__(self, rules: Rules) -> None:
        self._events: list[_Event] = []
        self._longest_seconds = max((policy.period_seconds for policy in rules.policies), default=0)

    def within(self, now_seconds: float, period_seconds: int) -> int:
        cutoff = now_seconds - period_seconds
        return sum(event.change for event in self._events if event.seconds > cutoff)

    def add(self, now_seconds: float, change: int) -> None:
        cutoff, place = now_seconds - self._longest_seconds, None
        for index, event in enumerate(self._events):
            if event.seconds < cutoff:
                event.outdated = True
            if event.outdated:
                place = index
        if place is None:
            self._events.append(_Event(change, now_seconds))
        else:
            self._events[place] = _Event(change, now_seconds)


class RuledBehavior:
    """A manifest's ``behavior``: windows, then policies, then the limits."""

    __slots__ = ("_down", "_down_events", "_down_window", "_highest", "_lowest", "_up", "_up_events", "_up_window")

    def __init__(self, up: Rules, down: Rules, *, lowest: int, highest: int, downscale_seconds: float) -> None:
        self._up, self._down, self._lowest, self._highest = up, down, lowest, highest
        up_seconds, down_seconds = up.stabilization_seconds or 0, down.stabilization_seconds
        # A window of 0 s never holds anything.
        self._up_window = _Window(up_seconds, largest=False) if up_seconds else None
        self._down_window = _Window(downscale_seconds if down_seconds is None else down_seconds, largest=True)
        self._up_events, self._down_events = _Events(up), _Events(down)

    def set_limits(self, *, lowest: int, highest: int) -> None:
        """Other limits from now on; what was seen and done is remembered."""
        self._lowest, self._highest = lowest, highest

    def record_recommendation(self, now_seconds: float, recommendation: int) -> None:
        """Put a recommendation into the windows without asking for anything."""
        if self._up_window is not None:
            self._up_window.add(now_seconds, recommendation)
        self._down_window.add(now_seconds, recommendation)

    def record_change(self, now_seconds: float, before: int, after: int) -> None:
        """Remember a change that was made."""
        if after > before:
            self._up_events.add(now_seconds, after - before)
        else:
            self._down_events.add(now_seconds, before - after)

    def normalize(self, now_seconds: float, current: int, desired: int) -> Normalized:
        """What the recommendation becomes; it is recorded as it came."""
        lowest = desired if self._up_window is None else self._up_window.best(now_seconds, desired)
        highest = self._down_window.best(now_seconds, desired)
        stabilized = min(max(current, lowest), highest)
        self.record_recommendation(now_seconds, desired)
        state = Stabilization.READY
        if stabilized != desired:
            state = Stabilization.SCALE_UP if desired >= current else Stabilization.SCALE_DOWN
        replicas, limit = self._limit(now_seconds, current, stabilized)
        return Normalized(replicas, state, limit, replicas != stabilized)

    def _limit(self, now_seconds: float, current: int, desired: int) -> tuple[int, Limit]:
        if desired > current:
            allowed = max(current, self._up_limit(now_seconds, current))
            reason = Limit.SCALE_UP_LIMIT if self._highest > allowed else Limit.TOO_MANY_REPLICAS
            allowed = min(self._highest, allowed)
            if desired > allowed:
                return allowed, reason
        elif desired < current:
            allowed = min(current, self._down_limit(now_seconds, current))
            reason = Limit.SCALE_DOWN_LIMIT if self._lowest < allowed else Limit.TOO_FEW_REPLICAS
            allowed = max(self._lowest, allowed)
            if desired < allowed:
                return allowed, reason
        return desired, Limit.DESIRED_WITHIN_RANGE

    def _up_limit(self, now_seconds: float, current: int) -> int:
        if self._up.select is Select.DISABLED:
            return current
        proposals = []
        for policy in self._up.policies:
            start = self._period_start(now_seconds, current, policy.period_seconds)
            if policy.kind is PolicyKind.PODS:
                proposals.append(start + policy.value)
            else:
                proposals.append(ceil(float(start) * (1 + float(policy.value) / 100)))
        return min(proposals) if self._up.select is Select.MIN else max(proposals)

    def _down_limit(self, now_seconds: float, current: int) -> int:
        if self._down.select is Select.DISABLED:
            return current
        proposals = []
        for policy in self._down.policies:
            start = self._period_start(now_seconds, current, policy.period_seconds)
            if policy.kind is PolicyKind.PODS:
                proposals.append(start - policy.value)
            else:
                proposals.append(int(float(start) * (1 - float(policy.value) / 100)))
        return max(proposals) if self._down.select is Select.MIN else min(proposals)

    def _period_start(self, now_seconds: float, current: int, period_seconds: int) -> int:
        added = self._up_events.within(now_seconds, period_seconds)
        removed = self._down_events.within(now_seconds, period_seconds)
        return current - added + removed


class FixedBehavior:
    """A manifest without ``behavior``: the controller's window for scale-down, and twice the pods (or 4) at most."""

    __slots__ = ("_down_window", "_highest", "_lowest")

    def __init__(self, *, lowest: int, highest: int, downscale_seconds: float) -> None:
        self._lowest, self._highest = lowest, highest
        self._down_window = _Window(downscale_seconds, largest=True, inclusive=True)

    def set_limits(self, *, lowest: int, highest: int) -> None:
        """Other limits from now on; what was seen and done is remembered."""
        self._lowest, self._highest = lowest, highest

    def record_recommendation(self, now_seconds: float, recommendation: int) -> None:
        """Put a recommendation into the window without asking for anything."""
        self._down_window.add(now_seconds, recommendation)

    def record_change(self, now_seconds: float, before: int, after: int) -> None:
        """Nothing to remember: no policy counts changes."""

    def normalize(self, now_seconds: float, current: int, desired: int) -> Normalized:
        """What the recommendation becomes; it is recorded as it came."""
        stabilized = self._down_window.best(now_seconds, desired)
        self._down_window.add(now_seconds, desired)
        state = Stabilization.READY if stabilized == desired else Stabilization.SCALE_DOWN
        up_limit = int(max(SCALE_UP_FACTOR * float(current), SCALE_UP_MINIMUM))
        highest, reason = self._highest, Limit.TOO_MANY_REPLICAS
        if highest > up_limit:
            highest, reason = up_limit, Limit.SCALE_UP_LIMIT
        if stabilized < self._lowest:
            return Normalized(self._lowest, state, Limit.TOO_FEW_REPLICAS, limited=True)
        if stabilized > highest:
            return Normalized(highest, state, reason, limited=True)
        return Normalized(stabilized, state, Limit.DESIRED_WITHIN_RANGE, limited=False)


Behavior = RuledBehavior | FixedBehavior
