"""The partitioner in numbers; its agreement with Kafka's Java client is tested on the real one in tests/sandbox."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_client.kafka.failures import PREFIX, Failure
from payments_client.kafka.metrics import OF_PRODUCERS, Count, PrometheusMetrics
from payments_client.kafka.partitioner import murmur2, partition_for
from tests.client.kafka_world import message


@pytest.mark.parametrize(
    ("key", "java"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("abc", 479470107)],
)
def test_murmur2_gives_the_numbers_that_kafkas_own_tests_state(key: str, java: int) -> None:
    assert murmur2(key.encode()) == java % 2**32


@given(st.text(), st.integers(min_value=1, max_value=1000))
def test_text_and_its_bytes_share_a_partition_within_bounds(key: str, partitions: int) -> None:
    assert partition_for(key, partitions) == partition_for(key.encode(), partitions)
    assert 0 <= partition_for(key, partitions) < partitions


@given(st.integers(min_value=1, max_value=48))
def test_keys_spread_over_all_partitions(partitions: int) -> None:
    assert {partition_for(f"user-{number}", partitions) for number in range(2000)} == set(range(partitions))


def test_growing_a_topic_moves_most_keys_t9() -> None:
    """24 → 48 moves half of them; any other growth moves nearly all: why the order breaks."""
    moved = [partition_for(f"user-{n}", 24) != partition_for(f"user-{n}", 48) for n in range(2000)]
    assert 0.45 < sum(moved) / len(moved) < 0.55
    assert all(partition_for(key, 24) == partition_for(key, 48) % 24 for key in ("a", "b", "user-7"))


@pytest.mark.parametrize("partitions", [0, -3])
def test_a_topic_without_partitions_is_refused(partitions: int) -> None:
    with pytest.raises(ValueError, match="allowed: 1 and more"):
        partition_for("key", partitions)


def test_headers_of_a_failure_are_bounded_and_survive_strange_texts() -> None:
    failure = Failure.of(message(1), ValueError("☠" * 5000 + "\ud800"), group="g", not_before_ms=0)
    headers = failure.headers(message(1, headers=[("own", b"\xff"), (f"{PREFIX}reason", b"forged")]))
    assert sum(len(name) + len(value) for name, value in headers) < 16 * 1024
    assert [value for name, value in headers if name == f"{PREFIX}reason"] == ["☠".encode() * 1000]
    assert headers[0] == ("own", b"\xff")
    read = Failure.read(message(1, headers=headers))
    assert read == failure


@pytest.mark.parametrize("headers", [None, [(f"{PREFIX}topic", b"events")], [(f"{PREFIX}offset", b"far")]])
def test_a_message_that_never_failed_has_no_failure(headers: list[tuple[str, bytes]] | None) -> None:
    assert Failure.read(message(1, headers=headers)) is None


def test_prometheus_counts_by_event_and_topic() -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    metrics.count(Count.HANDLED, "events", 3)
    metrics.count(Count.HANDLED, "events", 2)
    metrics.handler_seconds("events", 0.2)
    metrics.watch_handlers("events", lambda: 7.5)
    assert registry.get_sample_value("payments_kafka_seconds_in_handler", {"topic": "events"}) == 7.5
    labels = {"event": "handled", "topic": "events"}
    assert registry.get_sample_value("payments_kafka_events_total", labels) == 5
    assert registry.get_sample_value("payments_kafka_handler_seconds_count", {"topic": "events"}) == 1


def test_whatever_a_runner_counts_is_there_with_0_before_it_happens() -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    PrometheusMetrics(registry).watch_handlers("events", lambda: 0)
    found = {
        what: registry.get_sample_value("payments_kafka_events_total", {"event": what, "topic": "events"})
        for what in Count
    }
    assert found == {what: None if what in OF_PRODUCERS else 0 for what in Count}


def test_partitions_are_spread_evenly() -> None:
    counts = [0] * 24
    for number in range(24_000):
        counts[partition_for(f"user-{number}", 24)] += 1
    assert all(abs(first - second) < 400 for first, second in pairwise(sorted(counts)))
    assert min(counts) > 800
    assert max(counts) < 1200
