"""The event store under concurrency, on every version."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
import pytest

from payments_client.eventstore import (
    NEW,
    ArchivedError,
    AsyncEventStore,
    ConflictError,
    EventStore,
    KeyReusedError,
    NewEvent,
    Position,
    RecordedEvent,
    Snapshot,
    TryAgainError,
)
from payments_client.migrations.care import archive_old
from tests.real.database import roles
from tests.real.database.conftest import Database
from tests.real.database.together import together

WRITERS = 8


def store(database: Database) -> EventStore:
    return EventStore(database.transaction)


def event(**data: Any) -> NewEvent:
    return NewEvent(type="PaymentCreated", data=data)


def test_t18_eight_writers_get_distinct_versions_without_a_hole(database: Database) -> None:
    """Optimistic concurrency by the head table, though no key over (stream, version) can be declared."""
    streams, each = ("payment-1", "payment-2", "payment-3"), 12
    conflicts: list[int] = []

    def write(writer: int) -> None:
        mine = store(database)
        for number in range(each):
            stream = streams[number % len(streams)]
            while True:
                try:
                    mine.append(stream, [event(writer=writer, number=number)], expected=mine.version(stream))
                except ConflictError as error:
                    conflicts.append(-1 if error.actual is None else error.actual)
                else:
                    break

    together(write, WRITERS)

    reader = store(database)
    written = {stream: list(reader.read_stream(stream)) for stream in streams}
    for events in written.values():
        assert [e.version for e in events] == list(range(1, len(events) + 1))
        assert len(events) == WRITERS * each // len(streams)
    assert -1 not in conflicts
    assert conflicts, "eight writers on three streams met no conflict: nothing was tried"
    pairs = {(e.data["writer"], e.data["number"]) for events in written.values() for e in events}
    assert len(pairs) == WRITERS * each


def test_a_key_applies_once_whoever_repeats_it(database: Database) -> None:
    answers = together(
        lambda _: store(database).append("payment-1", [event(amount="10")], expected=None, key="request-1"), WRITERS
    )
    assert [a.duplicate for a in answers].count(False) == 1
    assert {(a.first_version, a.last_version) for a in answers} == {(1, 1)}
    assert store(database).version("payment-1") == 1

    with pytest.raises(KeyReusedError):
        store(database).append("payment-1", [event(amount="11")], expected=None, key="request-1")
    assert store(database).version("payment-1") == 1


def test_a_rolled_back_append_leaves_its_key_free(database: Database) -> None:
    mine = store(database)
    with pytest.raises(ConflictError):
        mine.append("payment-1", [event()], expected=7, key="request-1")
    assert not mine.append("payment-1", [event()], expected=NEW, key="request-1").duplicate


def test_the_global_order_skips_no_late_commit(database: Database) -> None:
    """A reader that follows while transactions commit in another order than they began, or not at all."""
    each, stop = 30, threading.Event()
    seen: list[RecordedEvent] = []

    def follow() -> None:
        mine, position = store(database), Position()
        while True:
            last_look = stop.is_set()
            page = mine.read_all(position, limit=7)
            seen.extend(page)
            position = page[-1].position if page else position
            if not page and last_look:
                return

    def write(writer: int) -> int:
        kept = 0
        for number in range(each):
            with database.connect(autocommit=False) as connection:
                mine = store(database)
                mine.append(f"stream-{writer}", [event(n=number)], expected=None, connection=connection)
                # Every third transaction stays open while the others go on; every tenth is rolled back.
                if number % 3 == 0:
                    threading.Event().wait(0.01 * (writer % 4))
                if number % 10 == 9:
                    connection.rollback()
                else:
                    kept += 1
        return kept

    reader = threading.Thread(target=follow)
    reader.start()
    kept = sum(together(write, WRITERS))
    stop.set()
    reader.join(60)
    assert len(seen) == kept == len({(e.stream, e.version) for e in seen})
    assert [e.position for e in seen] == sorted(e.position for e in seen)
    for writer in range(WRITERS):
        versions = [e.version for e in seen if e.stream == f"stream-{writer}"]
        assert versions == sorted(versions)


def test_a_transaction_older_than_the_streams_newest_begins_anew(database: Database) -> None:
    """Otherwise version 2 would stand before version 1 in the global order."""
    mine = store(database)
    with database.connect(autocommit=False) as old:
        mine.append("other", [event()], expected=None, connection=old)
        mine.append("payment-1", [event()], expected=NEW)
        with pytest.raises(TryAgainError):
            mine.append("payment-1", [event()], expected=1, connection=old)
        old.rollback()
    mine.append("payment-1", [event()], expected=1)
    assert [e.version for e in mine.read_all() if e.stream == "payment-1"] == [1, 2]


def test_an_open_transaction_hides_what_came_after_it_until_it_ends(database: Database) -> None:
    mine = store(database)
    with database.connect(autocommit=False) as open_one:
        mine.append("first", [event()], expected=NEW, connection=open_one)
        mine.append("second", [event()], expected=NEW)
        assert mine.read_all() == []
        open_one.commit()
    assert [e.stream for e in mine.read_all()] == ["first", "second"]


def test_a_state_is_its_snapshot_and_every_event_after_it(database: Database) -> None:
    mine = store(database)
    mine.append("counter", [event(add=n) for n in range(1, 6)], expected=NEW)

    def fold(state: int, fact: RecordedEvent) -> int:
        return state + int(fact.data["add"])

    assert mine.load("counter", 0, fold) == (15, 5)
    mine.save_snapshot(Snapshot(stream="counter", version=3, schema="v1", state=1000))
    mine.save_snapshot(Snapshot(stream="counter", version=2, schema="v1", state=0))
    assert mine.load("counter", 0, fold, schema="v1") == (1009, 5)
    assert mine.load("counter", 0, fold, schema="v2") == (15, 5)


def test_a_projection_takes_each_event_once_beside_another_worker_and_after_a_failure(database: Database) -> None:
    mine = store(database)
    mine.append("counter", [event(n=n) for n in range(40)], expected=NEW)
    database.all("CREATE TABLE es.seen (n integer PRIMARY KEY)")
    database.all("GRANT INSERT, SELECT ON es.seen TO payments_app")
    failures = iter([True])

    def handle(connection: "psycopg.Connection[Any]", events: Sequence[RecordedEvent]) -> None:
        for item in events:
            connection.execute("INSERT INTO es.seen VALUES (%s)", (item.data["n"],))
        if next(failures, False):
            raise RuntimeError("the worker dies after it wrote")

    with pytest.raises(RuntimeError):
        mine.project("seen", handle, limit=10)
    assert database.one("SELECT count(*) FROM es.seen") == 0

    def work(_: int) -> int:
        done = 0
        while database.one("SELECT count(*) FROM es.seen") < 40:
            done += store(database).project("seen", handle, limit=7)
        return done

    assert sum(together(work, 3)) == 40


def test_a_stream_whose_beginning_is_archived_says_so(database: Database) -> None:
    mine = store(database)
    database.all("SELECT ops.ensure_monthly_partitions('es.events', 1, 0, '2020-01-15T00:00:00Z')")
    old = NewEvent(type="Old", data={}, occurred_at=datetime.fromisoformat("2020-01-20T12:00:00+00:00"))
    mine.append("payment-1", [old], expected=NEW)
    mine.append("payment-1", [event(add=1)], expected=1)
    with database.connect(roles.MIGRATOR) as connection:
        assert "events_p2020_01" in archive_old(connection, 12)
    with pytest.raises(ArchivedError, match="of events 1 to 2 of stream 'payment-1', 1 are archived"):
        list(mine.read_stream("payment-1"))
    assert [e.version for e in mine.read_stream("payment-1", after=1)] == [2]


def archived_month(database: Database) -> tuple[EventStore, NewEvent]:
    """A store with a month that is old enough for the archive, and an event of it."""
    database.all("SELECT ops.ensure_monthly_partitions('es.events', 1, 0, '2020-01-15T00:00:00Z')")
    return store(database), NewEvent(
        type="Old", data={}, occurred_at=datetime.fromisoformat("2020-01-20T12:00:00+00:00")
    )


def archive(database: Database) -> None:
    with database.connect(roles.MIGRATOR) as connection:
        assert "events_p2020_01" in archive_old(connection, 12)


def test_a_stream_that_is_archived_as_a_whole_does_not_read_as_a_new_one(database: Database) -> None:
    mine, old = archived_month(database)
    mine.append("payment-1", [old, old], expected=NEW)
    archive(database)
    with pytest.raises(ArchivedError, match="of events 1 to 2 of stream 'payment-1', 2 are archived"):
        mine.load("payment-1", 0, lambda state, _: state + 1)
    assert list(mine.read_stream("payment-1", after=2)) == []
    assert list(mine.read_stream("never")) == []


def test_an_event_that_is_missing_in_the_middle_is_noticed(database: Database) -> None:
    mine, old = archived_month(database)
    mine.append("payment-1", [event(add=1), old, event(add=2)], expected=NEW)
    archive(database)
    with pytest.raises(ArchivedError, match="of events 1 to 3 of stream 'payment-1', 1 are archived"):
        list(mine.read_stream("payment-1"))
    assert [e.version for e in mine.read_stream("payment-1", after=2)] == [3]


def test_a_reader_from_before_the_archive_is_told_and_one_after_it_goes_on(database: Database) -> None:
    mine, old = archived_month(database)
    mine.append("a", [old], expected=NEW)
    last = mine.read_all()[-1].position
    mine.append("b", [event(add=1)], expected=NEW)
    archive(database)
    with pytest.raises(ArchivedError, match=f"begin at \\({last.xid}, {last.seq}\\)"):
        mine.read_all()
    with pytest.raises(ArchivedError):
        mine.project("new", lambda *_: None)
    assert [e.stream for e in mine.read_all(last)] == ["b"]


def test_the_asynchronous_store_does_the_same(newest: Database) -> None:
    class Connections:
        async def __aenter__(self) -> "psycopg.AsyncConnection[Any]":
            self.connection = await psycopg.AsyncConnection.connect(newest.dsn())
            return await self.connection.__aenter__()

        async def __aexit__(self, *details: object) -> None:
            await self.connection.__aexit__(*details)  # type: ignore[arg-type]

    async def run() -> None:
        mine = AsyncEventStore(Connections)
        first, *others = await asyncio.gather(
            *(mine.append("payment-1", [event(n=1), event(n=2)], expected=None, key="request-1") for _ in range(4))
        )
        assert {(a.first_version, a.last_version) for a in (first, *others)} == {(1, 2)}
        with pytest.raises(ConflictError):
            await mine.append("payment-1", [event()], expected=NEW)
        assert [e.version async for e in mine.read_stream("payment-1")] == [1, 2]
        assert len(await mine.read_all()) == 2
        await mine.save_snapshot(Snapshot(stream="payment-1", version=1, schema="v1", state=0))
        state, version = await mine.load("payment-1", 0, lambda total, e: total + int(e.data["n"]), schema="v1")
        assert (state, version) == (2, 2)
        taken: list[int] = []

        async def handle(_: Any, events: Sequence[RecordedEvent]) -> None:
            taken.extend(e.version for e in events)

        assert await mine.project("seen", handle) == 2
        assert await mine.project("seen", handle) == 0
        assert taken == [1, 2]

    asyncio.run(run())


def test_an_event_without_a_partition_fails_loudly(database: Database) -> None:
    far = NewEvent(type="Far", data={}, occurred_at=datetime.fromisoformat("2199-01-01T00:00:00+00:00"))
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
        store(database).append("payment-1", [far], expected=NEW)
    assert store(database).version("payment-1") == 0
