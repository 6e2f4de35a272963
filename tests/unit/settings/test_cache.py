"""The caches' settings: what is refused, with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.cache import max_memory_bytes
from settings.services import ResourceAmounts, Resources
from tests.unit.stacks import REMOVED, problems_of, settings_of


def test_no_cache_at_all_is_a_choice() -> None:
    assert settings_of("dev", {"cache": REMOVED}).cache is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache/cluster/primaries": 2}, "cache.cluster.primaries: is 2; allowed: at least 3"),
        ({"cache/cluster/max_memory_percent": 90}, "cache.cluster.max_memory_percent: is 90; allowed: at most 75"),
        ({"cache/server": "redis"}, "cache: server is redis and image is valkey/valkey:9.1.1"),
        ({"cache/exporter/scraped_by": "monitorin"}, "cache.exporter.scraped_by: is 'monitorin'; allowed: one of"),
        (
            {"services/wallet-service/egress_to": ["kafka", "postgres", "redis"]},
            (
                "services.wallet-service.egress_to: is ['kafka', 'postgres', 'redis']; allowed: a peer that leads to "
                "redis-local"
            ),
        ),
        ({"cache/users/wallet-service/keys": []}, "cache.users.wallet-service.keys: is []; allowed: at least 1"),
        ({"cache/users/wallet-service/keys": ["a b"]}, "cache.users.wallet-service.keys[0]: is 'a b'"),
    ],
)
def test_a_mistake_is_told_where_it_stands(changes: dict[str, object], words: str) -> None:
    [line] = problems_of("dev", changes)
    assert line.startswith(words)
    assert "; fix: " in line


def test_the_caches_need_a_namespace_of_their_own() -> None:
    first, *_ = problems_of("dev", {"cluster/namespaces/cache": "payments"})
    assert first.startswith("cluster.namespaces.cache: is 'payments'; allowed: a namespace of its own")


def test_a_user_that_is_no_service_is_refused() -> None:
    user = {"password": {"existing_secret": "a"}, "keys": ["a:*"]}
    [line] = problems_of("dev", {"cache/users/walet-service": user})
    assert line.startswith("cache.users.walet-service: is 'walet-service'")
    assert line.endswith("fix: did you mean 'wallet-service'?")


def test_the_internal_user_is_nobodys() -> None:
    user = {"password": {"existing_secret": "a"}, "keys": ["a:*"]}
    assert any("the user cache-internal is the cache's own" in p for p in problems_of("dev", {
        "cache/users/cache-internal": user,
    }))  # fmt: skip


@pytest.mark.parametrize(("primaries", "accepted"), [(3, True), (4, False), (5, True), (6, True), (7, True)])
def test_prod_keeps_a_majority_whatever_zone_is_lost(primaries: int, accepted: bool) -> None:  # noqa: FBT001
    found = problems_of("prod", {"cache/cluster/primaries": primaries})
    assert (found == []) == accepted, found
    assert accepted or found[0].endswith("fix: use 5")
    assert problems_of("dev", {"cache/cluster/primaries": primaries}) == []


def test_the_daemon_set_needs_no_peer_when_l2_is_a_sidecar() -> None:
    changes = {"cache/local/mode": "sidecar", "services/wallet-service/egress_to": ["kafka", "postgres", "redis"]}
    assert problems_of("dev", changes) == []


@given(mebibytes=st.integers(1, 2**20), percent=st.integers(30, 75))
def test_memory_for_values_is_the_share_of_the_limit_rounded_down(mebibytes: int, percent: int) -> None:
    amounts = ResourceAmounts(cpu="1", memory=f"{mebibytes}Mi")
    found = max_memory_bytes(Resources(requests=amounts, limits=amounts), percent)
    assert found * 100 <= mebibytes * 2**20 * percent < (found + 1) * 100
