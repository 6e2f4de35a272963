"""What capacity planning assumes of the parts that services share, until somebody measures it.

Numbers of machines, connections and disks stand here for parts that others run: where the stack declares the part
itself (blocks ``kafka``, ``postgres``, ``edge``), plans read that block.
"""

from typing import Annotated

from pydantic import Field

from settings.base import Strict

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1, le=100_000_000)]


class KafkaInputs(Strict):
    """The brokers."""

    brokers: Annotated[int, Field(ge=1, le=100)] = 3
    replication: Annotated[int, Field(ge=1, le=5)] = 3
    event_bytes: Bytes = 1024
    """One event with its headers, after compression."""
    broker_megabytes_per_second: Count = 100
    """What one broker moves, in and out together, for hours: a figure to measure."""
    broker_disk_gib: Count = 500


class DatabaseInputs(Strict):
    """PostgreSQL behind its pooler."""

    server_connections: Count = 200
    """Connections that the poolers open to PostgreSQL, all pools of all shards together."""
    bytes_per_payment: Bytes = 6144
    """Events, entries, idempotency key and their indexes of one payment: a figure to measure."""
    disk_gib: Count = 1000
    """Of each node."""
    keep_months: Annotated[int, Field(ge=1, le=120)] = 6
    """How many months of data the disk must hold before they are archived."""


class CacheInputs(Strict):
    """The shared cache (L3)."""

    entry_bytes: Bytes = 1024
    """One entry with the server's own overhead."""
    entries_per_request: Annotated[int, Field(ge=1, le=1000)] = 1
    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Longest that an entry lives; the plan's L3."""


class EdgeInputs(Strict):
    """The proxies at the entry."""

    proxies: Annotated[int, Field(ge=1, le=1000)] = 10
    """Most proxies that the edge scales to."""
    requests_per_second_per_proxy: Count = 2000
    """What one proxy passes on with TLS: a figure to measure."""
