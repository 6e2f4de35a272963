"""What the platform promises about shards: which of them holds which buckets.

A user's bucket is computed, never looked up: ``payments_client.shards.bucket_of`` in Python, ``ops.bucket_of`` in SQL,
and in any other language: SHA-256 of the id's UTF-8 bytes, its first eight bytes as an unsigned big-endian number,
modulo 1024.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from payments_client.part import Part

BUCKETS: Literal[1024] = 1024
"""For ever: another number would send nearly every user to another bucket."""
HASH: Literal["sha256-first-8-bytes-modulo"] = "sha256-first-8-bytes-modulo"

Bucket = Annotated[int, Field(ge=0, lt=BUCKETS)]


class BucketRange(Part):
    """Buckets that follow each other, both ends included."""

    first: Bucket
    last: Bucket

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"buckets {self.first}-{self.last} are the wrong way round; write the smaller one first")
        return self


class ShardContract(Part):
    """One shard. Its name is given once and never used for another one."""

    name: Annotated[str, Field(pattern=r"^s[0-9]{2}$")]
    buckets: Annotated[tuple[BucketRange, ...], Field(min_length=1)]


class ShardsContract(Part):
    """All shards; together they hold every bucket once."""

    buckets: Literal[1024] = BUCKETS
    hash: Literal["sha256-first-8-bytes-modulo"] = HASH
    """Checked by the client: one that hashes otherwise must not route."""
    database: Annotated[str, Field(min_length=1)]
    """Name of the database on each shard."""
    shards: Annotated[tuple[ShardContract, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_bucket_once(self) -> Self:
        names = [shard.name for shard in self.shards]
        if len(set(names)) != len(names):
            raise ValueError(f"a shard's name stands twice: {', '.join(names)}")
        owners = [0] * BUCKETS
        for part in (part for shard in self.shards for part in shard.buckets):
            for bucket in range(part.first, part.last + 1):
                owners[bucket] += 1
        wrong = [bucket for bucket, count in enumerate(owners) if count != 1]
        if wrong:
            word = "no shard" if owners[wrong[0]] == 0 else "two shards"
            raise ValueError(f"bucket {wrong[0]} is on {word}; a user lives on exactly one")
        return self
