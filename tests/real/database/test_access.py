"""Each role does its work and nothing else; the work needs no grant on a partition, also not on one made later."""

import psycopg
import pytest

from tests.real.database import roles
from tests.real.database.conftest import Database

EVENT = '[{"type": "A", "data": {}, "occurred_at": "2030-05-05T00:00:00Z"}]'
LATER = "SELECT ops.ensure_monthly_partitions('es.events', 1, 0, '2030-05-15T00:00:00Z')"


def refused(database: Database, user: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.all(statement, user=user)


def test_the_application_writes_by_functions_only(database: Database) -> None:
    database.all(LATER)
    database.all("SELECT es.append('s', 0, %s)", EVENT, user=roles.APP)
    assert database.one("SELECT count(*) FROM es.events", user=roles.APP) == 1
    for statement in (
        "SELECT * FROM es.events_p2030_05",
        "INSERT INTO es.events (stream_id, version, occurred_at, type, data) VALUES ('s', 9, now(), 'X', '{}')",
        "UPDATE es.streams SET version = 0",
        "UPDATE ledger.wallets SET balance = 1000000",
        "DELETE FROM es.events",
        "TRUNCATE es.events",
        "INSERT INTO es.wallet_events VALUES ('u', 'w', 1, 'EUR', 'X', 1, 1, 't')",
        "UPDATE es.wallet_balances SET balance = 0",
        "INSERT INTO es.outbox (lane, topic, key, payload) VALUES (0, 't', 'k', '{}')",
        "SELECT * FROM es.idempotency_keys",
        "DELETE FROM es.read_model_cursor",
        "SELECT es.rebuild_wallet_balances(0)",
        "SELECT ops.ensure_monthly_partitions('es.events', 12)",
        "SELECT ops.forget_idempotency_keys(interval '30 days')",
        "SELECT ops.adopt_restored_rows()",
        "SELECT ledger.open_house_wallet('mint', 'u', 'EUR')",
        "SELECT ledger.open_wallet_of_kind('mint', 'u', 'EUR', 'house')",
        "SELECT ledger.hasten_cross_transfers('s01')",
        "DELETE FROM es.archived",
        "SELECT * FROM ops.schema_migrations",
        "CREATE TABLE es.mine (n int)",
        "CREATE TABLE public.mine (n int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE es.events ADD COLUMN n int",
        "SET ROLE payments_owner",
        "SELECT * FROM archive.nothing",
    ):
        refused(database, roles.APP, statement)


def test_the_reader_reads_and_nothing_else(database: Database) -> None:
    for table in ("es.events", "es.streams", "es.wallet_events", "es.wallet_balances", "ledger.wallets"):
        assert database.all(f"TABLE {table}", user=roles.READONLY) == []
    assert database.all("SELECT * FROM es.read_stream('s')", user=roles.READONLY) == []
    for statement in (
        f"SELECT es.append('s', 0, '{EVENT}')",
        "SELECT ledger.open_wallet('w', 'u', 'EUR')",
        "SELECT ledger.transfer('t', 'a', 'b', 1, 'EUR')",
        "SELECT es.refresh_wallet_balances(0)",
        "DELETE FROM ledger.wallets",
        "CREATE TABLE es.mine (n int)",
    ):
        refused(database, roles.READONLY, statement)


def test_the_exporter_sees_numbers_and_no_row(database: Database) -> None:
    names = {row[0] for row in database.all("SELECT name, value FROM ops.metrics", user=roles.EXPORTER)}
    assert names == {
        "partition_headroom_seconds", "outbox_oldest_seconds", "read_model_age_seconds", "schema_version",
        "cross_shard_transfers", "cross_shard_oldest_seconds", "buckets_refused_seconds", "check_wrong_rows",
        "check_age_seconds",
    }  # fmt: skip
    for statement in (
        "SELECT * FROM es.events",
        "SELECT * FROM es.outbox",
        "SELECT * FROM ledger.wallets",
        "SELECT * FROM ops.schema_migrations",
        "SELECT ops.ensure_monthly_partitions('es.events', 12)",
    ):
        refused(database, roles.EXPORTER, statement)


def test_nobody_else_may_run_anything(database: Database) -> None:
    """PostgreSQL gives EXECUTE on a new function to PUBLIC; here a function that is forgotten stays closed."""
    open_ones = database.all(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace::regnamespace::text "
        "IN ('es', 'ledger', 'ops') AND (p.proacl IS NULL OR EXISTS "
        "(SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))"
    )
    assert open_ones == []
    database.all("CREATE FUNCTION es.forgotten() RETURNS int LANGUAGE sql RETURN 1")
    refused(database, roles.APP, "SELECT es.forgotten()")


def test_functions_with_their_owners_rights_look_in_no_schema_that_others_can_write_to(database: Database) -> None:
    open_ones = database.all(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace::regnamespace::text "
        "IN ('es', 'ledger', 'ops') AND NOT ('search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}')))"
    )
    assert open_ones == []


def test_no_partition_has_a_grant_of_its_own_for_those_who_write(database: Database) -> None:
    """A grant on a partition would go around what is decided about its parent, and drift with every month."""
    database.all(LATER)
    granted = database.all(
        "SELECT c.relname, a.grantee::regrole::text FROM pg_class c CROSS JOIN aclexplode(c.relacl) a "
        "WHERE c.relispartition AND a.grantee::regrole::text NOT IN ('payments_owner', 'payments_readonly')"
    )
    assert granted == []
