"""``python -m bench.data``: the event store's tables beside the simpler ones that they replace, on a real PostgreSQL.

Insert: a table by month beside the same columns, indexes and trigger without partitions. Both sides take turns, and who
is first changes; before each turn a checkpoint, so that both write as many full pages, and no vacuum meanwhile. The
ratio is the median of the rounds' own: what slows the machine slows both halves of a round. Refresh:
balances brought up to date with what is new beside REFRESH MATERIALIZED VIEW CONCURRENTLY over the same events. Lookup:
which partitions are touched by the statements that the library's calls run, as the server itself says. Append: calls of
``es.append`` by number of writers, one stream each, every call a durable transaction.
"""

import argparse
import json
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from rich.console import Console
from rich.table import Table

from bench.stacks import ROOT
from payments_client.eventstore import NewEvent, calls
from payments_client.migrations import apply, load
from payments_client.migrations.care import make_ahead
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.plans import explained
from tests.real.postgres_server import PostgresServer, running

# Durable, as in production: what a commit costs is the point of the last measurement.
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    # What begins by itself falls on one side of a round and not on the other.
    "autovacuum": "off",
    "max_wal_size": "8GB",
}
_DATABASE = "payments"
_ROUNDS = 25
_REFRESHES = 9
Connection = psycopg.Connection[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One measurement beside its rival, round by round; ``goal`` is the least ratio rival / ours."""

    what: str
    ours_seconds: list[float]
    rival_seconds: list[float]
    goal: float

    @property
    def ratios(self) -> list[float]:
        """How many times as long the rival took in each round, smallest first."""
        return sorted(rival / ours for ours, rival in zip(self.ours_seconds, self.rival_seconds, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)


@dataclass(frozen=True, kw_only=True, slots=True)
class Touched:
    """One lookup: its time, and how many of the partitions that exist were read."""

    what: str
    partitions: int
    of: int
    milliseconds: float


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-data.json", help="JSON file to write")
    parser.add_argument("--events", type=int, default=1_000_000, help="events behind the balances")
    parser.add_argument("--wallets", type=int, default=100_000, help="wallets that the events are spread over")
    parser.add_argument("--new", type=int, default=10_000, help="events that a refresh takes up")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of one round of inserts")
    parser.add_argument("--seconds", type=float, default=5, help="length of each trial of appends")
    parser.add_argument("--version", type=int, choices=VERSIONS, default=max(VERSIONS), help="PostgreSQL")
    options = parser.parse_args()
    with prepared(options.version) as server:
        compared = [*inserts(server, options.rows), *refreshes(server, options.events, options.new, options.wallets)]
        touched = lookups(server)
        appended = {writers: appends(server, writers, options.seconds) for writers in (1, 2, 4, 8, 16)}
    _print(compared, touched, appended)
    report = {
        "python": platform.python_version(),
        "postgresql": options.version,
        "compared": [{**asdict(one), "ratio": one.ratio} for one in compared],
        "lookups": [asdict(one) for one in touched],
        "appends_per_second": appended,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


@contextmanager
def prepared(major: int) -> Iterator[PostgresServer]:
    """A migrated database with four years of monthly partitions."""
    with running(major, _SETTINGS) as server:
        roles.make_roles(server)
        roles.make_database(server, _DATABASE)
        with server.connect() as connection:
            connection.execute("GRANT pg_checkpoint TO payments_owner")
        with psycopg.connect(server.dsn(_DATABASE, roles.MIGRATOR), autocommit=True) as connection:
            apply(connection, load(ROOT / "migrations"))
            connection.execute("SELECT count(*) FROM ops.ensure_monthly_partitions('es.events', 6, 48)")
            make_ahead(connection)
        yield server


@contextmanager
def connected(server: PostgresServer, user: str = roles.MIGRATOR) -> Iterator[Connection]:
    """A session; the migrating role acts as the owner."""
    with psycopg.connect(server.dsn(_DATABASE, user), autocommit=True) as connection:
        if user == roles.MIGRATOR:
            connection.execute("SET ROLE payments_owner")
        yield connection


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- inserts -----------------------------------------------------------------------------------------------------------

_MANY = """
INSERT INTO {table} (stream_id, version, occurred_at, type, data)
SELECT 'stream-' || (n %% 1000), %(first)s + n, now(), 'PaymentCreated', '{{"amount": "10.00", "currency": "EUR"}}'
  FROM generate_series(1, %(rows)s) AS n
"""
_ONE = """
INSERT INTO {table} (stream_id, version, occurred_at, type, data)
VALUES (%s, %s, now(), 'PaymentCreated', '{{"amount": "10.00", "currency": "EUR"}}')
"""


def inserts(server: PostgresServer, rows: int) -> list[Compared]:
    """Rows in one statement, one at a time, and each in a durable transaction; medians of rounds in turn."""
    tables = ("es.events", "es.plain_events")
    with connected(server) as connection:
        connection.execute("CREATE TABLE es.plain_events (LIKE es.events INCLUDING ALL)")
        connection.execute(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.plain_events "
            "FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()"
        )
        many: dict[str, list[float]] = {table: [] for table in tables}
        single: dict[str, list[float]] = {table: [] for table in tables}
        durable: dict[str, list[float]] = {table: [] for table in tables}
        for number in range(_ROUNDS):
            # Who goes first changes: the second one finds warmer caches.
            for table in tables if number % 2 else reversed(tables):
                connection.execute("CHECKPOINT")
                values = {"first": number * rows, "rows": rows}
                many[table].append(_seconds(partial(connection.execute, _MANY.format(table=table), values)))
                first = -(number + 1) * rows
                single[table].append(_seconds(partial(_in_one, connection, table, first, rows // 10)))
            connection.execute("CHECKPOINT")
            for table, seconds in _in_turn(connection, tables, number * rows, rows // 50).items():
                durable[table].append(seconds)
    return [
        Compared(
            what=f"insert, {name}, beside no partitions",
            ours_seconds=taken[tables[0]],
            rival_seconds=taken[tables[1]],
            goal=0.9,
        )
        for name, taken in (("one statement", many), ("row by row", single), ("a transaction for each row", durable))
    ]


def _in_turn(connection: Connection, tables: Sequence[str], first: int, rows: int) -> dict[str, float]:
    """Table → seconds of its commits. A disk's flush varies tenfold within a second: both write row by row in turn."""
    taken = dict.fromkeys(tables, 0.0)
    for n in range(rows):
        for table in tables if n % 2 else reversed(tables):
            values = (f"durable-{n}", first + n + 1)
            taken[table] += _seconds(partial(connection.execute, _ONE.format(table=table), values, prepare=True))
    return taken


def _in_one(connection: Connection, table: str, first: int, rows: int) -> None:
    statement = _ONE.format(table=table)
    with connection.transaction():
        for n in range(rows):
            connection.execute(statement, (f"single-{n}", abs(first) + n), prepare=True)


# -- balances ----------------------------------------------------------------------------------------------------------

_WALLET_EVENTS = """
INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id)
SELECT 'u' || (n %% %(wallets)s), 'w' || (n %% %(wallets)s), %(first)s + n, 'EUR', 'Entry',
       CASE n %% 2 WHEN 0 THEN 1 ELSE -1 END * (1 + n / 2) / 100.0, 0, 't-' || %(first)s || '-' || (n / 2)
  FROM generate_series(0, %(rows)s - 1) AS n
"""


def refreshes(server: PostgresServer, events: int, new: int, wallets: int) -> list[Compared]:
    """Both read models are complete; then new events come, each with another wallet, and are taken up."""
    ours: list[float] = []
    rival: list[float] = []
    with ExitStack() as stack:
        connection, *workers = (stack.enter_context(connected(server)) for _ in range(5))
        for one in (connection, *workers):
            # As the timer refreshes: both models can be computed again, so that neither waits for the disk.
            one.execute("SET synchronous_commit = off")
        connection.execute(
            "INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) "
            "SELECT 'w' || n, 'u' || n, 'EUR', 'house' FROM generate_series(0, %s) AS n",
            (wallets - 1,),
        )
        step = 100_000
        for first in range(1, events, step):
            rows = min(step, events - first + 1)
            connection.execute(_WALLET_EVENTS, {"first": first, "rows": rows, "wallets": wallets})
        connection.execute(
            "CREATE MATERIALIZED VIEW es.balances_view AS SELECT user_id, wallet_id, min(currency) AS currency, "
            "sum(delta) AS balance, max(seq) AS last_seq FROM es.wallet_events GROUP BY 1, 2"
        )
        connection.execute("CREATE UNIQUE INDEX ON es.balances_view (user_id, wallet_id)")
        _refresh(workers)
        connection.execute("VACUUM ANALYZE es.wallet_events, es.wallet_balances, es.balances_view")
        for number in range(_REFRESHES):
            values = {"first": events + 1 + number * new, "rows": new, "wallets": wallets}
            connection.execute(_WALLET_EVENTS, values)
            connection.execute("CHECKPOINT")
            ours.append(_seconds(lambda: _refresh(workers)))
            rival.append(
                _seconds(lambda: connection.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY es.balances_view"))
            )
            difference = connection.execute(
                "SELECT count(*) FROM es.balances_view v FULL JOIN es.wallet_balances b USING (user_id, wallet_id) "
                "WHERE v.balance IS DISTINCT FROM b.balance"
            ).fetchone()
            if difference != (0,):
                raise SystemExit(f"the two read models differ in {difference} wallets")
    what = f"balances of {wallets:,} wallets, {new:,} new of {events:,} events, beside REFRESH … CONCURRENTLY"
    return [Compared(what=what, ours_seconds=ours, rival_seconds=rival, goal=20.0)]


def _refresh(workers: Sequence[Connection]) -> None:
    """The four buckets at once, as the timer does it."""

    def one(bucket: int) -> None:
        workers[bucket].execute("SELECT es.refresh_wallet_balances(%s)", (bucket,))

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(one, range(len(workers))))


# -- lookups -----------------------------------------------------------------------------------------------------------


def lookups(server: PostgresServer) -> list[Touched]:
    """Point lookups: the library's own calls, and the read models that services ask with a user and a wallet.

    The partitions are those of the statements that the server ran, inside functions as well.
    """
    stream = calls.read_stream("stream-17", 0, 10)
    wallet = ("u17", "w17")
    asked: list[tuple[str, LiteralString, Sequence[Any], str]] = [
        ("a stream's events, its own months", stream.query, stream.values, "es.events"),
        ("a balance", "SELECT * FROM es.wallet_balances WHERE user_id = %s AND wallet_id = %s", wallet,
         "es.wallet_balances"),
        ("a wallet's events", "SELECT * FROM es.wallet_events WHERE user_id = %s AND wallet_id = %s", wallet,
         "es.wallet_events"),
    ]  # fmt: skip
    with connected(server, roles.APP) as connection:
        event = [NewEvent(type="PaymentCreated", data={"amount": "10.00"})] * 10
        append = calls.append("stream-17", event, None, None)
        connection.execute(append.query, append.values)
    return [_touched(server, *one) for one in asked]


def _touched(server: PostgresServer, what: str, query: LiteralString, values: Sequence[Any], parent: str) -> Touched:
    with explained(server, _DATABASE, "payments_app") as (connection, plans):
        for _ in range(_REFRESHES):  # the session reads the catalogue once
            plans.clear()
            if not connection.execute(query, values).fetchall():
                raise SystemExit(f"{what}: nothing was found")
        read = {table for plan in plans for table in plan.tables()}
        milliseconds = max(plan.milliseconds for plan in plans)
        parts = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (parent,)
        ).fetchall()
    names = {str(part).rpartition(".")[2] for (part,) in parts}
    return Touched(what=what, partitions=len(read & names), of=len(names), milliseconds=milliseconds)


