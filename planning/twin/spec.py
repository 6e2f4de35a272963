"""A HorizontalPodAutoscaler's manifest as values, with the defaults that the API server fills in.

Source of defaults and checks: Kubernetes 1.36, ``pkg/apis/autoscaling/v2/defaults.go`` and ``validation.go``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from planning.twin.observation import metric_key, object_key
from planning.twin.quantity import approximate_float, milli
from planning.twin.requests import ManifestError, request_milli

DEFAULT_CPU_PERCENT = 80
MAX_STABILIZATION_SECONDS = 3600
MAX_PERIOD_SECONDS = 1800


class Select(StrEnum):
    """Which of several policies decides."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class PolicyKind(StrEnum):
    """What a policy's value counts."""

    PODS = "Pods"
    PERCENT = "Percent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """At most ``value`` pods, or per cent of the pods, within ``period_seconds``."""

    kind: PolicyKind
    value: int
    period_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How one direction behaves."""

    stabilization_seconds: int | None
    """``None``: the controller's own window (scale-down only)."""
    select: Select
    policies: tuple[Policy, ...]
    tolerance: float | None
    """``None``: the controller's own tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceMetric:
    """cpu or memory of the pods, or of one container of each."""

    resource: str
    container: str
    """Empty: the whole pod."""
    target_percent: int | None
    """Of the requests; ``None`` when the target is an average value."""
    target_milli: int
    """Average per pod in milli-units (0 when the target is a percentage)."""
    request_milli: int
    """What one pod (or the container) requests, in milli-units."""
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PodsMetric:
    """An average over the pods, from the custom metrics API."""

    key: str
    target_milli: int
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueMetric:
    """One number, from the external metrics API or about an object from the custom metrics API."""

    key: str
    external: bool
    per_pod: bool
    """AverageValue: the target is for each pod. Otherwise Value: the ratio to it multiplies the ready pods."""
    target_milli: int
    title: str


Metric = ResourceMetric | PodsMetric | ValueMetric


@dataclass(frozen=True, kw_only=True, slots=True)
class HpaSpec:
    """An autoscaler as the controller reads it."""

    name: str
    namespace: str
    target_kind: str
    target_name: str
    min_replicas: int
    max_replicas: int
    metrics: tuple[Metric, ...]
    scale_up: Rules | None
    """``None`` (both) when the manifest has no ``behavior``: the controller then limits by fixed rules."""
    scale_down: Rules | None

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], *, target: Mapping[str, Any]) -> "HpaSpec":
        """The autoscaler of an ``autoscaling/v2`` manifest for the Deployment that it names.

        Raises ``ManifestError`` for what the API server would refuse and for what could never scale (a cpu target
        without requests), with the path of the field.
        """
        return _Reader(manifest, target).read()


class _Reader:
    """Reads one manifest; every error names the object and the field's path."""

    def __init__(self, manifest: Mapping[str, Any], target: Mapping[str, Any]) -> None:
        meta = manifest.get("metadata") or {}
        self.name = str(meta.get("name", ""))
        self.namespace = str(meta.get("namespace", "default"))
        self.where = f"HorizontalPodAutoscaler {self.name}"
        if manifest.get("apiVersion") != "autoscaling/v2" or manifest.get("kind") != "HorizontalPodAutoscaler":
            found = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
            raise ManifestError(self.where, "apiVersion, kind", f"is {found}", "autoscaling/v2 HorizontalPodAutoscaler")
        self.spec: Mapping[str, Any] = manifest.get("spec") or {}
        self.target = target

    def read(self) -> HpaSpec:
        reference = self.spec.get("scaleTargetRef") or {}
        named, given = reference.get("name"), (self.target.get("metadata") or {}).get("name")
        if named != given:
            raise self.error("spec.scaleTargetRef.name", f"is '{named}'", f"the target that was given, '{given}'")
        lowest, highest = self.spec.get("minReplicas", 1), self.spec.get("maxReplicas", 0)
        if not 1 <= lowest <= highest:
            raise self.error("spec.minReplicas, maxReplicas", f"are {lowest} and {highest}", "1 ≤ minimum ≤ maximum")
        metrics = self.spec.get("metrics") or [_DEFAULT_METRIC]
        behavior = self.spec.get("behavior")
        return HpaSpec(
            name=self.name,
            namespace=self.namespace,
            target_kind=str(reference.get("kind", "")),
            target_name=str(named),
            min_replicas=lowest,
            max_replicas=highest,
            metrics=tuple(self.complete(entry, f"spec.metrics[{index}]") for index, entry in enumerate(metrics)),
            scale_up=None if behavior is None else self.rules(behavior, "scaleUp", DEFAULT_SCALE_UP),
            scale_down=None if behavior is None else self.rules(behavior, "scaleDown", DEFAULT_SCALE_DOWN),
        )

    def error(self, path: str, found: str, allowed: str) -> ManifestError:
        return ManifestError(self.where, path, found, allowed)

    def complete(self, entry: Mapping[str, Any], path: str) -> Metric:
        try:
            return self.metric(entry, path)
        except KeyError as error:
            raise self.error(path, f"lacks {error}", f"a whole {entry.get('type')} metric") from error

    def metric(self, entry: Mapping[str, Any], path: str) -> Metric:
        kind = entry.get("type")
        match kind:
            case "Resource":
                return self.resource(entry["resource"], f"{path}.resource")
            case "ContainerResource":
                return self.resource(entry["containerResource"], f"{path}.containerResource")
            case "Pods":
                source = entry["pods"]
                key = self.key(source["metric"], f"{path}.pods.metric")
                target = self.quantity(source["target"], "averageValue", f"{path}.pods.target")
                return PodsMetric(key=key, target_milli=target, title=f"pods metric {source['metric']['name']}")
            case "External":
                source = entry["external"]
                key = self.key(source["metric"], f"{path}.external.metric")
                per_pod, target = self.value(source["target"], f"{path}.external.target")
                title = f"external metric {source['metric']['name']}"
                return ValueMetric(key=key, external=True, per_pod=per_pod, target_milli=target, title=title)
            case "Object":
                return self.object(entry["object"], f"{path}.object")
        allowed = "Resource, ContainerResource, Pods, External or Object"
        raise self.error(f"{path}.type", f"is '{kind}'", allowed)

    def object(self, source: Mapping[str, Any], path: str) -> ValueMetric:
        described, identifier = source["describedObject"], source["metric"]
        labels = self.labels(identifier, f"{path}.metric")
        per_pod, target = self.value(source["target"], f"{path}.target")
        return ValueMetric(
            key=object_key(described["kind"], described["name"], identifier["name"], labels),
            external=False,
            per_pod=per_pod,
            target_milli=target,
            title=f"{described['kind']} metric {identifier['name']}",
        )

    def resource(self, source: Mapping[str, Any], path: str) -> ResourceMetric:
        resource, container, target = source["name"], source.get("container", ""), source["target"]
        if resource not in {"cpu", "memory"}:
            raise self.error(f"{path}.name", f"is '{resource}'", "cpu or memory (all that the metrics API serves)")
        percent = target.get("averageUtilization")
        if percent is None:
            average = self.quantity(target, "averageValue", f"{path}.target")
            title = f"{resource} resource"
        else:
            if not isinstance(percent, int) or percent < 1:
                raise self.error(f"{path}.target.averageUtilization", f"is {percent!r}", "a whole number from 1")
            average = 0
            title = f"{resource} {'container ' if container else ''}resource utilization (percentage of request)"
        return ResourceMetric(
            resource=resource,
            container=container,
            target_percent=percent,
            target_milli=average,
            request_milli=0 if percent is None else request_milli(self.target, resource, container, user=self.where),
            title=title,
        )

    def key(self, identifier: Mapping[str, Any], path: str) -> str:
        return metric_key(identifier["name"], self.labels(identifier, path))

    def labels(self, identifier: Mapping[str, Any], path: str) -> Mapping[str, str]:
        selector = identifier.get("selector") or {}
        if selector.get("matchExpressions"):
            raise self.error(f"{path}.selector.matchExpressions", "is set", "matchLabels (all that the twin reads)")
        labels: Mapping[str, str] = selector.get("matchLabels") or {}
        return labels

    def value(self, target: Mapping[str, Any], path: str) -> tuple[bool, int]:
        if ("averageValue" in target) == ("value" in target):
            raise self.error(path, "has neither or both of them", "exactly one of value and averageValue")
        per_pod = "averageValue" in target
        return per_pod, self.quantity(target, "averageValue" if per_pod else "value", path)

    def quantity(self, target: Mapping[str, Any], field: str, path: str) -> int:
        value = target.get(field)
        try:
            found = milli(value)
        except ValueError as error:
            raise self.error(
                f"{path}.{field}", f"is {value!r}", "a quantity above 0, for example 1k or 500m"
            ) from error
        if found <= 0:
            raise self.error(f"{path}.{field}", f"is {value!r}", "a quantity above 0")
        return found

    def rules(self, behavior: Mapping[str, Any], direction: str, default: Rules) -> Rules:
        given, path = behavior.get(direction) or {}, f"spec.behavior.{direction}"
        window = given.get("stabilizationWindowSeconds", default.stabilization_seconds)
        if window is not None and not 0 <= window <= MAX_STABILIZATION_SECONDS:
            allowed = f"0 to {MAX_STABILIZATION_SECONDS}"
            raise self.error(f"{path}.stabilizationWindowSeconds", f"is {window}", allowed)
        select = given.get("selectPolicy", default.select.value)
        if select not in list(Select):
            raise self.error(f"{path}.selectPolicy", f"is '{select}'", "Max, Min or Disabled")
        tolerance, policies = given.get("tolerance"), given.get("policies")
        if policies is not None and not policies:
            raise self.error(f"{path}.policies", "is empty", "at least one policy, or no such field")
        return Rules(
            stabilization_seconds=window,
            select=Select(select),
            policies=default.policies if policies is None else tuple(self.policy(item, path) for item in policies),
            tolerance=None if tolerance is None else approximate_float(tolerance),
        )

    def policy(self, given: Mapping[str, Any], path: str) -> Policy:
        kind, value, period = given.get("type"), given.get("value", 0), given.get("periodSeconds", 0)
        if kind not in list(PolicyKind) or value < 1 or not 1 <= period <= MAX_PERIOD_SECONDS:
            allowed = f"type Pods or Percent, value from 1, periodSeconds 1 to {MAX_PERIOD_SECONDS}"
            raise self.error(f"{path}.policies", f"has {dict(given)}", allowed)
        return Policy(kind=PolicyKind(kind), value=value, period_seconds=period)


_DEFAULT_METRIC: Mapping[str, Any] = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": DEFAULT_CPU_PERCENT}},
}
DEFAULT_SCALE_UP = Rules(
    stabilization_seconds=0,
    select=Select.MAX,
    policies=(
        Policy(kind=PolicyKind.PODS, value=4, period_seconds=15),
        Policy(kind=PolicyKind.PERCENT, value=100, period_seconds=15),
    ),
    tolerance=None,
)
DEFAULT_SCALE_DOWN = Rules(
    stabilization_seconds=None,
    select=Select.MAX,
    policies=(Policy(kind=PolicyKind.PERCENT, value=100, period_seconds=15),),
    tolerance=None,
)
