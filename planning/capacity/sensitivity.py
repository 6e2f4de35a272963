"""What breaks first as the load grows: the peak at which each figure loses its headroom, and at which it is short."""

from dataclasses import dataclass

from planning.capacity.inputs import Inputs
from planning.capacity.model import CapacityPlan, Demand, Status
from planning.capacity.plan import plan_capacity

LOWEST_PEAK, HIGHEST_PEAK = 1.0, 100_000.0
_BISECTIONS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakPoint:
    """Where one figure stops being carried; payments a day grow with the peak."""

    key: str
    tight_at: float | None
    """Requests/s from which the headroom is missing; ``None``: not below ``HIGHEST_PEAK``."""
    short_at: float | None
    """Requests/s from which it is not carried."""


def break_points(stack: str, demand: Demand, inputs: Inputs) -> list[BreakPoint]:
    """Every limited figure, the one that is short first at the top."""
    states = _States(stack, demand, inputs)
    keys = [figure.key for figure in states.plan(LOWEST_PEAK).figures if figure.status is not Status.OPEN]
    found = [
        BreakPoint(key=key, tight_at=states.first(key, Status.TIGHT), short_at=states.first(key, Status.SHORT))
        for key in keys
    ]
    never = HIGHEST_PEAK * 2
    return sorted(found, key=lambda each: (each.short_at or never, each.tight_at or never, each.key))


class _States:
    """Plans at other peaks, computed once each."""

    def __init__(self, stack: str, demand: Demand, inputs: Inputs) -> None:
        self._stack, self._demand, self._inputs = stack, demand, inputs
        self._known: dict[float, dict[str, int]] = {}

    def plan(self, peak: float) -> CapacityPlan:
        """The plan at a peak."""
        return plan_capacity(self._stack, self._demand.at_peak(peak), self._inputs)

    def first(self, key: str, status: Status) -> float | None:
        """Lowest peak at which a figure is at least so bad; statuses only get worse with the load."""
        if self._rank(HIGHEST_PEAK, key) < status.rank:
            return None
        low, high = LOWEST_PEAK, HIGHEST_PEAK
        if self._rank(low, key) >= status.rank:
            return low
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self._rank(middle, key) >= status.rank:
                high = middle
            else:
                low = middle
        return high

    def _rank(self, peak: float, key: str) -> int:
        if peak not in self._known:
            self._known[peak] = {figure.key: figure.status.rank for figure in self.plan(peak).figures}
        return self._known[peak][key]
