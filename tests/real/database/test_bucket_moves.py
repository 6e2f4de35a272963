"""Buckets with money move between two servers under load, by the very lines that `payctl shards plan` prints."""

import functools
import json
import os
import random
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cli.main import cli
from payments_client.contract_shards import BucketRange, ShardContract, ShardsContract
from payments_client.eventstore import BucketClosedError, KeyReusedError, Ledger, Outbox
from payments_client.migrations import apply, load
from payments_client.shards import ShardMap, bucket_of
from payments_client.shards.steps import State, WalletOf
from payments_client.shards.transfers import Transfers
from planning.shard_steps import steps
from planning.shards import Move
from sandbox import embedded_postgres as embedded
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS, Database, _copy
from tests.real.database.together import together
from tests.real.postgres_server import running

USERS, FUNDS, WORKERS = 40, 100, 4
_LINE_SECONDS = 60
_RETRIES = 200


def shard_map(**ranges: tuple[int, int]) -> ShardMap:
    shards = tuple(
        ShardContract(name=name, buckets=(BucketRange(first=first, last=last),))
        for name, (first, last) in ranges.items()
    )
    return ShardMap(ShardsContract(database="payments", shards=shards))


OLD, NEW = shard_map(s00=(0, 1023)), shard_map(s00=(0, 511), s01=(512, 1023))
WALLETS = [WalletOf(wallet=f"w{n}", user=f"user-{n}") for n in range(USERS)]
MOVING = [wallet for wallet in WALLETS if bucket_of(wallet.user) >= 512]
STAYING = [wallet for wallet in WALLETS if bucket_of(wallet.user) < 512]


