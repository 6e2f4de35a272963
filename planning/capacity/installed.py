"""What a stack declares of the parts that its services share: the limits that a plan is held against."""

from dataclasses import dataclass

from settings.capacity_truth import GIB, log_gib, server_connections_of_a_shard
from settings.edge import EdgeRenderer
from settings.platform import Settings
from settings.quantities import parse_quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class Brokers:
    """Kafka's brokers."""

    count: int
    replication: int
    disk_gib: float
    """Of each."""
    count_path: str
    """Where the stack file says it; the next one too."""
    disk_path: str
    disk_unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """PostgreSQL behind its poolers."""

    shards: int
    server_connections: int
    """To all primaries and replicas together, with every pooler running."""
    disk_gib: float
    """Of each member."""
    log_gib: float
    """Of a member's disk, kept for its write-ahead log."""
    disk_path: str
    disk_unit: str


def brokers(settings: Settings) -> Brokers:
    """The declared cluster, or what the stack says of one that others run."""
    kafka, stated = settings.kafka, settings.capacity.kafka
    if kafka is None:
        return Brokers(
            count=stated.brokers, replication=stated.replication, disk_gib=stated.broker_disk_gib,
            count_path="capacity.kafka.brokers", disk_path="capacity.kafka.broker_disk_gib", disk_unit="",
        )  # fmt: skip
    return Brokers(
        count=kafka.brokers.nodes,
        replication=kafka.replication_factor,
        disk_gib=float(parse_quantity(kafka.brokers.storage.size)) / GIB,
        count_path="kafka.brokers.nodes",
        disk_path="kafka.brokers.storage.size",
        disk_unit="Gi",
    )


def database(settings: Settings) -> Database:
    """The declared clusters, or what the stack says of one that others run."""
    postgres, stated = settings.postgres, settings.capacity.database
    if postgres is None:
        return Database(
            shards=1, server_connections=stated.server_connections, disk_gib=stated.disk_gib, log_gib=0.0,
            disk_path="capacity.database.disk_gib", disk_unit="",
        )  # fmt: skip
    return Database(
        shards=len(postgres.shards),
        server_connections=len(postgres.shards) * server_connections_of_a_shard(postgres),
        disk_gib=float(parse_quantity(postgres.storage.size)) / GIB,
        log_gib=log_gib(postgres.storage),
        disk_path="postgres.storage.size",
        disk_unit="Gi",
    )


def proxies(settings: Settings) -> tuple[int, str]:
    """Most proxies of the edge, and where the stack file says it."""
    edge = settings.edge
    if edge is None or edge.renderer is not EdgeRenderer.GATEWAY:
        return settings.capacity.edge.proxies, "capacity.edge.proxies"
    return edge.proxies.max_replicas, "edge.proxies.max_replicas"
