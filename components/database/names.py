"""Names inside each shard's database. The migrations say them too: a rename is a migration of its own."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RoleName(StrEnum):
    """The platform's roles, the same on every shard."""

    OWNER = "payments_owner"
    """Owns everything; nobody logs in as it."""
    APPLICATION = "payments_app"
    READ_ONLY = "payments_readonly"
    EXPORTER = "payments_exporter"
    MIGRATION = "payments_migrator"


class SchemaName(StrEnum):
    """The platform's schemas. ``public`` is nobody's."""

    EVENT_STORE = "es"
    LEDGER = "ledger"
    OPERATIONS = "ops"
    ARCHIVE = "archive"
    EXTENSIONS = "extensions"


VERIFIER_KEYS: Final[Mapping[RoleName, str]] = {
    RoleName.APPLICATION: "databaseVerifierApp",
    RoleName.READ_ONLY: "databaseVerifierReadonly",
    RoleName.EXPORTER: "databaseVerifierExporter",
    RoleName.MIGRATION: "databaseVerifierMigrator",
}
"""Pulumi secret that holds the SCRAM verifier of a role's password."""

PUBLICATION: Final = "payments_events"
"""What readers of the change stream subscribe to; migrations say which tables are in it."""
