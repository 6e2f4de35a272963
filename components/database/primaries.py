"""Where the pods that migrate find each shard: what the stack names, else what its own PostgreSQL clusters are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.base.labels import selector
from components.database.metrics_plan import metrics_name
from components.database.migration_plan import NAME
from components.postgres.model import POOLER_PORT, POSTGRES_PORT, context_of
from components.postgres.pgbouncer_files import PoolerMode, pooler_name
from components.postgres.pods import COMPONENT_POOLER
from settings.cluster import Peer
from settings.data import Data, Shard
from settings.data_migrations import Primary
from settings.platform import Settings

POOLERS_PEER = "database-migrations-poolers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """The shards with a primary each, and the peers that these name beside the stack's own."""

    data: Data
    peers: Mapping[str, Peer] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    """Shards of the stack's own clusters whose roles nobody has declared yet: a first Job there cannot log in."""


def reached(settings: Settings) -> Reached | None:
    """Fill in the primaries that follow from the stack's own clusters; ``None`` where there is no data."""
    data, context = settings.data, context_of(settings)
    if data is None:
        return None
    if context is None or data.migrations is None:
        return Reached(data=data, peers=settings.cluster.peers)
    peers: dict[str, Peer] = {}
    shards: dict[str, Shard] = {}
    waiting: set[str] = set()
    for name, shard in data.shards.items():
        shards[name] = shard
        if shard.primary is not None:
            continue
        cluster = context.cluster(name)
        peers[f"{cluster}-members"] = Peer(
            namespace=context.namespace, pod_labels={"app": cluster}, ports=[POSTGRES_PORT]
        )
        peers[POOLERS_PEER] = Peer(
            namespace=context.namespace,
            pod_labels={"app.kubernetes.io/component": COMPONENT_POOLER},
            ports=[POOLER_PORT],
        )
        domain = f"{context.namespace}.svc.cluster.local"
        primary = Primary(
            # All members: whoever connects takes the one that can be written to.
            host=",".join(context.member_hosts(name)),
            port=POSTGRES_PORT,
            peer=f"{cluster}-members",
            poolers=[f"*.{pooler_name(name, mode)}-peers.{domain}:{POOLER_PORT}" for mode in PoolerMode],
            poolers_peer=POOLERS_PEER,
        )
        shards[name] = shard.model_copy(update={"primary": primary})
        if shard.endpoint is None:
            waiting.add(name)
    return Reached(
        data=data.model_copy(update={"shards": shards}),
        peers={**settings.cluster.peers, **peers},
        waiting=frozenset(waiting),
    )


def migrating_pods(settings: Settings) -> Peer | None:
    """The pods that migrate, as the database's network policies see them; ``None`` where there are none."""
    if settings.data is None or settings.data.migrations is None:
        return None
    return Peer(namespace=settings.cluster.namespaces.services, pod_labels=dict(selector(NAME)), ports=[POSTGRES_PORT])


def measured_shards(settings: Settings) -> tuple[str, ...]:
    """Shards whose figures are served to Prometheus."""
    found = reached(settings)
    if found is None or found.data.migrations is None or found.data.migrations.metrics is None:
        return ()
    return tuple(name for name, shard in found.data.shards.items() if shard.primary is not None)


def measuring_pods(settings: Settings) -> dict[str, Peer]:
    """Shard → the pods that serve its figures, as the database's network policies see them."""
    namespace = settings.cluster.namespaces.services
    return {
        shard: Peer(namespace=namespace, pod_labels=dict(selector(metrics_name(shard))), ports=[POSTGRES_PORT])
        for shard in measured_shards(settings)
    }


def keeps_balances(data: Data | None) -> bool:
    """Whether the read model of balances is kept fresh by the stack itself."""
    return data is not None and data.migrations is not None and data.migrations.balances is not None
