"""The values that KEDA's metrics adapter serves: triggers, cached values, fallback, formula.

Source: KEDA 2.20.2, ``pkg/scaling/scale_handler.go``, ``pkg/fallback/fallback.go``, ``pkg/scaling/modifiers``.
Two loops read the triggers: the operator's own every ``pollingInterval``, and one for every request of the HPA
controller. Both count failures on the same counter. A trigger with ``useCachedMetrics`` answers the second loop with
what the first one found, its fallback included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from planning.twin.formula import FormulaError
from planning.twin.kafka_scaler import KafkaReading, KafkaTrigger, total_lag
from planning.twin.quantity import float_of_milli, milli_of_float, truncate_int64
from planning.twin.scaled_object import ExternalTrigger, FallbackBehavior, PrometheusTrigger, ScaledObject

# What a failed trigger reports for `scalingModifiers`: -1, which the formula reads as "no value".
_NO_VALUE_MILLI = -1000


@dataclass(kw_only=True, slots=True)
class Sources:
    """What the triggers would find at one moment. It may be changed in place and handed in again."""

    now_seconds: float
    spec_replicas: int
    """``spec.replicas`` of the target: the current replicas of a fallback."""
    ready_replicas: int = 0
    """Ready pods: a fallback of a Value metric is divided by them."""
    kafka: Mapping[str, KafkaReading | None] = field(default_factory=dict)
    """By ``group/topic``; ``None`` when Kafka does not answer."""
    prometheus: Mapping[str, Sequence[float] | None] = field(default_factory=dict)
    """By query: the values of its answer (none, one, or several); ``None`` when Prometheus does not answer."""
    pods: Mapping[str, int | None] = field(default_factory=dict)
    """By pod selector: pods that have not ended, terminating ones included."""


_Read = tuple[int | None, bool]
"""A trigger's value in milli-units (``None`` is an error), and whether it is active."""


class _Answer(NamedTuple):
    """One trigger's metric after the fallback."""

    milli: int
    failed: bool = False
    is_fallback: bool = False
    """It is the stand-in, found in this very read."""
    is_composite: bool = False
    """A stand-in beside a formula carries the composite's name, so that the formula never sees it as its trigger."""


_FAILED = _Answer(0, failed=True)


@dataclass(kw_only=True, slots=True)
class State:
    """What the operator remembers about one ScaledObject."""

    failures: dict[str, int] = field(default_factory=dict)
    """Failures in a row, by metric name."""
    active: bool = False
    """Whether the last poll found a trigger above its activation threshold."""
    next_poll_seconds: float | None = None
    cached: dict[str, _Answer] = field(default_factory=dict)


def metric_values(spec: ScaledObject, sources: Sources, state: State) -> dict[str, list[int] | None]:
    """What the HPA controller gets for every external metric of the ScaledObject's autoscaler, in milli-units.

    Keys are those of an observation; ``None`` is an error. The polls that are due come first (the first one at the
    first call) and find the same sources. Changes ``state``.
    """
    if state.next_poll_seconds is None:
        state.next_poll_seconds = sources.now_seconds
    reads = [_read(trigger, sources) for trigger in spec.external]
    while state.next_poll_seconds <= sources.now_seconds:
        _poll(spec, reads, sources, state)
        state.next_poll_seconds += spec.polling_seconds
    if spec.modifiers is None:
        values: dict[str, list[int] | None] = {}
        for trigger, (raw, _) in zip(spec.external, reads, strict=True):
            answer = _serve(spec, trigger, raw, sources, state)
            if answer.failed:
                state.cached.clear()
            values[trigger.key] = None if answer.failed else [answer.milli]
        return values
    if not spec.external:
        return {spec.composite_key: None}
    answers = [
        _serve(spec, trigger, raw, sources, state) for trigger, (raw, _) in zip(spec.external, reads, strict=True)
    ]
    if any(answer.failed for answer in answers):
        state.cached.clear()
    return {spec.composite_key: _composite(spec, answers, state)}


def _poll(spec: ScaledObject, reads: Sequence[_Read], sources: Sources, state: State) -> None:
    """The operator's own loop: it counts failures, fills the cache, and decides whether the target is active."""
    answers, active = [], False
    cached: dict[str, _Answer] = {}
    for trigger, (raw, trigger_active) in zip(spec.external, reads, strict=True):
        answer = _with_fallback(spec, trigger, raw, sources, state)
        answers.append(answer)
        active = active or (not answer.failed and (answer.is_fallback or trigger_active))
        if trigger.use_cached_metrics:
            cached[trigger.metric_name] = answer
    state.cached = cached
    if spec.modifiers is not None:
        values = None if any(answer.failed for answer in answers) else _composite(spec, answers, state)
        active = any(float_of_milli(value) > spec.modifiers.activation_target for value in values or ())
    state.active = active or not spec.external


