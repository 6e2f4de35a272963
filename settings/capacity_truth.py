"""Figures of capacity planning that the stack itself declares elsewhere: told twice, they must agree."""

from collections.abc import Iterator
from typing import Any

from settings.base import Strict
from settings.capacity import Capacity
from settings.edge import Edge, EdgeRenderer
from settings.kafka import Kafka
from settings.postgres import DatabaseStorage, Postgres
from settings.problems import Problem
from settings.quantities import parse_quantity

GIB = 2**30


def capacity_problems(
    capacity: Capacity, *, kafka: Kafka | None, postgres: Postgres | None, edge: Edge | None
) -> Iterator[Problem]:
    """What ``capacity`` says of a part that this stack declares, and says otherwise."""
    if kafka is not None:
        yield from _contradictions("capacity.kafka", capacity.kafka, {
            "brokers": (kafka.brokers.nodes, "kafka.brokers.nodes"),
            "replication": (kafka.replication_factor, "kafka.replication_factor"),
            "broker_disk_gib": (_gib(kafka.brokers.storage.size), "kafka.brokers.storage.size"),
        })  # fmt: skip
    if postgres is not None:
        opened = len(postgres.shards) * server_connections_of_a_shard(postgres)
        yield from _contradictions("capacity.database", capacity.database, {
            "server_connections": (opened, "postgres.pooler"),
            "disk_gib": (_gib(postgres.storage.size), "postgres.storage.size"),
        })  # fmt: skip
    if edge is not None and edge.renderer is EdgeRenderer.GATEWAY:
        yield from _contradictions("capacity.edge", capacity.edge, {
            "proxies": (edge.proxies.max_replicas, "edge.proxies.max_replicas"),
        })  # fmt: skip


def server_connections_of_a_shard(postgres: Postgres) -> int:
    """What the poolers of one shard open for queries, without a rollout's surge."""
    pools = (postgres.pooler.read_write, postgres.pooler.read_only)
    return sum(pods.replicas * pods.server_connections_per_pod for pods in pools)


def log_gib(storage: DatabaseStorage) -> float:
    """What a member's write-ahead log may take of its disk."""
    return sum(_gib(each) for each in (storage.max_wal_size, storage.wal_keep_size, storage.max_slot_wal_keep_size))


def _contradictions(path: str, stated: Strict, declared: dict[str, tuple[Any, str]]) -> Iterator[Problem]:
    """Only what the stack file really says: a default contradicts nobody."""
    for field, (value, source) in declared.items():
        found = getattr(stated, field)
        if field in stated.model_fields_set and found != value:
            yield Problem(
                path=f"{path}.{field}",
                value=found,
                allowed=f"{value:g}, which {source} declares",
                fix=f"leave it away: plans read {source}; or change {source}",
            )


def _gib(quantity: str) -> float:
    return float(parse_quantity(quantity)) / GIB
