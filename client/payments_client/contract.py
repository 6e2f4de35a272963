"""What the platform promises its services: the content of the ConfigMap ``platform-contract``.

The program renders it (``components/contract.py``), services parse it with ``PlatformContract.parse``. No secret is in
it: credentials reach a pod as a Secret.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from payments_client.contract_database import DatabaseContract
from payments_client.contract_shards import ShardsContract
from payments_client.kafka.contract import KafkaContract
from payments_client.part import Part

SCHEMA_VERSION: Literal[1] = 1
"""Raised when a reader of the previous one would misread the content."""
CONFIG_MAP = "platform-contract"
CONFIG_MAP_KEY = "contract.json"
MOUNT_PATH = "/etc/platform"
"""Where it is mounted in every pod of a service: the contract is the file ``contract.json`` there."""

TTL_JITTER = 0.1
"""Each entry lives its TTL ± 10 %, so that entries made together do not expire together."""


class Tier(StrEnum):
    """Where a value may be kept: in the process, in the Redis beside it, in the Redis Cluster."""

    L1 = "l1"
    L2 = "l2"
    L3 = "l3"


MAX_TTL_SECONDS = {Tier.L1: 600, Tier.L2: 60, Tier.L3: 300}
"""The plan's: 10 minutes in process, 1 minute local, 5 minutes in the cluster."""

Seconds = Annotated[int, Field(ge=1, le=3600)]


class CacheClass(Part):
    """One class of keys: where it may be kept, for how long, and who answers for it."""

    prefix: Annotated[str, Field(pattern=r"^[a-z]+(:[a-z]+)*:$")]
    """Key name up to the id, the last colon included: ``wallet:balance:``."""
    owner: Annotated[str, Field(min_length=1)]
    """Service whose database is the truth."""
    l1_ttl_seconds: Seconds | None = None
    """``null``: never kept in a process."""
    l2_ttl_seconds: Seconds | None = None
    l3_ttl_seconds: Seconds | None = None
    negative_ttl_seconds: Seconds = 10
    """How long "there is no such thing" is believed."""
    stale_while_revalidate_seconds: Annotated[int, Field(ge=0, le=600)] = 0
    """How long an expired L1 value may still be answered while one caller fetches the new one."""
    display_only: bool = False
    """Shown to people, never an input of a decision about money."""
    event_sourced: bool = False
    """Its versions are stream versions: without a hole, so that a hole means a lost event."""

    @property
    def ttl_seconds(self) -> dict[Tier, int]:
        """Tiers that may hold the class, nearest first."""
        stated = {Tier.L1: self.l1_ttl_seconds, Tier.L2: self.l2_ttl_seconds, Tier.L3: self.l3_ttl_seconds}
        return {tier: seconds for tier, seconds in stated.items() if seconds is not None}

    @property
    def max_staleness_seconds(self) -> float:
        """The most that an answer may be behind the truth when every message is lost.

        A value's age travels with it from tier to tier, so the tiers' TTLs do not add up.
        """
        return max(self.ttl_seconds.values()) * (1 + TTL_JITTER) + self.stale_while_revalidate_seconds

    @model_validator(mode="after")
    def _promises_hold(self) -> Self:
        ttls = self.ttl_seconds
        if not ttls:
            raise ValueError(f"{self.prefix} names no tier; give it l3_ttl_seconds, or do not declare it")
        for tier, seconds in ttls.items():
            if seconds > MAX_TTL_SECONDS[tier]:
                raise ValueError(
                    f"{self.prefix} {tier}_ttl_seconds is {seconds}; allowed: at most {MAX_TTL_SECONDS[tier]}"
                )
        if self.display_only and set(ttls) != {Tier.L3}:
            raise ValueError(
                f"{self.prefix} is display-only and may be kept in l3 only: an l1 or l2 copy of a balance is up to "
                f"{MAX_TTL_SECONDS[Tier.L1]} s old; remove l1_ttl_seconds and l2_ttl_seconds"
            )
        if self.stale_while_revalidate_seconds and Tier.L1 not in ttls:
            raise ValueError(f"{self.prefix} stale_while_revalidate_seconds needs l1_ttl_seconds; set it to 0")
        return self


CONFIG = CacheClass(
    prefix="config:",
    owner="gateway-service",
    l1_ttl_seconds=600,
    l2_ttl_seconds=60,
    l3_ttl_seconds=300,
    stale_while_revalidate_seconds=60,
)
RATES = CacheClass(
    prefix="rates:",
    owner="gateway-service",
    l1_ttl_seconds=600,
    l2_ttl_seconds=60,
    l3_ttl_seconds=300,
    stale_while_revalidate_seconds=30,
)
USER_WALLETS = CacheClass(
    prefix="user:wallets:", owner="wallet-service", l2_ttl_seconds=60, l3_ttl_seconds=300, event_sourced=True
)
WALLET_TRANSACTIONS = CacheClass(
    prefix="wallet:transactions:", owner="wallet-service", l2_ttl_seconds=60, l3_ttl_seconds=300, event_sourced=True
)
WALLET_BALANCE = CacheClass(
    prefix="wallet:balance:", owner="wallet-service", l3_ttl_seconds=300, display_only=True, event_sourced=True
)
PLAN_CLASSES = (CONFIG, RATES, USER_WALLETS, WALLET_TRANSACTIONS, WALLET_BALANCE)
"""The plan's classes with the plan's TTLs and key names."""


class RedisEndpoint(Part):
    """Where a tier listens. User and password come from a Secret."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 6379
    tls: bool = True
    cluster: bool = False
    socket_path: str | None = None
    """A socket file that the pod's containers share, instead of host and port: the local tier as a sidecar."""

    @model_validator(mode="after")
    def _socket_is_local(self) -> Self:
        if self.socket_path is not None and (self.tls or self.cluster):
            raise ValueError("socket_path is for a server of the same pod; set tls and cluster to false")
        return self


class CacheContract(Part):
    """The tiers' endpoints and the classes of keys."""

    l2: RedisEndpoint | None = None
    """``null``: no local Redis; classes skip that tier."""
    l3: RedisEndpoint
    classes: tuple[CacheClass, ...] = PLAN_CLASSES

    @model_validator(mode="after")
    def _no_prefix_twice(self) -> Self:
        prefixes = [entry.prefix for entry in self.classes]
        for first in prefixes:
            for other in prefixes:
                if first is not other and other.startswith(first):
                    raise ValueError(f"'{first}' and '{other}' cannot be told apart; rename one")
        return self

    def of(self, prefix: str) -> CacheClass:
        """The class with a prefix. Raises ``KeyError`` with the known ones."""
        for entry in self.classes:
            if entry.prefix == prefix:
                return entry
        raise KeyError(f"the contract has no cache class '{prefix}'; it has: {[c.prefix for c in self.classes]}")


class PlatformContract(Part):
    """Everything that is published."""

    schema_version: Literal[1]
    cache: CacheContract | None = None
    kafka: KafkaContract | None = None
    shards: ShardsContract | None = None
    database: DatabaseContract | None = None

    def to_json(self) -> str:
        """The ConfigMap's text: the same bytes for the same promises."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the ConfigMap's text. Raises ``ContractError`` with every mistake at once."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = [f"  {'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()]
            lines = "\n".join(problems)
            raise ContractError(
                f"{CONFIG_MAP}/{CONFIG_MAP_KEY} does not fit schema version {SCHEMA_VERSION} of this "
                f"payments_client; deploy a client that fits the platform\n{lines}"
            ) from None


class ContractError(ValueError):
    """The published contract and this client do not fit."""
