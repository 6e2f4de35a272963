"""PostgreSQL that survives the loss of a node: its members, timers, memory, disk, pools and backups."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.cache import Certificate
from settings.cluster import Cidr
from settings.data_roles import PooledRole
from settings.postgres_pools import DatabasePooler
from settings.problems import RuleError
from settings.quantities import Quantity, parse_quantity
from settings.services import Image, ResourceAmounts, Resources

MARGIN_SECONDS = 5
"""What a lease must outlive ``loop_wait + 2 * retry_timeout`` by; at equality a hung etcd races the lease."""
WAL_SHARE_PERCENT = 50
"""Share of the volume that write-ahead log may fill before data has no room left."""
DatabaseName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Cron = Annotated[str, Field(pattern=r"^[-0-9*/, ]+$")]

_SMALL = Resources(
    requests=ResourceAmounts(cpu="50m", memory="64Mi", ephemeral_storage="16Mi"),
    limits=ResourceAmounts(cpu="500m", memory="128Mi", ephemeral_storage="64Mi"),
)


class Preset(StrEnum):
    """How soon a silent primary is given up. Shorter means more false alarms on a slow network or disk."""

    FAST = "fast"
    """20 s lease: a lost node is replaced in less than 30 s."""
    NORM = "norm"
    """30 s lease: less than 45 s, and twice the patience with etcd."""


class Timers(Strict):
    """Patroni's timers, in seconds."""

    ttl_seconds: Annotated[int, Field(ge=20, le=300)]
    """Lease of the primary. Below 20 s Patroni's authors saw false failovers only."""
    loop_wait_seconds: Annotated[int, Field(ge=1, le=60)]
    """Pause between two looks at the cluster."""
    retry_timeout_seconds: Annotated[int, Field(ge=3, le=120)]
    """Patience with etcd and with PostgreSQL."""
    primary_start_timeout_seconds: Annotated[int, Field(ge=5, le=300)]
    """Time for a crashed primary to come back before another one takes over."""

    @model_validator(mode="after")
    def _lease_outlives_a_retry(self) -> Self:
        needed = self.loop_wait_seconds + 2 * self.retry_timeout_seconds
        if needed + MARGIN_SECONDS > self.ttl_seconds:
            raise RuleError(
                why=f"loop_wait_seconds {self.loop_wait_seconds} + 2 * retry_timeout_seconds "
                f"{self.retry_timeout_seconds} = {needed}, and with a margin of {MARGIN_SECONDS} it is above "
                f"ttl_seconds {self.ttl_seconds}: a primary that waits for etcd would lose its lease",
                fix=f"raise ttl_seconds to {needed + MARGIN_SECONDS}, or lower the other two",
            )
        return self


PRESETS = {
    Preset.FAST: Timers(ttl_seconds=20, loop_wait_seconds=5, retry_timeout_seconds=5, primary_start_timeout_seconds=20),
    Preset.NORM: Timers(
        ttl_seconds=30, loop_wait_seconds=5, retry_timeout_seconds=10, primary_start_timeout_seconds=25
    ),
}


class DatabaseStorage(Strict):
    """The volume of a member, and how much of it write-ahead log may take."""

    size: Quantity
    storage_class: DnsLabel | None = None
    """The cluster's default when absent. It must be able to grow a volume."""
    max_wal_size: Quantity = "4Gi"
    """Log between two checkpoints."""
    wal_keep_size: Quantity = "1Gi"
    """Log that is kept for a replica that is briefly away."""
    max_slot_wal_keep_size: Quantity = "20Gi"
    """Log that is kept for a replica that is gone; beyond it the replica is copied anew."""

    @model_validator(mode="after")
    def _log_leaves_room(self) -> Self:
        parts = {
            name: parse_quantity(getattr(self, name))
            for name in ("max_wal_size", "wal_keep_size", "max_slot_wal_keep_size")
        }
        total, room = sum(parts.values()), parse_quantity(self.size) * WAL_SHARE_PERCENT / 100
        if total > room:
            texts = " + ".join(f"{name} {getattr(self, name)}" for name in parts)
            raise RuleError(
                why=f"{texts} is more than {WAL_SHARE_PERCENT} % of size {self.size}: a replica that is gone would "
                f"fill the primary's disk",
                fix="raise size, or lower max_slot_wal_keep_size",
            )
        return self


class DatabaseEtcd(Strict):
    """The etcd cluster that decides who is primary; one for all shards."""

    image: Image
    members: Annotated[int, Field(ge=3, le=7)] = 3
    """An odd number: one more than an odd number adds a way to fail and no failure that is survived."""
    storage: Quantity = "4Gi"
    storage_class: DnsLabel | None = None
    """Fast disks: etcd waits for its disk at every write."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="250m", memory="512Mi", ephemeral_storage="64Mi"),
        limits=ResourceAmounts(cpu="1000m", memory="512Mi", ephemeral_storage="128Mi"),
    )
    formed: bool = False
    """Set it to true once the cluster stands: a member that lost its disk then joins and never founds another."""
    snapshot_schedule: Cron = "17 * * * *"
    snapshots_kept: Annotated[int, Field(ge=1, le=1000)] = 48

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.members % 2 == 0:
            raise RuleError(
                why=f"members {self.members} is even: it survives the loss of {self.members // 2 - 1}, as "
                f"{self.members - 1} do",
                fix=f"use {self.members - 1} or {self.members + 1}",
            )
        return self


class DatabaseBackup(Strict):
    """pgBackRest to an object store."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{2,62}$")]
    endpoint: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:-]+$")]
    """Host of the store's S3 interface."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    store: DnsLabel
    """Peer of ``cluster.peers`` that leads to the object store."""
    existing_secret: DnsLabel
    """Secret with the keys ``access-key``, ``secret-key`` and ``passphrase`` (backups are encrypted)."""
    full_schedule: Cron = "0 2 * * 0"
    differential_schedule: Cron = "0 2 * * 1-6"
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 35
    """Days that can be gone back to: as long as a full backup and its log are kept."""
    restore_test_schedule: Cron = "0 6 * * 1"
    """A backup that was never restored is a hope."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="256Mi", ephemeral_storage="64Mi"),
        limits=ResourceAmounts(cpu="2000m", memory="1Gi", ephemeral_storage="256Mi"),
    )


