"""How pools are sized and how long anything may take."""

from dataclasses import dataclass, field
from typing import Self

from payments_client.contract_database import DatabaseContract

CONNECTION_WAIT_SECONDS = 2.0
"""Longest wait for a pool's connection before it is asked for anew. A pool whose attempts to connect have failed gives
up and starts again only when somebody asks: a lone caller that went on waiting would wait for nothing."""
RECONNECT_SECONDS = 2.0
"""How long a pool repeats an attempt to connect by itself. Its pauses double from 1 s on; a new question starts them
again, so that the end of an outage is seen within about 2 s however long it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """From the service's Secret. The password is in no repr."""

    dbname: str
    user: str
    password: str = field(repr=False)
    ca_file: str | None = None
    """Certificate authority of the servers; needed by verify-full and verify-ca."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolOptions:
    """Sizes are per endpoint and process; the platform's pool budget counts them at PgBouncer."""

    min_size: int = 1
    max_size: int = 10
    connect_timeout_seconds: int = 3
    endpoint_timeout_seconds: float = 1.0
    """How long a read waits for one endpoint before it tries the next."""
    max_lifetime_seconds: float | None = None
    """The contract's unless it is stated: a PgBouncer that ends is left in time."""
    tcp_user_timeout_ms: int = 10_000
    """A powered-off node is noticed after this, not after the kernel's quarter of an hour."""
    prepare_threshold: int | None = None
    """``None``: no prepared statements. Set 5 where PgBouncer is 1.22 or newer and libpq 17 or newer."""

    @classmethod
    def of(cls, contract: DatabaseContract, workload: str, *, processes: int = 1) -> Self:
        """Sizes for a Deployment whose pods run that many processes, each with a ``Database`` for every shard.

        Raises ``KeyError`` for a Deployment that the contract gives no connections.
        """
        pools = processes * sum(1 + len(shard.reads) for shard in contract.shards)
        return cls(min_size=0, max_size=max(1, contract.connections_of(workload) // pools))

    def lifetime_seconds(self, contract: DatabaseContract) -> float:
        """What is stated here, or else the contract's."""
        return contract.max_lifetime_seconds if self.max_lifetime_seconds is None else self.max_lifetime_seconds

    def __post_init__(self) -> None:
        if not 0 <= self.min_size <= self.max_size or self.max_size < 1:
            raise ValueError(
                f"min_size {self.min_size}, max_size {self.max_size}: expected 0 ≤ min_size ≤ max_size ≥ 1"
            )


def connection_arguments(
    credentials: Credentials, host: str, port: int, sslmode: str, options: PoolOptions
) -> dict[str, str | int | None]:
    """Keyword arguments of ``psycopg.connect``."""
    found: dict[str, str | int | None] = {
        "host": host, "port": port, "dbname": credentials.dbname, "user": credentials.user,
        "password": credentials.password, "sslmode": sslmode, "connect_timeout": options.connect_timeout_seconds,
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
        "tcp_user_timeout": options.tcp_user_timeout_ms, "prepare_threshold": options.prepare_threshold,
    }  # fmt: skip
    if credentials.ca_file is not None:
        found["sslrootcert"] = credentials.ca_file
    return found
