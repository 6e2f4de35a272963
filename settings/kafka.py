"""The Kafka cluster: brokers, controllers, what its consumer groups share, its users, and its operator."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.cache import SecretKey
from settings.problems import RuleError
from settings.quantities import Quantity, parse_quantity
from settings.services import ResourceAmounts, Resources
from settings.topics import TopicName

Replicas = Annotated[int, Field(ge=1, le=9)]
# An idle Kafka broker is steady with a heap far smaller than this; below it, one burst ends in an out-of-memory error.
_SMALLEST_HEAP = "128Mi"


def _amounts(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> Resources:
    return Resources(
        requests=ResourceAmounts(cpu=cpu, memory=memory), limits=ResourceAmounts(cpu=cpu_limit, memory=memory_limit)
    )


class KafkaStorage(Strict):
    """The volume of each node of a pool. It outlives the node, the pool and the cluster."""

    size: Quantity
    storage_class: DnsLabel | None = None
    """The cluster's default class when absent."""


class NodePool(Strict):
    """Nodes of one role."""

    nodes: Replicas = 3
    resources: Resources
    heap: Quantity
    """Java heap, its start and its maximum. The rest of the memory is the page cache that reads come from."""
    storage: KafkaStorage

    @model_validator(mode="after")
    def _heap_leaves_room(self) -> Self:
        heap, limit = parse_quantity(self.heap), parse_quantity(self.resources.limits.memory)
        if heap * 2 > limit:
            raise RuleError(
                why=f"heap {self.heap} is more than half of limits.memory {self.resources.limits.memory}: the page "
                "cache and what Java keeps outside the heap share the rest, and the node would be killed",
                fix="lower heap to at most half of limits.memory, or raise the limit",
            )
        if heap < parse_quantity(_SMALLEST_HEAP):
            raise RuleError(why=f"heap {self.heap} is too small for a node", fix=f"give it {_SMALLEST_HEAP} or more")
        return self


class OffsetReset(StrEnum):
    """Where a group starts that has no committed offset."""

    EARLIEST = "earliest"
    LATEST = "latest"


class Assignment(StrEnum):
    """How partitions move when a member comes or goes (protocol ``classic``).

    The plan's "sticky" is Java's eager assignor; the clients' library has none of that name.
    """

    COOPERATIVE_STICKY = "cooperative-sticky"
    """Only what moves is paused."""
    RANGE = "range"
    ROUNDROBIN = "roundrobin"
    """This and ``range`` are eager: every member stops until the new assignment is known."""


class ConsumerGroups(Strict):
    """What all consumer groups share; the services' client reads it from the contract."""

    session_timeout_seconds: Annotated[int, Field(ge=1, le=1800)] = 30
    heartbeat_interval_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    max_poll_records: Annotated[int, Field(ge=1, le=10000)] = 500
    max_poll_interval_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    """Longest time between two polls; a batch that takes longer costs the member its partitions."""
    offset_reset: OffsetReset = OffsetReset.EARLIEST
    assignment: Assignment = Assignment.COOPERATIVE_STICKY
    fetch_max_bytes: Annotated[int, Field(ge=1024, le=500 * 2**20)] = 50 * 2**20
    max_partition_fetch_bytes: Annotated[int, Field(ge=1024, le=100 * 2**20)] = 2 * 2**20
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """Times that a message is handled each time it is delivered, before it goes to the retry topic."""
    retry_deliveries: Annotated[int, Field(ge=0, le=20)] = 2
    """Times that it goes through the retry topic before it goes to the dead-letter topic."""
    retry_delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """How long it waits in the retry topic each time."""

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> Self:
        if self.heartbeat_interval_seconds * 3 > self.session_timeout_seconds:
            raise RuleError(
                why=f"heartbeat_interval_seconds {self.heartbeat_interval_seconds} is more than a third of "
                f"session_timeout_seconds {self.session_timeout_seconds}: two lost heartbeats would cost a member "
                "its partitions",
                fix=f"set heartbeat_interval_seconds to at most {self.session_timeout_seconds // 3}"
                if self.session_timeout_seconds >= 3  # noqa: PLR2004 # below it there is no whole third
                else "raise session_timeout_seconds to 3 at least",
            )
        if self.max_poll_interval_seconds <= self.session_timeout_seconds:
            raise RuleError(
                why=f"max_poll_interval_seconds {self.max_poll_interval_seconds} is not more than "
                f"session_timeout_seconds {self.session_timeout_seconds}: a slow batch would look like a lost member",
                fix=f"raise max_poll_interval_seconds above {self.session_timeout_seconds}",
            )
        return self


