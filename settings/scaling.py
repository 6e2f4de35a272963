"""How workloads scale: bounds, targets and triggers, each with its unit and its meaning in its name."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from settings.base import Strict
from settings.problems import RuleError
from settings.signals import BREAKER_HOLD, LATENCY_RATIOS, PER_POD, POOL_RATIO, LatencySource

Percent = Annotated[int, Field(ge=1, le=100)]
Replicas = Annotated[int, Field(ge=1, le=1000)]
KafkaName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]


class PerPodTrigger(Strict):
    """An amount that more pods share: the total divided by ``target_per_pod`` is the number of pods."""

    kind: Literal["per-pod"]
    metric: MetricName
    """Name under which the amount is recorded; one of the known ones, or one of your own with a ``query``."""
    target_per_pod: Positive
    query: Annotated[str, Field(min_length=1)] | None = None
    """PromQL for the total over all pods; ``{service}`` stands for the service's name."""

    @model_validator(mode="after")
    def _known_or_own(self) -> Self:
        if self.metric not in PER_POD and self.query is None:
            raise RuleError(
                why=f"nothing says how '{self.metric}' is measured; known are {', '.join(sorted(PER_POD))}",
                fix="correct the name, or give a query",
            )
        return self


class LatencyTrigger(Strict):
    """A 99th percentile against its objective. A ratio multiplies the replica count, so it is capped."""

    kind: Literal["latency"]
    source: LatencySource = LatencySource.HTTP
    """``http``: the service's own answers; ``external``: the answers of what it calls."""
    objective_milliseconds: Positive
    cap_percent: Annotated[int, Field(ge=101, le=200)] = 150
    """Most that one evaluation may ask for, in percent of the present pods: p99 of ten times the objective asks for
    half as many pods again, not for ten times."""

    @property
    def metric(self) -> str:
        """Name under which the ratio is recorded."""
        return LATENCY_RATIOS[self.source]


class PoolTrigger(Strict):
    """Use of the database pool. More pods open more connections, so the pool budget bounds the pods."""

    kind: Literal["database-pool"]
    use_percent: Percent
    cap_percent: Annotated[int, Field(ge=101, le=200)] = 150

    @property
    def metric(self) -> str:
        """Name under which the ratio is recorded."""
        return POOL_RATIO


class BreakerHold(Strict):
    """An open circuit breaker holds the replica count: no pod is removed, none is added."""

    kind: Literal["breaker-hold"]
    open_percent: Percent

    @property
    def metric(self) -> str:
        """Name under which the hold is recorded."""
        return BREAKER_HOLD


class LagTrigger(Strict):
    """Lag of a consumer group per pod, on an API that the plan scales by it."""

    kind: Literal["lag"]
    topic: KafkaName
    group: KafkaName
    target_per_pod: Positive

    @property
    def metric(self) -> str:
        """Name under which the group's lag is recorded."""
        return "kafka_consumer_lag"


Trigger = Annotated[
    PerPodTrigger | LatencyTrigger | PoolTrigger | BreakerHold | LagTrigger, Field(discriminator="kind")
]


class Bounds(Strict):
    """Fewest and most replicas."""

    min_replicas: Replicas
    max_replicas: Replicas

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise RuleError(
                why=f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}",
                fix=f"set max_replicas to at least {self.min_replicas}",
            )
        return self


class Scaling(Bounds):
    """Bounds and targets of an API's autoscaler."""

    cpu_target_percent: Percent | None = None
    """Average cpu use in percent of the request."""
    memory_target_percent: Percent | None = None
    """Average memory use in percent of the request. A heap that does not shrink pins the replica count."""
    triggers: list[Trigger] = []

    @model_validator(mode="after")
    def _has_a_target(self) -> Self:
        scaling = [trigger for trigger in self.triggers if not isinstance(trigger, BreakerHold)]
        if self.cpu_target_percent is None and self.memory_target_percent is None and not scaling:
            raise RuleError(
                why="an autoscaler without any target never scales",
                fix="give at least one of cpu_target_percent, memory_target_percent, triggers",
            )
        return self

    @model_validator(mode="after")
    def _each_metric_once(self) -> Self:
        names = [(trigger.metric, getattr(trigger, "group", "")) for trigger in self.triggers]
        twice = sorted({metric for metric, group in names if names.count((metric, group)) > 1})
        if twice:
            raise RuleError(why=f"two triggers name the same metric: {', '.join(twice)}", fix="keep one of them")
        return self


class ConsumerScaling(Bounds):
    """A consumer group's rule: one consumer more above a lag, one fewer below another, one at a time."""

    add_above_lag_per_consumer: Annotated[int, Field(ge=1)]
    """T: the group's lag divided by its consumers, above which one is added."""
    remove_below_lag_per_consumer: Annotated[int, Field(ge=1)]
    """Below this one is removed; the plan's T/2. Between the two nothing changes."""
    messages_per_second_per_consumer: Annotated[int, Field(ge=1)]
    """What one consumer is measured to process. An alert watches it drift; `payctl simulate` shows what it costs."""
    added_at_once: Annotated[int, Field(ge=1, le=20)] = 1
    """Consumers that may be added every 15 s. The plan adds one; a load that grows fivefold in minutes needs more."""
    lag_must_last_seconds: Annotated[int, Field(ge=0, le=600)] = 0
    """How long the lag must ask for more before one is added. A rebalance alone leaves two or three seconds of work
    unread, which is T: with 0 the removal of a consumer calls it back."""
    rate_floor_use_percent: Annotated[int, Field(ge=10, le=100)] = 75
    """Never fewer consumers than the input rate needs at this use of their capacity. Lag alone is an integral: a
    group that has caught up would be scaled down below its input rate, and the lag would come back, for ever."""

    @model_validator(mode="after")
    def _band_is_upright(self) -> Self:
        if self.remove_below_lag_per_consumer >= self.add_above_lag_per_consumer:
            raise RuleError(
                why=f"remove_below_lag_per_consumer {self.remove_below_lag_per_consumer} is not below "
                f"add_above_lag_per_consumer {self.add_above_lag_per_consumer}: the group would add and remove the "
                "same consumer for ever",
                fix=f"set it to {self.add_above_lag_per_consumer // 2}, half of it, as the plan does",
            )
        return self
