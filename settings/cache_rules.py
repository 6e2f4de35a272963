"""The rules between the caches and the rest of a stack's settings."""

from collections.abc import Iterator, Mapping

from settings.base import Environment
from settings.cache import Cache, LocalMode
from settings.cluster import Cluster, Peer
from settings.problems import Problem
from settings.services import Service

CLUSTER_NAME = "redis-cluster"
"""Name of the L3 StatefulSet; what peers select, whichever server runs."""
LOCAL_NAME = "redis-local"
"""Name of the L2 DaemonSet and its Service."""
LOCAL_SOCKET = "/run/cache-local/server.sock"
"""Where an L2 sidecar listens, as every container of its pod sees it."""
PORT = 6379


def cache_problems(
    cache: Cache | None, *, cluster: Cluster, services: Mapping[str, Service], environment: Environment
) -> Iterator[Problem]:
    """Everything that is wrong between the caches and their surroundings."""
    if cache is None:
        return
    if cluster.namespaces.cache == cluster.namespaces.services:
        yield Problem(
            path="cluster.namespaces.cache",
            value=cluster.namespaces.cache,
            allowed="a namespace of its own: the services' one forbids volumes",
            fix="name another one",
        )
    if cache.exporter.scraped_by is not None and cache.exporter.scraped_by not in cluster.peers:
        yield Problem.unknown_name(
            path="cache.exporter.scraped_by", value=cache.exporter.scraped_by, known=cluster.peers,
            where="cluster.peers",
        )  # fmt: skip
    yield from _users_are_services(cache, cluster, services)
    if environment is Environment.PROD:
        yield from _zone_loss_leaves_a_majority(cache, cluster)


def _users_are_services(cache: Cache, cluster: Cluster, services: Mapping[str, Service]) -> Iterator[Problem]:
    targets = [CLUSTER_NAME] + ([LOCAL_NAME] if cache.local.mode is LocalMode.DAEMON_SET else [])
    for user in cache.users:
        service = services.get(user)
        if service is None:
            yield Problem.unknown_name(path=f"cache.users.{user}", value=user, known=services, where="services")
            continue
        if any(peer not in cluster.peers for peer in service.egress_to):
            continue  # reported by itself, and perhaps the one that is looked for here
        reached = {
            name
            for peer in service.egress_to
            if peer in cluster.peers
            for name in targets
            if _leads_to(cluster.peers[peer], name, cluster.namespaces.cache)
        }
        for name in targets:
            if name not in reached:
                yield Problem(
                    path=f"services.{user}.egress_to",
                    value=service.egress_to,
                    allowed=f"a peer that leads to {name}: {user} is a user of the cache",
                    fix=f"add a peer with namespace {cluster.namespaces.cache}, pod_labels {{app: {name}}} and port "
                    f"{PORT} to cluster.peers, and name it here",
                )


def _leads_to(peer: Peer, name: str, namespace: str) -> bool:
    return peer.namespace == namespace and peer.pod_labels == {"app": name} and PORT in peer.ports


def _zone_loss_leaves_a_majority(cache: Cache, cluster: Cluster) -> Iterator[Problem]:
    """Primaries elect by majority: whatever zone is lost, more than half of them must be left."""
    primaries, zones = cache.cluster.primaries, len(cluster.zones)
    in_one_zone = -(-primaries // zones)
    if 2 * (primaries - in_one_zone) <= primaries:
        fitting = next(n for n in range(primaries, 10 * primaries + 10) if 2 * (n - -(-n // zones)) > n or zones < 3)  # noqa: PLR2004
        yield Problem(
            path="cache.cluster.primaries",
            value=primaries,
            allowed=f"a number of which any of {zones} zones holds less than half: {primaries} primaries put "
            f"{in_one_zone} into one zone, and {primaries - in_one_zone} of {primaries} cannot elect",
            fix=f"use {fitting}" if zones >= 3 else "spread the nodes over three zones or more",  # noqa: PLR2004
        )
