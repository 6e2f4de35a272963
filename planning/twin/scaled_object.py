"""A ScaledObject's manifest as values: what KEDA 2.20.2 reads of it.

Source: ``apis/keda/v1alpha1/scaledobject_types.go``, ``scaledobject_webhook.go`` and the four scalers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from planning.twin.formula import Formula, FormulaError, compile_formula
from planning.twin.kafka_scaler import KafkaTrigger
from planning.twin.observation import metric_key
from planning.twin.quantity import milli, milli_of_float
from planning.twin.requests import ManifestError

OWNER_LABEL = "scaledobject.keda.sh/name"
COMPOSITE_METRIC = "composite-metric"
DEFAULT_POLLING_SECONDS = 30
DEFAULT_MAX_REPLICAS = 100
_PAUSED = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")
_WHOLE_NUMBER = re.compile(r"[+-]?\d+")


class FallbackBehavior(StrEnum):
    """Which replicas stand in for a trigger that fails."""

    STATIC = "static"
    CURRENT = "currentReplicas"
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"
    CURRENT_IF_LOWER = "currentReplicasIfLower"
    SCALING_MODIFIERS = "scalingModifiers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """What happens after more than ``failure_threshold`` failures in a row."""

    failure_threshold: int
    replicas: int
    behavior: FallbackBehavior


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusTrigger:
    """A query with one number as its answer."""

    query: str
    threshold: float
    activation_threshold: float
    ignore_null_values: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadTrigger:
    """A count of pods that have not ended, terminating ones included."""

    pod_selector: str
    value: float
    activation_value: float


Source = KafkaTrigger | PrometheusTrigger | WorkloadTrigger


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalTrigger:
    """A trigger that becomes a metric of the external metrics API."""

    index: int
    name: str
    metric_name: str
    key: str
    """Of an observation."""
    per_pod: bool
    target_milli: int
    use_cached_metrics: bool
    source: Source


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceTrigger:
    """A cpu or memory trigger: the autoscaler reads it itself."""

    resource: str
    container: str
    per_pod: bool
    """AverageValue; otherwise Utilization."""
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Modifiers:
    """One composite metric instead of all external ones."""

    formula: Formula | None
    """``None``: every metric passes through under the composite's name."""
    target: float
    target_is_whole: bool
    """A fraction silently disables the fallback."""
    per_pod: bool
    activation_target: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaledObject:
    """A ScaledObject as the operator reads it."""

    name: str
    namespace: str
    target_name: str
    min_replicas: int
    max_replicas: int
    polling_seconds: int
    fallback: Fallback | None
    modifiers: Modifiers | None
    external: tuple[ExternalTrigger, ...]
    resources: tuple[ResourceTrigger, ...]
    composite_key: str

    @property
    def falls_back(self) -> bool:
        """True when a fallback is there and valid."""
        return self.fallback is not None and (self.modifiers is None or self.modifiers.target_is_whole)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "ScaledObject":
        """Read a ``keda.sh/v1alpha1`` manifest. Raises ``ManifestError`` with the path of what cannot work."""
        return _Reader(manifest).read()


