"""The ConfigMap ``platform-contract``: what the services' client has to know, as JSON with a schema version."""

from components.base.labels import Labels
from components.base.manifests import Manifest, metadata
from components.kafka.contract_plan import kafka_contract
from components.postgres.contract_plan import database_contract
from payments_client.contract import (
    CONFIG_MAP,
    CONFIG_MAP_KEY,
    SCHEMA_VERSION,
    CacheContract,
    PlatformContract,
    RedisEndpoint,
)
from payments_client.contract_shards import BucketRange, ShardContract, ShardsContract
from settings.cache import LocalMode
from settings.cache_rules import CLUSTER_NAME, LOCAL_NAME, LOCAL_SOCKET, PORT
from settings.platform import Settings


def platform_contract(settings: Settings) -> PlatformContract:
    """What is published for a stack. Addresses and lifetimes, never a secret."""
    return PlatformContract(
        schema_version=SCHEMA_VERSION,
        cache=_cache(settings),
        kafka=kafka_contract(settings),
        shards=_shards(settings),
        database=database_contract(settings),
    )


def plan_contract(settings: Settings) -> Manifest:
    """The ConfigMap, in the services' namespace."""
    labels = Labels(name=CONFIG_MAP, environment=settings.environment)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(CONFIG_MAP, namespace=settings.cluster.namespaces.services, labels=labels.of("contract")),
        "data": {CONFIG_MAP_KEY: platform_contract(settings).to_json()},
    }


def _cache(settings: Settings) -> CacheContract | None:
    if settings.cache is None:
        return None
    domain = f"{settings.cluster.namespaces.cache}.svc.cluster.local"
    local = {
        LocalMode.NONE: None,
        LocalMode.SIDECAR: RedisEndpoint(host="localhost", tls=False, socket_path=LOCAL_SOCKET),
        LocalMode.DAEMON_SET: RedisEndpoint(host=f"{LOCAL_NAME}.{domain}", port=PORT),
    }
    return CacheContract(
        l2=local[settings.cache.local.mode],
        l3=RedisEndpoint(host=f"{CLUSTER_NAME}.{domain}", port=PORT, cluster=True),
    )


def _shards(settings: Settings) -> ShardsContract | None:
    if settings.data is None:
        return None
    shards = tuple(
        ShardContract(name=name, buckets=tuple(BucketRange(first=first, last=last) for first, last in shard.ranges))
        for name, shard in sorted(settings.data.shards.items())
        if shard.ranges  # one without buckets is being prepared: nobody lives there
    )
    return ShardsContract(buckets=settings.data.buckets, shards=shards, database=settings.data.database)
