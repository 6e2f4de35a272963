"""The component that declares etcd, every shard's members and poolers, and the Jobs around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pulumi

from components.base.manifests import Manifest, child_opts, content_hash, declare
from components.base.namespace import GuardedNamespace, GuardedNamespaceArgs
from components.postgres.backup_plan import plan_backup
from components.postgres.etcd_plan import plan_etcd
from components.postgres.model import DatabaseContext
from components.postgres.network_plan import DatabasePeers, plan_etcd_network, plan_shard_network
from components.postgres.operations_plan import plan_etcd_operations, plan_operations
from components.postgres.patroni_plan import plan_members
from components.postgres.pooler_plan import plan_aliases, plan_poolers
from components.postgres.restore_plan import plan_restore_in_place
from settings.base import Environment
from settings.quantities import parse_quantity
from settings.services import Resources

_NEEDED_BY_PODS = frozenset(
    {"ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "Role", "RoleBinding", "Service", "ServiceAccount"}
)
_STATEFUL = frozenset({"PersistentVolumeClaim", "StatefulSet"})


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresArgs:
    """The database's context, the peers of its flows, and the namespace of its clients."""

    context: DatabaseContext
    peers: DatabasePeers
    services_ready: tuple[pulumi.Resource, ...] = ()
    """What must exist before the names in the services' namespace do."""


class PostgresClusters(pulumi.ComponentResource):
    """PostgreSQL under Patroni, one cluster a shard."""

    endpoints: dict[str, str]
    """Shard → host and port for writes; ``-ro`` behind the host's first label is for reads."""
    ready: list[pulumi.Resource]
    """What services must wait for: the names that they call."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:postgres:PostgresClusters", name, {}, opts)
        self._production = args.context.environment is Environment.PROD
        context = args.context
        namespace = GuardedNamespace(
            context.namespace,
            GuardedNamespaceArgs(
                namespace=context.namespace,
                environment=context.environment,
                other_amounts=(peak_amounts(context),),
                volume_claims=volume_claims(context),
                kept=self._production,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        etcd = self._declare(
            name,
            {
                **plan_etcd_network(context, args.peers),
                **plan_etcd(context),
                **plan_etcd_operations(context),
            },
            namespace.ready,
        )
        self.ready = []
        for shard in context.postgres.shards:
            prefix = f"{name}-{shard}"
            members = plan_members(context, shard)
            revision = content_hash(members["statefulset"]["spec"]["template"])
            manifests = {
                **plan_shard_network(context, shard, args.peers),
                **members,
                **plan_poolers(context, shard),
                # Before the backup's Job: the rollout is what waits for a primary, see the StatefulSet.
                **plan_operations(context, shard, revision),
                **plan_backup(context, shard),
                **plan_restore_in_place(context, shard),
            }
            # A member's first act is to log in to etcd as a user that this Job makes.
            self._declare(prefix, manifests, [*namespace.ready, *etcd])
            self.ready += [
                declare(f"{prefix}-{role}", manifest, child_opts(self, depends_on=args.services_ready))
                for role, manifest in plan_aliases(context, shard).items()
            ]
        domain = f"{context.namespace}.svc.cluster.local"
        self.endpoints = {shard: f"{context.cluster(shard)}.{domain}:5432" for shard in context.postgres.shards}
        self.register_outputs({"endpoints": self.endpoints})

    def _declare(
        self, name: str, manifests: Mapping[str, Manifest], requires: Sequence[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        """Declare in order; what pods need comes before them, and Jobs come after the pods that they speak to."""
        needed, workloads, all_of_them = list(requires), list[pulumi.Resource](), list[pulumi.Resource]()
        jobs: list[pulumi.Resource] = []
        ordered = sorted(manifests.items(), key=lambda item: item[1]["kind"] not in _NEEDED_BY_PODS)
        for role, manifest in ordered:
            kind = manifest["kind"]
            waits_for: Sequence[pulumi.Resource] = requires if kind in _NEEDED_BY_PODS else needed
            if kind in ("Job", "CronJob"):
                # One Job after the other: two that both find the cluster whole would each take a member away.
                waits_for = [*needed, *workloads, *(jobs if kind == "Job" else [])]
            keeps = True if kind in _STATEFUL and self._production else None
            options = child_opts(self, depends_on=waits_for, protect=keeps, retain_on_delete=keeps)
            resource = declare(f"{name}-{role}", manifest, options)
            all_of_them.append(resource)
            if kind in _NEEDED_BY_PODS:
                needed.append(resource)
            if kind in ("StatefulSet", "Deployment"):
                workloads.append(resource)
            if kind == "Job":
                jobs.append(resource)
        return all_of_them


def volume_claims(context: DatabaseContext) -> int:
    """Claims of members, of etcd, of its snapshots, and one for each shard's restore test."""
    postgres = context.postgres
    tests = len(postgres.shards) if postgres.backup is not None else 0
    return postgres.etcd.members + 1 + len(postgres.shards) * postgres.nodes + tests


def peak_amounts(context: DatabaseContext) -> dict[str, Decimal]:
    """What the namespace needs at most; keys as in ``settings.services.peak_amounts``."""
    postgres = context.postgres
    shards, pooler = len(postgres.shards), postgres.pooler
    members = shards * postgres.nodes
    poolers = shards * (pooler.read_write.peak_pods + pooler.read_only.peak_pods)
    jobs = 2 + 3 * shards
    groups: list[tuple[int, Resources]] = [
        (postgres.etcd.members, postgres.etcd.resources),
        (members, postgres.resources),
        (members + poolers, postgres.exporters.resources),
        (poolers, pooler.resources),
        (poolers, pooler.haproxy_resources),
        (jobs, postgres.operations.resources),
    ]
    pods = postgres.etcd.members + members + poolers + jobs
    if postgres.backup is not None:
        groups.append((members + 3 * shards, postgres.backup.resources))
        pods += 3 * shards
    amounts: dict[str, Decimal] = {"pods": Decimal(pods)}
    for side in ("requests", "limits"):
        for field in ("cpu", "memory", "ephemeral_storage"):
            amounts[f"{side}.{field.replace('_', '-')}"] = sum(
                (count * parse_quantity(getattr(getattr(resources, side), field)) for count, resources in groups),
                Decimal(0),
            )
    return amounts
