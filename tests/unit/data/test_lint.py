"""The shipped SQL takes no lock that stops payments; the lint finds what would."""

from pathlib import Path

import pytest

from payments_client.migrations import load
from payments_client.migrations.files import parse
from tests.unit.data.lint import findings

MIGRATIONS = Path(__file__).parents[3] / "migrations"


def test_the_shipped_migrations_take_no_lock_that_stops_payments(tmp_path: Path) -> None:
    assert [found for migration in load(MIGRATIONS) for found in findings(migration, tmp_path)] == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE TABLE es.events_rest PARTITION OF es.events DEFAULT;", "a DEFAULT partition"),
        ("ALTER TABLE es.events ATTACH PARTITION es.rest DEFAULT;", "a DEFAULT partition"),
        ("CREATE TABLE es.e PARTITION OF es.events FOR VALUES FROM (1) TO (2);", "PARTITION OF es.events"),
        ("ALTER TABLE es.events DETACH PARTITION es.events_p2024_01;", "require-concurrent-partition-detach"),
        ("CREATE INDEX streams_created ON es.streams (created_at);", "require-concurrent-index-creation"),
        ("ALTER TABLE es.streams ADD COLUMN note text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE es.streams ALTER COLUMN note SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE es.streams ALTER COLUMN version TYPE numeric;", "changing-column-type"),
        ("ALTER TABLE es.streams ADD CONSTRAINT c CHECK (version > 0);", "constraint-missing-not-valid"),
        ("ALTER TABLE es.a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES es.c (d);", "adding-foreign-key-constraint"),
        ("ALTER TABLE es.streams DROP COLUMN version;", "ban-drop-column"),
        ("ALTER TABLE es.streams RENAME COLUMN version TO head;", "renaming-column"),
        ("LOCK TABLE es.streams;", "LOCK"),
        ("TRUNCATE es.streams;", "TRUNCATE"),
        ("CLUSTER es.streams USING streams_pkey;", "CLUSTER"),
        ("VACUUM FULL es.streams;", "VACUUM FULL"),
        ("REFRESH MATERIALIZED VIEW es.balances;", "REFRESH MATERIALIZED VIEW without CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY i ON es.streams (version);", "CONCURRENTLY cannot run in a transaction"),
    ],
)
def test_what_would_stop_payments_is_found(sql: str, expected: str, tmp_path: Path) -> None:
    migration = parse("0001_bad.sql", f"-- phase: expand\n{sql}\n".encode())
    assert any(expected in found for found in findings(migration, tmp_path))


def test_a_contract_migration_may_take_away_and_an_index_may_be_built_beside_writers(tmp_path: Path) -> None:
    contract = parse("0001_drop.sql", b"-- phase: contract\nALTER TABLE es.streams DROP COLUMN note;\n")
    assert findings(contract, tmp_path) == []
    text = b"-- phase: expand\n-- transaction: none\n%bCREATE INDEX CONCURRENTLY i ON es.streams (version);\n"
    careful = parse("0001_index.sql", text % b"DROP INDEX CONCURRENTLY IF EXISTS es.i;\n-- next\n")
    assert findings(careful, tmp_path) == []
    careless = parse("0001_index.sql", text % b"")
    assert any("is not dropped first" in found for found in findings(careless, tmp_path))
