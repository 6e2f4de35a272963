"""``ScalingPolicy``: how one Deployment is scaled, whatever renders it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from components.autoscaling.signals import (
    breaker_hold,
    consumer_lag,
    consumer_rate_floor,
    latency_ratio,
    per_pod_total,
    pool_ratio,
)
from settings.scaling import BreakerHold, ConsumerScaling, LagTrigger, LatencyTrigger, PerPodTrigger, Scaling
from settings.scaling import Trigger as TriggerSettings
from settings.services import Consumer


class Role(StrEnum):
    """What a trigger may do to the replica count."""

    SCALE = "scale"
    """Ask for more or for fewer."""
    HOLD = "hold"
    """Ask for what is there: nothing is removed while it lasts, and nothing is added."""
    FLOOR = "floor"
    """Forbid to go below what it asks for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaLag:
    """The lag of one group on one topic, for scalers that read Kafka themselves."""

    topic: str
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """One metric of a policy.

    With ``target_per_pod`` the metric is a total, divided by that many units per pod (``AverageValue``); without it
    the metric is a ratio to its objective, which multiplies the present pods (``Value`` with target 1).
    """

    name: str
    role: Role
    metric: str
    """Name under which the value is recorded."""
    labels: tuple[tuple[str, str], ...]
    """Labels that choose exactly one series of it."""
    expression: str
    """PromQL that is recorded under that name, with those labels."""
    target_per_pod: int | None
    cap_percent: int | None = None
    """Most that a ratio may ask for, in percent of the present pods; the expression holds it."""
    kafka: KafkaLag | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadBand:
    """Lag per consumer above which one is added and below which one is removed; between them nothing changes."""

    add_above: int
    remove_below: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """At most ``value`` pods or percent within ``period_seconds``."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Direction:
    """How fast the replica count may move one way."""

    stabilization_seconds: int
    select: Literal["Max", "Min"]
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingPolicy:
    """Bounds, targets and pace of one scaler. Names are those of the scaler's target, a Deployment."""

    workload: str
    min_replicas: int
    max_replicas: int
    cpu_target_percent: int | None
    memory_target_percent: int | None
    triggers: tuple[Trigger, ...]
    band: DeadBand | None
    """Only for consumer groups, whose triggers are all lag-like."""
    scale_up: Direction
    scale_down: Direction


# Up at once and fast: doubling or four pods each half minute, whichever is more.
SCALE_UP_API = Direction(
    stabilization_seconds=0,
    select="Max",
    steps=(
        Step(kind="Percent", value=100, period_seconds=30),
        Step(kind="Pods", value=4, period_seconds=30),
    ),
)
# Down slowly: the highest wish of the last five minutes holds, then a tenth or one pod a minute, whichever is less.
SCALE_DOWN_API = Direction(
    stabilization_seconds=300,
    select="Min",
    steps=(
        Step(kind="Pods", value=1, period_seconds=60),
        Step(kind="Percent", value=10, period_seconds=60),
    ),
)
SCALE_DOWN_CONSUMER = Direction(
    stabilization_seconds=300, select="Max", steps=(Step(kind="Pods", value=1, period_seconds=60),)
)


def plan_api_scaling(service: str, scaling: Scaling) -> ScalingPolicy:
    """The policy of a service's API."""
    return ScalingPolicy(
        workload=service,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        cpu_target_percent=scaling.cpu_target_percent,
        memory_target_percent=scaling.memory_target_percent,
        triggers=tuple(_trigger(service, trigger) for trigger in scaling.triggers),
        band=None,
        scale_up=SCALE_UP_API,
        scale_down=SCALE_DOWN_API,
    )


def plan_consumer_scaling(consumer: Consumer, partitions: int) -> ScalingPolicy:
    """The policy of a consumer group: the dead band on its lag, and the floor under its input rate."""
    scaling = consumer.scaling
    return ScalingPolicy(
        workload=consumer.name,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        cpu_target_percent=None,
        memory_target_percent=None,
        triggers=(
            _lag(consumer.topic, consumer.group, scaling.add_above_lag_per_consumer),
            _rate_floor(consumer, partitions),
        ),
        band=DeadBand(add_above=scaling.add_above_lag_per_consumer, remove_below=scaling.remove_below_lag_per_consumer),
        scale_up=_consumers_up(scaling),
        scale_down=SCALE_DOWN_CONSUMER,
    )


def _trigger(service: str, trigger: TriggerSettings) -> Trigger:
    labels = (("service", service),)
    match trigger:
        case LagTrigger():
            return _lag(trigger.topic, trigger.group, trigger.target_per_pod)
        case PerPodTrigger():
            return Trigger(
                name=trigger.metric,
                role=Role.SCALE,
                metric=trigger.metric,
                labels=labels,
                expression=per_pod_total(service, trigger),
                target_per_pod=trigger.target_per_pod,
            )
        case BreakerHold():
            expression, role, cap = breaker_hold(service, trigger.open_percent), Role.HOLD, 100
        case LatencyTrigger():
            expression, role, cap = latency_ratio(service, trigger), Role.SCALE, trigger.cap_percent
        case _:
            expression, role, cap = pool_ratio(service, trigger), Role.SCALE, trigger.cap_percent
    return Trigger(
        name=trigger.metric,
        role=role,
        metric=trigger.metric,
        labels=labels,
        expression=expression,
        target_per_pod=None,
        cap_percent=cap,
    )


def _lag(topic: str, group: str, target_per_pod: int) -> Trigger:
    return Trigger(
        name="lag",
        role=Role.SCALE,
        metric="kafka_consumer_lag",
        labels=(("consumergroup", group),),
        expression=consumer_lag(topic, group),
        target_per_pod=target_per_pod,
        kafka=KafkaLag(topic=topic, group=group),
    )


def _consumers_up(scaling: ConsumerScaling) -> Direction:
    """So many at a time, at the autoscaler's own pace of 15 s: each change rebalances the group."""
    step = Step(kind="Pods", value=scaling.added_at_once, period_seconds=15)
    return Direction(stabilization_seconds=scaling.lag_must_last_seconds, select="Max", steps=(step,))


def _rate_floor(consumer: Consumer, partitions: int) -> Trigger:
    return Trigger(
        name="ratefloor",
        role=Role.FLOOR,
        metric="kafka_consumer_rate_floor",
        labels=(("consumergroup", consumer.group),),
        expression=consumer_rate_floor(consumer.topic, partitions, consumer.scaling),
        target_per_pod=consumer.scaling.add_above_lag_per_consumer,
    )
