"""The component that declares both cache tiers in a namespace of their own."""

from dataclasses import dataclass
from decimal import Decimal

import pulumi

from components.base.manifests import child_opts, declare
from components.base.namespace import GuardedNamespace, GuardedNamespaceArgs
from components.cache.cluster_plan import member_hosts, plan_cluster
from components.cache.local_plan import plan_local
from components.cache.network_plan import plan_cache_network
from components.cache.pods import CacheContext
from components.cache.reconciler_plan import plan_reconciler
from components.cache.server_files import PORT
from settings.base import Environment
from settings.cache import Cache, LocalMode
from settings.cache_rules import LOCAL_NAME
from settings.cluster import Peer
from settings.quantities import parse_quantity
from settings.services import Resources

# A pod cannot start, or be reached by its peers, without these.
_NEEDED_BY_PODS = frozenset({"ConfigMap", "NetworkPolicy", "Service", "ServiceAccount"})
_WORKLOADS = frozenset({"StatefulSet", "DaemonSet"})
_RUNS = frozenset({"Job", "CronJob"})


@dataclass(frozen=True, kw_only=True, slots=True)
class CachesArgs:
    """The caches' settings, their surroundings, and the peer that scrapes them."""

    cache: Cache
    context: CacheContext
    monitoring: Peer | None = None


class Caches(pulumi.ComponentResource):
    """L3 and L2 with their namespace, network, reconciler and disruption budget."""

    cluster_nodes: list[str]
    """Host and port of each pod of L3; any of them leads a client to all."""
    local_endpoint: str | None
    """Host and port of L2 on the caller's node; ``None`` where it is a sidecar or absent."""

    def __init__(self, name: str, args: CachesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:cache:Caches", name, {}, opts)
        cache, context = args.cache, args.context
        namespace = GuardedNamespace(
            context.namespace,
            GuardedNamespaceArgs(
                namespace=context.namespace,
                environment=context.environment,
                other_amounts=(peak_amounts(cache),),
                volume_claims=cache.cluster.pods if cache.cluster.storage else 0,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        manifests = {
            **plan_cache_network(cache, context, args.monitoring),
            **plan_cluster(cache, context),
            **plan_local(cache, context),
            **plan_reconciler(cache, context),
        }
        needed: list[pulumi.Resource] = list(namespace.ready)
        workloads: list[pulumi.Resource] = []
        for role, manifest in manifests.items():
            kind = manifest["kind"]
            waits_for = namespace.ready
            if kind in _WORKLOADS:
                waits_for = needed
            elif kind in _RUNS:
                waits_for = [*needed, *workloads]  # forms the cluster of pods that are there
            # A cluster that is replaced is a cold cache: every read of the platform would reach the database.
            protect = True if kind == "StatefulSet" and context.environment is Environment.PROD else None
            options = child_opts(self, depends_on=waits_for, protect=protect)
            resource = declare(f"{name}-{role}", manifest, options)
            if kind in _NEEDED_BY_PODS:
                needed.append(resource)
            if kind in _WORKLOADS:
                workloads.append(resource)
        self.cluster_nodes = [f"{host}:{PORT}" for host in member_hosts(cache, context)]
        on_nodes = cache.local.mode is LocalMode.DAEMON_SET
        self.local_endpoint = f"{LOCAL_NAME}.{context.namespace}.svc.cluster.local:{PORT}" if on_nodes else None
        self.namespace = context.namespace
        self.register_outputs({"clusterNodes": self.cluster_nodes, "localEndpoint": self.local_endpoint})


def peak_amounts(cache: Cache) -> dict[str, Decimal]:
    """What the caches ask of their namespace at most; keys as in ``settings.services.peak_amounts``.

    Two reconcilers may run at once: the Job of a change and the CronJob.
    """
    groups: list[tuple[int, Resources]] = [
        (cache.cluster.pods, cache.cluster.resources),
        (cache.cluster.pods, cache.exporter.resources),
        (2, cache.reconciler.resources),
    ]
    pods = cache.cluster.pods + 2
    if cache.local.mode is LocalMode.DAEMON_SET:
        groups.append((cache.local.max_nodes, cache.local.resources))
        pods += cache.local.max_nodes
    amounts: dict[str, Decimal] = {"pods": Decimal(pods)}
    for side in ("requests", "limits"):
        for field in ("cpu", "memory", "ephemeral_storage"):
            amounts[f"{side}.{field.replace('_', '-')}"] = sum(
                (count * parse_quantity(getattr(getattr(resources, side), field)) for count, resources in groups),
                Decimal(0),
            )
    return amounts
