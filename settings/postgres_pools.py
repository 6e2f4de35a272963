"""PgBouncer's pods and the arithmetic of their connections."""

from typing import Annotated

from pydantic import Field

from settings.base import Strict
from settings.services import Image, ResourceAmounts, Resources

AUTH_CONNECTIONS_PER_POD = 2
"""Connections of a pod that look up passwords: they do not wait behind a full pool."""
PRE_STOP_SECONDS = 10
"""Time for clients' nodes to hear that a pod takes no new connections; a part of the grace period."""
LEAVING_SECONDS = 40
"""What is left of the grace period when the last client's connection has reached its age: its last transaction."""


class PoolerPods(Strict):
    """The pods of one kind: for reads and writes, or for reads only."""

    replicas: Annotated[int, Field(ge=2, le=50)] = 3
    server_connections_per_pod: Annotated[int, Field(ge=2, le=1000)]
    """Connections to PostgreSQL that one pod may hold."""
    surge: Annotated[int, Field(ge=0, le=10)] = 0
    """Pods beyond ``replicas`` while they roll. With 0, one pod less takes new clients until its successor does."""

    @property
    def leaving(self) -> int:
        """Pods that still wait for their clients while they roll, at most.

        Kubernetes does not count them: a Deployment goes on as soon as a new pod is available, which is therefore
        not before the last one is gone (``minReadySeconds``).
        """
        return max(1, self.surge)

    @property
    def peak_pods(self) -> int:
        """Pods that hold connections while they roll."""
        return self.replicas + self.surge + self.leaving

    @property
    def peak_server_connections(self) -> int:
        """Connections of all pods while they roll, with those that look up passwords."""
        return self.peak_pods * (self.server_connections_per_pod + AUTH_CONNECTIONS_PER_POD)


class DatabasePooler(Strict):
    """PgBouncer with a HAProxy beside it that knows the primary and the replicas."""

    image: Image
    haproxy_image: Image
    read_write: PoolerPods = PoolerPods(server_connections_per_pod=20)
    read_only: PoolerPods = PoolerPods(server_connections_per_pod=16)
    client_connections_per_pod: Annotated[int, Field(ge=10, le=20000)] = 1000
    max_replica_lag_megabytes: Annotated[int, Field(ge=1, le=10240)] = 16
    """A replica further behind gets no reads."""
    query_wait_seconds: Annotated[int, Field(ge=1, le=120)] = 30
    """Longest wait of a client for a connection; above the time of a failover, clients wait and do not fail."""
    grace_period_seconds: Annotated[int, Field(ge=60, le=3600)] = 180
    """Time for clients to leave a pod that stops. The contract tells them how old a connection may get."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="250m", memory="128Mi", ephemeral_storage="32Mi"),
        limits=ResourceAmounts(cpu="1000m", memory="256Mi", ephemeral_storage="64Mi"),
    )
    haproxy_resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="64Mi", ephemeral_storage="16Mi"),
        limits=ResourceAmounts(cpu="1000m", memory="256Mi", ephemeral_storage="32Mi"),
    )

    @property
    def client_lifetime_seconds(self) -> int:
        """How old a client's connection may get: it has left a pod that stops before that one is killed."""
        return (self.grace_period_seconds - PRE_STOP_SECONDS) - min(LEAVING_SECONDS, self.grace_period_seconds // 3)

    @property
    def peak_server_connections(self) -> int:
        """What one node must hold: after a failover both kinds reach the new primary."""
        return self.read_write.peak_server_connections + self.read_only.peak_server_connections

    def budget_text(self) -> str:
        """The sum in figures, for a message."""
        parts = (
            f"({pods.replicas} + {pods.surge} + {pods.leaving}) * "
            f"({pods.server_connections_per_pod} + {AUTH_CONNECTIONS_PER_POD})"
            for pods in (self.read_write, self.read_only)
        )
        return " + ".join(parts)
