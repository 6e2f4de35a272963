"""The roles of the platform's database: the one list that grants, poolers, migrations and the bootstrap share.

A rename is a migration of its own: the SQL of the migrations says these names too.
"""

from enum import StrEnum
from typing import Final

ADMINISTRATOR: Final = "payments_admin"
"""Who the engine logs in as: makes roles and databases, and is no superuser. A new cluster is born with it."""
ADMINISTRATOR_STATEMENTS: Final = (
    # The verifier or the quoted password is put in by whoever runs them.
    f"CREATE ROLE {ADMINISTRATOR} LOGIN CREATEROLE CREATEDB PASSWORD {{password}}",
    # It may use the roles that it makes, which PostgreSQL 16 and newer does not allow by itself,
    f"ALTER ROLE {ADMINISTRATOR} SET createrole_self_grant = 'set, inherit'",
    # and hand on the right to read statistics.
    f"GRANT pg_monitor TO {ADMINISTRATOR} WITH ADMIN OPTION",
)
"""All that a server must have before the engine can declare the rest."""


class RoleName(StrEnum):
    """The platform's roles, the same on every shard."""

    OWNER = "payments_owner"
    """Owns everything; nobody logs in as it."""
    APPLICATION = "payments_app"
    READ_ONLY = "payments_readonly"
    EXPORTER = "payments_exporter"
    MIGRATION = "payments_migrator"


class PooledRole(StrEnum):
    """The roles that come in through the poolers; the others reach the members themselves."""

    APPLICATION = RoleName.APPLICATION
    READ_ONLY = RoleName.READ_ONLY
