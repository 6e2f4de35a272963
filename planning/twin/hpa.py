"""The HorizontalPodAutoscaler controller of Kubernetes 1.36: one synchronisation after the other.

Source: Kubernetes 1.36.3, ``pkg/controller/podautoscaler/horizontal.go`` (reconcileAutoscaler and below). Feature
gates as 1.36 ships them: own tolerances on (HPAConfigurableTolerance), scale to zero off (HPAScaleToZero).

    controller = Controller(HpaSpec.from_manifest(hpa, target=deployment))
    decision = controller.sync(Observation(now_seconds=0, spec_replicas=3, status_replicas=3, ...))
    deployment_replicas = decision.desired_replicas
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from planning.twin.behavior import Behavior, FixedBehavior, Limit, RuledBehavior, Stabilization
from planning.twin.metrics import MetricUnavailableError, SampleRules, Tolerance, propose
from planning.twin.observation import (
    ContainerUsage,
    Observation,
    Phase,
    Pod,
    UniformPods,
    metric_key,
    object_key,
)
from planning.twin.requests import ManifestError
from planning.twin.spec import HpaSpec

__all__ = [
    "Condition",
    "ContainerUsage",
    "Controller",
    "ControllerFlags",
    "Decision",
    "HpaSpec",
    "Limit",
    "ManifestError",
    "Observation",
    "Phase",
    "Pod",
    "Proposal",
    "Stabilization",
    "UniformPods",
    "metric_key",
    "object_key",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ControllerFlags:
    """Flags of kube-controller-manager that enter the arithmetic, with their defaults."""

    tolerance: float = 0.1
    downscale_stabilization_seconds: float = 300.0
    cpu_initialization_period_seconds: float = 300.0
    initial_readiness_delay_seconds: float = 30.0


class Proposal(NamedTuple):
    """What one metric asks for, in the order of the manifest."""

    title: str
    replicas: int | None
    """``None`` when the metric is unavailable."""
    error: str = ""


class Condition(NamedTuple):
    """One condition of the autoscaler's status."""

    status: bool
    reason: str


class Decision(NamedTuple):
    """The outcome of one synchronisation."""

    current_replicas: int
    desired_replicas: int
    """What ``spec.replicas`` of the target is afterwards."""
    reason: str
    """Of the rescale, as its event says it; empty when the scale was not written."""
    proposals: tuple[Proposal, ...]
    """One for each metric; empty when no metric was looked at."""
    recommendation: int | None
    """The largest proposal, before windows, policies and limits; ``None`` when there is none to follow."""
    stabilization: Stabilization
    able_to_scale: Condition
    scaling_active: Condition | None
    scaling_limited: Condition | None
    """A condition that a synchronisation does not set stays as it was; ``None`` before the first time."""

    @property
    def rescaled(self) -> bool:
        """True when the controller wrote the scale."""
        return self.desired_replicas != self.current_replicas

    @property
    def limited_by(self) -> str:
        """Why the target does not get what the metrics ask for: a ``Limit``, a ``Stabilization``, or empty."""
        if self.recommendation is None or self.recommendation == self.desired_replicas:
            return ""
        if self.scaling_limited is not None and self.scaling_limited.status:
            return self.scaling_limited.reason
        return self.stabilization.value

    @property
    def conditions(self) -> dict[str, Condition]:
        """By type, as the autoscaler's status lists them."""
        named = {
            "AbleToScale": self.able_to_scale,
            "ScalingActive": self.scaling_active,
            "ScalingLimited": self.scaling_limited,
        }
        return {kind: condition for kind, condition in named.items() if condition is not None}


