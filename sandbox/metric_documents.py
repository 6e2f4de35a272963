"""The documents of the three metrics APIs that autoscalers read, built from plain values.

``metrics.k8s.io`` carries what containers use, ``custom.metrics.k8s.io`` metrics of pods and of other objects,
``external.metrics.k8s.io`` everything that belongs to no object of the cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

EXTERNAL_GROUP = "external.metrics.k8s.io"
RESOURCE_GROUP = "metrics.k8s.io"
CUSTOM_GROUP = "custom.metrics.k8s.io"
VERSION = "v1beta1"
CUSTOM_VERSION = "v1beta2"
"""The version in which a custom metric names itself and its selector in one field."""
VERSIONS: Mapping[str, str] = {EXTERNAL_GROUP: VERSION, RESOURCE_GROUP: VERSION, CUSTOM_GROUP: CUSTOM_VERSION}

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectValue:
    """One value of a custom metric, and the object that it describes."""

    kind: str
    name: str
    namespace: str
    value: str
    """A quantity as the API writes it: ``1500``, ``1500m``."""
    window_seconds: int | None = None


def timestamp(moment: datetime) -> str:
    """Whole seconds in UTC: the API's time stamps carry no fraction."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def resource_list(group: str) -> Document:
    """Discovery of one group; only what pods use has a fixed name, the other groups list nothing."""
    pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{VERSIONS[group]}",
        "resources": [pods] if group == RESOURCE_GROUP else [],
    }


def external_list(metric: str, labels: Mapping[str, str], values: Sequence[str], *, at: datetime) -> Document:
    """One item for each value; no item says that the source has no data."""
    items = [
        {"metricName": metric, "metricLabels": dict(labels), "timestamp": timestamp(at), "value": value}
        for value in values
    ]
    return _list("ExternalMetricValueList", EXTERNAL_GROUP, items)


def custom_list(metric: str, values: Sequence[ObjectValue], *, at: datetime) -> Document:
    """One item for each described object."""
    return _list("MetricValueList", CUSTOM_GROUP, [_custom_item(metric, value, at) for value in values])


def pods_list(items: Sequence[Document]) -> Document:
    """What pods use; ``items`` are those of ``pod_metrics``."""
    return _list("PodMetricsList", RESOURCE_GROUP, list(items))


def pod_metrics(
    metadata: Mapping[str, Any], usage: Mapping[str, Mapping[str, str]], *, at: datetime, window_seconds: int
) -> Document:
    """Usage by container and resource: ``{"payment": {"cpu": "250m", "memory": "1Gi"}}``."""
    return {
        "metadata": dict(metadata),
        "timestamp": timestamp(at),
        "window": f"{window_seconds}s",
        "containers": [{"name": name, "usage": dict(amounts)} for name, amounts in usage.items()],
    }


def not_served(reason: str) -> Document:
    """A ``Status`` as an adapter answers when its source fails."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "code": 500}


def _custom_item(metric: str, value: ObjectValue, at: datetime) -> Document:
    item: Document = {
        "describedObject": {"kind": value.kind, "namespace": value.namespace, "name": value.name},
        "metric": {"name": metric},
        "timestamp": timestamp(at),
        "value": value.value,
    }
    return item if value.window_seconds is None else {**item, "windowSeconds": value.window_seconds}


def _list(kind: str, group: str, items: list[Document]) -> Document:
    return {"kind": kind, "apiVersion": f"{group}/{VERSIONS[group]}", "metadata": {}, "items": items}
