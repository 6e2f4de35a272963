"""What a new cluster gets, once: the system's own users, the administrator, and the lookup of passwords.

Roles and databases of the applications are not here: the administrator makes them (``components.database``).
"""

from components.postgres.model import (
    AUTH_USER,
    CONFIG_PATH,
    MONITORING_USER,
    PASSWORDS_PATH,
    REWIND_USER,
    SUPERUSER,
)
from settings.data_roles import ADMINISTRATOR, ADMINISTRATOR_STATEMENTS

MAINTENANCE_DATABASE = "postgres"
"""Where passwords are looked up and statistics are read: it is there before any other and is never dropped."""


def lookup_sql() -> str:
    """The function behind ``auth_query``; run once by a superuser.

    It shows verifiers of ordinary users only, none of an expired one (CVE-2025-2291), and cannot be led astray by
    the caller's ``search_path`` (CVE-2025-12819).
    """
    return f"""\
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION {SUPERUSER};
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO {AUTH_USER};
CREATE OR REPLACE FUNCTION pgbouncer.get_auth(p_user text) RETURNS TABLE (username text, password text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT CAST(r.rolname AS text), CAST(r.rolpassword AS text) FROM pg_catalog.pg_authid r
   WHERE r.rolname = p_user AND r.rolcanlogin AND NOT r.rolsuper AND NOT r.rolreplication AND NOT r.rolbypassrls
     AND r.rolname NOT IN ('{AUTH_USER}', '{REWIND_USER}', '{ADMINISTRATOR}')
     AND (r.rolvaliduntil IS NULL OR r.rolvaliduntil > pg_catalog.clock_timestamp())
$$;
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO {AUTH_USER};
"""  # noqa: S608 # constants of this package


def bootstrap_sql() -> str:
    """What a new cluster gets, once. psql reads the passwords from their files; no statement of it is logged."""
    # On a line of its own, as the others: what follows the word is no password.
    variable = "\n  :'admin'"
    create, self_grant, monitor = (one.replace(" {password}", variable) for one in ADMINISTRATOR_STATEMENTS)
    return f"""\
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
\\set admin `cat {PASSWORDS_PATH}/admin`
\\set lookup `cat {PASSWORDS_PATH}/pooler`
\\set monitoring `cat {PASSWORDS_PATH}/monitoring`
{create};
-- PostgreSQL 15 lets it use its roles by itself, and does not know the setting.
SELECT $${self_grant}$$ WHERE current_setting('server_version_num')::int >= 160000 \\gexec
{monitor};
CREATE ROLE {AUTH_USER} LOGIN PASSWORD
  :'lookup';
CREATE ROLE {MONITORING_USER} LOGIN IN ROLE pg_monitor PASSWORD
  :'monitoring';
REVOKE TEMPORARY ON DATABASE {MAINTENANCE_DATABASE} FROM PUBLIC;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
{lookup_sql()}"""  # noqa: S608 # constants of this package


def bootstrap_script() -> str:
    """Patroni's ``post_init``: its one argument is how to reach the new server."""
    return f"""\
#!/bin/sh
set -eu
exec psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet --file={CONFIG_PATH}/bootstrap.sql "$1"
"""
