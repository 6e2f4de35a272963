"""Keeps the read model of balances fresh: its four buckets at once, again and again for a bounded time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from payments_client.migrations.errors import MigrationError

Connection = psycopg.Connection[Any]
BUCKETS = 4
_STATEMENT_TIMEOUT = "20min"
"""The role's own is for requests: after an outage one refresh takes up all that is new, or it would never catch up."""


def keep_fresh(
    connect: Callable[[], Connection],
    *,
    run_seconds: float,
    interval_seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Refresh every bucket until the time is over, at least once; returns how many changes of wallets were taken up.

    A bucket that another worker holds is left to it. Each bucket goes on by itself; raises ``MigrationError`` with what
    was wrong with any of them after the others have ended.
    """
    ends = time.monotonic() + run_seconds
    failed = threading.Event()

    def keep(bucket: int) -> int:
        changed = 0
        try:
            with connect() as connection:
                connection.execute("SELECT set_config('statement_timeout', %s, false)", (_STATEMENT_TIMEOUT,))
                # Balances and cursor are one transaction: what a crash takes is taken up again. Nobody waits for a disk
                # or a replica meanwhile, and a lock is held for less long.
                connection.execute("SET synchronous_commit = off")
                while True:
                    changed += max(0, _refresh(connection, bucket))
                    # A bucket that fails ends the run of all: the Job says so, and the next one tries again.
                    if time.monotonic() + interval_seconds >= ends or failed.wait(interval_seconds):
                        return changed
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(BUCKETS) as pool:
        runs = [pool.submit(keep, bucket) for bucket in range(BUCKETS)]
    problems = []
    for bucket, run in enumerate(runs):
        error = run.exception()
        if isinstance(error, psycopg.Error | MigrationError):
            problems.append(f"bucket {bucket}: {str(error).splitlines()[0]}")
        elif error is not None:
            raise error
    if problems:
        raise MigrationError("\n".join(problems))
    total = sum(run.result() for run in runs)
    say(f"took up {total} changes of balances")
    return total


def _refresh(connection: Connection, bucket: int) -> int:
    row = connection.execute("SELECT es.refresh_wallet_balances(%s)", (bucket,)).fetchone()
    if row is None:
        raise MigrationError("the database gave no answer")
    return int(row[0])
