"""``payments_client.cache`` on the reconciler's six nodes: TLS, the services' own users, a lost primary."""

import asyncio
import time
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisError

from payments_client.cache import AsyncPaymentsCache, Event, Loaded, Options, PaymentsCache
from payments_client.cache.connections import Credentials, command
from payments_client.cache.errors import TierUnavailableError
from payments_client.cache.values import Versions
from payments_client.contract import CONFIG, WALLET_BALANCE, CacheContract, RedisEndpoint
from tests.real.cache.watching import assert_whole, owner_of
from tests.real.redis_servers import Fleet, Pod, wait_until

OPTIONS = Options(call_timeout_seconds=5, probe_after_seconds=0.2)
WALLETS = [f"w{number}" for number in range(30)]


def contract(fleet: Fleet) -> CacheContract:
    host = next(pod.address for pod in fleet.pods if pod.process is not None)
    return CacheContract(l3=RedisEndpoint(host=host, port=fleet.port, cluster=True))


def credentials(fleet: Fleet, user: str) -> Credentials:
    return Credentials(
        username=user, password=fleet.passwords[user], ca_file=str(fleet.folder / "certificates" / "ca.crt")
    )


class Wallets:
    """The write side: each wallet's version is its balance as well."""

    def __init__(self) -> None:
        self.versions = dict.fromkeys(WALLETS, 1)
        self.reads = 0

    def load(self, wallet: str, _at_least: Versions) -> Loaded[int]:
        self.reads += 1
        return Loaded(self.versions[wallet], {wallet: self.versions[wallet]})

    def deduct(self, wallet: str) -> Event:
        self.versions[wallet] += 1
        return Event(
            type="WalletDeducted", aggregate_id=wallet, version=self.versions[wallet],
            occurred_at_seconds=time.time(), data={"balance": self.versions[wallet]},
        )  # fmt: skip


def test_threads_read_and_invalidate_as_a_service_would(formed: Fleet) -> None:
    wallets = Wallets()
    user = credentials(formed, "wallet-service")
    with (
        PaymentsCache(contract(formed), l3=user, options=OPTIONS) as reading,
        PaymentsCache(contract(formed), l3=user, options=OPTIONS) as writing,
    ):
        balance = reading.display_reader(WALLET_BALANCE, wallets.load)
        first = {wallet: balance.get(wallet) for wallet in WALLETS}
        assert wallets.reads == len(WALLETS)
        publisher = writing.publisher()
        for wallet in WALLETS:
            publisher.apply(wallets.deduct(wallet))
        for wallet in WALLETS:
            seen = first[wallet]
            assert seen is not None
            shown = balance.get(wallet, seen.seen)
            assert shown is not None
            assert (shown.render(str), shown.seen) == ("2", {wallet: 2})
        assert wallets.reads == len(WALLETS), "the events carried the balances to every node"


def test_tasks_hear_over_tls_what_another_user_changed(formed: Fleet) -> None:
    version = [1]

    async def load(item_id: str, _at_least: Versions) -> Loaded[int]:
        return Loaded(version[0], {item_id: version[0]})

    async def scenario() -> None:
        reader, writer = (credentials(formed, name) for name in ("payment-service", "gateway-service"))
        async with (
            AsyncPaymentsCache(contract(formed), l3=reader, options=OPTIONS) as reading,
            AsyncPaymentsCache(contract(formed), l3=writer, options=OPTIONS) as writing,
        ):
            config = reading.reader(CONFIG, load)
            reading.listen()
            assert await config.get("fees") == 1
            version[0] = 2
            await writing.publisher().apply(Event(type="ConfigChanged", aggregate_id="fees", version=2))
            deadline = time.monotonic() + 30
            while await config.get("fees") != 2:
                assert time.monotonic() < deadline, "L1 was not told"
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_user_reaches_its_own_keys_only(formed: Fleet) -> None:
    user = credentials(formed, "gateway-service")
    with redis.RedisCluster(
        host=formed.pods[0].address, port=formed.port, username=user.username, password=user.password,
        ssl=True, ssl_ca_certs=user.ca_file,
    ) as client:  # fmt: skip
        assert client.set("config:own", "1")
        for forbidden in (("GET", "wallet:balance:w1"), ("SET", "user:wallets:u1", "1"), ("KEYS", "*"), ("FLUSHALL",)):
            with pytest.raises(NoPermissionError):
                command(client, *forbidden)


def test_wrong_password_and_unknown_authority_get_nothing(formed: Fleet, tmp_path: Path) -> None:
    right = credentials(formed, "wallet-service")
    other = tmp_path / "ca.crt"
    other.write_bytes((formed.folder / "certificates" / "tls.crt").read_bytes())
    for wrong in (
        Credentials(username=right.username, password="not-it", ca_file=right.ca_file),
        Credentials(username=right.username, password=right.password, ca_file=str(other)),
    ):
        wallets = Wallets()
        with PaymentsCache(contract(formed), l3=wrong, options=OPTIONS) as cache:
            shown = cache.display_reader(WALLET_BALANCE, wallets.load).get("w1")
            assert shown is not None
            assert shown.render(str) == "1", "the source answers"
            with pytest.raises((TierUnavailableError, RedisError)):
                cache.publisher().apply(wallets.deduct("w1"))


@pytest.mark.slow
def test_a_lost_primary_costs_reads_from_the_source_and_never_an_old_balance(fleet: Fleet) -> None:
    fleet.reconcile()
    wallets = Wallets()
    user = credentials(fleet, "wallet-service")
    options = Options(call_timeout_seconds=1, probe_after_seconds=0.2)
    with PaymentsCache(contract(fleet), l3=user, options=options) as cache:
        balance = cache.display_reader(WALLET_BALANCE, wallets.load)
        seen: dict[str, Versions] = {wallet: {} for wallet in WALLETS}

        def read_all() -> int:
            before = wallets.reads
            for wallet in WALLETS:
                shown = balance.get(wallet, seen[wallet])
                assert shown is not None
                assert shown.seen[wallet] >= seen[wallet].get(wallet, 0), f"{wallet} went back"
                seen[wallet] = shown.seen
            return wallets.reads - before

        read_all()
        assert read_all() == 0
        victim: Pod = owner_of(fleet, assert_whole(fleet), f"wallet:balance:{WALLETS[0]}")
        fleet.stop([victim])
        for wallet in WALLETS:
            wallets.versions[wallet] += 1
            seen[wallet] = {wallet: wallets.versions[wallet]}
        assert read_all() == len(WALLETS), "each is asked for a version that no cache has"
        wait_until(lambda: read_all() == 0, 60)
        fleet.start([victim])
        fleet.reconcile()
        wait_until(lambda: read_all() == 0, 60)
    assert_whole(fleet)
