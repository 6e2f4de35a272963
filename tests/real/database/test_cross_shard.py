"""Two shards on a real server: one hash in Python and in SQL, and money that is never lost between them."""

import asyncio
import json
import random
import threading
import time
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from payments_client.cache import Event
from payments_client.contract_shards import BucketRange, ShardContract, ShardsContract
from payments_client.eventstore import CurrencyError, InsufficientFundsError, KeyReusedError, Ledger, UnknownWalletError
from payments_client.shards import ShardMap, bucket_of
from payments_client.shards.aio import AsyncTransfers
from payments_client.shards.steps import State, WalletOf
from payments_client.shards.transfers import Transfers
from tests.client.shards.vectors import VECTORS
from tests.real.database import roles
from tests.real.database.conftest import Database, _copy
from tests.real.database.together import together

MAP = ShardMap(
    ShardsContract(
        database="payments",
        shards=(
            ShardContract(name="s00", buckets=(BucketRange(first=0, last=511),)),
            ShardContract(name="s01", buckets=(BucketRange(first=512, last=1023),)),
        ),
    )
)


def user_on(shard: str, number: int = 0) -> str:
    """The n-th user of a series who lives on a shard."""
    found = [user for user in (f"user-{n}" for n in range(20 * (number + 1))) if MAP.shard_of(user) == shard]
    return found[number]


@dataclass(kw_only=True)
class Shards:
    """Two migrated databases; a shard that is ``down`` cannot be connected to."""

    databases: dict[str, Database]
    down: set[str] = field(default_factory=set)

    def connect(self, shard: str) -> psycopg.Connection[Any]:
        if shard in self.down:
            raise psycopg.OperationalError("the shard is down")
        return self.databases[shard].connect(autocommit=False)

    def transfers(self) -> Transfers:
        def connections(shard: str) -> Any:
            def one() -> AbstractContextManager[psycopg.Connection[Any]]:
                return self.connect(shard)

            return one

        return Transfers(MAP, connections, step_deadline_seconds=0.2 if self.down else 60)

    def open(self, wallet: str, user: str, amount: int = 0) -> WalletOf:
        """A wallet with money from outside."""
        shard = MAP.shard_of(user)
        ledger = Ledger(lambda: self.connect(shard))
        ledger.open_wallet(wallet, user, "EUR")
        if amount:
            self.databases[shard].all("SELECT ledger.open_house_wallet('house:world', 'house', 'EUR')")
            ledger.transfer(f"in-{wallet}", source="house:world", target=wallet, amount=Decimal(amount), currency="EUR")
        return WalletOf(wallet=wallet, user=user)

    def balance(self, wallet: WalletOf) -> Decimal:
        found = Ledger(lambda: self.connect(MAP.shard_of(wallet.user))).balance(wallet.wallet)
        assert found is not None
        return found[0]

    def all(self, query: str) -> list[tuple[Any, ...]]:
        return [row for database in self.databases.values() for row in database.all(query)]

    def on_its_way(self) -> Decimal:
        """Sum of all transit wallets: what has left one shard and not yet reached the other."""
        return sum((row[0] for row in self.all("SELECT balance FROM ledger.wallets WHERE wallet_id LIKE 'transit:%'")),
                   Decimal(0))  # fmt: skip

    def amounts(self, *wallets: WalletOf) -> tuple[int, ...]:
        """Balances, and what is on its way; all of them whole numbers here."""
        return tuple(int(amount) for amount in (*map(self.balance, wallets), self.on_its_way()))

    def due(self) -> None:
        """Let the time pass that workers leave to whoever began a transfer."""
        for database in self.databases.values():
            database.all(
                "UPDATE ledger.cross_transfers SET next_attempt_at = clock_timestamp() WHERE state = 'started'"
            )

    def count(self, state: str) -> int:
        """Transfers in a state, on both shards."""
        rows = [database.one("SELECT count(*) FROM ledger.cross_transfers WHERE state = %s", state)
                for database in self.databases.values()]  # fmt: skip
        return sum(rows)

    def check_books(self) -> None:
        for database in self.databases.values():
            assert database.all("SELECT * FROM ledger.check_books()", user=roles.APP) == []


@pytest.fixture
def shards(newest: Database) -> Shards:
    return Shards(databases={"s00": newest, "s01": _copy(newest.server)})


