"""The database's part of the contract: where each shard is written and read, and how much a service may ask of it."""

from collections.abc import Iterator

from components.postgres.model import POOLER_PORT, DatabaseContext, context_of
from components.postgres.pgbouncer_files import PoolerMode
from components.postgres.pooler_plan import service_name
from components.services.plan import workloads
from payments_client.contract_database import DatabaseContract, DatabaseEndpoint, ShardContract, WorkloadPool
from settings.platform import Settings


def database_contract(settings: Settings) -> DatabaseContract | None:
    """What the services' client has to know; ``None`` where the stack declares no database."""
    context = context_of(settings)
    if context is None:
        return None
    pooler = context.postgres.pooler
    return DatabaseContract(
        shards=tuple(
            ShardContract(
                name=shard,
                write=_endpoint(context, shard, PoolerMode.READ_WRITE),
                reads=(_endpoint(context, shard, PoolerMode.READ_ONLY),),
            )
            for shard in context.postgres.shards
        ),
        database=context.postgres.database,
        max_lifetime_seconds=pooler.client_lifetime_seconds,
        wait_seconds=pooler.query_wait_seconds,
        concurrent_writes=pooler.read_write.replicas * pooler.read_write.server_connections_per_pod,
        concurrent_reads=pooler.read_only.replicas * pooler.read_only.server_connections_per_pod,
        pools=tuple(_pools(settings, context)),
    )


def _endpoint(context: DatabaseContext, shard: str, mode: PoolerMode) -> DatabaseEndpoint:
    # The whole name, which is in the poolers' certificate, from whichever namespace it is asked.
    host = f"{service_name(context, shard, mode)}.{context.namespace}.svc.cluster.local"
    return DatabaseEndpoint(host=host, port=POOLER_PORT)


def _pools(settings: Settings, context: DatabaseContext) -> Iterator[WorkloadPool]:
    for user in sorted(context.postgres.users):
        for workload in workloads(user, settings.services[user]):
            connections = workload.settings.database_connections_per_pod
            if connections:
                yield WorkloadPool(workload=workload.name, connections_per_pod=connections)
