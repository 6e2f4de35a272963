"""What the library's own calls read: their partitions and indexes, as the server tells it of the statements it ran."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from payments_client.eventstore import NewEvent, calls
from payments_client.eventstore.calls import Call
from tests.real.database.conftest import Database
from tests.real.database.plans import Plan, explained

KEYS, STREAMS = 20_000, 2_000


@pytest.fixture
def filled(newest: Database) -> Database:
    """As many keys as make an index worth while, a tenth of them old; streams in this month, with years of months."""
    newest.all("SELECT count(*) FROM ops.ensure_monthly_partitions('es.events', 3, 24)")
    newest.all(
        "INSERT INTO es.idempotency_keys (key, request, first_version, last_version, created_at) "
        "SELECT 'k' || n, sha256('x'), 1, 1, clock_timestamp() - "
        "interval '1 day' * CASE WHEN n <= %s THEN 60 ELSE 1 END FROM generate_series(1, %s) AS n",
        KEYS // 10,
        KEYS,
    )
    newest.all(
        "SELECT count(*) FROM generate_series(1, %s) AS n, es.append('stream-' || n, 0, %s)",
        STREAMS,
        '[{"type": "A", "data": {}}, {"type": "B", "data": {}}]',
    )
    newest.all("SELECT ledger.open_house_wallet('bank', 'bank', 'EUR'), ledger.open_wallet('w', 'u', 'EUR')")
    newest.all("SELECT ledger.transfer('t', 'bank', 'w', 5, 'EUR')")
    newest.all("ANALYZE es.idempotency_keys, es.events, es.streams")
    return newest


def plans_of(database: Database, call: Call[Any], role: str = "payments_app") -> list[Plan]:
    """Plans of the eighth time: the session knows the catalogue, and has had time to choose plans for all values."""
    with explained(database.server, database.name, role) as (connection, plans):
        for _ in range(8):
            plans.clear()
            connection.execute(call.query, call.values)
    return plans


def touched(plans: Sequence[Plan], prefix: str) -> set[str]:
    return {table for plan in plans for table in plan.tables() if table.startswith(prefix)}


def kinds(plans: Sequence[Plan], prefix: str) -> set[str]:
    return {
        node["Node Type"]
        for plan in plans
        for node in plan.nodes()
        if node.get("Relation Name", "").startswith(prefix) and node["Node Type"] != "ModifyTable"
    }


def test_a_stream_is_read_by_its_key_in_its_own_months(filled: Database) -> None:
    plans = plans_of(filled, calls.read_stream("stream-17", 0, 100))
    assert len(touched(plans, "events_p")) == 1
    assert kinds(plans, "events_p") <= {"Index Scan", "Bitmap Heap Scan"}
    assert kinds(plans, "streams") <= {"Index Scan", "Bitmap Heap Scan"}


def test_a_key_is_looked_up_by_its_index_in_one_part(filled: Database) -> None:
    event = NewEvent(type="A", data={"n": 1})
    filled.all("SELECT count(*) FROM es.append('known', 0, %s, 'request-1')", '[{"type": "A", "data": {"n": 1}}]')
    # A repetition looks the key up; a new one writes it and writes down the answer.
    repetition = plans_of(filled, calls.append("known", [event], 0, "request-1"))
    assert len(touched(repetition, "idempotency_keys_h")) == 1
    looked = [plan for plan in repetition if plan.query.startswith("SELECT ")]
    assert kinds(looked, "idempotency_keys_h") == {"Index Scan"}
    with explained(filled.server, filled.name, "payments_app") as (connection, plans):
        new = calls.append("another", [event], 0, "request-2")
        connection.execute(new.query, new.values)
    assert len(touched(plans, "idempotency_keys_h")) == 1
    assert kinds(plans, "idempotency_keys_h") == {"Index Scan"}


def test_old_keys_are_found_by_their_age_and_forgotten_by_their_key(filled: Database) -> None:
    with explained(filled.server, filled.name, "payments_owner") as (connection, plans):
        row = connection.execute("SELECT ops.forget_idempotency_keys(interval '30 days', 500)").fetchone()
    assert row == (500,)
    assert kinds(plans, "idempotency_keys_h") <= {"Index Scan", "Bitmap Heap Scan"}, plans[0].root
    indexes = {node["Index Name"] for plan in plans for node in plan.nodes() if "Index Name" in node}
    # By their age in every part that has old ones, then by the key: each part for all of them.
    assert {name for name in indexes if name.endswith("_created")} == {
        f"idempotency_keys_h{n}_created" for n in range(8)
    }
    assert {name for name in indexes if name.endswith("_pkey")} == {f"idempotency_keys_h{n}_pkey" for n in range(8)}
    left = filled.one("SELECT count(*) FROM es.idempotency_keys WHERE created_at < now() - interval '30 days'")
    assert left == KEYS // 10 - 500


def test_a_balance_is_read_by_its_wallet(filled: Database) -> None:
    with explained(filled.server, filled.name, "payments_app") as (connection, plans):
        call = calls.balance("w")
        assert call.parse(connection.execute(call.query, call.values).fetchall()) == (Decimal(5), 1)
    assert touched(plans, "") == {"wallets", "buckets"}


def test_a_hand_written_query_over_all_months_would_be_seen(filled: Database) -> None:
    with explained(filled.server, filled.name, "payments_app") as (connection, plans):
        connection.execute("SELECT * FROM es.events WHERE stream_id = 'stream-17'")
    assert len(touched(plans, "events_p")) > 20
