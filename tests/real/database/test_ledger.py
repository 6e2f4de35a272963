"""Wallets and transfers: money is neither made nor lost, whoever moves it and however often it is asked."""

import random
from decimal import Decimal
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments_client.eventstore import (
    AmountError,
    CurrencyError,
    EventStoreError,
    InsufficientFundsError,
    KeyReusedError,
    Ledger,
    UnknownWalletError,
    WalletOwnerError,
)
from tests.real.database import roles
from tests.real.database.conftest import Database
from tests.real.database.together import together

WORKERS = 8


def ledger(database: Database) -> Ledger:
    return Ledger(database.transaction)


@pytest.fixture
def funded(database: Database) -> Database:
    """Five wallets with 100 EUR each, out of a house wallet."""
    mine = ledger(database)
    database.all("SELECT ledger.open_house_wallet('house', 'house', 'EUR')")
    for number in range(5):
        mine.open_wallet(f"w{number}", f"u{number}", "EUR")
        mine.transfer(f"fund-{number}", source="house", target=f"w{number}", amount=Decimal(100), currency="EUR")
    return database


def books(database: Database) -> list[tuple[object, ...]]:
    return database.all("SELECT * FROM ledger.check_books()", user=roles.APP)


def test_transfers_beside_each_other_conserve_money_and_never_overdraw(funded: Database) -> None:
    """Opposite transfers of the same wallets, amounts that often are not there, and every id tried twice."""
    refused: list[str] = []

    def work(worker: int) -> int:
        mine, chance, done = ledger(funded), random.Random(worker), 0  # noqa: S311
        for number in range(12):
            source, target = chance.sample([f"w{n}" for n in range(5)], 2)
            amount = Decimal(chance.randint(1, 6000)) / 100
            for _ in range(2):
                try:
                    answer = mine.transfer(
                        f"t-{worker}-{number}", source=source, target=target, amount=amount, currency="EUR"
                    )
                except InsufficientFundsError:
                    refused.append(source)
                else:
                    done += not answer.duplicate
        return done

    done = sum(together(work, WORKERS))
    assert refused, "no transfer was refused: nothing was tried"
    assert books(funded) == []
    balances = [row[0] for row in funded.all("SELECT balance FROM ledger.wallets WHERE kind = 'customer'")]
    assert sum(balances) == Decimal(500)
    assert min(balances) >= 0
    assert funded.one("SELECT count(*) FROM ledger.transfers") == done + 5
    assert funded.one("SELECT count(*) FROM es.wallet_events") == 2 * (done + 5)
    # Every event states the balance that it led to.
    for wallet in ("w0", "w1", "house"):
        rows = funded.all("SELECT seq, delta, balance FROM es.wallet_events WHERE wallet_id = %s ORDER BY seq", wallet)
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        assert all(later[2] == earlier[2] + later[1] for earlier, later in pairwise(rows))


def test_one_id_moves_money_once(funded: Database) -> None:
    answers = together(
        lambda _: ledger(funded).transfer("once", source="w0", target="w1", amount=Decimal(60), currency="EUR"), WORKERS
    )
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert len({(a.source_version, a.target_version) for a in answers}) == 1
    assert ledger(funded).balance("w0") == (Decimal(40), 2)
    with pytest.raises(KeyReusedError):
        ledger(funded).transfer("once", source="w0", target="w1", amount=Decimal(1), currency="EUR")
    with pytest.raises(KeyReusedError):
        ledger(funded).transfer("once", source="w2", target="w3", amount=Decimal(60), currency="EUR")


