"""The rules between the migrations of the shards and the rest of a stack's settings."""

from collections.abc import Iterator

from settings.base import Environment
from settings.cluster import Cluster
from settings.data import Data
from settings.problems import Problem


def migration_problems(
    data: Data | None, cluster: Cluster, environment: Environment, *, own_clusters: bool = False
) -> Iterator[Problem]:
    """Everything that is wrong between the migrations and their surroundings.

    ``own_clusters``: the stack declares PostgreSQL itself, so that every shard has a primary.
    """
    if data is None:
        return
    yield from _peers_exist(data, cluster)
    yield from _no_shard_lags(data, own_clusters=own_clusters)
    if data.migrations is not None and data.migrations.authority is None and environment is Environment.PROD:
        yield Problem(
            path="data.migrations.authority",
            has_value=False,
            allowed="the Secret with the certificate of the authority that signed the servers'",
            fix="name it: without it the migrating role's password would travel in plain text",
        )


def _peers_exist(data: Data, cluster: Cluster) -> Iterator[Problem]:
    for name, shard in data.shards.items():
        if shard.primary is None:
            continue
        for field, peer in (("peer", shard.primary.peer), ("poolers_peer", shard.primary.poolers_peer)):
            if peer is not None and peer not in cluster.peers:
                path = f"data.shards.{name}.primary.{field}"
                yield Problem.unknown_name(path=path, value=peer, known=cluster.peers, where="cluster.peers")
        if shard.primary.poolers and shard.primary.poolers_peer is None:
            yield Problem(
                path=f"data.shards.{name}.primary.poolers_peer",
                has_value=False,
                allowed="a peer of cluster.peers beside poolers",
                fix="name the poolers' peer: the network policy lets the Job reach nothing else",
            )


def _no_shard_lags(data: Data, *, own_clusters: bool) -> Iterator[Problem]:
    """One shard that is migrated and one that is served but not migrated would run two schemas."""
    migrated = [name for name, shard in data.shards.items() if shard.primary is not None]
    if migrated and data.migrations is None:
        yield Problem(
            path="data.migrations",
            has_value=False,
            allowed=f"the image and the password of the Jobs that migrate {', '.join(migrated)}",
            fix=f"add data.migrations, or remove data.shards.{migrated[0]}.primary",
        )
    for name, shard in data.shards.items():
        if migrated and shard.primary is None and not own_clusters:
            yield Problem(
                path=f"data.shards.{name}.primary",
                has_value=False,
                allowed=f"a primary for every shard or for none: {', '.join(migrated)} would run ahead of {name}",
                fix="name the Service that follows its primary",
            )
