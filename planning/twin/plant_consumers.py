"""A consumer group: partitions, lag as an integral, and the pause that each change of members costs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_pods import Pods


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumerSpec:
    """One group as its manifests and settings describe it."""

    name: str
    group: str
    topic: str
    partitions: int
    messages_per_second: float
    """What one consumer is configured to process; the truth is this times ``PlantConstants.capacity_ratio``."""
    add_above_lag: int
    """T, lag per consumer."""
    rate_floor_share: float
    """Use of its capacity at which the rate floor counts a consumer."""
    lag_objective: int
    """Total lag above which the moment is lost for the service-level objective."""
    events_per_entry_request: float


@dataclass(slots=True)
class ConsumerGroup:
    """Members read whole partitions: with fewer members than partitions some read one more than others."""

    spec: ConsumerSpec
    constants: PlantConstants
    pods: Pods
    lags: list[float] = field(default_factory=list)
    """Messages behind, of each partition."""
    rate: float = 0.0
    """Messages/s that arrive."""
    processed: float = 0.0
    """Messages/s that the group got through."""
    members: int = 0
    moving: frozenset[int] = frozenset()
    """Partitions between two owners: nobody reads them."""
    moving_until: float = 0.0

    def __post_init__(self) -> None:
        self.lags = [0.0] * self.spec.partitions
        self.members = self.pods.ready

    @property
    def lag(self) -> float:
        """Total of the group as the brokers count it: what waits, and what is processed but not committed."""
        return sum(self.lags) + self.processed * self.constants.commit_delay_seconds

    def lag_by_partition(self) -> list[float]:
        """The same, partition by partition."""
        pending = self.processed * self.constants.commit_delay_seconds / len(self.lags)
        return [lag + pending for lag in self.lags]

    @property
    def capacity_per_member(self) -> float:
        """Messages/s that one member really processes."""
        return self.spec.messages_per_second * self.constants.capacity_ratio

    def sustainable_rate(self, members: int) -> float:
        """Highest input rate that the group keeps up with: its busiest member reads ⌈partitions/members⌉."""
        if members == 0:
            return 0.0
        busiest = -(-self.spec.partitions // members)
        return self.capacity_per_member * self.spec.partitions / busiest

    def step(self, now: float, seconds: float, rate: float) -> None:
        """Let ``rate`` messages/s arrive for ``seconds``, the same on every partition."""
        if self.moving and now >= self.moving_until:
            self.moving = frozenset()
        if self.pods.ready != self.members:
            self._rebalance(now)
        budget = self.capacity_per_member * seconds
        self.rate = rate
        arriving = rate * seconds / self.spec.partitions
        before = sum(self.lags)
        if before == 0.0 and not self.moving and self._keeps_up(arriving, budget):
            self.processed = rate
            return
        self._share_out(arriving, budget)
        self.processed = (before - sum(self.lags)) / seconds + rate

    def _rebalance(self, now: float) -> None:
        """Partitions of members that left, or that new members get, change their owner; no others do."""
        before, after = self.members, self.pods.ready
        larger, kept = max(before, after), min(before, after)
        moved = (index for index in range(self.spec.partitions) if index % larger >= kept)
        self.moving = self.moving.union(moved)
        self.moving_until = now + self.constants.rebalance_seconds
        self.members = after

    def _keeps_up(self, arriving: float, budget: float) -> bool:
        return self.members > 0 and -(-self.spec.partitions // self.members) * arriving <= budget

    def _share_out(self, arriving: float, budget: float) -> None:
        """Each member works on its own partitions, the fuller ones in proportion."""
        lags, members, moving = self.lags, self.members, self.moving
        for index in range(len(lags)):
            lags[index] += arriving
        for member in range(min(members, len(lags))):
            mine: Sequence[int] = range(member, len(lags), members)
            if moving:
                mine = [index for index in mine if index not in moving]
            waiting = sum([lags[index] for index in mine])
            left = 1.0 - budget / waiting if waiting > budget else 0.0
            for index in mine:
                lags[index] *= left
