"""From a user to a shard, by the map that the platform publishes."""

from collections.abc import Iterable, Mapping

from payments_client.contract_shards import BUCKETS, ShardsContract
from payments_client.shards.buckets import bucket_of


class ShardMap:
    """The published map as a table of 1024 entries. Immutable and safe for threads."""

    def __init__(self, contract: ShardsContract) -> None:
        self._contract = contract
        owners = [""] * BUCKETS
        for shard in contract.shards:
            for part in shard.buckets:
                owners[part.first : part.last + 1] = [shard.name] * (part.last - part.first + 1)
        self._owners = tuple(owners)
        self.names = tuple(shard.name for shard in contract.shards)
        """All shards, in the order of the contract."""

    def shard_of(self, user_id: str) -> str:
        """The shard that a user lives on. Raises ``ValueError`` for an id that cannot be one."""
        return self._owners[bucket_of(user_id)]

    def shard_of_bucket(self, bucket: int) -> str:
        """The shard that holds a bucket. Raises ``IndexError`` beyond 1023."""
        if bucket < 0:
            raise IndexError(f"buckets go from 0 to {BUCKETS - 1}")
        return self._owners[bucket]

    def moved(self, bucket: int, shard: str) -> "ShardMap":
        """The map with a bucket on another shard, which may be new. Raises ``IndexError`` beyond 1023.

        It follows a ``BucketClosedError`` until the contract says the same.
        """
        if self.shard_of_bucket(bucket) == shard:
            return self
        other = ShardMap(self._contract)
        other._owners = (*self._owners[:bucket], shard, *self._owners[bucket + 1 :])
        other.names = self.names if shard in self.names else (*self.names, shard)
        return other

    def group(self, user_ids: Iterable[str]) -> Mapping[str, list[str]]:
        """Users by shard, in their order, without shards that have none: one question to each shard, not one a user."""
        groups: dict[str, list[str]] = {}
        for user_id in user_ids:
            groups.setdefault(self.shard_of(user_id), []).append(user_id)
        return groups