def test_what_is_no_transfer_is_refused_and_changes_nothing(funded: Database) -> None:
    mine = ledger(funded)
    mine.open_wallet("yen", "u0", "JPY")
    cases: list[tuple[type[EventStoreError], str, str, Decimal, str]] = [
        (InsufficientFundsError, "w0", "w1", Decimal("100.01"), "EUR"),
        (UnknownWalletError, "w0", "nobody", Decimal(1), "EUR"),
        (UnknownWalletError, "w0", "w0", Decimal(1), "EUR"),
        (CurrencyError, "w0", "yen", Decimal(1), "EUR"),
        (CurrencyError, "w0", "w1", Decimal(1), "XXX"),
        (AmountError, "w0", "w1", Decimal(0), "EUR"),
        (AmountError, "w0", "w1", Decimal(-5), "EUR"),
        (AmountError, "w0", "w1", Decimal("0.001"), "EUR"),
        (AmountError, "w0", "w1", Decimal("NaN"), "EUR"),
        (AmountError, "w0", "w1", Decimal("Infinity"), "EUR"),
    ]
    for number, (error, source, target, amount, currency) in enumerate(cases):
        with pytest.raises(error):
            mine.transfer(f"bad-{number}", source=source, target=target, amount=amount, currency=currency)
    with pytest.raises(TypeError, match="an amount is a Decimal"):
        mine.transfer("bad", source="w0", target="w1", amount=0.1, currency="EUR")  # type: ignore[arg-type]
    assert funded.one("SELECT count(*) FROM ledger.transfers") == 5
    assert books(funded) == []


def test_t21_a_wallet_belongs_to_one_user_for_ever(funded: Database) -> None:
    mine = ledger(funded)
    assert mine.open_wallet("w0", "u0", "EUR") is False
    for user, currency in (("u1", "EUR"), ("u0", "USD")):
        with pytest.raises(WalletOwnerError):
            mine.open_wallet("w0", user, currency)
    # Also for the owner of the tables.
    for statement in (
        "UPDATE ledger.wallets SET user_id = 'u1' WHERE wallet_id = 'w0'",
        "UPDATE ledger.wallets SET kind = 'house' WHERE wallet_id = 'w0'",
        "DELETE FROM ledger.wallets WHERE wallet_id = 'w0'",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            funded.all(statement)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        funded.all(
            "INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id) "
            "VALUES ('u1', 'w0', 2, 'EUR', 'X', 1, 101, 't'), ('u1', 'w1', 2, 'EUR', 'X', -1, 99, 't')"
        )


def test_facts_are_neither_changed_nor_deleted_nor_one_sided_even_by_their_owner(funded: Database) -> None:
    funded.all('SELECT es.append(\'s\', 0, \'[{"type": "A", "data": {}}]\')', user=roles.APP)
    for statement in (
        "UPDATE es.events SET data = '{}'",
        "DELETE FROM es.events",
        "UPDATE es.wallet_events SET delta = 1",
        "DELETE FROM es.wallet_events",
        "UPDATE ledger.transfers SET amount = 1",
        "DELETE FROM ledger.transfers",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            funded.all(statement)
    with pytest.raises(psycopg.errors.CheckViolation, match="do not add up to zero"):
        funded.all(
            "INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id) "
            "VALUES ('u0', 'w0', 2, 'EUR', 'X', 1, 101, 't')"
        )
    with pytest.raises(psycopg.errors.CheckViolation, match="balance_not_negative"):
        funded.all("UPDATE ledger.wallets SET balance = -0.01 WHERE wallet_id = 'w0'")


def test_the_check_of_the_books_finds_what_is_wrong(funded: Database) -> None:
    funded.all("UPDATE ledger.wallets SET balance = balance + 1, version = 7 WHERE wallet_id = 'w0'")
    found = {(row[0], row[1], row[3], row[4]) for row in books(funded)}
    assert found == {
        ("balance", "w0", Decimal(101), Decimal(100)),
        ("version", "w0", Decimal(7), Decimal(1)),
        ("currency", None, Decimal(0), Decimal(1)),
    }


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.decimals(min_value=Decimal("0.0001"), max_value=10**6, places=4), min_size=1, max_size=4))
def test_amounts_stay_what_they_are(newest: Database, amounts: list[Decimal]) -> None:
    """Stored and added as decimal numbers: no digit is rounded away."""
    total = newest.one("SELECT sum(amount) FROM unnest(%s::ledger.amount[]) AS amount", amounts)
    assert total == sum(amounts)
    with pytest.raises(psycopg.errors.CheckViolation):
        newest.one("SELECT (%s + 0.00001)::ledger.amount", amounts[0])
