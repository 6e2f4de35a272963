"""The metrics APIs of all traces: answers what each trace's present inputs say, and keeps a log of what it answered."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.metric_documents import (
    CUSTOM_GROUP,
    EXTERNAL_GROUP,
    RESOURCE_GROUP,
    VERSIONS,
    Document,
    ObjectValue,
    custom_list,
    external_list,
    not_served,
    pod_metrics,
    pods_list,
    resource_list,
)
from sandbox.metrics_server import Answer, Query
from tests.sandbox.differential.inputs import Inputs, PodInput, quantity

_UNKNOWN = Answer(404, {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One answer."""

    at_seconds: float
    metric: str
    """``resource`` for what pods use; else the metric's name."""
    values: tuple[str, ...]
    """Quantities; for pods ``name=quantity``."""
    status: int


class Replay:
    """Inputs by namespace; ``respond`` is what the metrics server calls."""

    def __init__(self) -> None:
        self._inputs: dict[str, Inputs] = {}
        self._served: dict[str, list[Served]] = {}
        self._lock = threading.Lock()

    def show(self, namespace: str, inputs: Inputs) -> None:
        """From now on these inputs are answered."""
        with self._lock:
            self._inputs[namespace] = inputs

    def take(self, namespace: str) -> list[Served]:
        """What was answered since the last call."""
        with self._lock:
            return self._served.pop(namespace, [])

    def respond(self, path: str, query: Query) -> Answer:
        """Answer a request of the API server."""
        parts = path.strip("/").split("/")
        if parts[:1] != ["apis"] or len(parts) < 3 or VERSIONS.get(parts[1]) != parts[2]:
            return _UNKNOWN
        group, rest = parts[1], parts[3:]
        if not rest:
            return Answer(200, resource_list(group))
        with self._lock:
            inputs = self._inputs.get(rest[1]) if rest[0] == "namespaces" and len(rest) > 2 else None
        if inputs is None:
            return _UNKNOWN
        metric, answer = _answer(group, rest[1], rest[2:], inputs, query)
        self._note(rest[1], metric, answer)
        return answer

    def _note(self, namespace: str, metric: str, answer: Answer) -> None:
        items = answer.document.get("items", [])
        served = Served(
            at_seconds=time.time(), metric=metric, values=tuple(_told(item) for item in items), status=answer.status
        )
        with self._lock:
            self._served.setdefault(namespace, []).append(served)


def _answer(group: str, namespace: str, rest: list[str], inputs: Inputs, query: Query) -> tuple[str, Answer]:
    """The metric that was asked for, and the answer."""
    if group == RESOURCE_GROUP:
        return "resource", _resources(namespace, inputs)
    if group == EXTERNAL_GROUP:
        return rest[0], _external(rest[0], inputs, query)
    assert group == CUSTOM_GROUP
    resource, name, metric = rest
    if resource == "pods":
        return metric, _pods_metric(namespace, metric, inputs)
    return metric, _object(namespace, name, metric, inputs)


def _resources(namespace: str, inputs: Inputs) -> Answer:
    if inputs.resources_fail:
        return _failure()
    return Answer(200, pods_list([_usage(namespace, pod) for pod in inputs.pods if pod.usage is not None]))


def _external(metric: str, inputs: Inputs, query: Query) -> Answer:
    values = inputs.external.get(metric)
    if values is None:
        return _failure()
    labels = dict(part.split("=", 1) for part in query.get("labelSelector", [""])[0].split(",") if "=" in part)
    document = external_list(metric, labels, [quantity(value) for value in values], at=datetime.now(UTC))
    return Answer(200, document)


def _object(namespace: str, name: str, metric: str, inputs: Inputs) -> Answer:
    value = inputs.objects.get(metric)
    if value is None:
        return _failure()
    described = ObjectValue(kind="Service", name=name, namespace=namespace, value=quantity(value))
    return Answer(200, custom_list(metric, [described], at=datetime.now(UTC)))


def _pods_metric(namespace: str, metric: str, inputs: Inputs) -> Answer:
    if inputs.pods_metrics_fail:
        return _failure()
    values = [
        ObjectValue(kind="Pod", name=pod.name, namespace=namespace, value=quantity(pod.custom[metric]))
        for pod in inputs.pods
        if metric in pod.custom
    ]
    return Answer(200, custom_list(metric, values, at=datetime.now(UTC)))


def _usage(namespace: str, pod: PodInput) -> Document:
    usage = {
        container: {resource: quantity(amount) for resource, amount in amounts.items()}
        for container, amounts in (pod.usage or {}).items()
    }
    at = datetime.fromtimestamp(pod.sampled, UTC)
    metadata = {"name": pod.name, "namespace": namespace}
    return pod_metrics(metadata, usage, at=at, window_seconds=pod.window_seconds)


def _failure() -> Answer:
    return Answer(500, not_served("the source of this metric fails"))


def _told(item: Mapping[str, Any]) -> str:
    if "value" in item:
        described = item.get("describedObject", {}).get("name")
        return f"{described}={item['value']}" if described else str(item["value"])
    usage = [amount for container in item["containers"] for amount in container["usage"].values()]
    return f"{item['metadata']['name']}={'/'.join(usage)}"
