"""Shards and roles in the settings: what is refused, with which words."""

from typing import Any

import pytest

from tests.unit.stacks import REMOVED, problems_of, settings_of

PLACE = {"host": "db.example.com", "password_key": "databaseAdminPassword"}
LOOPBACK = {**PLACE, "host": "127.0.0.1", "sslmode": "disable"}


def test_no_database_at_all_is_a_choice() -> None:
    assert settings_of("dev", {"data": REMOVED}).data is None


def test_the_number_of_buckets_is_fixed_for_ever() -> None:
    [line] = problems_of("dev", {"data/buckets": 2048})
    assert line.startswith("data.buckets: is 2048; allowed: 1024")


def ranges(**shards: list[str]) -> dict[str, object]:
    return {"data/shards": {name: {"buckets": parts} for name, parts in shards.items()}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (ranges(s00=["0-1022"]), "1 of 1024 buckets are on no shard, the first is 1023"),
        (ranges(s00=["0-511"], s01=["513-1023"]), "1 of 1024 buckets are on no shard, the first is 512"),
        (ranges(s00=["0-600"], s01=["600-1023"]), "bucket 600 is in s00 and again in s01; a user lives on one shard"),
        (ranges(s00=["0-1023", "5-5"]), "bucket 5 is in s00 and again in s00"),
        (ranges(s00=["0-1024"]), "shard s00 names buckets 0-1024; buckets go from 0 to 1023"),
        (ranges(s00=["1023-0"]), "shard s00 names buckets 1023-0"),
        (ranges(), "at least 1 entries"),
        (ranges(s00=["all"]), "data.shards.s00.buckets[0]: is 'all'; allowed: text that matches"),
        (ranges(shard=["0-1023"]), "data.shards.shard: is 'shard'; allowed: text that matches ^s[0-9]{2}$"),
        ({"data/extensions": ["plpython3u"]}, "btree_gin"),
        ({"data/extensions": ["pg_trgmm"]}, "did you mean 'pg_trgm'?"),
        ({"data/roles": {"application": {"connection_limit": 5}}}, "statement_timeout_milliseconds"),
        (
            {"data/shards/s00/endpoint": {**PLACE, "password_key": "a b"}},
            "data.shards.s00.endpoint.password_key",
        ),
        ({"data/shards/s00/endpoint": {**PLACE, "password": "x"}}, "data.shards.s00.endpoint.password: unknown key"),
        ({"data/database": "Payments"}, "lower-case letters"),
    ],
)
def test_a_mistake_is_told_where_it_stands(changes: dict[str, object], words: str) -> None:
    lines = problems_of("dev", changes)
    assert any(words in line for line in lines), lines
    assert all("; fix: " in line for line in lines)


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("host", ["db.example.com", "127.0.0.1"])
def test_only_dev_on_loopback_may_do_without_a_verified_certificate(stack: str, mode: str, host: str) -> None:
    endpoint: dict[str, Any] = {**PLACE, "host": host, "sslmode": mode}
    lines = problems_of(stack, {"data/shards/s00/endpoint": endpoint})
    local = stack == "dev" and host == "127.0.0.1"
    allowed = mode == "verify-full" or local or (stack == "dev" and mode != "disable")
    assert (lines == []) is allowed
    if not allowed:
        assert lines[0].startswith(f"data.shards.s00.endpoint.sslmode: is '{mode}'; allowed: verify-full")


def test_verification_is_the_default() -> None:
    data = settings_of("prod", {"data/shards/s00/endpoint": PLACE}).data
    assert data is not None
    endpoint = data.shards["s00"].endpoint
    assert endpoint is not None
    assert (endpoint.sslmode, endpoint.port, endpoint.username) == ("verify-full", 5432, "payments_admin")


def test_each_shard_has_a_server_of_its_own() -> None:
    [line] = problems_of("prod", {"data/shards/s00/endpoint": PLACE, "data/shards/s01/endpoint": PLACE})
    assert line.startswith("data.shards.s01.endpoint: is 'db.example.com:5432'; allowed: a server of its own")


def test_a_shard_that_is_being_prepared_holds_nothing() -> None:
    data = settings_of("dev", {**ranges(s00=["0-1023"], s01=[]), "data/migrations": REMOVED, "postgres": None}).data
    assert data is not None
    assert data.shards["s01"].ranges == ()