class GroupTopics(Strict):
    """The retry or the dead-letter topics, one of each for every consumer group."""

    partitions: Annotated[int, Field(ge=1, le=1000)]
    retention_hours: Annotated[int, Field(ge=1, le=87600)]


class KafkaPassword(Strict):
    """A user's password. Exactly one source.

    ``existing_secret``: a Secret of this name with the same value in the namespaces of Kafka and of the services.
    ``config_key``: a Pulumi secret of this stack, from which both Secrets are made.
    """

    existing_secret: DnsLabel | None = None
    key: SecretKey = "password"
    """Key inside the existing Secret."""
    config_key: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.existing_secret is None) == (self.config_key is None):
            raise RuleError(
                why="a password has exactly one source",
                fix="give either existing_secret (in both namespaces) or config_key (a Pulumi secret)",
            )
        return self


class KafkaQuota(Strict):
    """Bounds of one user on each broker, so that no client starves the others."""

    produced_bytes_per_second: Annotated[int, Field(ge=1024)]
    consumed_bytes_per_second: Annotated[int, Field(ge=1024)]
    request_percent: Annotated[int, Field(ge=1, le=1000)]
    """Share of one broker's threads; 100 is one thread."""


class KafkaUser(Strict):
    """What differs from the defaults for one user. Users follow from the services: every Deployment that reads or
    writes a topic is one, and may do that and nothing else.
    """

    password: KafkaPassword | None = None
    """Absent: the Secret ``kafka-<user>`` in the namespaces of Kafka and of the services, key ``password``."""
    watches_lag: bool = False
    """A user of its own that sees the offsets of every group and reads no message: the autoscaler."""
    quota: KafkaQuota | None = None
    """``kafka.default_quota`` when absent."""


class KafkaOperator(Strict):
    """Strimzi's cluster operator: somebody else's, or installed by this program."""

    namespace: DnsLabel = "strimzi"
    """Where it runs; it must watch the namespace of Kafka."""
    installed_by_us: bool = False
    chart: Annotated[str, Field(pattern=r"^oci://\S+$")] | None = None
    """Where the chart strimzi-kafka-operator is taken from: your registry's copy."""
    chart_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "1.2.0"

    @model_validator(mode="after")
    def _chart_where_installed(self) -> Self:
        if self.installed_by_us != (self.chart is not None):
            raise RuleError(
                why=f"installed_by_us is {str(self.installed_by_us).lower()}, and chart is "
                f"{'given' if self.chart else 'not given'}",
                fix="give both to have the operator installed, and neither when it is there already",
            )
        return self


class GrowthAcknowledgement(Strict):
    """Somebody's word that the order per key of one topic may break at one step, and why."""

    topic: TopicName
    from_partitions: Annotated[int, Field(ge=1, le=1000)]
    to_partitions: Annotated[int, Field(ge=1, le=1000)]
    reason: Annotated[str, Field(min_length=10, max_length=500)]
    """How the order of what is in flight is kept, for example: drained, or a new topic with dual write."""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """Day of the decision, in quotes."""

    @model_validator(mode="after")
    def _grows_on_a_day(self) -> Self:
        if self.to_partitions <= self.from_partitions:
            raise RuleError(
                why=f"to_partitions {self.to_partitions} is not more than from_partitions {self.from_partitions}: "
                "partitions never shrink",
                fix="state the growth, or remove the entry",
            )
        try:
            date.fromisoformat(self.date)
        except ValueError:
            raise RuleError(why=f"date {self.date} is no day of the calendar", fix="write it as 2026-11-24") from None
        return self


class CruiseControl(Strict):
    """What moves partitions when brokers come or go."""

    resources: Resources = _amounts("500m", "1Gi", "1000m", "1Gi")
    heap: Quantity = "512Mi"
    moved_bytes_per_second: Annotated[int, Field(ge=2**20)] = 50 * 2**20
    """Bound of each broker for what a rebalance copies, so that clients keep their share."""