def move(shards: Shards, name: str, source: WalletOf, target: WalletOf, amount: int) -> State:
    return shards.transfers().transfer(name, source=source, target=target, amount=Decimal(amount), currency="EUR")


def test_t22_ten_thousand_ids_have_the_same_bucket_in_python_and_in_sql(database: Database) -> None:
    generator = random.Random(20261124)  # noqa: S311
    ids = [f"user-{number}" for number in range(4000)]
    ids += [str(generator.getrandbits(128)) for _ in range(3000)]
    alphabet = [chr(code) for low, high in ((32, 0xD800), (0xE000, 0x11000)) for code in range(low, high)]
    ids += ["".join(generator.choices(alphabet, k=12)) for _ in range(3000)]
    rows = database.all("SELECT id, ops.bucket_of(id) FROM unnest(%s::text[]) AS id", ids)
    assert len(rows) == 10_000
    assert [(user, bucket) for user, bucket in rows if bucket_of(user) != bucket] == []


def test_t22_the_pinned_vectors_hold_in_sql(database: Database) -> None:
    rows = database.all("SELECT id, ops.bucket_of(id) FROM unnest(%s::text[]) AS id", list(VECTORS))
    assert dict(rows) == VECTORS


def test_money_crosses_once_and_both_shards_books_are_right(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    assert move(shards, "t1", source, target, 30) is State.COMPLETED
    assert move(shards, "t1", source, target, 30) is State.COMPLETED
    assert shards.amounts(source, target) == (70, 30, 0)
    with pytest.raises(KeyReusedError):
        move(shards, "t1", source, target, 31)
    shards.check_books()


def test_within_a_shard_it_is_one_movement(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s00", 1))
    assert move(shards, "t1", source, target, 30) is State.COMPLETED
    assert shards.all("SELECT count(*) FROM ledger.cross_transfers") == [(0,), (0,)]
    assert shards.amounts(source, target) == (70, 30, 0)


def test_a_refusal_of_the_target_gives_the_money_back_and_stands_for_ever(shards: Shards) -> None:
    source, nobody = shards.open("a", user_on("s00"), 100), WalletOf(wallet="b", user=user_on("s01"))
    assert move(shards, "t1", source, nobody, 30) is State.REFUNDED
    assert shards.amounts(source) == (100, 0)
    target = shards.open("b", nobody.user)
    assert move(shards, "t1", source, target, 30) is State.REFUNDED, "the answer was given"
    assert move(shards, "t2", source, target, 30) is State.COMPLETED
    assert shards.amounts(source, target) == (70, 30, 0)
    refused = shards.databases["s00"].all("SELECT refusal FROM ledger.cross_transfers WHERE state = 'refunded'")
    assert refused == [("wallet 'b' does not exist",)]
    shards.check_books()


def test_too_little_money_moves_nothing(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 10), shards.open("b", user_on("s01"))
    with pytest.raises(InsufficientFundsError):
        move(shards, "t1", source, target, 30)
    with pytest.raises(UnknownWalletError):
        move(shards, "t2", WalletOf(wallet="nobody", user=source.user), target, 30)
    assert shards.all("SELECT count(*) FROM ledger.cross_transfers") == [(0,), (0,)]


def test_while_the_target_is_down_the_money_waits_and_a_worker_delivers_it(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    shards.down.add("s01")
    assert move(shards, "t1", source, target, 30) is State.STARTED
    assert shards.transfers().work("s00").settled == {}, "it is left to whoever began it"
    shards.due()
    assert list(shards.transfers().work("s00").failed) == ["t1"]
    assert shards.databases["s00"].one("SELECT transfers FROM ops.cross_shard_metrics", user=roles.EXPORTER) == 1
    shards.down.clear()
    shards.due()
    assert shards.transfers().work("s00").settled == {"t1": State.COMPLETED}
    assert shards.amounts(source, target) == (70, 30, 0)
    assert shards.transfers().work("s00").settled == {}
    shards.check_books()


def test_an_answer_that_was_lost_is_asked_for_again(shards: Shards) -> None:
    """The target has the money, and the source's shard dies before it learns of it."""
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    shards.down.add("s01")
    move(shards, "t1", source, target, 30)
    shards.down.clear()
    with shards.connect("s01") as connection:
        answer = connection.execute("SELECT * FROM ledger.receive_cross_transfer('t1', 's00', 'b', 30, 'EUR')")
        assert answer.fetchone() == ("credited", None)
    assert shards.balance(target) == 30
    shards.due()
    assert shards.transfers().work("s00").settled == {"t1": State.COMPLETED}
    assert shards.amounts(source, target) == (70, 30, 0)


def test_an_id_that_was_used_within_a_shard_does_not_move_money_again_after_the_user_moved(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s00", 1))
    move(shards, "t1", source, target, 30)
    with shards.connect("s00") as connection:
        again = connection.execute("SELECT ledger.begin_cross_transfer('t1', 'a', 'b', 's01', 30, 'EUR')").fetchone()
    assert again == ("completed",)
    assert shards.balance(source) == 70
    far = shards.open("c", user_on("s01"))
    move(shards, "t2", source, far, 20)
    with shards.connect("s00") as connection:
        again = connection.execute("SELECT ledger.transfer_within_shard('t2', 'a', 'c', 20, 'EUR')").fetchone()
    assert again == ("completed",)
    assert shards.balance(source) == 50


def test_t22_two_tries_of_one_id_while_the_map_changes_move_money_once(shards: Shards) -> None:
    """One service sees both wallets on one shard, the other the target on another one: they wait for each other."""
    source = shards.open("a", user_on("s00"), 100)
    shards.open("b", user_on("s00", 1))
    begin, within = shards.connect("s00"), shards.connect("s00")
    begin.execute("SELECT ledger.begin_cross_transfer('t1', 'a', 'b', 's01', 30, 'EUR')")
    answers: list[Any] = []

    def second() -> None:
        with within.transaction():
            row = within.execute("SELECT ledger.transfer_within_shard('t1', 'a', 'b', 30, 'EUR')").fetchone()
            answers.append(row)

    thread = threading.Thread(target=second)
    thread.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    for _ in range(200):
        if shards.databases["s00"].one(waiting, within.info.backend_pid):
            break
        time.sleep(0.05)
    begin.commit()
    thread.join(timeout=30)
    begin.close()
    within.close()
    assert answers == [("started",)]
    assert shards.balance(source) == 70


def test_two_shards_may_choose_the_same_id(shards: Shards) -> None:
    target = shards.open("b", user_on("s01"))
    with shards.connect("s01") as connection:
        for shard, amount in (("s00", 30), ("s02", 12), ("s00", 30), ("s02", 12)):
            answer = connection.execute(
                "SELECT outcome FROM ledger.receive_cross_transfer('t1', %s, 'b', %s, 'EUR')", (shard, amount)
            )
            assert answer.fetchone() == ("credited",)
    assert shards.balance(target) == 42


def test_an_unknown_currency_is_said_before_money_moves_and_refused_where_it_arrives(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    with pytest.raises(CurrencyError, match="XTS"):
        shards.transfers().transfer("t1", source=source, target=target, amount=Decimal(1), currency="XTS")
    with shards.connect("s01") as connection:
        answer = connection.execute("SELECT * FROM ledger.receive_cross_transfer('t2', 's00', 'b', 1, 'XTS')")
        assert answer.fetchone() == ("refused", "currency 'XTS' is not known")


def test_only_what_was_tried_waits_longer_and_five_minutes_at_most(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    shards.down.add("s01")
    for number in range(3):
        move(shards, f"t{number}", source, target, 1)
    shards.due()
    assert len(shards.transfers().work("s00").failed) == 1, "a shard that is down is asked once in a round"
    home = shards.databases["s00"]
    assert home.all("SELECT attempts FROM ledger.cross_transfers ORDER BY 1") == [(0,), (0,), (1,)]
    home.all("UPDATE ledger.cross_transfers SET attempts = 40")
    assert shards.transfers().work("s00").failed == {}, "all of them are leased or postponed"
    shards.due()
    shards.transfers().work("s00")
    longest = "SELECT extract(epoch FROM max(next_attempt_at) - clock_timestamp()) FROM ledger.cross_transfers"
    assert 290 < home.one(longest) <= 300
    shards.down.clear()
    assert home.one("SELECT ledger.hasten_cross_transfers('s01')") == 3
    assert set(shards.transfers().work("s00").settled.values()) == {State.COMPLETED}
    assert shards.amounts(source, target) == (97, 3, 0)


def test_transfers_to_a_shard_that_is_down_do_not_fill_the_batch(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    with shards.connect("s00") as connection:
        for number in range(5):
            connection.execute("SELECT ledger.begin_cross_transfer(%s, 'a', 'x', 's09', 1, 'EUR')", (f"lost{number}",))
    shards.down.add("s01")
    move(shards, "t1", source, target, 30)
    shards.due()
    taken = shards.databases["s00"].all("SELECT target_shard FROM ledger.take_cross_transfers(2)")
    assert sorted(taken) == [("s01",), ("s09",)]


def test_money_is_conserved_under_concurrent_transfers_failures_and_workers(shards: Shards) -> None:
    wallets = [shards.open(f"w{n}", user_on("s00" if n % 2 else "s01", n), 1000) for n in range(6)]
    each, workers = 12, 6

    def trade(number: int) -> None:
        generator = random.Random(number)  # noqa: S311
        for step in range(each):
            source, target = generator.sample(wallets, 2)
            # Some go to a wallet that is not there, some find the target's shard down, some wallets hold too little.
            lost = WalletOf(wallet="nobody", user=target.user) if generator.random() < 0.2 else target
            here, there = MAP.shard_of(source.user), MAP.shard_of(target.user)
            down = {there} if here != there and generator.random() < 0.2 else set()
            mine = Shards(databases=shards.databases, down=down).transfers()
            amount = Decimal(generator.randint(1, 900))
            try:
                mine.transfer(f"{number}-{step}", source=source, target=lost, amount=amount, currency="EUR")
            except (InsufficientFundsError, UnknownWalletError):
                continue
            if not down and generator.random() < 0.3:
                mine.work(here)

    together(trade, workers)
    assert shards.count("started") > 0, "some are on their way"
    for _ in range(3):
        shards.due()
        for shard in MAP.names:
            shards.transfers().work(shard)
    assert shards.count("started") == 0
    assert sum(shards.balance(wallet) for wallet in wallets) == 6000
    assert shards.on_its_way() == 0
    assert shards.count("refunded") > 0
    assert shards.count("completed") > 0
    shards.check_books()


def test_asyncio_moves_money_as_threads_do(shards: Shards) -> None:
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))

    def connections(shard: str) -> Any:
        @asynccontextmanager
        async def one() -> Any:
            async with await psycopg.AsyncConnection.connect(shards.databases[shard].dsn(roles.APP)) as connection:
                yield connection

        return one

    async def run() -> list[State]:
        transfers = AsyncTransfers(MAP, connections)
        return await asyncio.gather(
            *(
                transfers.transfer(f"t{n % 2}", source=source, target=target, amount=Decimal(10), currency="EUR")
                for n in range(4)
            )
        )

    assert set(asyncio.run(run())) == {State.COMPLETED}
    assert shards.amounts(source, target) == (80, 20, 0)


def test_every_message_that_a_transfer_leaves_is_read_by_the_caches(shards: Shards) -> None:
    """Completed and refunded: the transfer's own events are a stream of versions 1 and 2."""
    source, target = shards.open("a", user_on("s00"), 100), shards.open("b", user_on("s01"))
    assert move(shards, "t1", source, target, 30) is State.COMPLETED
    assert move(shards, "t2", source, WalletOf(wallet="nobody", user=target.user), 30) is State.REFUNDED
    told: dict[str, list[tuple[str, int]]] = {}
    for topic, key, payload in shards.all("SELECT topic, key, payload FROM es.outbox ORDER BY id"):
        event = Event.from_json(json.dumps(payload))
        assert topic == "wallet-events"
        assert event.occurred_at_seconds is not None and event.user_id is not None, payload  # noqa: PT018 # one condition: complete
        if event.type.startswith("CrossShard"):
            assert (key, event.user_id) == (source.wallet, source.user)
            told.setdefault(event.aggregate_id, []).append((event.type, event.version))
    assert told == {
        "cross-shard-transfer:t1": [("CrossShardTransferStarted", 1), ("CrossShardTransferCompleted", 2)],
        "cross-shard-transfer:t2": [("CrossShardTransferStarted", 1), ("CrossShardTransferRefunded", 2)],
    }
