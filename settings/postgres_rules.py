"""The rules between the database and the rest of a stack's settings."""

from collections.abc import Iterator, Mapping

from settings.base import Environment
from settings.capacity import Capacity
from settings.cluster import Cluster, Peer
from settings.postgres import Postgres
from settings.problems import Problem
from settings.services import Service

FIRST_SHARD = "s00"
CLUSTER_NAME = "postgres-cluster"
ETCD_NAME = "postgres-etcd"
PORT = 5432


def cluster_name(shard: str) -> str:
    """Name of a shard's StatefulSet and of its Service for writes; the first one's is the plan's."""
    return CLUSTER_NAME if shard == FIRST_SHARD else f"{CLUSTER_NAME}-{shard}"


def pooler_names(shard: str) -> tuple[str, str]:
    """Names of a shard's poolers, for writes and for reads; what peers select."""
    return f"{cluster_name(shard)}-pooler-rw", f"{cluster_name(shard)}-pooler-ro"


def postgres_problems(
    postgres: Postgres | None,
    *,
    cluster: Cluster,
    services: Mapping[str, Service],
    capacity: Capacity,
    environment: Environment,
) -> Iterator[Problem]:
    """Everything that is wrong between the database and its surroundings."""
    if postgres is None:
        return
    if cluster.namespaces.database in (cluster.namespaces.services, cluster.namespaces.cache):
        yield Problem(
            path="cluster.namespaces.database",
            value=cluster.namespaces.database,
            allowed="a namespace of its own: it keeps volumes and cardholder data",
            fix="name another one",
        )
    yield from _peers_are_known(postgres, cluster)
    yield from _users_are_services(postgres, cluster, services)
    yield from _clients_fit(postgres, capacity)
    if environment is Environment.PROD:
        yield from _production(postgres, cluster)


def _peers_are_known(postgres: Postgres, cluster: Cluster) -> Iterator[Problem]:
    named = {
        "postgres.operations.api_server": postgres.operations.api_server,
        "postgres.exporters.scraped_by": postgres.exporters.scraped_by,
        "postgres.backup.store": postgres.backup.store if postgres.backup is not None else None,
        **{f"postgres.direct_from[{index}]": peer for index, peer in enumerate(postgres.direct_from)},
    }
    for path, peer in named.items():
        if peer is not None and peer not in cluster.peers:
            yield Problem.unknown_name(path=path, value=peer, known=cluster.peers, where="cluster.peers")


def _users_are_services(postgres: Postgres, cluster: Cluster, services: Mapping[str, Service]) -> Iterator[Problem]:
    writers = [pooler_names(shard)[0] for shard in postgres.shards]
    for user in postgres.users:
        service = services.get(user)
        if service is None:
            yield Problem.unknown_name(path=f"postgres.users.{user}", value=user, known=services, where="services")
            continue
        if any(peer not in cluster.peers for peer in service.egress_to):
            continue  # reported by itself, and perhaps the one that is looked for here
        peers = [cluster.peers[name] for name in service.egress_to]
        for wanted in writers:
            if any(_leads_to(peer, wanted, cluster.namespaces.database) for peer in peers):
                continue
            yield Problem(
                path=f"services.{user}.egress_to",
                value=service.egress_to,
                allowed=f"a peer that leads to {wanted}: {user} is a user of the database",
                fix=f"add a peer with namespace {cluster.namespaces.database}, pod_labels {{app: {wanted}}} and port "
                f"{PORT} to cluster.peers, and name it here",
            )


def _leads_to(peer: Peer, name: str, namespace: str) -> bool:
    return peer.namespace == namespace and peer.pod_labels == {"app": name} and PORT in peer.ports


def _clients_fit(postgres: Postgres, capacity: Capacity) -> Iterator[Problem]:
    """All clients of the platform reach the writers' pods, one of which may be away."""
    pooler = postgres.pooler
    left = (pooler.read_write.replicas - 1) * pooler.client_connections_per_pod
    if left < capacity.database_client_connections:
        yield Problem(
            path="postgres.pooler.client_connections_per_pod",
            value=pooler.client_connections_per_pod,
            allowed=f"enough that {pooler.read_write.replicas - 1} pods (one is away) accept "
            f"capacity.database_client_connections {capacity.database_client_connections}; they accept {left}",
            fix="raise it or read_write.replicas, or lower capacity.database_client_connections",
        )


def outlives_a_zone(members: int, zones: int) -> bool:
    """Members are spread evenly: whatever zone is lost, more than half of them are left."""
    return 2 * (members - -(-members // zones)) > members


def _production(postgres: Postgres, cluster: Cluster) -> Iterator[Problem]:
    if postgres.backup is None:
        yield Problem(
            path="postgres.backup",
            has_value=False,
            allowed="a backup in prod: replicas repeat a wrong DELETE within milliseconds",
            fix="name an object store",
        )
    zones = len(cluster.zones)
    for path, members in (("postgres.nodes", postgres.nodes), ("postgres.etcd.members", postgres.etcd.members)):
        if not outlives_a_zone(members, zones):
            lost = -(-members // zones)
            yield Problem(
                path=path,
                value=members,
                allowed=f"a number of which any of {zones} zones holds less than half: {lost} of {members} are lost "
                f"with one zone",
                fix=f"use {members + 1}"
                if outlives_a_zone(members + 1, zones)
                else "spread the nodes over three zones or more",
            )
