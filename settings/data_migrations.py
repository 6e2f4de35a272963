"""How the schema of every shard is brought up to date and its partitions are kept."""

from typing import Annotated

from pydantic import Field

from settings.base import DnsLabel, Port, Strict
from settings.services import Image, ResourceAmounts, Resources

SecretDataKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


class Primary(Strict):
    """How pods of the cluster reach one shard's primary: directly, never through a transaction pool."""

    host: Annotated[str, Field(min_length=1)]
    """Name of the Service that follows the primary."""
    port: Port = 5432
    peer: DnsLabel
    """Peer of ``cluster.peers`` that the network policy lets the Jobs reach."""
    poolers: list[Annotated[str, Field(pattern=r"^[^:\s,]+:[0-9]{1,5}$", description="host:port")]] = []
    """PgBouncers in front of it that are told to RECONNECT after a change; the migrating role is one of their
    ``admin_users``."""
    poolers_peer: DnsLabel | None = None
    """Peer of ``cluster.peers`` that the poolers are."""


class PasswordSecret(Strict):
    """The password of ``payments_migrator``, in a Secret that exists in the services' namespace already."""

    existing_secret: DnsLabel
    key: SecretDataKey = "password"


class AuthoritySecret(Strict):
    """A certificate of an authority, in a Secret that exists in the services' namespace already."""

    existing_secret: DnsLabel
    key: SecretDataKey = "ca.crt"


class Migrations(Strict):
    """The Job that migrates each shard and the CronJob that keeps its partitions."""

    image: Image
    """An image with Python 3.11 or newer and psycopg 3; SQL and runner are mounted."""
    password: PasswordSecret
    authority: AuthoritySecret | None = None
    """Who signed the servers' certificates; absent: no TLS, for dev only."""
    contract_through: Annotated[int, Field(ge=0, le=9999)] = 0
    """Contract migrations up to this version may run: no code from before them is running any more."""
    months_ahead: Annotated[int, Field(ge=3, le=60)] = 3
    """Monthly partitions that exist ahead of time."""
    keep_months: Annotated[int, Field(ge=1, le=1200)] | None = None
    """Months of events that stay in the table, older ones move to schema ``archive``; absent: all stay."""
    keep_idempotency_days: Annotated[int, Field(ge=7, le=36500)] | None = None
    """Days after which an idempotency key is forgotten; absent: never."""
    schedule: Annotated[str, Field(pattern=r"^[-0-9*/, ]+$")] = "17 3 * * *"
    """When partitions are looked after, cron in UTC."""
    deadline_seconds: Annotated[int, Field(ge=300, le=86_400)] = 14_400
    """Longest run; an index over a year of events takes hours."""
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="50m", memory="64Mi", ephemeral_storage="16Mi"),
        limits=ResourceAmounts(cpu="500m", memory="128Mi", ephemeral_storage="32Mi"),
    )
