"""Who may reach the caches: the pods of their users, the members among themselves, the reconciler, monitoring."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from components.base.network import peer_selectors
from components.cache.cluster_plan import EXPORTER_PORT
from components.cache.pods import CacheContext
from components.cache.reconciler_plan import reconciler_selector
from components.cache.server_files import BUS_PORT, PORT
from settings.cache import Cache, LocalMode
from settings.cache_rules import CLUSTER_NAME, LOCAL_NAME
from settings.cluster import Peer


def plan_cache_network(cache: Cache, context: CacheContext, monitoring: Peer | None) -> dict[str, Manifest]:
    """Role → NetworkPolicy. ``monitoring`` is the peer that may scrape the exporters."""
    users = _users(cache, context)
    members = {"podSelector": {"matchLabels": selector(CLUSTER_NAME)}}
    reconciler = {"podSelector": {"matchLabels": reconciler_selector()}}
    ingress = [
        {"from": [*users, reconciler], "ports": _ports(PORT)},
        # MIGRATE and replication use the clients' port, gossip and votes the bus.
        {"from": [members], "ports": _ports(PORT, BUS_PORT)},
    ]
    if monitoring is not None:
        ingress.append({"from": peer_selectors(monitoring), "ports": _ports(EXPORTER_PORT)})
    policies = {
        "flows": _policy(
            cache, context, CLUSTER_NAME, ingress=ingress, egress=[{"to": [members], "ports": _ports(PORT, BUS_PORT)}]
        ),
        "reconciler-flows": _policy(
            cache, context, f"{CLUSTER_NAME}-reconciler", ingress=[], egress=[{"to": [members], "ports": _ports(PORT)}]
        ),
    }
    if cache.local.mode is LocalMode.DAEMON_SET:
        local = _policy(cache, context, LOCAL_NAME, ingress=[{"from": users, "ports": _ports(PORT)}], egress=[])
        policies["local-flows"] = local
    return policies


def _users(cache: Cache, context: CacheContext) -> list[dict[str, Any]]:
    """The Deployments of every service that has a user, each by name."""
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": context.services_namespace}}
    return [
        {"namespaceSelector": namespace, "podSelector": {"matchLabels": selector(workload)}}
        for user in sorted(cache.users)
        for workload in context.workloads_of[user]
    ]


def _policy(
    cache: Cache, context: CacheContext, workload: str, *, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]
) -> Manifest:
    labels = context.labels(CLUSTER_NAME, cache)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{workload}-flows", labels=labels.of("network"), namespace=context.namespace),
        "spec": {
            "podSelector": {"matchLabels": selector(workload)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _ports(*numbers: int) -> list[dict[str, Any]]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
