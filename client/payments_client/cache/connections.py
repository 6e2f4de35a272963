"""redis-py clients for a tier, with bounded calls and no retries of their own: the breaker decides, not the driver."""

from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from payments_client.contract import RedisEndpoint

FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What a dead, full, loading or misconfigured server raises. Each means: go on without it."""

SyncClient = redis.Redis | redis.RedisCluster
AsyncClient = redis.asyncio.Redis | redis.asyncio.RedisCluster


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Credentials:
    """Who the service is to Redis. ``repr`` shows nothing of it."""

    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    """CA certificate that signed the servers' certificates."""
    certificate_file: str | None = None
    key_file: str | None = None


def _common(endpoint: RedisEndpoint, credentials: Credentials, timeout_seconds: float) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "username": credentials.username,
        "password": credentials.password,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "protocol": 2,
    }
    if endpoint.socket_path is not None:
        arguments["unix_socket_path"] = endpoint.socket_path
    if endpoint.tls:
        arguments |= {
            "ssl": True,
            "ssl_ca_certs": credentials.ca_file,
            "ssl_certfile": credentials.certificate_file,
            "ssl_keyfile": credentials.key_file,
        }
    return arguments


def sync_client(endpoint: RedisEndpoint, credentials: Credentials, timeout_seconds: float) -> SyncClient:
    """A blocking client. A cluster's one asks for the topology here, and may raise one of ``FAILURES``."""
    arguments = _common(endpoint, credentials, timeout_seconds) | {"retry": Retry(NoBackoff(), 0)}
    if endpoint.cluster:
        return redis.RedisCluster(host=endpoint.host, port=endpoint.port, require_full_coverage=False, **arguments)
    return redis.Redis(host=endpoint.host, port=endpoint.port, **arguments)


def async_client(endpoint: RedisEndpoint, credentials: Credentials, timeout_seconds: float) -> AsyncClient:
    """An asyncio client; connects at its first call."""
    arguments = _common(endpoint, credentials, timeout_seconds) | {"retry": AsyncRetry(NoBackoff(), 0)}
    if endpoint.cluster:
        return redis.asyncio.RedisCluster(
            host=endpoint.host, port=endpoint.port, require_full_coverage=False, **arguments
        )
    return redis.asyncio.Redis(host=endpoint.host, port=endpoint.port, **arguments)


def command(client: SyncClient, *arguments: Any) -> Any:
    """Any command; redis-py's own signature is untyped."""
    untyped: Any = client
    return untyped.execute_command(*arguments)


def shard(client: SyncClient | AsyncClient, key: str) -> str:
    """Name of the server that answers for a key, as far as the client knows."""
    if not isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        return "server"
    try:
        return str(client.nodes_manager.get_node_from_slot(client.keyslot(key), read_from_replicas=False).name)
    except (RedisClusterException, RedisError, KeyError, IndexError):
        return "cluster"


def members(client: SyncClient | AsyncClient, endpoint: RedisEndpoint) -> list[tuple[str, int]]:
    """Where a message can be heard: any member of the cluster passes on what is published at any other."""
    if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        found = [(str(node.host), int(node.port)) for node in client.get_nodes()]
        if found:
            return found
    return [(endpoint.host, endpoint.port)]