class DatabaseCertificates(Strict):
    """Certificates of the database's namespace, all signed by one authority. docs/postgres.md lists their names."""

    etcd: Certificate
    postgres: Certificate
    pooler: Certificate
    operations: Certificate
    """Client certificate of the Jobs; its common name is ``postgres-operations``."""


class DatabaseExporters(Strict):
    """The sidecars that turn statistics into Prometheus metrics. Patroni, HAProxy and etcd have their own."""

    postgres_image: Image
    pgbouncer_image: Image
    scraped_by: DnsLabel | None = None
    """Peer of ``cluster.peers`` that may scrape; nobody when absent."""
    resources: Resources = _SMALL


class DatabaseOperations(Strict):
    """The Jobs that set etcd's users, change a running cluster, and replace its pods in order."""

    image: Image
    """An image with Python 3.11 or newer; nothing but its standard library is used."""
    api_server: DnsLabel
    """Peer of ``cluster.peers`` that leads to the Kubernetes API server: a rollout deletes pods in order."""
    deadline_seconds: Annotated[int, Field(ge=60, le=7200)] = 1800
    credentials_version: Annotated[int, Field(ge=1)] = 1
    """Raise it after passwords changed in their Secrets: users and etcd's users are set anew."""
    resources: Resources = _SMALL


class Postgres(Strict):
    """One Patroni cluster a shard, its poolers, and the etcd cluster behind them."""

    version: Annotated[int, Field(ge=15, le=18)] = 17
    """Major version in ``image``; it chooses the paths of the programs."""
    image: Image
    """PostgreSQL with Patroni and pgBackRest: images/patroni."""
    owner: DnsLabel = "platform"
    """Team that answers for it; becomes a label."""
    shards: Annotated[list[Annotated[str, Field(pattern=r"^s[0-9]{2}$")]], Field(min_length=1, max_length=100)] = [
        "s00"
    ]
    """Names of the shards, ``s00``, ``s01``, … in order. Never renumbered: a name is where money lies."""
    nodes: Annotated[int, Field(ge=3, le=7)] = 3
    """Members of each cluster: a primary, and replicas of which one has every acknowledged row."""
    database: DatabaseName = "payments"
    """What poolers lead to: the one of ``data``, which makes it. Without ``data``, somebody else does."""
    preset: Preset = Preset.FAST
    timers: Timers | None = None
    """Own timers in place of the preset's."""
    resources: Resources
    storage: DatabaseStorage
    max_connections: Annotated[int, Field(ge=50, le=5000)] = 200
    reserved_connections: Annotated[int, Field(ge=10, le=200)] = 25
    """For superusers, Patroni, replication's helpers, exporters and migrations."""
    pod_cidrs: Annotated[list[Cidr], Field(min_length=1)]
    """Addresses of the cluster's pods: pg_hba admits nobody else."""
    existing_secret: DnsLabel
    """Secret with the passwords of the system's own users; docs/postgres.md lists its keys."""
    users: Annotated[dict[DnsLabel, PooledRole], Field(min_length=1)]
    """Service → the role of ``data`` that it logs in as, through the poolers. None has a right over the server."""
    direct_from: list[DnsLabel] = []
    """More peers of ``cluster.peers`` that may reach the members past the poolers. The pods that migrate
    (``data.migrations``) may without being named: they need sessions.
    """
    certificates: DatabaseCertificates
    etcd: DatabaseEtcd
    pooler: DatabasePooler
    backup: DatabaseBackup | None = None
    exporters: DatabaseExporters
    operations: DatabaseOperations

    @property
    def effective_timers(self) -> Timers:
        """The preset's timers, or the stack's own."""
        return self.timers if self.timers is not None else PRESETS[self.preset]

    @model_validator(mode="after")
    def _shards_are_in_order(self) -> Self:
        expected = [f"s{index:02d}" for index in range(len(self.shards))]
        if self.shards != expected:
            raise RuleError(
                why=f"shards are {', '.join(self.shards)}, expected {', '.join(expected)}: names stay with their data",
                fix="add new shards at the end, and empty a shard before it is taken from the end",
            )
        return self

    @model_validator(mode="after")
    def _pools_fit_one_node(self) -> Self:
        room = self.max_connections - self.reserved_connections
        needed = self.pooler.peak_server_connections
        if needed > room:
            raise RuleError(
                why=f"the poolers may open {self.pooler.budget_text()} = {needed} connections, and max_connections "
                f"{self.max_connections} - reserved_connections {self.reserved_connections} leaves {room}: after a "
                f"failover the new primary holds both kinds",
                fix="lower server_connections_per_pod or replicas, or raise max_connections",
            )
        return self

    @model_validator(mode="after")
    def _agent_is_not_frozen(self) -> Self:
        if self.resources.limit_to_request_percent("cpu") < 200:  # noqa: PLR2004 # twice the request
            raise RuleError(
                why=f"limits.cpu {self.resources.limits.cpu} is less than twice requests.cpu "
                f"{self.resources.requests.cpu}: a burst of queries would freeze Patroni, which then loses its lease",
                fix="raise resources.limits.cpu",
            )
        return self
