"""What a scaler reads, in one shape for both kinds, and the metric names inside PromQL."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policies.index import StackIndex
from policies.objects import KubernetesObject
from policies.values import UNKNOWN, elements, number, read, text

RESOURCE_TRIGGERS = frozenset({"cpu", "memory"})
# PromQL's own words; whatever else stands bare in an expression is a metric.
_KEYWORDS = frozenset(
    (
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "inf",
        "nan",
    )
)
_STRINGS_LABELS_RANGES = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]')
_LABEL_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w.:])[a-zA-Z_:][\w:]*\b(?!\s*\()")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerMetric:
    """One metric of a scaler.

    `query` is the PromQL or the name that must be recorded; None for cpu, memory and what KEDA reads itself.
    `is_ratio` tells a metric that multiplies the present pods (`Value`) from one that is divided by a target; None
    where the preview does not know it. `target` is None where it is not set or not known.
    """

    name: str
    kind: str
    query: str | None
    is_ratio: bool | None
    target: float | None

    @property
    def is_resource(self) -> bool:
        """Tell whether it is cpu or memory."""
        return self.kind in RESOURCE_TRIGGERS


def metrics_of(subject: KubernetesObject) -> Iterator[ScalerMetric]:
    """Yield what a HorizontalPodAutoscaler or a ScaledObject reads; metrics that are not known are passed over."""
    spec = read(subject.props, "spec")
    if subject.kind == "ScaledObject":
        yield from (_of_trigger(trigger) for trigger in elements(read(spec, "triggers")) if trigger is not UNKNOWN)
    else:
        for metric in elements(read(spec, "metrics")):
            found = _of_metric(metric)
            if found is not None:
                yield found


def metric_names(expression: str) -> set[str]:
    """Return the names of the metrics in a PromQL expression."""
    bare = _LABEL_LISTS.sub(" ", _STRINGS_LABELS_RANGES.sub(" ", expression))
    return {name for name in _NAME.findall(bare) if name.lower() not in _KEYWORDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """What the rules of a stack record. Not `complete` where the preview does not know some part of them."""

    expressions: dict[str, list[tuple[KubernetesObject, str]]]
    complete: bool


def recordings(index: StackIndex) -> Recordings:
    """Return record name → the rule objects and expressions that record it."""
    found: dict[str, list[tuple[KubernetesObject, str]]] = {}
    complete = True
    for subject in index.by_kind.get("PrometheusRule", []):
        groups = read(subject.props, "spec", "groups")
        lists = [groups, *(read(group, "rules") for group in elements(groups))]
        rules = [rule for group in elements(groups) for rule in elements(read(group, "rules"))]
        complete = complete and UNKNOWN not in [*lists, *elements(groups), *rules]
        for rule in rules:
            record, expression = read(rule, "record"), read(rule, "expr")
            complete = complete and UNKNOWN not in (record, expression)
            if isinstance(record, str) and isinstance(expression, str):
                found.setdefault(record, []).append((subject, expression))
    return Recordings(expressions=found, complete=complete)


def alerts(index: StackIndex) -> Iterator[tuple[KubernetesObject, str, str]]:
    """Yield rule object, name and expression of every alert that the preview knows."""
    for subject in index.by_kind.get("PrometheusRule", []):
        for group in elements(read(subject.props, "spec", "groups")):
            for rule in elements(read(group, "rules")):
                name, expression = read(rule, "alert"), read(rule, "expr")
                if isinstance(name, str) and isinstance(expression, str):
                    yield subject, name, expression


def _is(value: object, wanted: str) -> bool | None:
    return None if value is UNKNOWN else value == wanted


def _of_trigger(trigger: object) -> ScalerMetric:
    kind = text(read(trigger, "type")) or ""
    metadata = read(trigger, "metadata")
    return ScalerMetric(
        name=text(read(trigger, "name")) or kind,
        kind=kind,
        query=text(read(metadata, "query")) if kind == "prometheus" else None,
        is_ratio=_is(read(trigger, "metricType"), "Value"),
        target=number(read(metadata, "threshold")),
    )


def _of_metric(metric: object) -> ScalerMetric | None:
    resource = text(read(metric, "resource", "name")) or text(read(metric, "containerResource", "name"))
    if resource is not None:
        return ScalerMetric(name=resource, kind=resource, query=None, is_ratio=False, target=None)
    name = text(read(metric, "external", "metric", "name"))
    if name is None:
        return None
    target = read(metric, "external", "target")
    return ScalerMetric(
        name=name,
        kind="external",
        query=name,
        is_ratio=_is(read(target, "type"), "Value"),
        target=number(read(target, "value")),
    )
