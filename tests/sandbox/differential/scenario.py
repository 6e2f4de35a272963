"""A trace: an autoscaler, and what it sees at each sync as a function of what it did before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tests.sandbox.differential.inputs import OLD_SECONDS, Inputs, PodInput, Values, milli
from tests.sandbox.differential.rendered import Scaler, metric_key

Amount = float | tuple[float, ...] | None
"""Units. A resource: percent of the request. Several: several series. None at all: no data. ``None``: an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known when the inputs of a sync are chosen."""

    index: int
    spec_replicas: int
    epoch: int
    """Unix seconds when the trace began."""
    now: int


Plan = Callable[[Situation], Inputs]
PodChange = Callable[[list[PodInput], Situation], list[PodInput]]


class Branch(StrEnum):
    """Branches of the controller's algorithm; each needs a trace."""

    TOLERANCE_UP_EDGE = "ratio exactly at 1 + tolerance keeps, just above scales up"
    TOLERANCE_DOWN_EDGE = "ratio exactly at 1 - tolerance keeps, just below scales down"
    OWN_TOLERANCE_UP_ZERO = "scaleUp.tolerance 0"
    OWN_TOLERANCE_DOWN_HALF = "scaleDown.tolerance 0.5"
    STABILISE_UP = "scale-up window: the lowest recent wish"
    STABILISE_DOWN = "scale-down window: the highest recent wish"
    STABILISE_BOTH = "both windows at once"
    UP_PODS = "scale-up policy Pods"
    UP_PERCENT = "scale-up policy Percent"
    UP_MAX = "scale-up selectPolicy Max"
    UP_MIN = "scale-up selectPolicy Min"
    UP_DISABLED = "scale-up Disabled"
    DOWN_PODS = "scale-down policy Pods"
    DOWN_PERCENT = "scale-down policy Percent"
    DOWN_MAX = "scale-down selectPolicy Max"
    DOWN_MIN = "scale-down selectPolicy Min"
    DOWN_DISABLED = "scale-down Disabled"
    PERIOD_REMEMBERED = "changes within a period count against its policy"
    PERIOD_OPPOSITE = "changes the other way widen a policy's room"
    PERIOD_REUSED = "an outdated change gives way to a new one, though the other direction still counts it"
    DEFAULT_BEHAVIOUR = "behaviour left out: the API server's defaults"
    NO_BEHAVIOUR = "no behaviour at all: the controller's own window and limits"
    MISSING_SOME_UP = "some pods without samples on the way up count as 0"
    MISSING_SOME_DOWN = "some pods without samples on the way down count as full"
    MISSING_FLIPS = "assumed samples would turn the direction: no change"
    COUNT_FLIPS = "more or fewer samples than replicas would turn the direction: no change"
    GONE_PODS = "samples of pods that are gone"
    MISSING_ALL = "no pod has a sample: error"
    RESOURCE_API_FAILS = "the resource metrics API fails"
    EXTERNAL_MISSING = "external metric without data"
    EXTERNAL_FAILS = "external metrics API fails"
    EXTERNAL_SUM = "several series of an external metric are added up"
    PENDING = "pending pods count as 0 on the way up"
    UNREADY = "unready pods are left out of cpu"
    INITIALISING_UNREADY = "inside the cpu initialisation period, not ready"
    INITIALISING_STALE = "inside the cpu initialisation period, ready, sample older than its window"
    INITIALISING_FRESH = "inside the cpu initialisation period, ready, sample fresh"
    INITIALISING_OVER = "the cpu initialisation period ends"
    OLD_UNREADY_NEVER_READY = "older pod that was never ready"
    OLD_UNREADY_ONCE_READY = "older pod that was ready once counts"
    NO_READY_CONDITION = "a pod without a Ready condition"
    NO_START_TIME = "a pod without a start time"
    MEMORY_IGNORES_READINESS = "memory counts unready pods"
    TERMINATING = "terminating pods are ignored"
    FAILED = "failed pods are ignored"
    SUCCEEDED = "succeeded pods are not"
    NO_PODS = "no pods at all: error"
    SEVERAL_METRICS = "the highest proposal of several metrics"
    ONE_FAILS_UP = "one metric fails, the others ask for more: scales"
    ONE_FAILS_DOWN = "one metric fails, the others ask for less: stays"
    ALL_FAIL = "all metrics fail: stays"
    SURGE_INSIDE_TOLERANCE = "status above spec, AverageValue inside the tolerance returns status"
    SURGE_VALUE_TARGET = "status above spec, other targets return spec"
    STATUS_BELOW_SPEC = "status below spec"
    ABOVE_MAXIMUM = "spec above the maximum"
    BELOW_MINIMUM = "spec below the minimum"
    ZERO = "spec 0: disabled"
    BACK_FROM_ZERO = "spec above 0 again"
    WANTS_ABOVE_MAXIMUM = "wish above the maximum"
    WANTS_BELOW_MINIMUM = "wish below the minimum"
    TRUNCATED_UTILISATION = "utilisation is cut to whole percent"
    TRUNCATED_AVERAGE = "an average of pods is cut to whole milli-units"
    EXTERNAL_VALUE = "external metric, target Value: by ready pods"
    EXTERNAL_AVERAGE_VALUE = "external metric, target AverageValue"
    RESOURCE_AVERAGE_VALUE = "resource metric, target AverageValue"
    CONTAINER_RESOURCE = "one container's resource"
    CONTAINER_RESOURCE_VALUE = "one container's resource, target AverageValue"
    PODS_METRIC = "Pods metric"
    OBJECT_VALUE = "Object metric, target Value"
    OBJECT_AVERAGE_VALUE = "Object metric, target AverageValue"
    TRUE_CLOCK = "windows and periods as rendered, not compressed"
    RANDOM = "random inputs over a rendered autoscaler"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One replay. ``expected`` pins what the real controller must do, so that a trace cannot miss its branch."""

    name: str
    scaler: Scaler
    branches: frozenset[Branch]
    plan: Plan
    syncs: int
    start_replicas: int
    grid_seconds: float
    expected: Mapping[int, int]
    """Index of a sync → replicas after it."""
    path: tuple[int, ...]
    """Different replica counts that the real controller must go through, as a beginning; for what depends on time."""
    reasons: frozenset[str]
    """Reasons that the real autoscaler's conditions must have shown at some sync."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Inputs of one sync, or of several in a row that are alike."""

    load: Mapping[str, Amount] = field(default_factory=dict)
    """Metric (``metric_key``) → amount; those not named are calm."""
    times: int = 1
    pods: PodChange | None = None
    """Changes the pods, which are otherwise as many as the spec says, old and ready."""
    surge: int = 0
    """Added to the status's replicas."""
    set_spec: int | None = None
    """A person sets the scale before the sync."""


