"""What the Job is told by its environment; passwords come as files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from payments_client.migrations.errors import MigrationError
from payments_client.migrations.poolers import PASSWORD_NAME, Pooler

_DATABASE = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """One database and what to do with it."""

    host: str
    port: int
    database: str
    user: str
    auth: str | None = field(repr=False)
    """Content of the password's file."""
    sslmode: str
    ca_file: str | None
    owner: str
    folder: Path
    contract_through: int
    months_ahead: int
    keep_months: int | None
    keep_keys_days: int | None
    poolers: tuple[Pooler, ...]
    balances_interval_seconds: int = 5
    balances_run_seconds: int = 55
    shard: str = ""
    """Name that the figures carry."""
    metrics_address: str = ""
    """Where the figures are served; empty: at every address of the pod."""
    metrics_port: int = 9187

    @property
    def parameters(self) -> dict[str, str | int]:
        """Arguments of ``psycopg.connect``."""
        given: dict[str, str | int | None] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            PASSWORD_NAME: self.auth,
            "sslmode": self.sslmode,
            "sslrootcert": self.ca_file,
            "connect_timeout": 10,
            "application_name": "payments-migrations",
            "target_session_attrs": "read-write",
            # A node that vanishes is noticed in 30 s, not in two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
        }
        return {name: value for name, value in given.items() if value is not None}


def read(variables: Mapping[str, str]) -> Environment:
    """Parse the variables. Raises ``MigrationError`` with every mistake at once; no value of a password is in it."""
    problems: list[str] = []

    def text(name: str, default: str | None = None) -> str:
        value = variables.get(name, default)
        if not value:
            problems.append(f"{name} is not set")
        return value or ""

    def number(name: str, low: int, high: int, default: int | None) -> int | None:
        value = variables.get(name)
        if value is None:
            return default
        if not value.isdecimal() or not low <= int(value) <= high:
            problems.append(f"{name} is '{value}'; allowed: a whole number from {low} to {high}")
            return default
        return int(value)

    auth = _auth(variables, problems)
    database = text("DATABASE_NAME", "payments")
    if not _DATABASE.match(database):
        problems.append(f"DATABASE_NAME is '{database}'; allowed: lower case letters, digits and underscores")
    found = Environment(
        host=text("DATABASE_HOST"),
        port=number("DATABASE_PORT", 1, 65535, 5432) or 5432,
        database=database,
        user=text("DATABASE_USER", "payments_migrator"),
        auth=auth,
        sslmode=text("DATABASE_SSLMODE", "verify-full"),
        ca_file=variables.get("DATABASE_CA_FILE"),
        owner=text("MIGRATIONS_OWNER", "payments_owner"),
        folder=Path(text("MIGRATIONS_FOLDER", "migrations")),
        contract_through=number("MIGRATIONS_CONTRACT_THROUGH", 0, 9999, 0) or 0,
        months_ahead=number("PARTITIONS_MONTHS_AHEAD", 3, 60, 3) or 3,
        keep_months=number("PARTITIONS_KEEP_MONTHS", 1, 1200, None),
        keep_keys_days=number("IDEMPOTENCY_KEEP_DAYS", 7, 36500, None),
        poolers=_poolers(variables, auth, problems),
        balances_interval_seconds=number("BALANCES_INTERVAL_SECONDS", 1, 60, 5) or 5,
        balances_run_seconds=number("BALANCES_RUN_SECONDS", 0, 3600, 55) or 0,
        shard=variables.get("METRICS_SHARD", ""),
        metrics_address=variables.get("METRICS_ADDRESS", ""),
        metrics_port=number("METRICS_PORT", 1, 65535, 9187) or 9187,
    )
    if problems:
        raise MigrationError("\n".join(problems))
    return found


def _auth(variables: Mapping[str, str], problems: list[str]) -> str | None:
    path = variables.get("DATABASE_PASSWORD_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        problems.append(f"DATABASE_PASSWORD_FILE '{path}' cannot be read: {error.strerror}")
        return None


def _poolers(variables: Mapping[str, str], auth: str | None, problems: list[str]) -> tuple[Pooler, ...]:
    """``MIGRATIONS_POOLERS``: ``host:port,*.host:port``; the migrating role is one of their admin users."""
    found: list[Pooler] = []
    for address in filter(None, variables.get("MIGRATIONS_POOLERS", "").split(",")):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            problems.append(f"MIGRATIONS_POOLERS names '{address}'; allowed: host:port,host:port")
            continue
        found.append(
            Pooler(
                host=host,
                port=int(port),
                user=variables.get("DATABASE_USER", "payments_migrator"),
                auth=auth,
                sslmode=variables.get("DATABASE_SSLMODE", "verify-full"),
                ca_file=variables.get("DATABASE_CA_FILE"),
            )
        )
    return tuple(found)
