"""Replicas that one metric asks for: the arithmetic of the HPA controller's replica calculator.

Source: Kubernetes 1.36.3, ``pkg/controller/podautoscaler/replica_calculator.go`` and ``metrics/utilization.go``.
Values are whole milli-units and are divided as integers where the controller does so; ratios are floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from planning.twin.observation import ContainerUsage, Observation, Phase, Pod, UniformPods
from planning.twin.quantity import MAX_INT32, MAX_INT64, wrap_int32
from planning.twin.spec import Metric, PodsMetric, ResourceMetric, ValueMetric


class MetricUnavailableError(Exception):
    """A metric from which no replica count follows: its API fails, or no pod has a sample that counts."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        """Of the ScalingActive condition, for example FailedGetExternalMetric."""
        super().__init__(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """The band of ratios within which nothing changes, both edges included."""

    low: float
    """1 - the scale-down tolerance."""
    high: float
    """1 + the scale-up tolerance."""

    def holds(self, ratio: float) -> bool:
        """True when the ratio is inside."""
        return self.low <= ratio <= self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRules:
    """When a cpu sample of a young pod counts. Both are flags of the controller manager."""

    cpu_initialization_period_seconds: float = 300.0
    initial_readiness_delay_seconds: float = 30.0


class _Samples(NamedTuple):
    """Pods by what the controller makes of them, with the sum of the samples that count."""

    ready: int
    unready: int
    missing: int
    total: int
    """Sum over ``ready``, in milli-units."""
    unlisted: int = 0
    """Samples of pods that no longer exist: they have no requests, but they are counted as samples."""
    unlisted_total: int = 0


def propose(metric: Metric, observation: Observation, tolerance: Tolerance, rules: SampleRules) -> int:
    """Replicas that one metric asks for. Raises ``MetricUnavailableError``."""
    if isinstance(metric, ValueMetric):
        return _value_replicas(metric, observation, tolerance)
    if isinstance(metric, ResourceMetric):
        return _resource_replicas(metric, observation, tolerance, rules)
    return _pods_replicas(metric, observation, tolerance, rules)


def _value_replicas(metric: ValueMetric, observation: Observation, tolerance: Tolerance) -> int:
    usage = _external_usage(metric, observation) if metric.external else _object_usage(metric, observation)
    target = metric.target_milli
    if metric.per_pod:
        status = observation.status_replicas
        # With no pod the controller divides by zero: infinity or NaN, which no band holds.
        if status != 0 and tolerance.low <= usage / (float(target) * float(status)) <= tolerance.high:
            return status
        wanted = ceil(float(usage) / target)
        if wanted > MAX_INT32:
            return MAX_INT32 if metric.external else wrap_int32(wanted)
        return wanted
    ratio = float(usage) / target
    if tolerance.low <= ratio <= tolerance.high:
        return observation.spec_replicas
    ready = _ready_count(observation.pods)
    if ready is None:
        raise MetricUnavailableError(_reason_of(metric), "no pods returned by selector")
    return min(MAX_INT32, ceil(ratio * float(ready)))


def _reason_of(metric: ValueMetric) -> str:
    return "FailedGetExternalMetric" if metric.external else "FailedGetObjectMetric"


def _external_usage(metric: ValueMetric, observation: Observation) -> int:
    values = observation.external.get(metric.key)
    if not values:
        raise MetricUnavailableError("FailedGetExternalMetric", f"no value of external metric {metric.key}")
    usage = 0
    for value in values:
        usage += value
        # A sum below zero passes for an overflow, but only where the target is per pod.
        if usage > MAX_INT64 or (metric.per_pod and usage < 0):
            return MAX_INT64
    return usage


def _object_usage(metric: ValueMetric, observation: Observation) -> int:
    usage = observation.object_metrics.get(metric.key)
    if usage is None:
        raise MetricUnavailableError("FailedGetObjectMetric", f"no value of object metric {metric.key}")
    return usage


def _ready_count(pods: Sequence[Pod] | UniformPods) -> int | None:
    """Running pods whose Ready condition is true, terminating ones included; ``None`` when there is no pod at all."""
    if isinstance(pods, UniformPods):
        ready = pods.ready + pods.settling + (pods.terminating if pods.terminating_ready else 0)
        if ready == 0 and pods.starting + pods.unsampled + pods.pending + pods.terminating == 0:
            return None
        return ready
    listed = [pod for pod in pods if pod.listed]
    if not listed:
        return None
    return sum(_is_ready(pod) for pod in listed if pod.phase is Phase.RUNNING)


def _is_ready(pod: Pod) -> bool:
    return pod.ready is True and pod.ready_transition_seconds is not None


def _resource_replicas(
    metric: ResourceMetric, observation: Observation, tolerance: Tolerance, rules: SampleRules
) -> int:
    reason = "FailedGetContainerResourceMetric" if metric.container else "FailedGetResourceMetric"
    if not observation.resource_metrics_available:
        raise MetricUnavailableError(reason, f"the resource metrics API fails for {metric.resource}")
    pods = observation.pods
    if isinstance(pods, UniformPods):
        samples = _uniform_samples(pods, metric)
    else:
        usage = {pod.name: value for pod in pods if (value := _usage_milli(pod, metric)) is not None}
        samples = _group(pods, usage, now_seconds=observation.now_seconds, cpu=metric.resource == "cpu", rules=rules)
    current = observation.spec_replicas
    if metric.target_percent is None:
        return _average_replicas(samples, metric.target_milli, current, tolerance, reason)
    return _utilization_replicas(samples, metric, current, tolerance, reason)


def _pods_replicas(metric: PodsMetric, observation: Observation, tolerance: Tolerance, rules: SampleRules) -> int:
    values, pods = observation.pod_metrics.get(metric.key), observation.pods
    if values is None or values == {}:
        raise MetricUnavailableError("FailedGetPodsMetric", f"no value of pods metric {metric.key}")
    if isinstance(pods, UniformPods):
        if not isinstance(values, int):
            message = f"pods metric {metric.key} is given by pod name, which needs pods one by one"
            raise TypeError(message)
        count = pods.ready + pods.settling + pods.starting
        samples = _Samples(count, pods.pending, pods.unsampled, count * values)
    else:
        if isinstance(values, int):
            values = {pod.name: values for pod in pods if pod.cpu_millicores is not None}
        samples = _group(pods, values, now_seconds=observation.now_seconds, cpu=False, rules=rules)
    return _average_replicas(samples, metric.target_milli, observation.spec_replicas, tolerance, "FailedGetPodsMetric")


def _usage_milli(pod: Pod, metric: ResourceMetric) -> int | None:
    usage: Pod | ContainerUsage | None = pod
    if metric.container and pod.containers is not None:
        usage = pod.containers.get(metric.container)
    if usage is None:
        return None
    if metric.resource == "cpu":
        return usage.cpu_millicores
    return None if usage.memory_bytes is None else usage.memory_bytes * 1000


def _uniform_samples(pods: UniformPods, metric: ResourceMetric) -> _Samples:
    cpu = metric.resource == "cpu"
    value: int | None = pods.cpu_millicores if cpu else pods.memory_bytes * 1000
    if metric.container and pods.containers is not None:
        usage = pods.containers.get(metric.container, ContainerUsage())
        memory = usage.memory_bytes
        value = usage.cpu_millicores if cpu else (None if memory is None else memory * 1000)
    sampled = pods.ready + pods.settling + pods.starting
    if value is None:
        return _Samples(0, pods.pending, sampled + pods.unsampled, 0)
    if cpu:
        unready = pods.settling + pods.starting + pods.pending
        return _Samples(pods.ready, unready, pods.unsampled, pods.ready * value)
    return _Samples(sampled, pods.pending, pods.unsampled, sampled * value)


def _group(
    pods: Sequence[Pod], usage: Mapping[str, int], *, now_seconds: float, cpu: bool, rules: SampleRules
) -> _Samples:
    """Failed and deleted pods are left out, Pending ones are unready; the rest is missing, unready (cpu) or counts."""
    ready = unready = missing = total = unlisted = unlisted_total = 0
    for pod in pods:
        sample = usage.get(pod.name)
        if not pod.listed:
            if sample is not None:
                unlisted += 1
                unlisted_total += sample
        elif pod.deleted or pod.phase is Phase.FAILED:
            continue
        elif pod.phase is Phase.PENDING:
            unready += 1
        elif sample is None:
            missing += 1
        elif cpu and _cpu_unready(pod, now_seconds, rules):
            unready += 1
        else:
            ready += 1
            total += sample
    if unlisted and not any(pod.listed for pod in pods):
        return _Samples(0, 0, 0, 0)
    return _Samples(ready, unready, missing, total, unlisted, unlisted_total)


def _cpu_unready(pod: Pod, now_seconds: float, rules: SampleRules) -> bool:
    """True when a pod's cpu sample says nothing yet: it is starting, or was never ready."""
    changed = pod.ready_transition_seconds
    if changed is None or pod.started_seconds is None:
        return True
    if pod.started_seconds + rules.cpu_initialization_period_seconds > now_seconds:
        return pod.ready is False or pod.sample_seconds < changed + pod.window_seconds
    return pod.ready is False and pod.started_seconds + rules.initial_readiness_delay_seconds > changed


