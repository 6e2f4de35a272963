"""The caches: a Redis Cluster for all services (L3) and a local instance beside them (L2)."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.problems import RuleError
from settings.quantities import Quantity, parse_quantity
from settings.services import Image, ResourceAmounts, Resources

SecretKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")]
CACHE_USER = "cache-internal"
"""User of the servers among themselves, of the reconciler, the probes and the exporter."""


class ServerKind(StrEnum):
    """Which server runs; both speak the same protocol. Valkey is BSD-3, Redis from 7.4 on is not."""

    VALKEY = "valkey"
    REDIS = "redis"


class LocalMode(StrEnum):
    """Where the local cache (L2) runs."""

    SIDECAR = "sidecar"
    """One in each pod of the services: private, reached over a socket, gone with the pod."""
    DAEMON_SET = "daemonset"
    """One on each node, shared by its pods, reached through a Service that stays on the node."""
    NONE = "none"
    """No L2: reads go from the process to the cluster."""


class SecretValue(Strict):
    """One value of a Secret that exists in the cache's namespace already."""

    existing_secret: DnsLabel
    key: SecretKey = "password"


class Certificate(Strict):
    """A Secret of type kubernetes.io/tls with its authority, as cert-manager writes it; made by whatever means.

    The certificate must name ``*.<cache namespace>.svc.cluster.local`` and ``localhost``.
    """

    existing_secret: DnsLabel
    certificate_key: SecretKey = "tls.crt"
    private_key_key: SecretKey = "tls.key"
    authority_key: SecretKey = "ca.crt"


class CacheUser(Strict):
    """A service's access: its password, and what it may touch."""

    password: SecretValue
    keys: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9:*{}_.-]+$")]], Field(min_length=1)]
    """Patterns of keys it may read and write, for example ``wallet:balance:*``."""
    channels: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9:*{}_.-]+$")]] = []
    """Patterns of channels it may publish to and subscribe to."""


class ClusterCache(Strict):
    """L3: the cluster that all services share. Values live for five minutes, nothing is written to disk."""

    primaries: Annotated[int, Field(ge=3, le=100)] = 3
    """Pods that own slots. Fewer than three cannot elect."""
    replicas_per_primary: Annotated[int, Field(ge=1, le=3)] = 1
    leaving: Annotated[int, Field(ge=0, le=100)] = 0
    """Number of the last pods that are emptied and forgotten but still run: the first step of a shrink."""
    resources: Resources
    max_memory_percent: Annotated[int, Field(ge=30, le=75)] = 65
    """Share of the memory limit for values. The rest is for buffers, replication and fragmentation."""
    node_timeout_milliseconds: Annotated[int, Field(ge=1000, le=60000)] = 5000
    """Silence after which a pod counts as lost. A failover takes this long and about a second more."""
    storage: Quantity | None = "1Gi"
    """Volume for nodes.conf (some kilobytes): the pod's identity in the cluster. Most providers give 1Gi at least.

    ``null``: in memory. A pod that restarts is then a stranger, which the reconciler takes in anew.
    """

    @property
    def pods(self) -> int:
        """Pods that run: the members and those that are about to leave."""
        return self.primaries * (1 + self.replicas_per_primary) + self.leaving

    @property
    def max_memory_bytes(self) -> int:
        """``maxmemory``: the share of the memory limit, in bytes, rounded down."""
        return max_memory_bytes(self.resources, self.max_memory_percent)


class LocalCache(Strict):
    """L2: values live for a minute, memory is bounded, and its loss is only a miss."""

    mode: LocalMode = LocalMode.DAEMON_SET
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="50m", memory="64Mi", ephemeral_storage="16Mi"),
        limits=ResourceAmounts(cpu="500m", memory="64Mi", ephemeral_storage="32Mi"),
    )
    max_memory_percent: Annotated[int, Field(ge=30, le=75)] = 65
    max_nodes: Annotated[int, Field(ge=1, le=5000)] = 20
    """Nodes that the quota leaves room for (mode daemonset)."""

    @property
    def max_memory_bytes(self) -> int:
        """``maxmemory`` in bytes."""
        return max_memory_bytes(self.resources, self.max_memory_percent)


class Reconciler(Strict):
    """The Job and CronJob that form the cluster and keep it whole."""

    image: Image
    """An image with Python 3.11 or newer; nothing but its standard library is used."""
    schedule: Annotated[str, Field(pattern=r"^[-0-9*/, ]+$")] = "*/2 * * * *"
    deadline_seconds: Annotated[int, Field(ge=30, le=3600)] = 300
    """Longest run; the next one goes on from where it ended."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="50m", memory="64Mi", ephemeral_storage="16Mi"),
        limits=ResourceAmounts(cpu="500m", memory="128Mi", ephemeral_storage="32Mi"),
    )


class Exporter(Strict):
    """The sidecar that turns INFO into Prometheus metrics (redis_exporter)."""

    image: Image
    scraped_by: DnsLabel | None = None
    """Peer of ``cluster.peers`` that may scrape it; nobody when absent."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="20m", memory="32Mi", ephemeral_storage="16Mi"),
        limits=ResourceAmounts(cpu="200m", memory="64Mi", ephemeral_storage="32Mi"),
    )


class Cache(Strict):
    """Both cache tiers that are servers; the in-process one (L1) belongs to the client library."""

    server: ServerKind = ServerKind.VALKEY
    image: Image
    owner: DnsLabel = "platform"
    """Team that answers for it; becomes a label."""
    tls: Certificate
    internal_password: SecretValue
    """Password of the user that servers, reconciler, probes and exporter share."""
    users: Annotated[dict[DnsLabel, CacheUser], Field(min_length=1)]
    """Service → its access. Every service has a user of its own; the default user is off."""
    cluster: ClusterCache
    local: LocalCache = LocalCache()
    reconciler: Reconciler
    exporter: Exporter

    @model_validator(mode="after")
    def _internal_user_is_nobodys(self) -> Self:
        if CACHE_USER in self.users:
            raise RuleError(why=f"the user {CACHE_USER} is the cache's own", fix="give the service another name")
        return self

    @model_validator(mode="after")
    def _image_is_of_the_server(self) -> Self:
        repository = self.image.partition("@")[0]
        other = ServerKind.REDIS if self.server is ServerKind.VALKEY else ServerKind.VALKEY
        if other.value in repository and self.server.value not in repository:
            raise RuleError(
                why=f"server is {self.server} and image is {self.image}: the configuration would not fit",
                fix=f"set server to {other}, or name an image of {self.server}",
            )
        return self


def max_memory_bytes(resources: Resources, percent: int) -> int:
    """A share of a container's memory limit in whole bytes, rounded down."""
    return int(parse_quantity(resources.limits.memory) * percent / 100)
