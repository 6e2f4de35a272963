"""Balances beside the events that they are made of: counted daily, written down, and seen by an alert.

Each check is one statement that reads every entry of the shard in one snapshot. It draws no transaction id, so that no
reader of the global order waits for it; what it holds back is the removal of dead rows.
"""

from collections.abc import Callable
from typing import Any

import psycopg

from payments_client.migrations.errors import MigrationError

Connection = psycopg.Connection[Any]
_STATEMENT_TIMEOUT = "2h"
"""Longer than any role's own: 10^9 entries at 10^6 a second are 17 minutes, on a busy disk several times that."""
_SHOWN = 20
_QUESTIONS = {
    # How many there are, and of the first ones what is wrong, what is stated and what the events say.
    "books": "SELECT count(*) OVER (), what || ' of ' || coalesce(wallet_id, currency), stated, counted "
    "FROM ledger.check_books() LIMIT %s",
    "wallet_balances": "SELECT count(*) OVER (), 'balance of ' || wallet_id, stated, counted "
    "FROM generate_series(0, 3) AS bucket, es.check_wallet_balances(bucket) LIMIT %s",
}


def check_all(connection: Connection, say: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Run every check as the owner and write down how many rows are wrong; returns check → number.

    The connection is autocommitting. A check that fails leaves its last result, whose age then grows. The first rows
    that are wrong are said. Raises ``psycopg.Error``.
    """
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (_STATEMENT_TIMEOUT,))
    return {name: _check(connection, name, question, say) for name, question in _QUESTIONS.items()}


def _check(connection: Connection, name: str, question: str, say: Callable[[str], None]) -> int:
    rows = connection.execute(question, (_SHOWN,)).fetchall()
    wrong = int(rows[0][0]) if rows else 0
    done = connection.execute(
        "UPDATE ops.checks SET wrong_rows = %s, checked_at = clock_timestamp() WHERE name = %s", (wrong, name)
    )
    if done.rowcount != 1:
        raise MigrationError(f"ops.checks has no row '{name}': the schema is older than this program")
    say(f"{name}: {wrong} rows are wrong")
    for _, what, stated, counted in rows:
        say(f"{name}: {what} is {stated}, its events say {counted}")
    return wrong
