"""Monthly partitions: whoever makes them, however often, beside whatever is open."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from payments_client.migrations import care
from tests.real.database import roles
from tests.real.database.conftest import Database
from tests.real.database.together import together

_ENSURE = "SELECT partition, created FROM ops.ensure_monthly_partitions('es.events', %s, %s, %s)"


def bounds(database: Database) -> dict[str, str]:
    """Partition → its bounds, as a session in UTC prints them."""
    rows = database.all(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid "
        "CROSS JOIN set_config('TimeZone', 'UTC', false) WHERE h.inhparent = 'es.events'::regclass ORDER BY 1"
    )
    return dict(rows)


def ensure(database: Database, ahead: int, behind: int, now: str, zone: str = "UTC") -> list[tuple[str, bool]]:
    with database.connect(roles.MIGRATOR) as connection:
        connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        rows = connection.execute(_ENSURE, (ahead, behind, now)).fetchall()
    return [(row[0], row[1]) for row in rows]


def test_t19_twelve_makers_at_once_make_each_month_once(database: Database) -> None:
    before = len(bounds(database))
    answers = together(lambda _: ensure(database, 24, 0, "2031-06-15T00:00:00Z"), 12)
    made = [part for answer in answers for part, created in answer if created]
    assert len(made) == len(set(made)) == 25
    assert len(bounds(database)) == before + 25
    assert ensure(database, 24, 0, "2031-06-15T00:00:00Z") == [(part, False) for part, _ in answers[0]]


def test_t19_months_are_those_of_utc_on_both_sides_of_the_date_line(database: Database) -> None:
    """At 03:00 UTC on the first of January it is still December in Honolulu, and long January on Kiritimati."""
    zones = ("Pacific/Honolulu", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati")
    made = {zone: ensure(database, 1, 0, "2033-01-01T03:00:00Z", zone) for zone in zones}
    assert [created for _, created in made[zones[0]]] == [True, True]
    assert all(not created for zone in zones[1:] for _, created in made[zone])
    found = bounds(database)
    assert found["events_p2033_01"] == "FOR VALUES FROM ('2033-01-01 00:00:00+00') TO ('2033-02-01 00:00:00+00')"
    assert "events_p2032_12" not in found


def test_what_the_function_sets_for_itself_ends_with_it(database: Database) -> None:
    names = ("TimeZone", "DateStyle", "lock_timeout")
    mine = ("Asia/Tokyo", "German, DMY", "7s")
    with database.connect(roles.MIGRATOR) as connection, connection.transaction():
        for name, value in zip(names, mine, strict=True):
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))
        connection.execute(_ENSURE, (1, 0, "2034-05-05T00:00:00Z"))
        shown = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
    assert shown == [(value,) for value in mine]


def test_t19_the_year_ends_without_a_hole(database: Database) -> None:
    ensure(database, 14, 1, "2035-11-30T23:59:59.999999Z")
    months = [name for name in bounds(database) if name.startswith(("events_p2035", "events_p2036", "events_p2037"))]
    assert months == [
        "events_p2035_10",
        *(f"events_p2035_{m}" for m in (11, 12)),
        *(f"events_p2036_{m:02d}" for m in range(1, 13)),
        "events_p2037_01",
    ]
    for moment in ("2035-12-31T23:59:59.999999Z", "2036-01-01T00:00:00Z", "2036-02-29T12:00:00Z"):
        event = f'[{{"type": "A", "data": {{}}, "occurred_at": "{moment}"}}]'
        database.all("SELECT es.append('s', NULL, %s)", event, user=roles.APP)
    rows = database.all("SELECT tableoid::regclass::text FROM es.events ORDER BY occurred_at")
    assert rows == [("es.events_p2035_12",), ("es.events_p2036_01",), ("es.events_p2036_02",)]


@pytest.fixture
def open_transactions(database: Database) -> "Iterator[list[psycopg.Connection[Any]]]":
    with database.connect(autocommit=False) as reader, database.connect(autocommit=False) as writer:
        reader.execute("SELECT count(*) FROM es.events")
        writer.execute('SELECT es.append(\'s\', 0, \'[{"type": "A", "data": {}}]\')')
        yield [reader, writer]


def test_t19_an_open_reader_and_an_open_writer_are_not_waited_for(
    database: Database, open_transactions: list[Any]
) -> None:
    with database.connect(roles.MIGRATOR) as connection:
        connection.execute("SET lock_timeout = '1s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(
                "CREATE TABLE es.events_p2040_01 PARTITION OF es.events "
                "FOR VALUES FROM ('2040-01-01') TO ('2040-02-01')"
            )
    assert [created for _, created in ensure(database, 3, 0, "2040-01-15T00:00:00Z")] == [True] * 4
    for connection in open_transactions:
        connection.execute("SELECT count(*) FROM es.events")


def test_headroom_counts_to_the_first_hole(database: Database) -> None:
    with database.connect(roles.MIGRATOR) as connection:
        care.make_ahead(connection, 6)
        days = care.headroom_days(connection)["events"]
        assert 6 * 28 < days < 7 * 31 + 1
        # A far month after a hole is no headroom.
        connection.execute(
            "SELECT ops.ensure_monthly_partitions('es.events', 1, 0, clock_timestamp() + interval '3 years')"
        )
        assert care.headroom_days(connection)["events"] == pytest.approx(days, abs=0.1)
    shown = database.all("SELECT value FROM ops.metrics WHERE name = 'partition_headroom_seconds'", user=roles.EXPORTER)
    assert float(shown[0][0]) / 86400 == pytest.approx(days, abs=0.1)


def test_old_months_move_to_the_archive_beside_traffic_and_are_not_made_again(database: Database) -> None:
    ensure(database, 3, 0, "2020-01-15T00:00:00Z")
    for month in ("01", "02", "03"):
        event = f'[{{"type": "A", "data": {{}}, "occurred_at": "2020-{month}-05T00:00:00Z"}}]'
        database.all("SELECT es.append('s', NULL, %s)", event, user=roles.APP)
    with database.connect(roles.MIGRATOR) as connection:
        now = datetime(2021, 3, 1, tzinfo=UTC)
        assert care.archive_old(connection, 12, now=now) == ["events_p2020_01", "events_p2020_02"]
        assert care.archive_old(connection, 12, now=now) == []
    assert database.one("SELECT count(*) FROM archive.events_p2020_01") == 1
    assert database.one("SELECT count(*) FROM es.events") == 1
    assert {name for name in bounds(database) if "2020" in name} == {"events_p2020_03", "events_p2020_04"}


def test_an_interrupted_detachment_is_finished_by_the_next_run(database: Database) -> None:
    ensure(database, 1, 0, "2020-01-15T00:00:00Z")
    now = datetime(2020, 4, 1, tzinfo=UTC)
    with database.connect(autocommit=False) as reader, database.connect(roles.MIGRATOR) as connection:
        reader.execute("SELECT count(*) FROM es.events")
        # The first half commits, the second waits for the reader until it is ended.
        connection.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            care.archive_old(connection, 1, now=now)
    assert database.one("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'es.events_p2020_01'::regclass")
    with database.connect(roles.MIGRATOR) as connection:
        care.make_ahead(connection)
        assert care.archive_old(connection, 1, now=now) == ["events_p2020_01", "events_p2020_02"]
    assert database.one("SELECT to_regclass('archive.events_p2020_01') IS NOT NULL")


def test_a_month_that_was_detached_and_not_moved_is_moved_and_never_attached_again(database: Database) -> None:
    ensure(database, 1, 0, "2020-01-15T00:00:00Z")
    with database.connect(roles.MIGRATOR) as connection:
        connection.execute("ALTER TABLE es.events DETACH PARTITION es.events_p2020_01 CONCURRENTLY")
        with pytest.raises(psycopg.errors.DuplicateTable):
            connection.execute(_ENSURE, (1, 0, "2020-01-15T00:00:00Z"))
        assert "events_p2020_01" in care.archive_old(connection, 1, now=datetime(2020, 4, 1, tzinfo=UTC))


def test_the_arguments_are_checked(database: Database) -> None:
    for ahead, behind in ((0, 0), (61, 0), (3, -1)):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            ensure(database, ahead, behind, "2030-01-01T00:00:00Z")
    with pytest.raises(psycopg.errors.WrongObjectType):
        database.all("SELECT ops.ensure_monthly_partitions('es.wallet_events')")