class KafkaExporter(Strict):
    """What exports the lag of every group to Prometheus."""

    resources: Resources = _amounts("50m", "64Mi", "500m", "256Mi")


class EntityOperator(Strict):
    """What carries out KafkaTopics and KafkaUsers."""

    resources: Resources = _amounts("100m", "384Mi", "500m", "384Mi")
    """Of each of its two containers."""


class Kafka(Strict):
    """A Kafka cluster on Strimzi: TLS, SCRAM-SHA-512, nothing allowed that no user states."""

    owner: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = "platform"
    operator: KafkaOperator = KafkaOperator()
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "4.3.1"
    metadata_version: Annotated[str, Field(pattern=r"^\d+\.\d+-IV\d+$")] = "4.3-IV0"
    """Format of the metadata log. It is raised after ``version``, in a change of its own: it cannot be lowered."""
    brokers: NodePool
    controllers: NodePool
    replication_factor: Replicas = 3
    min_in_sync_replicas: Replicas = 2
    group_min_session_timeout_seconds: Annotated[int, Field(ge=1, le=1800)] = 6
    group_max_session_timeout_seconds: Annotated[int, Field(ge=1, le=1800)] = 300
    groups: ConsumerGroups = ConsumerGroups()
    retry: GroupTopics = GroupTopics(partitions=12, retention_hours=168)
    dead_letter: GroupTopics = GroupTopics(partitions=3, retention_hours=336)
    default_quota: KafkaQuota | None = None
    """Of each user that states none."""
    users: dict[DnsLabel, KafkaUser] = {}
    """By name of the Deployment, where one differs from the defaults; and those that watch the lag."""
    authority: DnsLabel = "kafka-ca"
    """Secret in the services' namespace whose ``ca.crt`` signs the brokers' certificates."""
    own_authority: bool = False
    """The cluster's CA is yours (see docs/kafka.md); otherwise Strimzi makes and renews one."""
    api_server: DnsLabel
    """Peer: the Kubernetes API, which the operators and the brokers' start read."""
    reached_by: list[DnsLabel] = []
    """Peers beside the users' Deployments that may connect, for example KEDA."""
    scraped_by: DnsLabel | None = None
    """Peer that reads the metrics."""
    cruise_control: CruiseControl | None = CruiseControl()
    exporter: KafkaExporter = KafkaExporter()
    entity_operator: EntityOperator = EntityOperator()
    wait_until_ready: bool = True
    """An update waits for the operator's word on each object; false where no operator runs (the sandbox)."""
    acknowledged_growth: list[GrowthAcknowledgement] = []

    @model_validator(mode="after")
    def _replicas_fit(self) -> Self:
        if self.replication_factor > self.brokers.nodes:
            raise RuleError(
                why=f"replication_factor {self.replication_factor} is more than brokers.nodes {self.brokers.nodes}: "
                "no topic could be created",
                fix=f"lower it to {self.brokers.nodes}, or add brokers",
            )
        if self.min_in_sync_replicas >= max(self.replication_factor, 2):
            raise RuleError(
                why=f"min_in_sync_replicas {self.min_in_sync_replicas} is not below replication_factor "
                f"{self.replication_factor}: the loss of one broker would stop every write",
                fix=f"set min_in_sync_replicas to {max(self.replication_factor - 1, 1)}",
            )
        if self.controllers.nodes % 2 == 0:
            raise RuleError(
                why=f"controllers.nodes is {self.controllers.nodes}: an even number needs one more for a majority "
                "and survives no more losses",
                fix=f"use {self.controllers.nodes - 1} or {self.controllers.nodes + 1}",
            )
        return self

    @model_validator(mode="after")
    def _sessions_within_the_brokers_bounds(self) -> Self:
        low, high = self.group_min_session_timeout_seconds, self.group_max_session_timeout_seconds
        if not low <= self.groups.session_timeout_seconds <= high:
            raise RuleError(
                why=f"groups.session_timeout_seconds {self.groups.session_timeout_seconds} is outside "
                f"{low}–{high}, the brokers' bounds: they would refuse every member",
                fix="change it, or group_min_session_timeout_seconds and group_max_session_timeout_seconds",
            )
        return self
