"""Buckets with money move between two servers under load, by the very lines that `payctl shards plan` prints."""

import functools
import json
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cli.main import cli
from payments_client.contract_shards import BucketRange, ShardContract, ShardsContract
from payments_client.eventstore import Ledger, Outbox
from payments_client.migrations import apply, load
from payments_client.shards import ShardMap, bucket_of
from payments_client.shards.moves import BucketClosedError
from payments_client.shards.steps import State, WalletOf
from payments_client.shards.transfers import Transfers
from sandbox import embedded_postgres as embedded
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS, Database
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
    """Two shards on two servers: transaction ids of one mean nothing on the other."""

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
        found: Counter[str] = Counter()
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


@pytest.fixture
def pair(newest: Database) -> Iterator[Pair]:
    with ExitStack() as stack:
        server = stack.enter_context(running(max(VERSIONS)))
        roles.make_roles(server)
        roles.make_database(server, newest.name)
        other = Database(server=server, name=newest.name)
        with other.connect(roles.MIGRATOR) as connection:
            apply(connection, load(MIGRATIONS))
        databases = {"s00": newest, "s01": other}
        dsns = {
            name: f"{database.dsn(roles.MIGRATOR)} options=-crole={roles.OWNER}" for name, database in databases.items()
        }
        psql = os.path.dirname(embedded.programs(max(VERSIONS)).path("psql"))  # noqa: PTH120
        found = Pair(databases=databases, bash={**dsns, "PATH": f"{psql}:{os.environ['PATH']}"})
        newest.all(
            "INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) VALUES ('bank', 'bank', 'EUR', 'house')"
        )
        ledger = found.ledger("s00")
        for one in WALLETS:
            ledger.open_wallet(one.wallet, one.user, "EUR")
            ledger.transfer(f"in-{one.wallet}", source="bank", target=one.wallet, amount=Decimal(FUNDS), currency="EUR")
        yield found


@dataclass(kw_only=True)
class Load:
    """Services that know the old map until a shard sends them to the contract."""

    pair: Pair
    asked: dict[str, tuple[WalletOf, WalletOf, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)
    """Where refusals sent the services."""
    failed: list[BaseException] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def service(self, worker: int) -> None:
        generator, known = random.Random(worker), OLD  # noqa: S311
        services = {id(known): self.pair.transfers(known)}
        for number in count():
            if self.ends.is_set():
                return
            source, target = generator.sample(WALLETS, 2)
            transfer, amount = f"t-{worker}-{number}", generator.randint(1, 5)
            self.asked[transfer] = (source, target, amount)
            while True:
                service = services.setdefault(id(known), self.pair.transfers(known))
                try:
                    send(service, transfer, source, target, amount)
                    break
                except BucketClosedError as error:
                    self.named.add(error.shard)
                    self.refused["with the old map" if known is OLD else "before it was opened"] += 1
                    known = NEW
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


def test_buckets_with_money_move_under_load_by_the_printed_lines(pair: Pair) -> None:
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
    assert (load.refused["with the old map"], load.named) == (WORKERS, {"s01"})
