"""One list of roles: what a new cluster is born with, what the sandbox makes, and what everybody else names."""

from components.postgres.bootstrap_files import bootstrap_sql, lookup_sql
from components.postgres.model import context_of
from components.postgres.pgbouncer_files import PoolerMode, render_pgbouncer
from sandbox import database
from settings.data import Endpoint
from settings.data_roles import ADMINISTRATOR, ADMINISTRATOR_STATEMENTS, PooledRole, RoleName
from tests.unit.stacks import settings_of


def pooler_files(stack: str) -> dict[str, str]:
    context = context_of(settings_of(stack))
    assert context is not None
    return render_pgbouncer(context, "s00", PoolerMode.READ_WRITE)


def test_the_sandboxs_server_starts_from_the_same_statements_as_a_cluster() -> None:
    """So that what the engine does on the one it does on the other."""
    assert tuple(one.replace("{verifier}", "{password}") for one in database._BOOTSTRAP) == ADMINISTRATOR_STATEMENTS
    rendered = bootstrap_sql().replace("\n  :'admin'", " {password}")
    for statement in ADMINISTRATOR_STATEMENTS:
        assert statement in rendered
    assert (database.ADMIN, Endpoint(host="h", password_key="k").username) == (ADMINISTRATOR, ADMINISTRATOR)


def test_a_new_cluster_gets_no_database_and_none_of_the_roles_that_the_engine_makes() -> None:
    text = bootstrap_sql()
    assert "CREATE DATABASE" not in text
    assert not [role for role in RoleName if f"CREATE ROLE {role}" in text]
    assert f"'{ADMINISTRATOR}'" in lookup_sql()


def test_a_pool_is_a_roles_and_takes_all_connections_where_there_is_one_role() -> None:
    lines = pooler_files("prod")["pgbouncer.ini"].splitlines()
    assert {"default_pool_size = 20", "reserve_pool_size = 0", "admin_users = payments_migrator"} <= set(lines)
    lookup = next(line for line in lines if line.startswith("user_lookup = "))
    assert " dbname=postgres " in lookup


def test_administrator_and_migrator_come_in_through_no_pool() -> None:
    rules = [line.split()[1:3] + line.split()[-1:] for line in pooler_files("dev")["pgbouncer_hba.conf"].splitlines()]
    assert ["pgbouncer", "payments_migrator", "scram-sha-256"] in rules
    assert rules.index(["pgbouncer", "payments_migrator", "scram-sha-256"]) < rules.index(
        ["all", "payments_migrator", "reject"]
    )
    assert ["all", "payments_admin", "reject"] in rules
    assert not [rule for rule in rules if rule[1] in set(PooledRole) and rule[2] == "reject"]
