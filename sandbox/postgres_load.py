"""Writers that log every acknowledgement, and readers that check: what a failover must not lose."""

import hashlib
import itertools
import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg

from sandbox.postgres_rig import Rig

TABLE = """
CREATE TABLE IF NOT EXISTS ledger (
    writer integer NOT NULL, seq integer NOT NULL, digest text NOT NULL, PRIMARY KEY (writer, seq)
)
"""
_PAUSE_SECONDS = 0.02
_JOIN_SECONDS = 90
_LATEST = 20

Row = tuple[int, int]


def digest_of(writer: int, seq: int) -> str:
    """What a row of that writer must hold."""
    return hashlib.sha256(f"{writer}:{seq}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the logs and the table say together."""

    seconds_without_writes: float
    """Longest time between two acknowledgements of any writers, from the fault on."""
    acknowledged: int
    lost: int
    """Acknowledged rows that are not in the table."""
    wrong_reads: int
    """Rows that a reader saw and that hold something else, or are gone."""
    failed: int
    """Statements that ended in an error; the writer went on with the next row and repeated none."""
    unanswered: int
    """Failed statements whose row is in the table all the same."""
    reads: int


@dataclass(kw_only=True)
class Load:
    """Two writers and a reader through the poolers. ``with Load(rig=rig) as load: …``, then ``load.verdict(…)``."""

    rig: Rig
    writers: int = 2
    first: int = 0
    """Number of the first writer, so that several loads share one table."""
    lifetime_seconds: float | None = None
    """How old a writer's connection gets before it is replaced between two transactions, as pools do."""
    acknowledged: list[tuple[float, int, int]] = field(default_factory=list)
    failures: list[tuple[float, int, int, str]] = field(default_factory=list)
    seen: dict[Row, str] = field(default_factory=dict)
    reads: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(self.first, self.first + self.writers):
            self._threads.append(threading.Thread(target=self._write, args=(number,), daemon=True))
        self._threads.append(threading.Thread(target=self._read, daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def wait_for_write(self, after: float, seconds: float) -> bool:
        """Whether a write that is acknowledged after that moment comes within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.acknowledged and self.acknowledged[-1][0] > after:
                return True
            time.sleep(_PAUSE_SECONDS)
        return False

    def verdict(self, fault: float) -> Verdict:
        """Compare with the table on the primary; after the block has ended."""
        primary = self.rig.primary()
        assert primary is not None, "there is no primary to compare with"  # noqa: S101
        with self.rig.superuser(primary, self.rig.dbname) as connection:
            rows = connection.execute(
                "SELECT writer, seq, digest FROM ledger WHERE writer >= %s AND writer < %s",
                [self.first, self.first + self.writers],
            ).fetchall()
        table = {(writer, seq): digest for writer, seq, digest in rows}
        times = sorted(moment for moment, _, _ in self.acknowledged)
        gaps = [late - early for early, late in itertools.pairwise(times) if late >= fault]
        acknowledged = {(writer, seq) for _, writer, seq in self.acknowledged}
        wrong = sum(digest != digest_of(*row) or table.get(row) != digest for row, digest in self.seen.items())
        return Verdict(
            seconds_without_writes=round(max(gaps, default=0.0), 2),
            acknowledged=len(acknowledged),
            lost=len(acknowledged - table.keys()),
            wrong_reads=wrong,
            failed=len(self.failures),
            unanswered=sum((writer, seq) in table for _, writer, seq, _ in self.failures),
            reads=self.reads,
        )

    def _write(self, writer: int) -> None:
        connection: psycopg.Connection[Any] | None = None
        seq, end = 0, math.inf
        while not self._stop.is_set():
            try:
                if connection is not None and time.monotonic() > end:
                    connection.close()
                if connection is None or connection.closed:
                    connection = psycopg.connect(
                        self.rig.conninfo(self.rig.service("rw")), autocommit=True, prepare_threshold=None
                    )
                    end = time.monotonic() + (self.lifetime_seconds or math.inf)
            except psycopg.Error:
                time.sleep(_PAUSE_SECONDS)
                continue
            seq += 1
            try:
                connection.execute("INSERT INTO ledger VALUES (%s, %s, %s)", [writer, seq, digest_of(writer, seq)])
                self.acknowledged.append((time.monotonic(), writer, seq))
            except psycopg.Error as error:
                self.failures.append(
                    (
                        time.monotonic(),
                        writer,
                        seq,
                        str(error).strip().splitlines()[-1:][0] if str(error).strip() else type(error).__name__,
                    )
                )
                with suppress(psycopg.Error):
                    connection.close()
            time.sleep(_PAUSE_SECONDS)
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _read(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while not self._stop.is_set():
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(
                        self.rig.conninfo(self.rig.service("ro")), autocommit=True, prepare_threshold=None
                    )
                for number in range(self.first, self.first + self.writers):
                    rows = connection.execute(
                        "SELECT writer, seq, digest FROM ledger WHERE writer = %s ORDER BY seq DESC LIMIT %s",
                        [number, _LATEST],
                    ).fetchall()
                    self.seen.update({(writer, seq): digest for writer, seq, digest in rows})
                    self.reads += 1
            except psycopg.Error:
                if connection is not None:
                    with suppress(psycopg.Error):
                        connection.close()
            time.sleep(2 * _PAUSE_SECONDS)
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


def make_table(rig: Rig) -> None:
    """The table of the trials, in the applications' database."""
    primary = rig.primary()
    assert primary is not None, "there is no primary"  # noqa: S101
    with rig.superuser(primary, rig.dbname) as connection:
        connection.execute(TABLE)
        connection.execute("GRANT ALL ON ledger TO app")
