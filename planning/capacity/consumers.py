"""Consumers and partitions: a consumer reads whole partitions, and a partition has one reader."""

import math

from planning.capacity.inputs import Inputs
from planning.capacity.installed import brokers
from planning.capacity.model import Change, Demand, Figure, Status
from planning.capacity.pods import LIMITS_ORDER, PODS_ORDER
from settings.capacity import PLAN_NEEDS
from settings.scaling import ConsumerScaling
from settings.services import Consumer
from settings.signals import BUSIEST_CONSUMER_USE_PERCENT

PARTITIONS_ORDER = 10


def consumer_figures(name: str, consumer: Consumer, demand: Demand, inputs: Inputs) -> tuple[Figure, Figure]:
    """Consumers of one group and partitions of its topic, at the demand's peak."""
    scaling, rate = consumer.scaling, demand.peak_requests_per_second * inputs.constants.events_per_entry_request
    partitions = inputs.settings.topics[consumer.topic].partitions
    capacity = scaling.messages_per_second_per_consumer * inputs.constants.capacity_ratio
    wanted_partitions = needed_partitions(rate, scaling, capacity, brokers(inputs.settings).count)
    planned = _plan_partitions(name, demand, inputs)
    # The settings check a promise against the plan's own figure, so a change goes at least as far.
    target = max(wanted_partitions, int(planned or 0)) if wanted_partitions > partitions else partitions
    needed, binding = needed_consumers(rate, partitions, scaling, capacity)
    at_enough, _ = needed_consumers(rate, target, scaling, capacity)
    most = min(scaling.max_replicas, partitions)
    carried = sustainable(partitions, most, capacity)
    common = {
        "peak_requests_per_second": demand.peak_requests_per_second,
        "events_per_entry_request": inputs.constants.events_per_entry_request,
        "messages_per_second_per_consumer": capacity,
        "rate_floor_use": scaling.rate_floor_use_percent / 100,
        "busiest_consumer_use": BUSIEST_CONSUMER_USE_PERCENT / 100,
        "partitions": float(partitions),
    }
    shown = needed if needed is not None else at_enough
    assert shown is not None  # noqa: S101 # enough partitions always have an answer
    status = _status(needed, most, rate, carried)
    group = Figure(
        key=f"consumers/{consumer.name}",
        needed=float(shown),
        unit="consumers",
        formula="max(ceil(rate / (per_consumer × rate_floor_use)), ceil(partitions / floor(partitions × per_consumer × "
        "busiest_consumer_use / rate)), min_replicas)",
        inputs={**common, "min_replicas": float(scaling.min_replicas)},
        binding=binding,
        available=float(most),
        status=status,
        note=_unevenness(partitions, min(shown, most)) if status is not Status.SHORT else _short(most, carried, rate),
        changes=_consumer_changes(name, consumer, most, at_enough, status),
    )
    topic = Figure(
        key=f"partitions/{consumer.topic}",
        needed=float(wanted_partitions),
        unit="partitions",
        formula="ceil(max(rate / (per_consumer × rate_floor_use), rate / (per_consumer × busiest_consumer_use))), "
        "up to a multiple of the brokers",
        inputs={**common, "brokers": float(brokers(inputs.settings).count)},
        binding="rate_floor_use",
        available=float(partitions),
        plan=planned,
        status=_partition_status(partitions, wanted_partitions, rate, capacity),
        note="more partitions on a keyed topic break the order per key: a migration"
        if wanted_partitions > partitions
        else "",
        changes=(
            Change(
                order=PARTITIONS_ORDER,
                path=f"topics.{consumer.topic}.partitions",
                before=float(partitions),
                after=float(target),
                why=f"one consumer a partition at {rate:,.0f} messages/s; a migration on a keyed topic",
            ),
            Change(
                order=LIMITS_ORDER,
                path=f"policies/config: consumers-within-partitions.partitions.{consumer.topic}",
                before=float(partitions),
                after=float(target),
                why="the pack counts the partitions itself",
            ),
        )
        if wanted_partitions > partitions
        else (),
    )
    return group, topic


