"""Versioned SQL: which files there are, which of them a database has, and how the others get there.

Needs psycopg 3 and nothing else, so that a Job can run it from a mounted folder: ``python -m
payments_client.migrations``.
"""

from payments_client.migrations.errors import MigrationError
from payments_client.migrations.files import Migration, Phase, load
from payments_client.migrations.history import Status, read_status
from payments_client.migrations.runner import Options, apply

__all__ = ["Migration", "MigrationError", "Options", "Phase", "Status", "apply", "load", "read_status"]