CALM_PERCENT = 10.0


def stepwise(scaler: Scaler, steps: Sequence[Step]) -> tuple[Plan, int]:
    """The plan of the steps one after the other, and how many syncs they are."""
    line = [step for step in steps for _ in range(step.times)]

    def plan(situation: Situation) -> Inputs:
        return inputs_of(scaler, line[situation.index], situation)

    return plan, len(line)


def inputs_of(scaler: Scaler, step: Step, situation: Situation) -> Inputs:
    """The inputs that a step means in a situation."""
    spec = situation.spec_replicas if step.set_spec is None else step.set_spec
    known = {metric_key(metric): metric["type"] for metric in scaler.metrics}
    unknown = step.load.keys() - known.keys()
    assert not unknown, f"{scaler.name} has no metric {sorted(unknown)}, only {sorted(known)}"
    pods = [_old(f"{scaler.deployment['metadata']['name']}-{number}", situation.epoch) for number in range(spec)]
    pods = [_sampled(scaler, pod, step.load, situation.now) for pod in pods]
    if step.pods is not None:
        pods = step.pods(pods, situation)
    resources = [key for key, kind in known.items() if kind in ("Resource", "ContainerResource")]
    of_pods = [key for key, kind in known.items() if kind == "Pods"]
    return Inputs(
        spec_replicas=spec,
        status_replicas=max(0, spec + step.surge),
        pods=tuple(pods),
        external={key: _values(step.load.get(key, 0.0)) for key, kind in known.items() if kind == "External"},
        objects={key: _single(step.load.get(key, 0.0)) for key, kind in known.items() if kind == "Object"},
        resources_fail=any(key in step.load and step.load[key] is None for key in resources),
        pods_metrics_fail=any(key in step.load and step.load[key] is None for key in of_pods),
    )


def _old(name: str, epoch: int) -> PodInput:
    return PodInput(name=name, ready=True, started=epoch - OLD_SECONDS, ready_since=epoch - OLD_SECONDS + 20)


def _sampled(scaler: Scaler, pod: PodInput, load: Mapping[str, Amount], now: int) -> PodInput:
    usage = {}
    for container in scaler.containers:
        name = container["name"]
        usage[name] = {
            resource: used(scaler, name, resource, load.get(f"{name}/{resource}", load.get(resource, CALM_PERCENT)))
            for resource in ("cpu", "memory")
            if resource in container.get("resources", {}).get("requests", {})
        }
    of_pods = [metric_key(metric) for metric in scaler.metrics if metric["type"] == "Pods"]
    custom = {key: _single(load.get(key, 0.0)) or 0 for key in of_pods}
    return replace(pod, usage=usage, sampled=now, custom=custom)


def used(scaler: Scaler, container: str, resource: str, percent: Amount) -> int:
    """Milli-units that a share of a container's request is; memory in whole bytes, as kubelets report it."""
    share = percent if isinstance(percent, int | float) else CALM_PERCENT
    exact = scaler.request_milli(container, resource) * share / 100
    return round(exact / 1000) * 1000 if resource == "memory" else round(exact)


def _values(amount: Amount) -> Values | None:
    if amount is None:
        return None
    return tuple(milli(each) for each in amount) if isinstance(amount, tuple) else (milli(amount),)


def _single(amount: Amount) -> int | None:
    assert not isinstance(amount, tuple)
    return None if amount is None else milli(amount)
