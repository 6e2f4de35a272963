"""Where the databases listen: the ``database`` part of the platform contract. No credential is in it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class DatabaseEndpoint(_Part):
    """One Service in front of PgBouncer."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 5432


class ShardContract(_Part):
    """One PostgreSQL cluster: where it is written, where it is read."""

    name: Annotated[str, Field(pattern=r"^s[0-9]{2}$")]
    """Never renumbered: rows stay where they are."""
    write: DatabaseEndpoint
    reads: tuple[DatabaseEndpoint, ...] = ()
    """Empty: reads go to the primary."""


class WorkloadPool(_Part):
    """What one Deployment may open to the poolers."""

    workload: Annotated[str, Field(min_length=1)]
    connections_per_pod: Annotated[int, Field(ge=1)]
    """Of all processes and pools of a pod together."""


class DatabaseContract(_Part):
    """Every shard, how a client must verify the servers, and how much it may ask of them."""

    shards: Annotated[tuple[ShardContract, ...], Field(min_length=1)]
    sslmode: Literal["verify-full", "verify-ca", "require", "disable"] = "verify-full"
    database: Annotated[str, Field(min_length=1)] = "payments"
    """Name of the database on each shard."""
    max_lifetime_seconds: Annotated[int, Field(ge=10)] = 130
    """How old a connection may get: it has left a pooler that stops before that one is killed."""
    wait_seconds: Annotated[int, Field(ge=1)] = 30
    """Longest wait of a statement in a pooler, above the time of a failover; then the pooler answers with an error."""
    concurrent_writes: Annotated[int, Field(ge=1)] | None = None
    """Transactions of all clients that run at once on a shard's primary; others wait in the poolers."""
    concurrent_reads: Annotated[int, Field(ge=1)] | None = None
    """The same for a shard's read endpoint."""
    pools: tuple[WorkloadPool, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("shards", [shard.name for shard in self.shards]),
            ("pools", [pool.workload for pool in self.pools]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {what} share a name: {names}")
        return self

    def connections_of(self, workload: str) -> int:
        """Connections that one pod of a Deployment may open. Raises ``KeyError`` with the known ones."""
        for pool in self.pools:
            if pool.workload == workload:
                return pool.connections_per_pod
        raise KeyError(f"the contract has no pool of '{workload}'; it has: {[pool.workload for pool in self.pools]}")

    def shard(self, name: str) -> ShardContract:
        """The shard with a name. Raises ``KeyError`` with the known ones."""
        for entry in self.shards:
            if entry.name == name:
                return entry
        raise KeyError(f"the contract has no shard '{name}'; it has: {[entry.name for entry in self.shards]}")
