"""The read model of balances against the events, with late commits, rollbacks and several refreshers."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from payments_client.migrations import MigrationError
from payments_client.migrations.balances import keep_fresh
from tests.real.database import roles
from tests.real.database.conftest import Database

_ENTRIES = """
INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id)
SELECT 'u' || (%(first)s + n %% %(wallets)s), 'w' || (%(first)s + n %% %(wallets)s), %(seq)s + n, 'EUR', 'Entry',
       CASE n %% 2 WHEN 0 THEN 1 ELSE -1 END * (1 + n / 2) / 100.0, 0, %(transfer)s || (n / 2)
  FROM generate_series(0, %(entries)s - 1) AS n
"""


def prepare(database: Database, wallets: int) -> None:
    database.all(
        "INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) "
        "SELECT 'w' || n, 'u' || n, 'EUR', 'house' FROM generate_series(0, %s) AS n",
        wallets,
    )


def mismatches(database: Database) -> list[tuple[object, ...]]:
    return database.all(
        "SELECT c.* FROM generate_series(0, 3) AS bucket, es.check_wallet_balances(bucket) c", user=roles.APP
    )


def trial(database: Database, *, writers: int, transactions: int, entries: int, refreshers: int = 2) -> int:
    """Writers whose transactions end in another order than they begin; refreshers on every bucket meanwhile."""
    prepare(database, writers * 20)
    stop, seen = threading.Event(), [0]

    def write(writer: int) -> int:
        chance, kept = random.Random(writer), 0  # noqa: S311
        with database.connect(roles.MIGRATOR, autocommit=False) as connection:
            for number in range(transactions):
                connection.execute(
                    _ENTRIES,
                    {
                        "first": writer * 20,
                        "wallets": 20,
                        "seq": 1 + number * entries,
                        "entries": entries,
                        "transfer": f"t-{writer}-{number}-",
                    },
                )
                if chance.random() < 0.3:
                    time.sleep(chance.random() * 0.05)
                if chance.random() < 0.1:
                    connection.rollback()
                else:
                    connection.commit()
                    kept += entries
        return kept

    def refresh(number: int) -> None:
        with database.connect() as connection:
            while not stop.is_set():
                row = connection.execute("SELECT es.refresh_wallet_balances(%s)", (number % 4,)).fetchone()
                assert row is not None
                if row[0] > 0:
                    seen[0] += 1
                time.sleep(0.01)

    with ThreadPoolExecutor(writers + 4 * refreshers) as pool:
        refreshing = [pool.submit(refresh, number) for number in range(4 * refreshers)]
        try:
            kept = sum(future.result() for future in [pool.submit(write, number) for number in range(writers)])
        finally:
            stop.set()
        for future in refreshing:
            future.result()
    assert seen[0] > 4, "no refresh met new events while they were written: nothing was tried"
    assert mismatches(database) == []
    database.all("SELECT es.refresh_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
    return kept


def compare(database: Database, kept: int) -> None:
    assert database.one("SELECT count(*) FROM es.wallet_events") == kept
    assert mismatches(database) == []
    wrong = database.all(
        "SELECT wallet_id, b.balance, e.balance FROM es.wallet_balances b FULL JOIN "
        "(SELECT wallet_id, sum(delta) AS balance FROM es.wallet_events GROUP BY 1) e USING (wallet_id) "
        "WHERE b.balance IS DISTINCT FROM e.balance"
    )
    assert wrong == []


def test_t20_no_late_commit_is_missed_and_no_event_counted_twice(database: Database) -> None:
    compare(database, trial(database, writers=6, transactions=25, entries=20))


@pytest.mark.slow
def test_t20_the_same_over_two_hundred_thousand_events(database: Database) -> None:
    kept = trial(database, writers=12, transactions=105, entries=200)
    assert kept >= 200_000
    compare(database, kept)


def test_an_open_transaction_holds_back_what_is_newer_and_loses_nothing(database: Database) -> None:
    prepare(database, 60)
    values = {"wallets": 20, "seq": 1, "entries": 20}
    with database.connect(roles.MIGRATOR, autocommit=False) as late:
        late.execute(_ENTRIES, {**values, "first": 0, "transfer": "late-"})
        with database.connect(roles.MIGRATOR) as early:
            early.execute(_ENTRIES, {**values, "first": 20, "transfer": "early-"})
        refresh = "SELECT sum(es.refresh_wallet_balances(bucket)) FROM generate_series(0, 3) AS bucket"
        assert database.one(refresh, user=roles.APP) == 0
        late.commit()
    assert database.one(refresh, user=roles.APP) == 40
    compare(database, 40)


def test_a_rebuild_gives_the_same_and_readers_see_the_old_rows_until_then(database: Database) -> None:
    prepare(database, 60)
    database.all(
        _ENTRIES.replace("%(first)s", "0")
        .replace("%(wallets)s", "20")
        .replace("%(seq)s", "1")
        .replace("%(entries)s", "400")
        .replace("%(transfer)s", "'t-'")
        .replace("%%", "%")
    )
    database.all("SELECT es.refresh_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
    before = database.all("SELECT * FROM es.wallet_balances ORDER BY 1, 2")
    assert len(before) == 20
    database.all("UPDATE es.wallet_balances SET balance = balance + 1 WHERE wallet_id IN ('w1', 'w2')")
    assert {row[1] for row in mismatches(database)} == {"w1", "w2"}
    with database.connect(roles.MIGRATOR, autocommit=False) as rebuilding:
        rebuilding.execute("SELECT es.rebuild_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
        assert database.one("SELECT count(*) FROM es.wallet_balances", user=roles.APP) == 20
        # Another worker leaves a bucket alone that is held.
        assert database.one("SELECT es.refresh_wallet_balances(0)", user=roles.APP) == -1
        rebuilding.commit()
    assert database.all("SELECT * FROM es.wallet_balances ORDER BY 1, 2") == before


def test_t20_a_materialised_view_cannot_be_partitioned(database: Database) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        database.all("CREATE MATERIALIZED VIEW es.balances PARTITION BY HASH (user_id) AS SELECT 1 AS user_id")


def test_a_lookup_reads_one_part_and_a_parts_users_lie_in_two_of_eight(database: Database) -> None:
    plan = database.all("EXPLAIN SELECT balance FROM es.wallet_balances WHERE user_id = 'u1' AND wallet_id = 'w1'")
    text = "\n".join(row[0] for row in plan)
    assert text.count("wallet_balances_h") == 2, text  # the part and its index
    prepare(database, 200)
    with database.connect(roles.MIGRATOR) as connection:
        connection.execute(_ENTRIES, {"first": 0, "wallets": 200, "seq": 1, "entries": 200, "transfer": "t-"})
    database.all("SELECT es.refresh_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
    nested = database.all(
        "SELECT DISTINCT right(e.tableoid::regclass::text, 1)::int, right(b.tableoid::regclass::text, 1)::int "
        "FROM es.wallet_events e JOIN es.wallet_balances b USING (user_id) ORDER BY 1"
    )
    assert nested == [(part, part % 4) for part in range(8)]


def test_after_a_logical_copy_rows_are_adopted(database: Database) -> None:
    """Their transaction ids are another server's: higher than any here, so nobody would ever see them."""
    prepare(database, 20)
    with database.connect(roles.MIGRATOR) as connection:
        connection.execute(_ENTRIES, {"first": 0, "wallets": 20, "seq": 1, "entries": 20, "transfer": "t-"})
    database.all('SELECT es.append(\'s\', 0, \'[{"type": "A", "data": {}}, {"type": "B", "data": {}}]\')')
    for table in ("es.events", "es.wallet_events"):
        database.all(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        database.all(f"UPDATE {table} SET recorded_xid = '999999999'")  # noqa: S608
        database.all(f"ALTER TABLE {table} ENABLE TRIGGER append_only")
    assert database.all("SELECT * FROM es.read_all('0', 0)", user=roles.APP) == []
    database.all("SELECT ops.adopt_restored_rows()")
    assert database.all("SELECT type FROM es.read_all('0', 0)", user=roles.APP) == [("A",), ("B",)]
    assert mismatches(database) == []
    assert database.one("SELECT count(*) FROM es.wallet_balances") == 20
    with pytest.raises(psycopg.errors.RestrictViolation):
        database.all("DELETE FROM es.events")


def test_a_timer_refreshes_again_until_its_time_is_over(newest: Database) -> None:
    prepare(newest, 40)
    values = {"first": 0, "wallets": 40, "seq": 1, "transfer": "t", "entries": 40}

    def write() -> None:
        with newest.connect(roles.MIGRATOR) as connection:
            connection.execute(_ENTRIES, values)

    late = threading.Timer(0.5, write)
    late.start()
    taken = keep_fresh(lambda: newest.connect(roles.APP), run_seconds=4, interval_seconds=0.1)
    late.join(30)
    taken += keep_fresh(lambda: newest.connect(roles.APP), run_seconds=0, interval_seconds=1)
    assert taken == 40
    assert mismatches(newest) == []


def test_a_bucket_that_fails_ends_the_timer_of_all_and_is_named(newest: Database) -> None:
    newest.all("REVOKE EXECUTE ON FUNCTION es.refresh_wallet_balances(integer) FROM payments_app")
    started = time.monotonic()
    with pytest.raises(MigrationError, match="bucket 3: permission denied"):
        keep_fresh(lambda: newest.connect(roles.APP), run_seconds=600, interval_seconds=300)
    assert time.monotonic() - started < 300
