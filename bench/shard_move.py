"""``python -m bench.shard_move``: how long users wait while their buckets move, and what the fence costs a transfer.

Two databases of one real PostgreSQL, half of the wallets move by the lines that ``payctl shards plan`` prints. Closed
is the time from the start of the first line of the cut over to the end of its last, processes of psql included. The
fence is measured beside the same function without it, in turns, each transfer a transaction that is not made durable:
the disk would hide it.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psycopg

from bench.stacks import ROOT
from payments_client.migrations import apply, load
from planning.shard_steps import BEFORE, Step, steps
from planning.shards import Move
from sandbox import embedded_postgres as embedded
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.postgres_server import PostgresServer, running

_SHARDS = ("s00", "s01")
_MOVE = Move(source="s00", first=512, last=1023)
_ROUNDS, _TRANSFERS = 15, 400
# A wallet of a person: its entries are in one transaction here, the fewest that a copy may meet.
_SEED = """
INSERT INTO ledger.wallets (wallet_id, user_id, currency, balance, version)
SELECT 'w' || n, 'u' || n, 'EUR', %(entries)s, %(entries)s FROM generate_series(1, %(wallets)s) AS n;
"""
_ENTRIES = """
INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id)
SELECT 'u' || n, 'w' || n, seq, 'EUR', 'WalletCredited', 1, seq, 'seed-' || seq
  FROM generate_series(1, %(wallets)s) AS n, generate_series(1, %(entries)s) AS seq
 UNION ALL
SELECT 'bank', 'bank', seq, 'EUR', 'WalletDeducted', -%(wallets)s, -%(wallets)s * seq, 'seed-' || seq
  FROM generate_series(1, %(entries)s) AS seq
"""
_BANK = "UPDATE ledger.wallets SET balance = -%(wallets)s * %(entries)s, version = %(entries)s WHERE wallet_id = 'bank'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """One move."""

    wallets_moved: int
    entries_moved: int
    copy_seconds: float
    closed_seconds: float


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.shard_move", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-shard-move.json", help="JSON file to write")
    parser.add_argument("--wallets", type=int, nargs="+", default=[2_000, 100_000], help="wallets of the old shard")
    parser.add_argument("--entries", type=int, default=5, help="entries of each wallet")
    options = parser.parse_args()
    report = {
        "moves": [asdict(closed(wallets, options.entries)) for wallets in options.wallets],
        "fence": fence(),
    }
    text = json.dumps(report, indent=2) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(text, end="")


@contextmanager
def prepared() -> Iterator[PostgresServer]:
    """A server with a migrated database for each shard."""
    with running(max(VERSIONS)) as server:
        roles.make_roles(server)
        for shard in _SHARDS:
            roles.make_database(server, shard)
            with psycopg.connect(server.dsn(shard, roles.MIGRATOR), autocommit=True) as connection:
                apply(connection, load(ROOT / "migrations"))
                connection.execute("SET ROLE payments_owner")
                connection.execute("SELECT ledger.open_house_wallet('bank', 'bank', 'EUR')")
        yield server


def closed(wallets: int, entries: int) -> Closed:
    """Move half of them."""
    with prepared() as server:
        dsns = {shard: f"{server.dsn(shard, roles.MIGRATOR)} options=-crole={roles.OWNER}" for shard in _SHARDS}
        with psycopg.connect(dsns["s00"], autocommit=True) as connection:
            for query in (_SEED, _ENTRIES, _BANK):
                connection.execute(query, {"wallets": wallets, "entries": entries})
            connection.execute("ANALYZE ledger.wallets, es.wallet_events")
        psql = Path(embedded.programs(max(VERSIONS)).path("psql")).parent
        environment = {**dsns, "PATH": f"{psql}:{os.environ['PATH']}"}
        taken = {step.name: _run(step, environment) for step in steps([_MOVE], "s01")}
        with psycopg.connect(dsns["s01"]) as connection:
            row = connection.execute(
                "SELECT count(*), sum(version) FROM ledger.wallets WHERE kind = 'customer'"
            ).fetchone()
    if row is None or not row[0]:
        raise SystemExit("nothing has moved")
    return Closed(
        wallets_moved=row[0],
        entries_moved=int(row[1]),
        copy_seconds=round(taken["copy"], 2),
        closed_seconds=round(taken["cut over"], 2),
    )


def _run(step: Step, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    for line in step.commands:
        script = "\n".join([*BEFORE, line])
        subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True)  # noqa: S607 # the shell of whoever pastes the lines
    return time.perf_counter() - started


def fence() -> dict[str, float]:
    """Milliseconds of a transfer with the fence and without, and the median ratio of the rounds."""
    with prepared() as server, psycopg.connect(server.dsn("s00", roles.MIGRATOR), autocommit=True) as connection:
        connection.execute("SET ROLE payments_owner")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SELECT ledger.open_wallet('a', 'a', 'EUR'), ledger.open_wallet('b', 'b', 'EUR')")
        connection.execute("SELECT ledger.transfer('in', 'bank', 'a', 1000000, 'EUR')")
        taken: dict[str, list[float]] = {"transfer": [], "transfer_open": []}
        for number in range(_ROUNDS):
            for name in list(taken) if number % 2 else reversed(list(taken)):
                taken[name].append(_transfers(partial(_one, connection, name), number))
    return {
        "milliseconds": round(statistics.median(taken["transfer"]), 3),
        "milliseconds_without": round(statistics.median(taken["transfer_open"]), 3),
        "ratio": round(statistics.median(a / b for a, b in zip(*taken.values(), strict=True)), 3),
    }


def _one(connection: psycopg.Connection[object], name: str, transfer: str) -> None:
    query = f"SELECT * FROM ledger.{name}(%s, 'a', 'b', 1, 'EUR')"  # noqa: S608 # one of two names
    connection.execute(query.encode(), (f"{name}-{transfer}",), prepare=True)


def _transfers(one: "partial[None]", number: int) -> float:
    started = time.perf_counter()
    for turn in range(_TRANSFERS):
        one(f"{number}-{turn}")
    return (time.perf_counter() - started) / _TRANSFERS * 1000


if __name__ == "__main__":
    main()
