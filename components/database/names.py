"""Names inside each shard's database. The migrations say them too: a rename is a migration of its own."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from settings.data_roles import RoleName


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
