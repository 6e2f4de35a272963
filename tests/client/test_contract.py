"""The published contract: the plan's classes, the plan's numbers, and what it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from payments_client.contract import (
    PLAN_CLASSES,
    SCHEMA_VERSION,
    WALLET_BALANCE,
    CacheClass,
    CacheContract,
    ContractError,
    PlatformContract,
    RedisEndpoint,
    Tier,
)  # fmt: skip

L3 = RedisEndpoint(host="redis-cluster.cache.svc.cluster.local", cluster=True)
WHOLE = PlatformContract(schema_version=1, cache=CacheContract(l2=RedisEndpoint(host="redis-local"), l3=L3))


def test_s11_the_plan_s_classes_have_the_plan_s_names_tiers_and_ttls() -> None:
    tiers = {entry.prefix: entry.ttl_seconds for entry in PLAN_CLASSES}
    everywhere = {Tier.L1: 600, Tier.L2: 60, Tier.L3: 300}
    below = {Tier.L2: 60, Tier.L3: 300}
    assert tiers == {
        "config:": everywhere,
        "rates:": everywhere,
        "user:wallets:": below,
        "wallet:transactions:": below,
        "wallet:balance:": {Tier.L3: 300},
    }
    assert [entry.prefix for entry in PLAN_CLASSES if entry.display_only] == ["wallet:balance:"]
    assert all(entry.owner for entry in PLAN_CLASSES)


def test_staleness_is_the_longest_ttl_with_its_jitter_and_never_their_sum() -> None:
    staleness = {entry.prefix: round(entry.max_staleness_seconds, 3) for entry in PLAN_CLASSES}
    assert staleness["wallet:balance:"] == staleness["user:wallets:"] == 330
    assert staleness["config:"] == 660 + 60


def test_json_is_read_back_and_says_the_same_every_time() -> None:
    assert PlatformContract.parse(WHOLE.to_json()) == WHOLE
    assert json.loads(WHOLE.to_json())["schema_version"] == SCHEMA_VERSION
    assert WHOLE.to_json() == PlatformContract.parse(WHOLE.to_json()).to_json()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"l2_ttl_seconds": 60}, "display-only"),
        ({"l1_ttl_seconds": 600}, "display-only"),
        ({"l3_ttl_seconds": None}, "names no tier"),
        ({"l3_ttl_seconds": 301}, "at most 300"),
        ({"l3_ttl_seconds": 0}, "greater than or equal to 1"),
        ({"l3_ttl_seconds": "300"}, "valid integer"),
        ({"stale_while_revalidate_seconds": 10}, "needs l1_ttl_seconds"),
        ({"prefix": "wallet:balance"}, "pattern"),
        ({"ttl": 3}, "not permitted"),
    ],
)
def test_t25_a_balance_nowhere_but_in_l3_and_ttls_within_the_plan(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CacheClass(**{**WALLET_BALANCE.model_dump(), **change})


def test_classes_whose_keys_would_mix_are_refused() -> None:
    mixed = (CacheClass(prefix="wallet:", owner="x", l3_ttl_seconds=1), WALLET_BALANCE)
    with pytest.raises(ValidationError, match="cannot be told apart"):
        CacheContract(l3=L3, classes=mixed)


def test_a_contract_of_another_version_is_refused_with_every_reason() -> None:
    text = json.dumps({"schema_version": 2, "caches": {}})
    with pytest.raises(ContractError) as refused:
        PlatformContract.parse(text)
    assert "schema_version" in str(refused.value)
    assert "caches" in str(refused.value)


@given(st.text(max_size=40))
def test_any_other_text_is_one_error(text: str) -> None:
    with pytest.raises(ContractError):
        PlatformContract.parse("{" + text)