@functools.cache
def plan() -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["shards", "plan", "--stack", "dev", "--add", "s01", "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["moves"] == [{"from": "s00", "to": "s01", "first": 512, "last": 1023}]
    return document


def lines_of(step: str) -> list[str]:
    [found] = [one["commands"] for one in plan()["steps"] if one["name"] == step]
    return list(found)


@dataclass(kw_only=True)
class Pair:
    """Two shards, and what a shell needs to reach them."""

    databases: dict[str, Database]
    bash: dict[str, str] = field(default_factory=dict)

    def connections(self, shard: str) -> Callable[[], psycopg.Connection[Any]]:
        return lambda: self.databases[shard].connect(autocommit=False)

    def transfers(self, known: ShardMap) -> Transfers:
        return Transfers(known, self.connections, step_deadline_seconds=20)

    def ledger(self, shard: str) -> Ledger:
        return Ledger(self.connections(shard))

    def line(self, line: str) -> subprocess.CompletedProcess[str]:
        script = "\n".join([*plan()["before"], line])
        return subprocess.run(
            ["bash", "-c", script], env=self.bash, capture_output=True, text=True, timeout=_LINE_SECONDS, check=False
        )

    def run(self, step: str, times: int = 1) -> str:
        """Every line of a step, again while it fails as the plan says; what the last one printed."""
        done = None
        for line in lines_of(step):
            for _ in range(times):
                for _ in range(_RETRIES):
                    done = self.line(line)
                    if done.returncode == 0:
                        break
                    # The one failure that passes by itself.
                    assert "drain_buckets" in line, f"{line}\n{done.stderr}"
                    assert "not published yet" in done.stderr or "on their way" in done.stderr, done.stderr
                    time.sleep(0.02)
                assert done is not None
                assert done.returncode == 0, f"{line}\n{done.stderr}"
        return "" if done is None else done.stdout.strip()

    def sums(self) -> dict[str, Decimal]:
        """Kind of wallet → sum over both shards."""
        found: defaultdict[str, Decimal] = defaultdict(Decimal)
        for database in self.databases.values():
            for wallet, amount in database.all("SELECT split_part(wallet_id, ':', 1), balance FROM ledger.wallets"):
                found["customers" if wallet.startswith("w") else wallet] += amount
        return dict(found)

    def balances(self, known: ShardMap = NEW) -> dict[str, Decimal]:
        found = {one.wallet: self.ledger(known.shard_of(one.user)).balance(one.wallet) for one in WALLETS}
        return {wallet: answer[0] for wallet, answer in found.items() if answer is not None}

    def check(self) -> None:
        for database in self.databases.values():
            assert database.all("SELECT * FROM ledger.check_books()") == []
            database.all("SELECT es.refresh_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket")
            assert database.all("SELECT b.* FROM generate_series(0, 3) n, es.check_wallet_balances(n) b") == []


def funded(here: Database, there: Database) -> Pair:
    """Everybody on s00, with money of its bank."""
    databases = {"s00": here, "s01": there}
    bash = {name: f"{one.dsn(roles.MIGRATOR)} options=-crole={roles.OWNER}" for name, one in databases.items()}
    psql = Path(embedded.programs(max(VERSIONS)).path("psql")).parent
    pair = Pair(databases=databases, bash={**bash, "PATH": f"{psql}:{os.environ['PATH']}"})
    here.all("INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) VALUES ('bank', 'bank', 'EUR', 'house')")
    ledger = pair.ledger("s00")
    for one in WALLETS:
        ledger.open_wallet(one.wallet, one.user, "EUR")
        ledger.transfer(f"in-{one.wallet}", source="bank", target=one.wallet, amount=Decimal(FUNDS), currency="EUR")
    return pair


@pytest.fixture
def pair(newest: Database) -> Pair:
    """Two databases of one server."""
    return funded(newest, _copy(newest.server))


@pytest.fixture
def clusters(newest: Database) -> Iterator[Pair]:
    """Two servers: transaction ids of one mean nothing on the other."""
    with running(max(VERSIONS)) as server:
        roles.make_roles(server)
        roles.make_database(server, newest.name)
        other = Database(server=server, name=newest.name)
        with other.connect(roles.MIGRATOR) as connection:
            apply(connection, load(MIGRATIONS))
        yield funded(newest, other)


@dataclass(kw_only=True)
class Load:
    """Services that know the old map until a shard sends them on, bucket by bucket."""

    pair: Pair
    asked: dict[str, tuple[WalletOf, WalletOf, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)
    """Where refusals sent the services."""
    failed: list[BaseException] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def service(self, worker: int) -> None:
        generator, known = random.Random(worker), OLD  # noqa: S311
        services = {known: self.pair.transfers(known)}
        for number in count():
            if self.ends.is_set():
                return
            source, target = generator.sample(WALLETS, 2)
            transfer, amount = f"t-{worker}-{number}", generator.randint(1, 5)
            self.asked[transfer] = (source, target, amount)
            while True:
                service = services.setdefault(known, self.pair.transfers(known))
                try:
                    send(service, transfer, source, target, amount)
                    break
                except BucketClosedError as error:
                    self.named.add(error.shard)
                    newer = known.moved(error.bucket, error.shard)
                    self.refused["before it was opened" if newer is known else "with the old map"] += 1
                    known = newer
                    time.sleep(0.01)

    def settle(self, shard: str) -> None:
        """A worker and a publisher of one shard."""
        transfers = self.pair.transfers(NEW)
        outbox = Outbox(self.pair.connections(shard), lambda _messages: None)
        while not self.ends.is_set():
            transfers.work(shard)
            outbox.publish()
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[None]:
        def guarded(work: Callable[[], None]) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 # shown by the test
                self.failed.append(error)

        works = [functools.partial(self.service, n) for n in range(WORKERS)]
        works += [functools.partial(self.settle, shard) for shard in self.pair.databases]
        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ends.set()
            for thread in threads:
                thread.join(_LINE_SECONDS)
        assert self.failed == []


def send(service: Transfers, transfer: str, source: WalletOf, target: WalletOf, amount: int) -> State:
    return service.transfer(transfer, source=source, target=target, amount=Decimal(amount), currency="EUR")


def wait_until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + _LINE_SECONDS
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_buckets_with_money_move_under_load_by_the_printed_lines(clusters: Pair) -> None:
    pair = clusters
    load = Load(pair=pair)
    with load.running():
        pair.run("prepare")
        pair.run("copy")
        wait_until(lambda: len(load.asked) > 200)
        taken = pair.run("catch up")
        assert int(taken.partition("|")[2]) > 0
        pair.run("verify")
        assert load.refused == {}
        pair.run("cut over")
        wait_until(lambda: load.refused["with the old map"] > 0)
        at = len(load.asked)
        wait_until(lambda: len(load.asked) > at + 200)
    pair.run("clean")
    # What had begun is finished by workers, whenever that is.
    for database in pair.databases.values():
        database.all("SELECT ledger.hasten_cross_transfers('s01'), ledger.hasten_cross_transfers('s00')")
    for shard in pair.databases:
        assert pair.transfers(NEW).work(shard).failed == {}
    # Money is there once: what has left one shard's books has entered the other's.
    total = Decimal(USERS * FUNDS)
    assert pair.sums() == {"customers": total, "bank": -total, "moved": 0, "transit": 0}
    # Each id sent again answers what it did, and does nothing.
    before = pair.balances()
    service = pair.transfers(NEW)
    final = {name: send(service, name, *asked) for name, asked in load.asked.items()}
    assert pair.balances() == before
    assert set(final.values()) <= {State.COMPLETED, State.REFUNDED}
    expected = dict.fromkeys((one.wallet for one in WALLETS), Decimal(FUNDS))
    for name, (source, target, amount) in load.asked.items():
        if final[name] is State.COMPLETED:
            expected[source.wallet] -= amount
            expected[target.wallet] += amount
    assert before == expected
    pair.check()
    # Each service once for each bucket that it met, and never by another way than by what it was told.
    assert WORKERS <= load.refused["with the old map"] <= WORKERS * len({bucket_of(one.user) for one in MOVING})
    assert load.named == {"s01"}


RANGE = "512, 1023"
NAMED = "'s00', 512, 1023"
HERE, THERE = MOVING[0], STAYING[0]


def published(pair: Pair) -> None:
    for database in pair.databases.values():
        database.all("DELETE FROM es.outbox")


def moved(pair: Pair, times: int = 1) -> None:
    """All steps without load; every line that often."""
    published(pair)
    for step in ("prepare", "copy", "verify", "cut over", "clean"):
        pair.run(step, times)


def test_every_line_may_be_run_again_at_once(pair: Pair) -> None:
    moved(pair, times=2)
    assert pair.sums() == {"customers": USERS * FUNDS, "bank": -USERS * FUNDS, "moved": 0}
    assert pair.balances() == dict.fromkeys((one.wallet for one in WALLETS), FUNDS)
    pair.check()
    # Balances are the new shard's, and so is what comes after them.
    there = pair.databases["s01"]
    assert there.all("SELECT seq, delta, balance FROM es.wallet_events WHERE wallet_id = %s", HERE.wallet) == [
        (1, FUNDS, FUNDS)
    ]
    assert there.one("SELECT balance FROM es.wallet_balances WHERE wallet_id = %s", HERE.wallet) == FUNDS
    assert send(pair.transfers(NEW), "next", HERE, MOVING[1], 40) is State.COMPLETED
    assert pair.ledger("s01").balance(HERE.wallet) == (Decimal(FUNDS - 40), 2)


def test_a_service_with_the_old_map_is_refused_and_sent_on(pair: Pair) -> None:
    old = pair.transfers(OLD)
    assert send(old, "before", HERE, THERE, 10) is State.COMPLETED
    moved(pair)
    # More than the balance that stayed behind: the answer is where to go, not that there is too little money.
    for source, target, amount in ((HERE, THERE, 1), (THERE, HERE, 1), (HERE, MOVING[1], 10_000)):
        with pytest.raises(BucketClosedError, match="its users live on shard s01") as refused:
            send(old, "after", source, target, amount)
        assert refused.value.shard == "s01"
    with pytest.raises(BucketClosedError):
        pair.ledger("s00").open_wallet("another", HERE.user, "EUR")
    # What stayed behind is nought, and nobody's balance.
    with pytest.raises(BucketClosedError) as unread:
        pair.ledger("s00").balance(HERE.wallet)
    assert (unread.value.bucket, unread.value.shard) == (bucket_of(HERE.user), "s01")
    assert old_map_follows(unread.value) == "s01"
    # What was carried out is answered by both, with either map; nothing moves.
    balances = pair.balances()
    assert send(old, "before", HERE, THERE, 10) is State.COMPLETED
    assert send(pair.transfers(NEW), "before", HERE, THERE, 10) is State.COMPLETED
    with pytest.raises(KeyReusedError):
        send(pair.transfers(NEW), "before", HERE, THERE, 11)
    assert pair.balances() == balances
    # Who stayed is served as ever.
    assert send(old, "stayed", THERE, STAYING[1], 5) is State.COMPLETED


def old_map_follows(error: BucketClosedError) -> str:
    return OLD.moved(error.bucket, error.shard).shard_of(HERE.user)


def test_a_transfer_sent_again_after_its_target_moved_answers_what_it_did(pair: Pair) -> None:
    # s01 holds a sender here, s00 the user who will move to s01 later: the instruction names s00 for ever.
    sender = WalletOf(wallet="far", user="sender")
    far = shard_map(s00=(0, 1023)).moved(bucket_of("sender"), "s07")
    elsewhere = Pair(databases={**pair.databases, "s07": _copy(pair.databases["s00"].server)})
    there = elsewhere.databases["s07"]
    there.all("SELECT ledger.open_house_wallet('bank', 'bank', 'EUR'), ledger.open_wallet('far', 'sender', 'EUR')")
    there.all("SELECT ledger.transfer('in-far', 'bank', 'far', 100, 'EUR')")
    later = NEW.moved(bucket_of("sender"), "s07")
    before, after = elsewhere.transfers(far), elsewhere.transfers(later)
    assert send(before, "done", sender, HERE, 5) is State.COMPLETED
    # Carried out there, and the answer is lost; and one that nobody has carried out.
    for name in ("unheard", "unasked"):
        there.all("SELECT ledger.begin_cross_transfer(%s, 'far', %s, 's00', 7, 'EUR')", name, HERE.wallet)
    receive = "SELECT outcome FROM ledger.receive_cross_transfer('unheard', 's07', %s, 7, 'EUR')"
    assert pair.databases["s00"].one(receive, HERE.wallet) == "credited"
    moved(pair)
    assert send(after, "done", sender, HERE, 5) is State.COMPLETED
    assert send(after, "unheard", sender, HERE, 7) is State.COMPLETED
    assert send(after, "unasked", sender, HERE, 7) is State.REFUNDED
    with pytest.raises(KeyReusedError):
        send(after, "unheard", sender, HERE, 8)
    assert pair.ledger("s01").balance(HERE.wallet) == (Decimal(FUNDS + 12), 3)
    assert elsewhere.ledger("s07").balance("far") == (Decimal(100 - 12), 5)
    elsewhere.check()


def test_a_bucket_moves_on_to_a_third_shard_and_never_comes_back(pair: Pair) -> None:
    moved(pair)
    assert send(pair.transfers(NEW), "there", HERE, MOVING[1], 40) is State.COMPLETED
    pair.databases["s02"] = _copy(pair.databases["s01"].server)
    pair.bash["s02"] = f"{pair.databases['s02'].dsn(roles.MIGRATOR)} options=-crole={roles.OWNER}"
    published(pair)
    onward = Move(source="s01", first=512, last=1023)
    for step in steps([onward], "s02"):
        for line in step.commands:
            done = pair.line(line)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    newest = shard_map(s00=(0, 511), s02=(512, 1023))
    expected = {one.wallet: Decimal(FUNDS) for one in WALLETS}
    expected[HERE.wallet] -= 40
    expected[MOVING[1].wallet] += 40
    assert pair.balances(newest) == expected
    assert pair.sums() == {"customers": USERS * FUNDS, "bank": -USERS * FUNDS, "moved": 0}
    pair.check()
    # Who knows the oldest map is sent on twice; a transfer of the second shard is answered by the third.
    with pytest.raises(BucketClosedError) as first:
        send(pair.transfers(OLD), "next", HERE, MOVING[1], 1)
    with pytest.raises(BucketClosedError) as second:
        send(pair.transfers(NEW), "next", HERE, MOVING[1], 1)
    assert (first.value.shard, second.value.shard) == ("s01", "s02")
    assert send(pair.transfers(newest), "there", HERE, MOVING[1], 40) is State.COMPLETED
    assert pair.balances(newest) == expected
    # A line of the first move that somebody runs once more opens nothing and takes nothing in.
    assert pair.databases["s01"].one(f"SELECT ops.open_buckets({NAMED})") == 0
    position, carry, _ = lines_of("copy")
    assert pair.line(position).returncode == 0
    assert "there is nothing more to copy" in pair.line(carry).stderr
    # Back to where it was: the first line of such a plan says no, and nothing has changed.
    for shard in ("s00", "s01"):
        closing, *_ = steps([Move(source="s02", first=512, last=1023)], shard)[0].commands
        done = pair.line(closing)
        assert done.returncode != 0
        assert "has left: it does not come back" in done.stderr
        assert "Add a shard of a new name" in done.stderr
    assert send(pair.transfers(newest), "last", HERE, MOVING[1], 1) is State.COMPLETED


def test_closing_waits_for_who_is_under_way_and_what_they_write_is_copied(pair: Pair) -> None:
    pair.run("prepare")
    pair.run("copy")
    published(pair)
    here = pair.databases["s00"]
    writer = here.connect(autocommit=False)
    writer.execute("SELECT ledger.transfer('late', %s, %s, 7, 'EUR')", (HERE.wallet, THERE.wallet))
    old_snapshot = here.connect(autocommit=False)
    old_snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    old_snapshot.execute("SELECT count(*) FROM ledger.wallets")
    close, drain, *others = lines_of("cut over")
    assert pair.line(close).returncode == 0
    with pytest.raises(BucketClosedError):
        send(pair.transfers(OLD), "too-late", HERE, THERE, 1)
    # It would see the bucket open for as long as it lives.
    with pytest.raises(psycopg.errors.SerializationFailure):
        old_snapshot.execute("SELECT ledger.transfer('unseen', %s, %s, 1, 'EUR')", (HERE.wallet, THERE.wallet))
    old_snapshot.close()

    def draining(worker: int) -> bool:
        if worker:
            time.sleep(1)
            writer.commit()
            committed.set()
            return True
        done = pair.line(drain)
        assert done.returncode == 0 or "not published yet" in done.stderr, done.stderr
        return committed.is_set()

    committed = threading.Event()
    assert together(draining, 2) == [True, True]
    writer.close()
    published(pair)
    for line in (drain, *others):
        done = pair.line(line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert pair.ledger("s01").balance(HERE.wallet) == (Decimal(FUNDS - 7), 2)
    pair.check()


def test_money_on_its_way_is_settled_before_its_bucket_is_drained(pair: Pair) -> None:
    pair.run("prepare")
    pair.run("copy")
    here = pair.databases["s00"]
    # Begun before the closing, towards a wallet that does not exist: it will come back.
    here.all("SELECT ledger.begin_cross_transfer('x', %s, 'nobody', 's01', 30, 'EUR')", HERE.wallet, user=roles.APP)
    published(pair)
    close, drain, *others = lines_of("cut over")
    assert pair.line(close).returncode == 0
    assert "1 transfers of these users are on their way" in pair.line(drain).stderr
    here.all("UPDATE ledger.cross_transfers SET next_attempt_at = clock_timestamp()")
    assert pair.transfers(NEW).work("s00").settled == {"x": State.REFUNDED}
    published(pair)
    for line in (drain, *others):
        done = pair.line(line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert pair.ledger("s01").balance(HERE.wallet) == (Decimal(FUNDS), 3)
    # The answer went with the user, so that the id moves nothing on the new shard.
    assert pair.databases["s01"].all("SELECT transfer_id, state FROM ledger.cross_transfers") == [("x", "refunded")]
    pair.check()


def test_money_sent_to_who_has_left_comes_back(pair: Pair) -> None:
    moved(pair)
    outcome = "SELECT outcome, refusal FROM ledger.receive_cross_transfer('y', 's07', %s, 5, 'EUR')"
    [(answer, reason)] = pair.databases["s00"].all(outcome, HERE.wallet, user=roles.APP)
    assert (answer, reason) == ("refused", f"the user of wallet '{HERE.wallet}' lives on shard s01")
    assert pair.databases["s01"].all(outcome, HERE.wallet, user=roles.APP) == [("credited", None)]


def refused(database: Database, query: str, said: str) -> None:
    with pytest.raises(psycopg.Error, match=said):
        database.all(query)


def test_no_step_goes_before_the_one_that_it_needs(pair: Pair) -> None:
    here, there = pair.databases["s00"], pair.databases["s01"]
    published(pair)
    refused(here, f"SELECT ops.export_buckets({RANGE})", "has not said how far its copy")
    refused(here, f"SELECT ops.drain_buckets({RANGE})", "are not all closed")
    refused(here, f"SELECT ops.hand_over_buckets({NAMED})", "are not all drained")
    position, carry, take = lines_of("copy")
    assert pair.line(position).returncode == pair.line(carry).returncode == 0
    refused(there, f"SELECT ops.take_in({NAMED})", "are not all closed here")
    # Half of a round: the connection broke before its last row.
    pair.run("prepare")
    there.all("DELETE FROM ops.arriving WHERE kind = 'end'")
    assert pair.line(take).stdout.strip() == "0|0"
    pair.run("copy")
    refused(there, f"SELECT ops.open_buckets({NAMED})", "has not handed buckets")
    refused(there, f"SELECT ops.reopen_buckets({RANGE})", "arrive here")
    close, drain, *others = lines_of("cut over")
    assert pair.line(close).returncode == 0
    with here.connect(roles.MIGRATOR, autocommit=False) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute(f"SELECT ops.drain_buckets({RANGE})")
        connection.rollback()
    # Given up, and begun again.
    assert here.one(f"SELECT ops.reopen_buckets({RANGE})") == 512
    assert send(pair.transfers(OLD), "meanwhile", HERE, THERE, 3) is State.COMPLETED
    published(pair)
    *rounds, told, hand_over, open_line, _forget = others
    for line in (close, drain, told):
        assert pair.line(line).returncode == 0
    # The last round was left out: what was written meanwhile is not there.
    assert "1 of" in pair.line(hand_over).stderr
    assert "has not handed buckets" in pair.line(open_line).stderr
    for line in (*rounds, told):
        done = pair.line(line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert pair.line(hand_over).returncode == pair.line(open_line).returncode == 0
    refused(here, f"SELECT ops.reopen_buckets({RANGE})", "have left")
    refused(here, f"SELECT ops.close_buckets({RANGE}, 's02')", "it does not come back")
    assert pair.ledger("s01").balance(HERE.wallet) == (Decimal(FUNDS - 3), 2)
    pair.check()


def test_a_copy_that_differs_is_not_verified(pair: Pair) -> None:
    pair.run("prepare")
    pair.run("copy")
    there = pair.databases["s01"]
    position, told, compare, *_ = lines_of("verify")
    with there.connect(roles.MIGRATOR) as connection:
        connection.execute("ALTER TABLE es.wallet_events DISABLE TRIGGER append_only")
        connection.execute("UPDATE es.wallet_events SET type = 'Other' WHERE wallet_id = %s", (HERE.wallet,))
        for line in (position, told):
            assert pair.line(line).returncode == 0
        assert "1 of" in pair.line(compare).stderr
        connection.execute("UPDATE es.wallet_events SET type = 'WalletCredited' WHERE wallet_id = %s", (HERE.wallet,))
        connection.execute("ALTER TABLE es.wallet_events ENABLE TRIGGER append_only")
    pair.run("verify")
    published(pair)
    *lines, told, hand_over, _, _ = lines_of("cut over")
    for line in lines:
        assert pair.line(line).returncode == 0
    there.all("UPDATE ledger.wallets SET balance = balance + 1 WHERE wallet_id = %s", HERE.wallet)
    assert pair.line(told).returncode == 0
    assert f"1 of {len({bucket_of(one.user) for one in MOVING})} sums differ" in pair.line(hand_over).stderr
    refused(there, f"SELECT ops.open_buckets({NAMED})", "has not handed buckets")
    assert there.one("SELECT count(*) FROM ops.buckets WHERE closed_for IS NULL") == 512
