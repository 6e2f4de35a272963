"""Another shard takes its equal part and nothing else moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.shards import Addition, plan_addition
from settings.data import BUCKETS

Ranges = dict[str, tuple[tuple[int, int], ...]]


def buckets(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return {bucket for first, last in ranges for bucket in range(first, last + 1)}


def grown(shards: int) -> tuple[Ranges, list[Addition]]:
    """From one shard to ``shards``, one after the other."""
    ranges: Ranges = {"s00": ((0, BUCKETS - 1),)}
    additions = []
    for number in range(1, shards):
        addition = plan_addition(ranges, f"s{number:02d}")
        additions.append(addition)
        ranges = dict(addition.after)
    return ranges, additions


@given(st.integers(2, 40))
def test_t22_the_nth_shard_takes_one_nth_and_only_its_buckets_move(shards: int) -> None:
    before, _ = grown(shards - 1)
    addition = plan_addition(before, f"s{shards - 1:02d}")
    assert addition.buckets == BUCKETS // shards
    assert addition.share <= 1 / shards < addition.share + 1 / BUCKETS
    moved = buckets(addition.after[addition.name])
    assert len(moved) == addition.buckets
    for shard, ranges in before.items():
        assert buckets(addition.after[shard]) == buckets(ranges) - moved, "nothing moves between old shards"
    assert set().union(*(buckets(ranges) for ranges in addition.after.values())) == set(range(BUCKETS))
    assert sum(len(buckets(ranges)) for ranges in addition.after.values()) == BUCKETS
    assert {(move.source, bucket) for move in addition.moves for bucket in range(move.first, move.last + 1)} == {
        (shard, bucket) for shard, ranges in before.items() for bucket in buckets(ranges) & moved
    }


@given(st.integers(1, 40))
def test_shards_that_were_added_one_by_one_hold_nearly_the_same(shards: int) -> None:
    ranges, _ = grown(shards)
    sizes = [len(buckets(part)) for part in ranges.values()]
    assert max(sizes) - min(sizes) <= 1


def test_t22_the_plan_says_what_modulo_would_have_moved() -> None:
    _, additions = grown(4)
    assert [round(addition.share_by_modulo, 3) for addition in additions] == [0.5, 0.667, 0.75]
    assert [addition.buckets for addition in additions] == [512, 341, 256]


def test_an_uneven_start_is_evened_out_by_what_has_to_move_anyway() -> None:
    addition = plan_addition({"s00": ((0, 99),), "s01": ((100, 1023),)}, "s02")
    assert {move.source for move in addition.moves} == {"s01"}
    assert addition.buckets == 341
    assert addition.after["s00"] == ((0, 99),)


def test_a_shard_that_is_being_prepared_can_be_filled() -> None:
    prepared = plan_addition({"s00": ((0, 1023),), "s01": ()}, "s01")
    assert prepared.after == {"s00": ((0, 511),), "s01": ((512, 1023),)}
    assert prepared.shards_before == 1


def test_a_name_that_holds_buckets_is_taken() -> None:
    with pytest.raises(ValueError, match="s00 holds buckets already"):
        plan_addition({"s00": ((0, 1023),)}, "s00")