def _serve(spec: ScaledObject, trigger: ExternalTrigger, raw: int | None, sources: Sources, state: State) -> _Answer:
    """One trigger for a request of the HPA controller. A cached stand-in passes for a success and resets the count."""
    if trigger.use_cached_metrics:
        cached = state.cached.get(trigger.metric_name)
        if cached is not None:
            answer = _with_fallback(spec, trigger, None if cached.failed else cached.milli, sources, state)
            return answer._replace(is_composite=answer.is_composite or cached.is_composite)
    return _with_fallback(spec, trigger, raw, sources, state)


def _with_fallback(
    spec: ScaledObject, trigger: ExternalTrigger, raw: int | None, sources: Sources, state: State
) -> _Answer:
    """A success resets the count of failures; a failure is an error until there are more than the threshold."""
    if raw is not None:
        if spec.falls_back:
            state.failures[trigger.metric_name] = 0
        return _Answer(raw)
    if spec.fallback is None or not spec.falls_back:
        return _FAILED
    failures = state.failures.get(trigger.metric_name, 0) + 1
    state.failures[trigger.metric_name] = failures
    if failures <= spec.fallback.failure_threshold:
        return _FAILED
    if spec.fallback.behavior is FallbackBehavior.SCALING_MODIFIERS:
        return _Answer(_NO_VALUE_MILLI)
    replicas = float(_fallback_replicas(spec.fallback.behavior, spec.fallback.replicas, sources.spec_replicas))
    per_pod = trigger.per_pod if spec.modifiers is None else spec.modifiers.per_pod
    if not per_pod:
        if sources.ready_replicas == 0:
            return _FAILED
        replicas /= float(sources.ready_replicas)
    target = float_of_milli(trigger.target_milli) if spec.modifiers is None else spec.modifiers.target
    value = truncate_int64(target * 1000 * replicas)
    return _Answer(value, is_fallback=True, is_composite=spec.modifiers is not None)


def _fallback_replicas(behavior: FallbackBehavior, replicas: int, current: int) -> int:
    match behavior:
        case FallbackBehavior.CURRENT:
            return current
        case FallbackBehavior.CURRENT_IF_HIGHER:
            return max(current, replicas)
        case FallbackBehavior.CURRENT_IF_LOWER:
            return min(current, replicas)
        case _:
            return replicas


def _composite(spec: ScaledObject, answers: Sequence[_Answer], state: State) -> list[int] | None:
    """One metric from all: the stand-in where there is one, else the formula's value. ``None`` is an error."""
    modifiers = spec.modifiers
    assert modifiers is not None  # noqa: S101 # the caller checked
    stand_in = next((answer for answer in answers if answer.is_fallback), None)
    if stand_in is not None:
        return [stand_in.milli]
    if any(answer.failed for answer in answers):
        return None
    if modifiers.formula is None:
        return [answer.milli for answer in answers]
    values: dict[str, float | None] = {}
    for trigger, answer in zip(spec.external, answers, strict=True):
        if not answer.is_composite and not _is_nil(spec, trigger, state):
            values[trigger.name] = float_of_milli(answer.milli)
    try:
        value = modifiers.formula.evaluate(values)
    except FormulaError:
        return None
    if value is None:
        if spec.fallback is None:
            return None
        value = float(spec.fallback.replicas) * modifiers.target
    return [truncate_int64(value * 1000)]


def _is_nil(spec: ScaledObject, trigger: ExternalTrigger, state: State) -> bool:
    fallback = spec.fallback
    if fallback is None or fallback.behavior is not FallbackBehavior.SCALING_MODIFIERS:
        return False
    return state.failures.get(trigger.metric_name, 0) > fallback.failure_threshold


def _read(trigger: ExternalTrigger, sources: Sources) -> _Read:
    source = trigger.source
    if isinstance(source, KafkaTrigger):
        reading = sources.kafka.get(source.source)
        if reading is None:
            return None, False
        lag, uncapped = total_lag(source, reading)
        return max(0, lag) * 1000, uncapped > source.activation_lag_threshold
    if isinstance(source, PrometheusTrigger):
        number = _prometheus(source, sources.prometheus.get(source.query))
        return (None, False) if number is None else (milli_of_float(number), number > source.activation_threshold)
    count = sources.pods.get(source.pod_selector)
    return (None, False) if count is None else (count * 1000, count > source.activation_value)


def _prometheus(trigger: PrometheusTrigger, answer: Sequence[float] | None) -> float | None:
    """No element, NaN and infinities count as 0 unless ``ignoreNullValues`` is false: then they are errors."""
    if answer is None or len(answer) > 1:
        return None
    if len(answer) == 1 and isfinite(answer[0]):
        return float(answer[0])
    return 0.0 if trigger.ignore_null_values else None
