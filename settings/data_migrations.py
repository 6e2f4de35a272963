"""How the schema of every shard is brought up to date and its partitions are kept."""

from typing import Annotated

from pydantic import Field

from settings.base import DnsLabel, Port, Strict
from settings.services import Image, ResourceAmounts, Resources

SecretDataKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


_SMALL = Resources(
    requests=ResourceAmounts(cpu="50m", memory="64Mi", ephemeral_storage="16Mi"),
    limits=ResourceAmounts(cpu="500m", memory="128Mi", ephemeral_storage="32Mi"),
)


class Primary(Strict):
    """How pods of the cluster reach one shard's primary: directly, never through a transaction pool."""

    host: Annotated[str, Field(min_length=1)]
    """Name of the Service that follows the primary; or all members, with commas: the one that takes writes is used."""
    port: Port = 5432
    peer: DnsLabel
    """Peer of ``cluster.peers`` that the network policy lets the Jobs reach."""
    poolers: list[Annotated[str, Field(pattern=r"^[^:\s,]+:[0-9]{1,5}$", description="host:port")]] = []
    """PgBouncers in front of it that are told to RECONNECT after a change, at each address of a name; the migrating
    role is one of their ``admin_users``. ``*.name``: the certificate names pods, as 10-0-0-1.name.
    """
    poolers_peer: DnsLabel | None = None
    """Peer of ``cluster.peers`` that the poolers are."""


class PasswordSecret(Strict):
    """A role's password, in a Secret that exists in the services' namespace already."""

    existing_secret: DnsLabel
    key: SecretDataKey = "password"


class AuthoritySecret(Strict):
    """A certificate of an authority, in a Secret that exists in the services' namespace already."""

    existing_secret: DnsLabel
    key: SecretDataKey = "ca.crt"


class Balances(Strict):
    """The CronJob that keeps the read model of balances fresh: a pod a minute and shard, its four buckets at once."""

    password: PasswordSecret
    """Of ``payments_app``, in a Secret of the services' namespace."""
    interval_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """Pause between two refreshes; balances are older by it and by what a pod's start takes."""
    resources: Resources = _SMALL


class Metrics(Strict):
    """The Deployment that serves each shard's figures to Prometheus."""

    password: PasswordSecret
    """Of ``payments_exporter``, in a Secret of the services' namespace."""
    resources: Resources = _SMALL


class Migrations(Strict):
    """The Job that migrates each shard and the CronJob that keeps its partitions."""

    image: Image
    """An image with Python 3.11 or newer and psycopg 3; SQL and runner are mounted."""
    password: PasswordSecret
    """Of ``payments_migrator``."""
    authority: AuthoritySecret | None = None
    """Who signed the servers' certificates; absent: no TLS, for dev only."""
    balances: Balances | None = None
    """How the read model of balances is kept fresh; absent: not from here."""
    metrics: Metrics | None = None
    """How partitions, outbox and read models are watched; absent: no alert on them exists."""
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
    resources: Resources = _SMALL