def needed_consumers(rate: float, partitions: int, scaling: ConsumerScaling, capacity: float) -> tuple[int | None, str]:
    """Consumers that keep both uses, and what decides; ``None`` when no number of consumers does."""
    by_rate = math.ceil(rate / (capacity * scaling.rate_floor_use_percent / 100) - 1e-9)
    floor = scaling.min_replicas
    if rate <= 0:
        return floor, "min_replicas"
    of_one = math.floor(partitions * capacity * BUSIEST_CONSUMER_USE_PERCENT / 100 / rate)
    if of_one < 1:
        return None, "partitions"
    by_partitions = math.ceil(partitions / of_one)
    found = max(by_rate, by_partitions, floor)
    if found == floor and max(by_rate, by_partitions) < floor:
        return found, "min_replicas"
    return found, "rate_floor_use" if by_rate >= by_partitions else "whole_partitions"


def needed_partitions(rate: float, scaling: ConsumerScaling, capacity: float, brokers: int) -> int:
    """Partitions with which enough consumers each read at least one: a multiple of the brokers, for even leaders."""
    use = min(scaling.rate_floor_use_percent, BUSIEST_CONSUMER_USE_PERCENT) / 100
    enough = max(1, math.ceil(rate / (capacity * use) - 1e-9))
    return math.ceil(enough / brokers) * brokers


def sustainable(partitions: int, consumers: int, capacity: float) -> float:
    """Messages/s that a group keeps up with: its busiest consumer reads ``ceil(partitions / consumers)``."""
    return capacity * partitions / math.ceil(partitions / consumers)


def even_choices(partitions: int, maximum: int) -> list[int]:
    """Numbers of consumers that share the partitions evenly, up to a maximum."""
    return [count for count in range(1, maximum + 1) if partitions % count == 0]


def _unevenness(partitions: int, consumers: int) -> str:
    if partitions % consumers == 0:
        return ""
    most = math.ceil(partitions / consumers)
    return f"uneven: some of {consumers} consumers read {most} of {partitions} partitions, others {most - 1}"


def _short(most: int, carried: float, rate: float) -> str:
    return f"{most} consumers keep up with {carried:,.0f} messages/s, not with {rate:,.0f}"


def _status(needed: int | None, most: int, rate: float, carried: float) -> Status:
    if needed is not None and needed <= most:
        return Status.CARRIED
    return Status.TIGHT if rate < carried else Status.SHORT


def _partition_status(partitions: int, wanted: int, rate: float, capacity: float) -> Status:
    if wanted <= partitions:
        return Status.CARRIED
    return Status.TIGHT if rate < partitions * capacity else Status.SHORT


def _plan_partitions(service: str, demand: Demand, inputs: Inputs) -> float | None:
    if service != inputs.settings.capacity.entry_service:
        return None
    return next((float(row.kafka_partitions) for key, row in PLAN_NEEDS.items() if key == demand.name), None)


def _consumer_changes(
    service: str, consumer: Consumer, most: int, wanted: int | None, status: Status
) -> tuple[Change, ...]:
    if status is Status.CARRIED or wanted is None or wanted <= consumer.scaling.max_replicas:
        return ()
    before = float(consumer.scaling.max_replicas)
    return (
        Change(
            order=LIMITS_ORDER,
            path=f"policies/config: scaling-limits.limits.{consumer.name}.maxReplicas",
            before=before,
            after=float(wanted),
            why="the pack refuses more than its owners have allowed",
        ),
        Change(
            order=PODS_ORDER,
            path=f"services.{service}.consumer.scaling.max_replicas",
            before=before,
            after=float(wanted),
            why=f"{most} consumers are too few; never more than there are partitions",
        ),
    )
