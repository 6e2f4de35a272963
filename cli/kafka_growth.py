"""What growing a topic moves: the share of keys that change their partition, by Kafka's own partitioner."""

from collections.abc import Iterable
from dataclasses import dataclass

import components  # noqa: F401 # makes the client's package importable, as for the program
from payments_client.kafka.partitioner import partition_for

SAMPLE_KEYS = 20_000
_SAMPLE_FORM = "{field}-{number:08d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """How many of so many keys lie in another partition afterwards."""

    keys: int
    moved: int

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.moved / self.keys if self.keys else 0.0


def sample_keys(field: str) -> Iterable[str]:
    """Made-up keys, always the same: the partitioner spreads any keys alike."""
    return (_SAMPLE_FORM.format(field=field, number=number) for number in range(SAMPLE_KEYS))


def moved_keys(keys: Iterable[str], *, from_partitions: int, to_partitions: int) -> Moved:
    """Count the keys that ``murmur2(key) mod partitions`` sends elsewhere."""
    total = moved = 0
    for key in keys:
        total += 1
        moved += partition_for(key, from_partitions) != partition_for(key, to_partitions)
    return Moved(keys=total, moved=moved)
