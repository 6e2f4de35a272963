"""The daily comparison of balances with events: run by the rendered CronJob, and seen by the metrics."""

from pathlib import Path

import pytest

from payments_client.migrations.checks import check_all
from payments_client.migrations.errors import MigrationError
from tests.real.database import roles
from tests.real.database.conftest import Database
from tests.real.database.test_job import rendered, run
from tests.real.database.test_metrics import scraped, values


@pytest.fixture
def funded(database: Database) -> Database:
    """One transfer of 10.50, in the books and in the balances that people see."""
    database.all(
        "INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) "
        "VALUES ('house', 'house', 'EUR', 'house'), ('w1', 'u1', 'EUR', 'customer')"
    )
    database.all("SELECT ledger.transfer('t1', 'house', 'w1', 10.50, 'EUR')", user=roles.APP)
    database.all("SELECT es.refresh_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
    return database


def checked(database: Database) -> tuple[dict[str, int], list[str]]:
    said: list[str] = []
    with database.connect(roles.MIGRATOR) as connection:
        found = check_all(connection, said.append)
        # The roles' own are for requests.
        assert connection.execute("SHOW statement_timeout").fetchone() == ("2h",)
    return found, said


def seen(database: Database) -> dict[str, float]:
    return values(scraped(database), "check_wrong_rows")


BOOKS, BALANCES = '{shard="s00",check="books"}', '{shard="s00",check="wallet_balances"}'


def test_the_rendered_daily_job_finds_what_was_written_past_the_functions(funded: Database, tmp_path: Path) -> None:
    manifests = rendered(funded)
    care = manifests["s00-cronjob"]["spec"]["jobTemplate"]["spec"]["template"]
    output = run(manifests, care, tmp_path)
    assert "books: 0 rows are wrong" in output
    assert "wallet_balances: 0 rows are wrong" in output
    assert seen(funded) == {BOOKS: 0, BALANCES: 0}
    funded.all("UPDATE ledger.wallets SET balance = balance + 1 WHERE wallet_id = 'w1'")
    # One wallet that differs from its events, and a currency that does not add up to zero.
    output = run(manifests, care, tmp_path)
    assert "books: 2 rows are wrong" in output
    assert "books: balance of w1 is 11.50, its events say 10.50" in output
    assert "books: currency of EUR is 0, its events say 1.00" in output
    assert seen(funded) == {BOOKS: 2, BALANCES: 0}


def test_balances_that_people_see_are_compared_as_well_and_a_mended_row_is_right_again(funded: Database) -> None:
    funded.all("UPDATE es.wallet_balances SET balance = 99 WHERE wallet_id = 'w1'")
    assert checked(funded) == (
        {"books": 0, "wallet_balances": 1},
        ["books: 0 rows are wrong", "wallet_balances: 1 rows are wrong",
         "wallet_balances: balance of w1 is 99, its events say 10.50"],
    )  # fmt: skip
    assert seen(funded) == {BOOKS: 0, BALANCES: 1}
    funded.all("SELECT es.rebuild_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
    assert checked(funded)[0] == {"books": 0, "wallet_balances": 0}
    assert seen(funded) == {BOOKS: 0, BALANCES: 0}


def test_many_wrong_rows_are_counted_and_the_first_of_them_named(funded: Database) -> None:
    funded.all(
        "INSERT INTO ledger.wallets (wallet_id, user_id, currency, version) "
        "SELECT 'v' || n, 'u', 'EUR', 7 FROM generate_series(1, 50) AS n"
    )
    found, said = checked(funded)
    assert found == {"books": 50, "wallet_balances": 0}
    assert len(said) == 2 + 20


def test_a_check_that_fails_leaves_its_last_result_to_grow_old(funded: Database) -> None:
    checked(funded)
    funded.all("UPDATE ops.checks SET checked_at = checked_at - interval '3 days'")
    ages = values(scraped(funded), "check_age_seconds")
    assert set(ages) == {BOOKS, BALANCES}
    assert all(259_200 <= age < 259_260 for age in ages.values())
    funded.all("DELETE FROM ops.checks WHERE name = 'books'")
    with pytest.raises(MigrationError, match=r"ops\.checks has no row 'books'"):
        checked(funded)
