"""The lag that KEDA's kafka trigger reports: the group's total, capped by the topic's partitions.

Source: KEDA 2.20.2, ``pkg/scalers/kafka_scaler.go`` (getTotalLag, getLagForPartition).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import NamedTuple

from planning.twin.requests import ManifestError

_FLAGS = {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False}


class PartitionOffsets(NamedTuple):
    """One partition: the offset after its last message, and the group's; ``None`` when it never committed one."""

    latest: int
    committed: int | None


class KafkaLag(NamedTuple):
    """A topic's lag in messages when every partition has a committed offset."""

    total: int
    partitions: int
    partitions_with_lag: int


KafkaReading = KafkaLag | Sequence[PartitionOffsets]


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaTrigger:
    """The trigger's metadata."""

    group: str
    topic: str
    lag_threshold: int
    activation_lag_threshold: int
    from_earliest: bool
    allow_idle_consumers: bool
    scale_to_zero_on_invalid_offset: bool
    limit_to_partitions_with_lag: bool
    even_distribution: bool

    @property
    def source(self) -> str:
        """The name under which sources carry the group's lag: ``group/topic``."""
        return f"{self.group}/{self.topic}"

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, where: str, path: str) -> "KafkaTrigger":
        """Read the trigger's metadata; raises ``ManifestError`` for what KEDA refuses and what the twin cannot do."""
        fields = _Fields(metadata, where, path)
        fields.demand("consumerGroup", "topic")
        fields.refuse("excludePersistentLag", "partitionLimitation")
        policy = metadata.get("offsetResetPolicy", "latest")
        if policy not in {"latest", "earliest"}:
            raise ManifestError(where, f"{path}.offsetResetPolicy", f"is '{policy}'", "latest or earliest")
        trigger = cls(
            group=metadata["consumerGroup"],
            topic=metadata["topic"],
            lag_threshold=fields.number("lagThreshold", 10, 1),
            activation_lag_threshold=fields.number("activationLagThreshold", 0, 0),
            from_earliest=policy == "earliest",
            allow_idle_consumers=fields.flag("allowIdleConsumers"),
            scale_to_zero_on_invalid_offset=fields.flag("scaleToZeroOnInvalidOffset"),
            limit_to_partitions_with_lag=fields.flag("limitToPartitionsWithLag"),
            even_distribution=fields.flag("ensureEvenDistributionOfPartitions"),
        )
        if trigger.limit_to_partitions_with_lag and (trigger.allow_idle_consumers or trigger.even_distribution):
            other = "allowIdleConsumers" if trigger.allow_idle_consumers else "ensureEvenDistributionOfPartitions"
            raise ManifestError(where, f"{path}.limitToPartitionsWithLag", "is 'true'", f"not together with {other}")
        return trigger


class _Fields:
    """Text fields of a trigger, read as what they stand for."""

    def __init__(self, metadata: Mapping[str, str], where: str, path: str) -> None:
        self.metadata, self.where, self.path = metadata, where, path

    def error(self, name: str, found: str, allowed: str) -> ManifestError:
        return ManifestError(self.where, f"{self.path}.{name}", found, allowed)

    def demand(self, *names: str) -> None:
        for name in names:
            if not self.metadata.get(name):
                raise self.error(name, "is missing", "a name (the twin needs both group and topic)")

    def refuse(self, *names: str) -> None:
        for name in names:
            text = self.metadata.get(name, "")
            if text.strip() not in {"", "false"}:
                raise self.error(name, f"is '{text}'", "not set (the twin lacks it)")

    def flag(self, name: str) -> bool:
        text = self.metadata.get(name, "false")
        if text.lower() not in _FLAGS:
            raise self.error(name, f"is '{text}'", "'true' or 'false'")
        return _FLAGS[text.lower()]

    def number(self, name: str, default: int, lowest: int) -> int:
        text = self.metadata.get(name, str(default))
        if not text.lstrip("-").isdecimal() or int(text) < lowest:
            raise self.error(name, f"is '{text}'", f"a whole number from {lowest}")
        return int(text)


def total_lag(trigger: KafkaTrigger, reading: KafkaReading) -> tuple[int, int]:
    """Messages that the trigger reports, and the uncapped sum that decides whether it is active.

    The cap compares the whole thresholds in the lag with the partitions: 24999 on 24 partitions and threshold 1000
    passes (24 is not above 24) and asks for 25 replicas.
    """
    lag = reading if isinstance(reading, KafkaLag) else _sum_of_partitions(trigger, reading)
    total, threshold = lag.total, trigger.lag_threshold
    if trigger.allow_idle_consumers and not trigger.even_distribution:
        return total, total
    if trigger.even_distribution:
        total = _even_consumers(total, lag.partitions, threshold) * threshold
    bound = lag.partitions_with_lag if trigger.limit_to_partitions_with_lag else lag.partitions
    if total // threshold > bound:
        total = bound * threshold
    return total, lag.total


def _sum_of_partitions(trigger: KafkaTrigger, partitions: Sequence[PartitionOffsets]) -> KafkaLag:
    lags = [_partition_lag(trigger, partition) for partition in partitions]
    return KafkaLag(sum(lags), len(lags), sum(lag > 0 for lag in lags))


def _partition_lag(trigger: KafkaTrigger, partition: PartitionOffsets) -> int:
    if partition.committed is not None:
        return partition.latest - partition.committed
    if trigger.scale_to_zero_on_invalid_offset:
        return 0
    # From the earliest, a group without offsets counts every offset ever written, retention or not.
    return partition.latest if trigger.from_earliest else 1


def _even_consumers(total: int, partitions: int, threshold: int) -> int:
    """The smallest divisor of the partitions that carries the lag at the threshold, or all of them."""
    small = [number for number in range(1, isqrt(partitions) + 1) if partitions % number == 0]
    divisors = sorted({*small, *(partitions // number for number in small)})
    return next((divisor for divisor in divisors if divisor * threshold >= total), partitions)
