"""The lag that the kafka trigger reports: sums, caps, and the cap's off by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.kafka_scaler import KafkaLag, KafkaTrigger, PartitionOffsets, total_lag
from planning.twin.requests import ManifestError

BASE = {"consumerGroup": "payment-service-group", "topic": "payment-events", "lagThreshold": "1000"}


def trigger(**metadata: str) -> KafkaTrigger:
    return KafkaTrigger.from_metadata(BASE | metadata, where="ScaledObject p", path="spec.triggers[0].metadata")


def reported(subject: KafkaTrigger, total: int, *, partitions: int = 24, with_lag: int | None = None) -> int:
    lag = KafkaLag(total, partitions, partitions if with_lag is None else with_lag)
    return total_lag(subject, lag)[0]


def test_defaults() -> None:
    plain = KafkaTrigger.from_metadata({"consumerGroup": "g", "topic": "t"}, where="w", path="p")
    assert (plain.lag_threshold, plain.activation_lag_threshold, plain.from_earliest) == (10, 0, False)
    assert plain.source == "g/t"


def test_t7_the_cap_is_the_partitions_and_lets_one_more_replica_through() -> None:
    assert reported(trigger(), 23_999) == 23_999
    assert reported(trigger(), 24_999) == 24_999  # 24 whole thresholds on 24 partitions: not above, and 25 replicas
    assert reported(trigger(), 25_000) == 24_000
    assert reported(trigger(), 10**9) == 24_000


def test_idle_consumers_lift_the_cap() -> None:
    assert reported(trigger(allowIdleConsumers="true"), 10**6) == 10**6


def test_a_limit_to_partitions_with_lag_counts_those() -> None:
    hot = trigger(limitToPartitionsWithLag="true")
    assert reported(hot, 50_000, with_lag=1) == 1_000
    assert reported(hot, 1_999, with_lag=1) == 1_999
    assert reported(hot, 3_000, with_lag=3) == 3_000


@pytest.mark.parametrize(
    ("partitions", "total", "consumers"),
    [(24, 4_001, 6), (24, 6_000, 6), (24, 8_001, 12), (24, 12_001, 24), (16, 8_001, 16), (12, 0, 1), (24, 90_000, 24)],
)
def test_t7_an_even_distribution_jumps_between_the_divisors(partitions: int, total: int, consumers: int) -> None:
    even = trigger(ensureEvenDistributionOfPartitions="true")
    assert reported(even, total, partitions=partitions) == consumers * 1000


def test_lags_of_partitions_are_added() -> None:
    offsets = [PartitionOffsets(500, 200), PartitionOffsets(70, 70), PartitionOffsets(40, 0)]
    assert total_lag(trigger(), offsets) == (340, 340)


def test_a_partition_without_an_offset_counts_by_the_reset_policy() -> None:
    never = [PartitionOffsets(5_000, None)]
    assert total_lag(trigger(offsetResetPolicy="latest"), never) == (1, 1)
    # Also what retention has long deleted: 5 thresholds on one partition, capped to one.
    assert total_lag(trigger(offsetResetPolicy="earliest"), never) == (1_000, 5_000)
    for policy in ("latest", "earliest"):
        zero = trigger(offsetResetPolicy=policy, scaleToZeroOnInvalidOffset="true")
        assert total_lag(zero, never) == (0, 0)


@given(total=st.integers(0, 10**7), partitions=st.integers(1, 64), threshold=st.integers(1, 5_000))
def test_never_more_than_one_replica_above_the_partitions(total: int, partitions: int, threshold: int) -> None:
    lag = reported(trigger(lagThreshold=str(threshold)), total, partitions=partitions)
    assert lag <= total
    assert -(-lag // threshold) <= partitions + 1
    assert lag == total or lag == partitions * threshold


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"topic": ""}, "topic is missing"),
        ({"lagThreshold": "0"}, "lagThreshold is '0'; allowed: a whole number from 1"),
        ({"lagThreshold": "1.5"}, "lagThreshold is '1.5'"),
        ({"activationLagThreshold": "-1"}, "activationLagThreshold is '-1'"),
        ({"offsetResetPolicy": "none"}, "offsetResetPolicy is 'none'; allowed: latest or earliest"),
        ({"excludePersistentLag": "true"}, "excludePersistentLag is 'true'; allowed: not set"),
        ({"partitionLimitation": "1-3"}, "partitionLimitation is '1-3'"),
        ({"allowIdleConsumers": "maybe"}, "allowIdleConsumers is 'maybe'"),
        ({"limitToPartitionsWithLag": "true", "allowIdleConsumers": "true"}, "not together with allowIdleConsumers"),
        (
            {"limitToPartitionsWithLag": "true", "ensureEvenDistributionOfPartitions": "true"},
            "not together with ensureEvenDistributionOfPartitions",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_path(metadata: dict[str, str], field: str) -> None:
    with pytest.raises(ManifestError) as refused:
        trigger(**metadata)
    assert str(refused.value).startswith("ScaledObject p: spec.triggers[0].metadata.")
    assert field in str(refused.value)