def _utilization_replicas(
    samples: _Samples, metric: ResourceMetric, current: int, tolerance: Tolerance, reason: str
) -> int:
    target, request = metric.target_percent or 0, metric.request_milli
    ready = samples.ready
    if ready == 0 or request == 0:
        raise MetricUnavailableError(reason, f"no {metric.resource} sample of a pod that counts")
    ratio = wrap_int32(samples.total * 100 // (ready * request)) / target
    scale_up_unready = samples.unready > 0 and ratio > 1.0
    if not scale_up_unready and samples.missing == 0:
        return current if tolerance.holds(ratio) else wrap_int32(ceil(ratio * float(ready)))
    count, total = ready, samples.total
    if samples.missing and ratio != 1.0:
        count += samples.missing
        if ratio < 1.0:
            total += samples.missing * (request * max(100, target) // 100)
    if scale_up_unready:
        count += samples.unready
    corrected = wrap_int32(total * 100 // (count * request)) / target
    return _corrected_replicas(ratio, corrected, count + samples.unlisted, current, tolerance)


def _average_replicas(samples: _Samples, target: int, current: int, tolerance: Tolerance, reason: str) -> int:
    count, total = samples.ready + samples.unlisted, samples.total + samples.unlisted_total
    if count == 0:
        raise MetricUnavailableError(reason, "no sample of a pod that counts")
    ratio = _quotient(total, count) / target
    scale_up_unready = samples.unready > 0 and ratio > 1.0
    if not scale_up_unready and samples.missing == 0:
        return current if tolerance.holds(ratio) else wrap_int32(ceil(ratio * float(samples.ready)))
    if samples.missing and ratio != 1.0:
        count += samples.missing
        if ratio < 1.0:
            total += samples.missing * target
    if scale_up_unready:
        count += samples.unready
    return _corrected_replicas(ratio, _quotient(total, count) / target, count, current, tolerance)


def _quotient(total: int, count: int) -> int:
    """Integer division as Go does it: toward zero (a custom metric may be negative)."""
    return total // count if total >= 0 else -(-total // count)


def _corrected_replicas(ratio: float, corrected: float, count: int, current: int, tolerance: Tolerance) -> int:
    """The second look, with missing and unready pods filled in: it never turns a change into its opposite."""
    if tolerance.holds(corrected) or (ratio < 1.0 < corrected) or (corrected < 1.0 < ratio):
        return current
    replicas = wrap_int32(ceil(corrected * float(count)))
    if (corrected < 1.0 and replicas > current) or (corrected > 1.0 and replicas < current):
        return current
    return replicas
