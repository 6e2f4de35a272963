import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_client.database.rotation import Rotation
from payments_client.database.tokens import Token


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 6), st.integers(1, 60))
def test_turns_are_even(count: int, calls: int) -> None:
    rotation = Rotation(count, Clock())
    first = Counter(rotation.order()[0] for _ in range(calls))
    assert max(first.values()) - min(first[index] for index in range(count)) <= 1


def test_turns_are_even_between_threads() -> None:
    rotation, taken, lock = Rotation(3), Counter[int](), threading.Lock()

    def take() -> None:
        for _ in range(300):
            chosen = rotation.order()[0]
            with lock:
                taken[chosen] += 1

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(taken.values()) == {400}


def test_an_endpoint_that_fails_is_left_out_and_tried_by_one_caller_when_its_rest_ends() -> None:
    clock = Clock()
    rotation = Rotation(2, clock)
    rotation.failed(0)
    assert [rotation.order() for _ in range(3)] == [[1]] * 3
    clock.now = 1.5
    assert sum(0 in rotation.order() for _ in range(4)) == 1
    rotation.succeeded(0)
    assert sorted(rotation.order()) == [0, 1]


def test_rests_grow_to_half_a_minute() -> None:
    clock = Clock()
    rotation = Rotation(1, clock)
    for _ in range(20):
        rotation.failed(0)
    clock.now = 29.9
    assert rotation.order() == []
    clock.now = 30.1
    assert rotation.order() == [0]


def test_no_endpoint_at_all() -> None:
    assert Rotation(0).order() == []


@given(st.integers(0, 2**64 - 1))
def test_a_token_survives_a_header(lsn: int) -> None:
    assert Token.parse(str(Token(lsn=lsn))) == Token(lsn=lsn)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_replica_has_seen_what_it_replayed(written: int, replayed: int) -> None:
    seen = Token(lsn=written).seen_at(str(Token(lsn=replayed)), in_recovery=True)
    assert seen is (replayed >= written)


def test_only_a_primary_has_seen_a_write_without_a_position() -> None:
    assert Token.parse("primary").seen_at(None, in_recovery=False)
    assert not Token.parse("primary").seen_at("FFFFFFFF/0", in_recovery=True)
    assert not Token(lsn=1).seen_at(None, in_recovery=True)


@pytest.mark.parametrize("text", ["", "16", "x/1", "1/2/3", "123456789/0"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(ValueError, match="is no token"):
        Token.parse(text)
