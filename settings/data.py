"""The data inside PostgreSQL: which shard holds which buckets, and who may do what on it."""

import ipaddress
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import Port, Strict
from settings.data_migrations import Migrations, Primary
from settings.data_roles import ADMINISTRATOR
from settings.problems import RuleError

BUCKETS: Literal[1024] = 1024
"""For ever: another number would send nearly every user to another bucket."""

ShardName = Annotated[
    str, Field(pattern=r"^s[0-9]{2}$", description="s00, s01, …: given once, never renumbered, never used again")
]
BucketRange = Annotated[
    str, Field(pattern=r"^[0-9]{1,4}-[0-9]{1,4}$", description="first and last bucket, for example 0-511")
]
SecretKey = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Identifier = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63, description="lower-case letters, digits and '_', 63 at most"),
]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]


class SslMode(StrEnum):
    """How a connection is protected, in libpq's words; ``prefer`` and ``allow`` fall back to plain text silently."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class ExtensionName(StrEnum):
    """Extensions that may be asked for: trusted ones, which need no superuser and open no way out of the database."""

    BTREE_GIN = "btree_gin"
    BTREE_GIST = "btree_gist"
    CITEXT = "citext"
    FUZZYSTRMATCH = "fuzzystrmatch"
    PG_TRGM = "pg_trgm"
    PGCRYPTO = "pgcrypto"
    UNACCENT = "unaccent"


class Endpoint(Strict):
    """How the engine reaches one shard's primary: directly, never through a transaction pool."""

    host: Annotated[str, Field(min_length=1)]
    """Name or address as seen from where the engine runs (inside the cluster, or through a port-forward)."""
    port: Port = 5432
    database: Identifier = "postgres"
    """Database to connect to first; the platform's own is created from there."""
    username: Identifier = ADMINISTRATOR
    """Role with CREATEROLE and CREATEDB, and no superuser."""
    password_key: SecretKey
    """Pulumi secret that holds its password: ``pulumi config set --secret <key>``."""
    sslmode: SslMode = SslMode.VERIFY_FULL
    ca_file: str | None = None
    """Certificate of the authority that signed the server's; the system's authorities when absent."""
    connect_timeout_seconds: Annotated[int, Field(ge=1, le=120)] = 10

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on the machine of the engine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Shard(Strict):
    """One PostgreSQL cluster and the buckets that it holds."""

    buckets: list[BucketRange]
    """Ranges of buckets, both ends included; all shards together hold 0 to 1023, each bucket once. An empty list: the
    shard is being prepared.
    """
    endpoint: Endpoint | None = None
    """Where its primary is; absent: its roles and grants wait until it is named."""
    primary: Primary | None = None
    """Where the cluster's pods find it; absent: the stack's own cluster of that name, and without ``postgres`` its
    migrations wait until it is named."""

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """First and last bucket of each range, in order."""
        return tuple(sorted((int(first), int(last)) for first, _, last in (r.partition("-") for r in self.buckets)))


class Login(Strict):
    """The bounds of a role that a program logs in as."""

    connection_limit: Annotated[int, Field(ge=1, le=10_000)]
    """Server connections of this role; the pooler's budget is the usual bound, this one is the last."""
    statement_timeout_milliseconds: Milliseconds
    """Longest statement; 0: no limit."""
    idle_in_transaction_timeout_milliseconds: Milliseconds
    """Longest pause inside a transaction: an open one holds the horizon that every read model waits for."""


def _login(connections: int, statement: int, idle: int) -> Login:
    return Login(
        connection_limit=connections,
        statement_timeout_milliseconds=statement,
        idle_in_transaction_timeout_milliseconds=idle,
    )


class Roles(Strict):
    """Who connects. The owner is not here: nobody logs in as it."""

    application: Login = _login(500, 15_000, 60_000)
    """``payments_app``: the services."""
    read_only: Login = _login(50, 60_000, 60_000)
    """``payments_readonly``: people and reports."""
    exporter: Login = _login(5, 10_000, 60_000)
    """``payments_exporter``: metrics."""
    migration: Login = _login(5, 0, 600_000)
    """``payments_migrator``: the only one that changes the schema, as the owner."""


class Data(Strict):
    """Shards of the platform's database, and what is the same on each of them."""

    buckets: Literal[1024] = BUCKETS
    """Logical buckets; users are hashed to buckets, buckets are mapped to shards."""
    shards: Annotated[dict[ShardName, Shard], Field(min_length=1)]
    database: Identifier = "payments"
    roles: Roles = Roles()
    extensions: list[ExtensionName] = []
    """Extensions to have in the database."""
    migrations: Migrations | None = None
    """How schema and partitions are kept up to date; absent: not from here."""

    @model_validator(mode="after")
    def _each_bucket_once(self) -> Self:
        owner: dict[int, str] = {}
        for name, shard in self.shards.items():
            for first, last in shard.ranges:
                if not first <= last < BUCKETS:
                    raise RuleError(
                        why=f"shard {name} names buckets {first}-{last}; buckets go from 0 to {BUCKETS - 1}, the "
                        "smaller one first",
                        fix=f"correct the range in shards.{name}.buckets",
                    )
                twice = next((bucket for bucket in range(first, last + 1) if bucket in owner), None)
                if twice is not None:
                    raise RuleError(
                        why=f"bucket {twice} is in {owner[twice]} and again in {name}; a user lives on one shard",
                        fix="take it out of one of them",
                    )
                owner.update(dict.fromkeys(range(first, last + 1), name))
        missing = [bucket for bucket in range(BUCKETS) if bucket not in owner]
        if missing:
            raise RuleError(
                why=f"{len(missing)} of {BUCKETS} buckets are on no shard, the first is {missing[0]}: users there "
                "could not be served",
                fix="add the missing buckets to a shard",
            )
        return self
