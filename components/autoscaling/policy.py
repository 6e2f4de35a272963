"""``ScalingPolicy``: how one Deployment is scaled, whatever renders it."""

from dataclasses import dataclass
from typing import Literal

from settings.services import Scaling


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalMetric:
    """A metric of the whole group, divided by the number of pods (``AverageValue``).

    Consumer lag belongs to a group, never to a pod, so a ``Pods`` metric could not carry it.
    """

    name: str
    match_labels: tuple[tuple[str, str], ...]
    average_value: int


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
    external_metrics: tuple[ExternalMetric, ...]
    scale_up: Direction
    scale_down: Direction


# Up at once and fast: doubling or four pods each half minute, whichever is more.
SCALE_UP = Direction(
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
# One consumer at a time: each change rebalances the group.
SCALE_DOWN_CONSUMER = Direction(
    stabilization_seconds=300, select="Max", steps=(Step(kind="Pods", value=1, period_seconds=60),)
)


def plan_scaling(workload: str, scaling: Scaling, *, consumer: bool) -> ScalingPolicy:
    """The policy that settings ask for, with this platform's pace."""
    return ScalingPolicy(
        workload=workload,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        cpu_target_percent=scaling.cpu_target_percent,
        memory_target_percent=scaling.memory_target_percent,
        external_metrics=tuple(
            ExternalMetric(
                name=trigger.metric,
                match_labels=tuple(sorted(trigger.match_labels.items())),
                average_value=trigger.target_average_value,
            )
            for trigger in scaling.triggers
        ),
        scale_up=SCALE_UP,
        scale_down=SCALE_DOWN_CONSUMER if consumer else SCALE_DOWN_API,
    )