# -- appends -----------------------------------------------------------------------------------------------------------


def appends(server: PostgresServer, writers: int, seconds: float) -> int:
    """Events in a second over all writers."""
    ready, done = threading.Barrier(writers), [0] * writers

    def write(writer: int) -> None:
        with connected(server, roles.APP) as connection:
            event = json.dumps([{"type": "PaymentCreated", "data": {"amount": "10.00", "currency": "EUR"}}])
            stream = f"append-{writers}-{writer}"
            ready.wait()
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                connection.execute(
                    "SELECT * FROM es.append(%s, %s, %s, %s)",
                    (stream, done[writer], event, f"{stream}-{done[writer]}"),
                    prepare=True,
                )
                done[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(done) / seconds)


def _print(compared: list[Compared], touched: list[Touched], appended: dict[int, int]) -> None:
    console = Console()
    table = Table("", "ours [ms]", "rival [ms]", "rival / ours (quartiles)", "goal", title="Beside the simpler table")
    for one in compared:
        low, _, high = statistics.quantiles(one.ratios, n=4)
        table.add_row(
            one.what,
            f"{statistics.median(one.ours_seconds) * 1000:.1f}",
            f"{statistics.median(one.rival_seconds) * 1000:.1f}",
            f"{one.ratio:.2f}× ({low:.2f}–{high:.2f})",
            f"≥ {one.goal:g}× {'reached' if one.ratio >= one.goal else 'missed'}",
        )
    console.print(table)
    table = Table("", "partitions read", "of", "execution [ms]", title="Point lookups")
    for look in touched:
        table.add_row(look.what, str(look.partitions), str(look.of), f"{look.milliseconds:.2f}")
    console.print(table)
    table = Table("writers", "appends per second", title="es.append, one durable transaction each")
    for writers, rate in appended.items():
        table.add_row(str(writers), f"{rate:,}")
    console.print(table)


if __name__ == "__main__":
    main()
