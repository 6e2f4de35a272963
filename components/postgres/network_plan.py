"""Who may reach what: named clients the poolers, members each other, Jobs their one purpose, monitoring the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from components.base.network import peer_selectors
from components.postgres.backup_plan import backup_name, restore_name
from components.postgres.model import (
    BACKUP_PORT,
    ETCD_METRICS_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    HAPROXY_HEALTH_PORT,
    PATRONI_PORT,
    POOLER_PORT,
    POSTGRES_PORT,
    DatabaseContext,
)
from components.postgres.operations_plan import ETCD_OPERATIONS, operations_name
from components.postgres.patroni_plan import EXPORTER_PORT as POSTGRES_METRICS_PORT
from components.postgres.pgbouncer_files import PoolerMode, pooler_name
from components.postgres.pooler_plan import EXPORTER_PORT as POOLER_METRICS_PORT
from components.postgres.restore_plan import in_place_name
from settings.cluster import Peer
from settings.postgres_rules import ETCD_NAME

Rule = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabasePeers:
    """The ends of flows outside the namespace."""

    api_server: Peer
    monitoring: Peer | None = None
    store: Peer | None = None
    direct: Mapping[str, Peer] = field(default_factory=dict)
    """Who may reach the members past the poolers."""
    migrations: Peer | None = None
    """The pods that migrate: they reach the members, and tell the poolers to open new connections."""
    metrics: Mapping[str, Peer] = field(default_factory=dict)
    """Shard → the pod that asks it for figures; the poolers do not admit it."""


def plan_etcd_network(context: DatabaseContext, peers: DatabasePeers) -> dict[str, Manifest]:
    """Role → NetworkPolicy of etcd and of the Jobs that speak to it."""
    shards = context.postgres.shards
    clients = [*(context.cluster(shard) for shard in shards), ETCD_OPERATIONS]
    if context.postgres.backup is not None:
        clients += [in_place_name(context, shard) for shard in shards]
    etcd = _pods(ETCD_NAME)
    ingress = [
        _from([etcd, *map(_pods, clients)], ETCD_PORT),
        _from([etcd], ETCD_PEER_PORT),
        *_scrape(peers, ETCD_METRICS_PORT),
    ]
    return {
        "etcd-flows": _policy(context, ETCD_NAME, ingress, [_to([etcd], ETCD_PORT, ETCD_PEER_PORT)]),
        "etcd-operations-flows": _policy(context, ETCD_OPERATIONS, [], [_to([etcd], ETCD_PORT)]),
    }


def plan_shard_network(context: DatabaseContext, shard: str, peers: DatabasePeers) -> dict[str, Manifest]:
    """Role → NetworkPolicy of one shard. No pod of another shard is named in it."""
    cluster, operations, backup = context.cluster(shard), operations_name(context, shard), backup_name(context, shard)
    restore = restore_name(context, shard)
    poolers = {mode: pooler_name(shard, mode) for mode in PoolerMode}
    members = _pods(cluster)
    # Replication and pg_rewind come from members only; poolers cannot log in for them (pg_hba).
    clients = [members, *map(_pods, poolers.values())]
    ingress = [
        _from(clients, POSTGRES_PORT),
        *(_from(peer_selectors(peer), POSTGRES_PORT) for peer in peers.direct.values()),
        *_migrated(peers, POSTGRES_PORT),
        *(_from(peer_selectors(peer), POSTGRES_PORT) for name, peer in peers.metrics.items() if name == shard),
        _from([*clients, _pods(operations)], PATRONI_PORT),
        *_scrape(peers, POSTGRES_METRICS_PORT, PATRONI_PORT),
    ]
    egress = [_to([members], POSTGRES_PORT, PATRONI_PORT), _to([_pods(ETCD_NAME)], ETCD_PORT)]
    found: dict[str, Manifest] = {}
    if peers.store is not None and context.postgres.backup is not None:
        to_store = _to(peer_selectors(peers.store), *peers.store.ports)
        ingress.append(_from([_pods(backup)], BACKUP_PORT))
        egress.append(to_store)
        found["backup-flows"] = _policy(context, backup, [], [_to([members], BACKUP_PORT), to_store])
        found["restore-flows"] = _policy(context, restore, [], [to_store])
        in_place = in_place_name(context, shard)
        to_etcd = _to([_pods(ETCD_NAME)], ETCD_PORT)
        found["restore-in-place-flows"] = _policy(context, in_place, [], [to_etcd, to_store])
    found["flows"] = _policy(context, cluster, ingress, egress)
    api_server = _to(peer_selectors(peers.api_server), *peers.api_server.ports)
    found["operations-flows"] = _policy(context, operations, [], [_to([members], PATRONI_PORT), api_server])
    for mode, name in poolers.items():
        found[f"pooler-{mode}-flows"] = _policy(
            context,
            name,
            [
                _from([*_users(context), _pods(name)], POOLER_PORT),
                *_migrated(peers, POOLER_PORT),
                *_scrape(peers, POOLER_METRICS_PORT, HAPROXY_HEALTH_PORT),
            ],
            [_to([members], POSTGRES_PORT, PATRONI_PORT), _to([_pods(name)], POOLER_PORT)],
        )
    return found


def _users(context: DatabaseContext) -> list[Rule]:
    """The Deployments of every service that is a user, each by name."""
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": context.services_namespace}}
    return [
        {"namespaceSelector": namespace, "podSelector": {"matchLabels": selector(workload)}}
        for user in sorted(context.postgres.users)
        for workload in context.workloads_of[user]
    ]


def _pods(workload: str) -> Rule:
    return {"podSelector": {"matchLabels": selector(workload)}}


def _scrape(peers: DatabasePeers, *numbers: int) -> list[Rule]:
    return [_from(peer_selectors(peers.monitoring), *numbers)] if peers.monitoring is not None else []


def _migrated(peers: DatabasePeers, number: int) -> list[Rule]:
    return [_from(peer_selectors(peers.migrations), number)] if peers.migrations is not None else []


def _from(selectors: list[Rule], *numbers: int) -> Rule:
    return {"from": selectors, "ports": [{"port": number, "protocol": "TCP"} for number in numbers]}


def _to(selectors: list[Rule], *numbers: int) -> Rule:
    return {"to": selectors, "ports": [{"port": number, "protocol": "TCP"} for number in numbers]}


def _policy(context: DatabaseContext, workload: str, ingress: list[Rule], egress: list[Rule]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(
            f"{workload}-flows", labels=context.labels(workload).of("network"), namespace=context.namespace
        ),
        "spec": {
            "podSelector": {"matchLabels": selector(workload)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }
