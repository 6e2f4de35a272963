"""Routing by the published map, questions to all shards, and what a shard that fails does to the answer."""

import asyncio
import hashlib
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from payments_client.contract import PlatformContract
from payments_client.contract_shards import BucketRange, ShardContract, ShardsContract
from payments_client.shards import PartialFailureError, ShardMap, bucket_of, fan_out, fan_out_async
from tests.client.shards.vectors import VECTORS

PROMPT = 30.0
"""Seconds that no question of these tests needs."""


def contract(**shards: list[tuple[int, int]]) -> ShardsContract:
    return ShardsContract(
        database="payments",
        shards=tuple(
            ShardContract(name=name, buckets=tuple(BucketRange(first=first, last=last) for first, last in ranges))
            for name, ranges in shards.items()
        ),
    )


HALVES = contract(s00=[(0, 255), (768, 1023)], s01=[(256, 767)])


@pytest.mark.parametrize(("user_id", "bucket"), VECTORS.items())
def test_t22_the_pinned_vectors_hold(user_id: str, bucket: int) -> None:
    assert bucket_of(user_id) == bucket


def test_t22_the_hash_is_the_same_in_another_process_whatever_its_seed() -> None:
    program = "import sys; from payments_client.shards import bucket_of; print([bucket_of(i) for i in sys.argv[1:]])"
    command = [sys.executable, "-c", program, *VECTORS]
    path = ":".join(entry for entry in sys.path if entry)
    for seed in ("0", "4711"):
        environment = {"PYTHONPATH": path, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
        assert answer.stdout.strip() == str(list(VECTORS.values()))


def chi_square(users: int) -> float:
    counts = [0] * 1024
    for number in range(users):
        counts[bucket_of(f"user-{number}")] += 1
    expected = users / 1024
    return sum((count - expected) ** 2 / expected for count in counts)


def test_t22_users_fall_evenly_into_the_buckets() -> None:
    """Chi-square of 1024 buckets: 1023 on average, 45 its standard deviation; five of them are never seen by chance."""
    assert abs(chi_square(200_000) - 1023) < 5 * 45


@pytest.mark.slow
def test_t22_the_fullest_and_the_emptiest_bucket_are_within_three_percent_of_the_mean() -> None:
    """With n users a bucket's own chance is sqrt(1024 / n), and the worst of 1024 is 3.3 of these: n must be large."""
    users = 20_000_000
    counts = [0] * 1024
    sha256 = hashlib.sha256
    for number in range(users):
        counts[int.from_bytes(sha256(b"user-%d" % number).digest()[6:8]) & 1023] += 1
    assert counts[bucket_of("user-1")] > 0
    mean = users / 1024
    assert max(counts) < 1.03 * mean
    assert min(counts) > 0.97 * mean


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_id_has_one_shard_and_it_is_the_one_of_its_bucket(user_id: str) -> None:
    shard_map = ShardMap(HALVES)
    bucket = bucket_of(user_id)
    assert 0 <= bucket < 1024
    assert shard_map.shard_of(user_id) == shard_map.shard_of_bucket(bucket)
    assert shard_map.shard_of(user_id) == ("s01" if 256 <= bucket < 768 else "s00")


@pytest.mark.parametrize("user_id", ["", "a\0b", "\ud800"])
def test_what_the_database_cannot_store_is_no_id(user_id: str) -> None:
    with pytest.raises(ValueError, match="user id"):
        bucket_of(user_id)


@pytest.mark.parametrize("bucket", [-1, 1024])
def test_there_is_no_bucket_beyond_1023(bucket: int) -> None:
    with pytest.raises(IndexError):
        ShardMap(HALVES).shard_of_bucket(bucket)


def test_users_are_grouped_by_shard_in_their_order() -> None:
    users = [f"user-{number}" for number in range(50)]
    groups = ShardMap(HALVES).group(users)
    assert sorted(user for group in groups.values() for user in group) == sorted(users)
    for shard, group in groups.items():
        assert group == [user for user in users if ShardMap(HALVES).shard_of(user) == shard]
    assert ShardMap(HALVES).group([]) == {}


@pytest.mark.parametrize(
    ("shards", "said"),
    [
        ({"s00": [(0, 1022)]}, "bucket 1023 is on no shard"),
        ({"s00": [(0, 600)], "s01": [(600, 1023)]}, "bucket 600 is on two shards"),
        ({"s00": [(0, 600), (600, 1023)]}, "bucket 600 is on two shards"),
        ({"s00": [(0, 1024)]}, "less than 1024"),
        ({"s00": [(1023, 0)]}, "wrong way round"),
        ({"shard": [(0, 1023)]}, "pattern"),
    ],
)
def test_a_map_that_is_not_whole_is_refused(shards: dict[str, list[tuple[int, int]]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        contract(**shards)


def test_the_map_is_read_from_the_published_contract() -> None:
    text = PlatformContract(schema_version=1, shards=HALVES).to_json()
    assert PlatformContract.parse(text).shards == HALVES
    with pytest.raises(ValueError, match="hash"):
        PlatformContract.parse(text.replace(HALVES.hash, "crc32-modulo"))


def test_all_shards_are_asked_at_once() -> None:
    """Each waits for the other: one after the other they would never answer."""
    barrier = threading.Barrier(3)

    def ask(shard: str) -> str:
        barrier.wait(PROMPT)
        return shard.upper()

    answers = fan_out(["s00", "s01", "s02"], ask, timeout_seconds=PROMPT)
    assert answers.require_all() == {"s00": "S00", "s01": "S01", "s02": "S02"}
    assert answers.complete


def test_a_shard_that_fails_is_named_and_the_others_answers_are_kept() -> None:
    def ask(shard: str) -> int:
        if shard == "s01":
            raise ConnectionError("canary: password=hunter2")
        return 7

    answers = fan_out(["s00", "s01"], ask, timeout_seconds=PROMPT)
    assert answers.answered == {"s00": 7}
    assert isinstance(answers.failed["s01"], ConnectionError)
    with pytest.raises(PartialFailureError, match=r"1 of 2 shards did not answer \(s01: ConnectionError\)") as caught:
        answers.require_all()
    assert caught.value.answers is answers
    assert "hunter2" not in str(caught.value)


def test_a_shard_that_is_too_slow_does_not_hold_up_the_answer() -> None:
    release = threading.Event()

    def ask(shard: str) -> str:
        if shard == "s01":
            release.wait(PROMPT)
        return shard

    began = time.monotonic()
    answers = fan_out(["s00", "s01"], ask, timeout_seconds=0.5)
    waited = time.monotonic() - began
    release.set()
    assert waited < PROMPT
    assert answers.answered == {"s00": "s00"}
    assert isinstance(answers.failed["s01"], TimeoutError)


def test_nobody_to_ask_is_a_complete_answer() -> None:
    assert fan_out([], lambda shard: shard, timeout_seconds=1).require_all() == {}


def test_asyncio_reports_failures_and_slowness_the_same_way() -> None:
    cancelled: list[str] = []

    async def ask(shard: str) -> str:
        if shard == "s01":
            raise ConnectionError
        if shard == "s02":
            try:
                await asyncio.sleep(PROMPT)
            except asyncio.CancelledError:
                cancelled.append(shard)
                raise
        return shard

    answers = asyncio.run(fan_out_async(["s00", "s01", "s02", "s00"], ask, timeout_seconds=0.5))
    assert answers.answered == {"s00": "s00"}
    assert {shard: type(error) for shard, error in answers.failed.items()} == {
        "s01": ConnectionError,
        "s02": TimeoutError,
    }
    assert cancelled == ["s02"]


def test_a_moved_bucket_is_followed_before_the_contract_says_so() -> None:
    known = ShardMap(contract(s00=[(0, 1023)]))
    followed = known.moved(bucket_of("user-1"), "s01")
    assert followed.shard_of("user-1") == "s01"
    assert known.shard_of("user-1") == "s00"
    assert [followed.shard_of_bucket(bucket) for bucket in range(1024)].count("s01") == 1
    # What is known already is not another map; a second bucket keeps the first.
    assert followed.moved(bucket_of("user-1"), "s01") is followed
    both = followed.moved(bucket_of("user-2"), "s01")
    assert {both.shard_of("user-1"), both.shard_of("user-2")} == {"s01"}
    assert (known.names, both.names) == (("s00",), ("s00", "s01"))
    with pytest.raises(IndexError, match="buckets go from 0 to 1023"):
        known.moved(-1, "s01")