class Controller:
    """One autoscaler with what its controller remembers: recommendations, changes, and the last conditions.

    A write of the scale is taken to succeed. Time may stand still between two synchronisations, never go back.
    """

    def __init__(self, spec: HpaSpec, flags: ControllerFlags | None = None) -> None:
        flags = flags or ControllerFlags()
        self.spec = spec
        self._tolerance = _tolerance(spec, flags.tolerance)
        self._samples = SampleRules(
            cpu_initialization_period_seconds=flags.cpu_initialization_period_seconds,
            initial_readiness_delay_seconds=flags.initial_readiness_delay_seconds,
        )
        self._behavior = _behavior(spec, flags.downscale_stabilization_seconds)
        self._active: Condition | None = None
        self._limited: Condition | None = None
        self._last_seconds: float | None = None

    def set_limits(self, *, lowest: int, highest: int) -> None:
        """Somebody edits minReplicas and maxReplicas; the controller remembers what it has seen and done."""
        self.spec = replace(self.spec, min_replicas=lowest, max_replicas=highest)
        self._behavior.set_limits(lowest=lowest, highest=highest)

    def sync(self, observation: Observation) -> Decision:
        """What the controller does with one observation. Raises ``ValueError`` when time goes back."""
        now, current = observation.now_seconds, observation.spec_replicas
        if self._last_seconds is None:
            self._behavior.record_recommendation(now, current)
        elif now < self._last_seconds:
            message = f"an observation at {now} s follows one at {self._last_seconds} s"
            raise ValueError(message)
        self._last_seconds = now
        if current == 0:
            self._active = _SCALING_DISABLED
            return self._kept(current)
        if current > self.spec.max_replicas:
            return self._bounded(now, current, self.spec.max_replicas, "above Spec.MaxReplicas")
        if current < self.spec.min_replicas:
            return self._bounded(now, current, self.spec.min_replicas, "below Spec.MinReplicas")
        return self._follow_metrics(observation)

    def _kept(self, current: int, proposals: tuple[Proposal, ...] = ()) -> Decision:
        return Decision(
            current, current, "", proposals, None, Stabilization.READY, _GOT_SCALE, self._active, self._limited
        )

    def _bounded(self, now: float, current: int, bound: int, side: str) -> Decision:
        """Outside the limits: back to them at once; metrics, windows and policies are not asked."""
        self._behavior.record_change(now, current, bound)
        reason = f"Current number of replicas {side}"
        return Decision(current, bound, reason, (), None, Stabilization.READY, _RESCALED, self._active, self._limited)

    def _follow_metrics(self, observation: Observation) -> Decision:
        now, current = observation.now_seconds, observation.spec_replicas
        proposals: list[Proposal] = []
        largest, title, failure = 0, "", None
        for metric in self.spec.metrics:
            try:
                replicas = propose(metric, observation, self._tolerance, self._samples)
            except MetricUnavailableError as error:
                failure = failure or error
                proposals.append(Proposal(metric.title, None, str(error)))
                continue
            proposals.append(Proposal(metric.title, replicas))
            if largest == 0 or replicas > largest:
                largest, title = replicas, metric.title
        if failure is not None and (largest < current or all(proposal.replicas is None for proposal in proposals)):
            self._active = Condition(status=False, reason=failure.reason)
            return self._kept(current, tuple(proposals))
        self._active = _VALID_METRIC
        desired = max(0, largest)
        result = self._behavior.normalize(now, current, desired)
        self._limited = _LIMITED[result.limit] if result.limited else _NOT_LIMITED[result.limit]
        if result.replicas == current:
            able, reason = _ABLE[result.stabilization], ""
        else:
            self._behavior.record_change(now, current, result.replicas)
            able, reason = _RESCALED, f"{title} above target" if desired > current else "All metrics below target"
        return Decision(
            current,
            result.replicas,
            reason,
            tuple(proposals),
            desired,
            result.stabilization,
            able,
            self._active,
            self._limited,
        )


_GOT_SCALE = Condition(status=True, reason="SucceededGetScale")
_RESCALED = Condition(status=True, reason="SucceededRescale")
_VALID_METRIC = Condition(status=True, reason="ValidMetricFound")
_SCALING_DISABLED = Condition(status=False, reason="ScalingDisabled")
_ABLE = {state: Condition(status=True, reason=state.value) for state in Stabilization}
_LIMITED = {limit: Condition(status=True, reason=limit.value) for limit in Limit}
_NOT_LIMITED = {limit: Condition(status=False, reason=limit.value) for limit in Limit}


def _tolerance(spec: HpaSpec, default: float) -> Tolerance:
    down = default if spec.scale_down is None or spec.scale_down.tolerance is None else spec.scale_down.tolerance
    up = default if spec.scale_up is None or spec.scale_up.tolerance is None else spec.scale_up.tolerance
    return Tolerance(low=1.0 - down, high=1.0 + up)


def _behavior(spec: HpaSpec, downscale_seconds: float) -> Behavior:
    if spec.scale_up is None or spec.scale_down is None:
        return FixedBehavior(lowest=spec.min_replicas, highest=spec.max_replicas, downscale_seconds=downscale_seconds)
    return RuledBehavior(
        spec.scale_up,
        spec.scale_down,
        lowest=spec.min_replicas,
        highest=spec.max_replicas,
        downscale_seconds=downscale_seconds,
    )
