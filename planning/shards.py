"""Another shard: which buckets move to it, and how many users with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from settings.data import BUCKETS

Ranges = Sequence[tuple[int, int]]
"""First and last bucket of each range, both ends included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Buckets that go from one shard to the new one."""

    source: str
    first: int
    last: int

    @property
    def buckets(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """What a new shard takes over."""

    name: str
    moves: tuple[Move, ...]
    after: Mapping[str, tuple[tuple[int, int], ...]]
    """Shard → its ranges once everything has moved, the new one last."""
    shards_before: int

    @property
    def buckets(self) -> int:
        """Buckets that move."""
        return sum(move.buckets for move in self.moves)

    @property
    def share(self) -> float:
        """Part of all users that move: the hash is even, so it is that of the buckets."""
        return self.buckets / BUCKETS

    @property
    def share_by_modulo(self) -> float:
        """What ``hash % number of shards`` would move: everybody whose remainder changes."""
        return self.shards_before / (self.shards_before + 1)


def plan_addition(shards: Mapping[str, Ranges], name: str) -> Addition:
    """Give a new shard its equal part, from those that have most, and move nothing else.

    ``shards`` together hold every bucket once (settings see to it); one without buckets is counted as a shard that is
    being filled already. Raises ``ValueError`` for a name that is taken.
    """
    if any(shards.get(name, ())):
        raise ValueError(f"{name} holds buckets already")
    held = {shard: sum(last - first + 1 for first, last in ranges) for shard, ranges in shards.items() if ranges}
    wanted = BUCKETS // (len(held) + 1)
    given = dict.fromkeys(held, 0)
    for _ in range(wanted):
        # The fullest one; of equals the first by name, so that the same question has the same answer.
        donor = min(held, key=lambda shard: (given[shard] - held[shard], shard))
        given[donor] += 1
    after: dict[str, tuple[tuple[int, int], ...]] = {}
    moves: list[Move] = []
    for shard, count in given.items():
        kept, taken = _split(sorted(shards[shard]), count)
        after[shard] = kept
        moves += [Move(source=shard, first=first, last=last) for first, last in taken]
    after[name] = tuple(_joined(sorted((move.first, move.last) for move in moves)))
    return Addition(name=name, moves=tuple(moves), after=after, shards_before=len(held))


def _split(ranges: Ranges, count: int) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """The ranges without their last ``count`` buckets, and these."""
    kept: list[tuple[int, int]] = []
    taken: list[tuple[int, int]] = []
    for first, last in reversed(ranges):
        size = last - first + 1
        moved = min(size, count)
        count -= moved
        if moved < size:
            kept.append((first, last - moved))
        if moved:
            taken.append((last - moved + 1, last))
    return tuple(reversed(kept)), tuple(reversed(taken))


def _joined(ranges: Ranges) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and joined[-1][1] == first - 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