class _Reader:
    """Reads one manifest; every error names the object and the field's path."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.meta: Mapping[str, Any] = manifest.get("metadata") or {}
        self.name = str(self.meta.get("name", ""))
        self.namespace = str(self.meta.get("namespace", "default"))
        self.where = f"ScaledObject {self.name}"
        self.spec: Mapping[str, Any] = manifest.get("spec") or {}
        if manifest.get("apiVersion") != "keda.sh/v1alpha1" or manifest.get("kind") != "ScaledObject":
            found = f"is {manifest.get('apiVersion')} {manifest.get('kind')}"
            raise self.error("apiVersion, kind", found, "keda.sh/v1alpha1 ScaledObject")

    def error(self, path: str, found: str, allowed: str) -> ManifestError:
        return ManifestError(self.where, path, found, allowed)

    def read(self) -> ScaledObject:
        for annotation in _PAUSED:
            if annotation in (self.meta.get("annotations") or {}):
                raise self.error(f"metadata.annotations.{annotation}", "is set", "no pause (nothing would scale)")
        spec = self.spec
        lowest, highest = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", DEFAULT_MAX_REPLICAS)
        if lowest < 1 or spec.get("idleReplicaCount") is not None:
            raise self.error("spec.minReplicaCount", f"is {lowest}", "at least 1, without idleReplicaCount (no zero)")
        if lowest > highest:
            raise self.error("spec.minReplicaCount", f"is {lowest}", f"at most maxReplicaCount, {highest}")
        triggers = spec.get("triggers") or []
        if not triggers:
            raise self.error("spec.triggers", "is empty", "at least one trigger")
        read = [self.trigger(index, trigger) for index, trigger in enumerate(triggers)]
        external = tuple(trigger for trigger in read if isinstance(trigger, ExternalTrigger))
        return ScaledObject(
            name=self.name,
            namespace=self.namespace,
            target_name=str((spec.get("scaleTargetRef") or {}).get("name", "")),
            min_replicas=lowest,
            max_replicas=highest,
            polling_seconds=spec.get("pollingInterval", DEFAULT_POLLING_SECONDS),
            fallback=self.fallback(),
            modifiers=self.modifiers(external),
            external=external,
            resources=tuple(trigger for trigger in read if isinstance(trigger, ResourceTrigger)),
            composite_key=self.key(COMPOSITE_METRIC),
        )

    def key(self, metric_name: str) -> str:
        return metric_key(metric_name, {OWNER_LABEL: self.name})

    def fallback(self) -> Fallback | None:
        given = self.spec.get("fallback")
        if given is None:
            return None
        behavior = given.get("behavior", FallbackBehavior.STATIC.value)
        if behavior not in list(FallbackBehavior):
            allowed = ", ".join(each.value for each in FallbackBehavior)
            raise self.error("spec.fallback.behavior", f"is '{behavior}'", allowed)
        threshold, replicas = given.get("failureThreshold", -1), given.get("replicas", -1)
        if threshold < 0 or replicas < 0:
            found = f"are {threshold} and {replicas}"
            raise self.error("spec.fallback.failureThreshold, replicas", found, "whole numbers from 0, both given")
        return Fallback(failure_threshold=threshold, replicas=replicas, behavior=FallbackBehavior(behavior))

    def modifiers(self, external: tuple[ExternalTrigger, ...]) -> Modifiers | None:
        given = (self.spec.get("advanced") or {}).get("scalingModifiers") or {}
        if not given:
            return None
        path = "spec.advanced.scalingModifiers"
        target_text, formula = str(given.get("target", "")), None
        target = self.number(given, "target", path, default=None)
        if target <= 0:
            raise self.error(f"{path}.target", f"is '{target_text}'", "a number above 0")
        if given.get("formula"):
            for trigger in external:
                if not trigger.name:
                    raise self.error(f"spec.triggers[{trigger.index}].name", "is missing", "a name for the formula")
            try:
                formula = compile_formula(given["formula"], names=[trigger.name for trigger in external])
            except FormulaError as error:
                raise self.error(f"{path}.formula", f"is refused ({error})", "a formula over the triggers") from error
        return Modifiers(
            formula=formula,
            target=target,
            target_is_whole=_WHOLE_NUMBER.fullmatch(target_text) is not None,
            per_pod=self.per_pod(given, path),
            activation_target=self.number(given, "activationTarget", path, default="0"),
        )

    def per_pod(self, given: Mapping[str, Any], path: str) -> bool:
        kind = given.get("metricType") or "AverageValue"
        if kind not in {"AverageValue", "Value"}:
            raise self.error(f"{path}.metricType", f"is '{kind}'", "AverageValue or Value")
        return bool(kind == "AverageValue")

    def number(self, given: Mapping[str, Any], field: str, path: str, *, default: str | None) -> float:
        text = given.get(field, default)
        try:
            return float(text or "")
        except (TypeError, ValueError) as error:
            raise self.error(f"{path}.{field}", f"is {text!r}", "a number, as a string") from error

    def trigger(self, index: int, given: Mapping[str, Any]) -> ExternalTrigger | ResourceTrigger:
        kind, path = given.get("type", ""), f"spec.triggers[{index}]"
        metadata: Mapping[str, str] = given.get("metadata") or {}
        for field, value in metadata.items():
            if not isinstance(value, str):
                raise self.error(f"{path}.metadata.{field}", f"is {value!r}", "a string (KEDA reads nothing else)")
        if kind in {"cpu", "memory"}:
            return self.resource(kind, given, metadata, path)
        source, name, target = self.source(kind, metadata, f"{path}.metadata")
        metric_name = f"s{index}-{_normalized(name)}"
        return ExternalTrigger(
            index=index,
            name=given.get("name", ""),
            metric_name=metric_name,
            key=self.key(metric_name),
            per_pod=self.per_pod(given, path),
            target_milli=target,
            use_cached_metrics=bool(given.get("useCachedMetrics", False)),
            source=source,
        )

    def resource(self, kind: str, given: Mapping[str, Any], metadata: Mapping[str, str], path: str) -> ResourceTrigger:
        metric_type, value = given.get("metricType"), metadata.get("value", "")
        if metric_type not in {"Utilization", "AverageValue"}:
            raise self.error(f"{path}.metricType", f"is '{metric_type}'", "Utilization or AverageValue")
        if given.get("useCachedMetrics"):
            raise self.error(f"{path}.useCachedMetrics", "is true", f"false (KEDA refuses it for {kind})")
        try:
            if (int(value) if metric_type == "Utilization" else milli(value)) <= 0:
                raise ValueError  # noqa: TRY301 # the same message as for text
        except ValueError as error:
            allowed = "a whole percentage above 0" if metric_type == "Utilization" else "a quantity above 0"
            raise self.error(f"{path}.metadata.value", f"is '{value}'", allowed) from error
        return ResourceTrigger(
            resource=kind,
            container=metadata.get("containerName", ""),
            per_pod=metric_type == "AverageValue",
            value=value,
        )

    def source(self, kind: str, metadata: Mapping[str, str], path: str) -> tuple[Source, str, int]:
        """What is read, the metric's name without index, and its target in milli-units."""
        if kind == "kafka":
            kafka = KafkaTrigger.from_metadata(metadata, where=self.where, path=path)
            return kafka, f"kafka-{kafka.topic}", kafka.lag_threshold * 1000
        if kind == "prometheus":
            prometheus = PrometheusTrigger(
                query=metadata.get("query", ""),
                threshold=self.number(metadata, "threshold", path, default=None),
                activation_threshold=self.number(metadata, "activationThreshold", path, default="0"),
                ignore_null_values=metadata.get("ignoreNullValues", "true").lower() in {"true", "t", "1"},
            )
            if not prometheus.query:
                raise self.error(f"{path}.query", "is missing", "a query with one number as its answer")
            return prometheus, "prometheus", milli_of_float(prometheus.threshold)
        if kind == "kubernetes-workload":
            workload = WorkloadTrigger(
                pod_selector=metadata.get("podSelector", ""),
                value=self.number(metadata, "value", path, default="0"),
                activation_value=self.number(metadata, "activationValue", path, default="0"),
            )
            return workload, f"workload-{self.namespace}", milli_of_float(workload.value)
        allowed = "cpu, memory, kafka, prometheus or kubernetes-workload (what the twin knows)"
        raise self.error(path.replace("metadata", "type"), f"is '{kind}'", allowed)


def _normalized(name: str) -> str:
    """KEDA's NormalizeString: what may not stand in a metric's name becomes a dash."""
    return re.sub(r"[/.:%()]", "-", name)
