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


class DatabaseContract(_Part):
    """Every shard, and how a client must verify the servers."""

    shards: Annotated[tuple[ShardContract, ...], Field(min_length=1)]
    sslmode: Literal["verify-full", "verify-ca", "require", "disable"] = "verify-full"

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [shard.name for shard in self.shards]
        if len(set(names)) < len(names):
            raise ValueError(f"two shards share a name: {names}")
        return self

    def shard(self, name: str) -> ShardContract:
        """The shard with a name. Raises ``KeyError`` with the known ones."""
        for entry in self.shards:
            if entry.name == name:
                return entry
        raise KeyError(f"the contract has no shard '{name}'; it has: {[entry.name for entry in self.shards]}")
