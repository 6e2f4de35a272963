"""A metrics API server whose values are set by hand: resource, custom and external metrics.

Run as ``python -m sandbox.metrics_api STATE_FOLDER PORT``. The API server reaches it through an APIService that
names a Service of type ExternalName, so the real HPA controller reads it as it reads any adapter.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

from sandbox.access import read_access
from sandbox.layout import Layout
from sandbox.metric_documents import (
    CUSTOM_GROUP,
    EXTERNAL_GROUP,
    RESOURCE_GROUP,
    VERSIONS,
    Document,
    ObjectValue,
    custom_list,
    external_list,
    pod_metrics,
    pods_list,
    resource_list,
)
from sandbox.metric_values import container_usage, custom_value, external_value, read_values
from sandbox.metrics_server import Answer, MetricsServer, Query

_WINDOW_SECONDS = 15
_NAMESPACED_PARTS = 5  # namespaces/NAME/RESOURCE/OBJECT/METRIC


def main() -> None:
    """Serve until ended."""
    layout, port = Layout(Path(sys.argv[1])), int(sys.argv[2])

    def respond(path: str, query: Query) -> Answer:
        document = answer(layout, path, query)
        return Answer(404, {}) if document is None else Answer(200, document)

    MetricsServer(layout.metrics_certificate, port, respond).serve_forever()


def answer(layout: Layout, path: str, query: Query) -> Document | None:
    """The document for a request path; ``None`` for one that does not exist."""
    parts = path.strip("/").split("/")
    if parts[:1] != ["apis"] or len(parts) < 3 or VERSIONS.get(parts[1]) != parts[2]:  # noqa: PLR2004 # apis/GROUP/VERSION
        return None
    group, rest = parts[1], parts[3:]
    if not rest:
        return resource_list(group)
    if group == EXTERNAL_GROUP and len(rest) == 3:  # noqa: PLR2004 # namespaces/NAME/METRIC
        return _external(layout, rest[2], query)
    if group == RESOURCE_GROUP and rest[0] == "namespaces" and rest[2:3] == ["pods"]:
        return _pods(layout, rest[1], query)
    if group == CUSTOM_GROUP and rest[0] == "namespaces" and len(rest) == _NAMESPACED_PARTS:
        return _custom(layout, rest[1:], query)
    return None


def _external(layout: Layout, metric: str, query: Query) -> Document:
    selector = dict(part.split("=", 1) for part in ",".join(query.get("labelSelector", [])).split(",") if "=" in part)
    value = external_value(read_values(layout.metrics), metric, selector)
    return external_list(metric, selector, [] if value is None else [str(value)], at=datetime.now(UTC))


def _custom(layout: Layout, path: list[str], query: Query) -> Document | None:
    """Pods (``*`` with a selector) by their workload, any other object by its name."""
    namespace, resource, name, metric = path
    values = read_values(layout.metrics)
    if resource == "pods":
        pods = _running_pods(layout, namespace, query.get("labelSelector", [""])[0])
        named = [(pod["metadata"]["name"], _workload(pod)) for pod in pods if name in ("*", pod["metadata"]["name"])]
    else:
        named = [(name, name)]
    found = [(described, custom_value(values, metric, key)) for described, key in named]
    items = [
        ObjectValue(kind=_kind(resource), name=described, namespace=namespace, value=str(value))
        for described, value in found
        if value is not None
    ]
    return custom_list(metric, items, at=datetime.now(UTC)) if items else None


def _kind(resource: str) -> str:
    """``deployments.apps`` → ``Deployment``; the plural of every kind that can carry a metric ends so."""
    return resource.partition(".")[0].removesuffix("s").capitalize()


def _pods(layout: Layout, namespace: str, query: Query) -> Document:
    values = read_values(layout.metrics)
    selector = query.get("labelSelector", [""])[0]
    return pods_list([_pod_metrics(values, pod) for pod in _running_pods(layout, namespace, selector)])


def _running_pods(layout: Layout, namespace: str, selector: str) -> list[dict[str, Any]]:
    access = read_access(layout.kubeconfig)
    with urllib3.PoolManager(ca_certs=str(access.certificate_authority), retries=False, timeout=5.0) as pool:
        response = pool.request(
            "GET",
            f"{access.server}/api/v1/namespaces/{namespace}/pods",
            fields={"labelSelector": selector} if selector else {},
            headers={"Authorization": f"Bearer {access.token}"},
        )
    pods: list[dict[str, Any]] = response.json().get("items", [])
    return [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def _workload(pod: dict[str, Any]) -> str:
    app: str = pod["metadata"].get("labels", {}).get("app", "")
    return app


def _pod_metrics(values: dict[str, Any], pod: dict[str, Any]) -> Document:
    meta = pod["metadata"]
    usage = {}
    for container in pod["spec"]["containers"]:
        used = container_usage(values, _workload(pod), container.get("resources", {}).get("requests", {}))
        usage[container["name"]] = {"cpu": f"{used.cpu_nanocores}n", "memory": str(used.memory_bytes)}
    metadata = {"name": meta["name"], "namespace": meta["namespace"], "labels": meta.get("labels", {})}
    return pod_metrics(metadata, usage, at=datetime.now(UTC), window_seconds=_WINDOW_SECONDS)


if __name__ == "__main__":
    main()
