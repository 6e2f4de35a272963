"""Which shard a user lives on, questions to all shards at once, and money that moves between shards.

``bucket_of`` and ``ShardMap`` need nothing but the contract; ``fan_out`` needs no database either;
``payments_client.shards.transfers`` needs the extra ``database``.
"""

from payments_client.shards.buckets import bucket_of
from payments_client.shards.fan_out import Answers, PartialFailureError, fan_out, fan_out_async
from payments_client.shards.routing import ShardMap

__all__ = ["Answers", "PartialFailureError", "ShardMap", "bucket_of", "fan_out", "fan_out_async"]
