"""Why a workload is not ready: what its pods and its events say, for a person."""

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.plugins.kubernetes.errors import ApiError, UnreachableError
from sandbox.plugins.kubernetes.kube import KubeClient
from sandbox.plugins.kubernetes.paths import get

MOST_REASONS = 5
_PODS_READ = "50"
_EVENTS_READ = "200"
_QUIET = {"ContainerCreating", "PodInitializing", "Completed"}


def find_reasons(client: KubeClient, live: Mapping[str, Any]) -> list[str]:
    """Up to five reasons, most telling first; none when nothing is known. Never raises for a lost server."""
    metadata = live.get("metadata") or {}
    namespace = metadata.get("namespace")
    if not namespace:
        return []
    try:
        pods = _pods(client, live, namespace)
        events = client.request(
            "GET",
            f"/api/v1/namespaces/{namespace}/events",
            query={"fieldSelector": "type=Warning", "limit": _EVENTS_READ},
        ).get("items", [])
    except (ApiError, UnreachableError):
        return []
    names = {str(metadata.get("name")), *(str(get(pod, ("metadata", "name"))) for pod in pods)}
    prefix = f"{metadata.get('name')}-"
    found = [*pod_reasons(pods), *event_reasons(events, names, prefix)]
    return list(dict.fromkeys(found))[:MOST_REASONS]


def _pods(client: KubeClient, live: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    labels = get(live, ("spec", "selector", "matchLabels"))
    if not isinstance(labels, Mapping) or not labels:
        return [dict(live)] if live.get("kind") == "Pod" else []
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    answer = client.request(
        "GET",
        f"/api/v1/namespaces/{namespace}/pods",
        query={"labelSelector": selector, "limit": _PODS_READ},
    )
    items: list[dict[str, Any]] = answer.get("items", [])
    return items


def pod_reasons(pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """What waiting or ended containers and pod conditions say, grouped over pods."""
    counted: dict[str, list[str]] = {}
    for pod in pods:
        name = str(get(pod, ("metadata", "name")))
        for reason in _reasons_of(pod):
            counted.setdefault(reason, []).append(name)
    return [
        f"pod {names[0]}: {reason}" + (f" (and {len(names) - 1} more pods)" if len(names) > 1 else "")
        for reason, names in counted.items()
    ]


def _reasons_of(pod: Mapping[str, Any]) -> list[str]:
    reasons = []
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = get(container, ("state", "waiting")) or {}
        if waiting.get("reason") and waiting["reason"] not in _QUIET:
            reasons.append(f"container {container.get('name')} {_joined(waiting)}")
        ended = get(container, ("lastState", "terminated")) or get(container, ("state", "terminated")) or {}
        if ended.get("exitCode"):
            reasons.append(f"container {container.get('name')} ended with code {ended['exitCode']} {_joined(ended)}")
    node = get(pod, ("spec", "nodeName"))
    if node and status.get("phase") == "Pending" and not status.get("containerStatuses"):
        reasons.append(f"assigned to node {node}, which has not started its containers")
    reasons += [
        _joined(condition)
        for condition in status.get("conditions") or []
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    return [reason.strip() for reason in reasons]


def event_reasons(events: Iterable[Mapping[str, Any]], names: set[str], prefix: str) -> list[str]:
    """Warnings about the object, its pods, or what is named after it (replica sets), newest first."""
    relevant = [
        event
        for event in events
        if (name := str(get(event, ("involvedObject", "name"), ""))) in names or name.startswith(prefix)
    ]
    relevant.sort(key=_when, reverse=True)
    return [f"{get(event, ('involvedObject', 'kind'), 'object').lower()}: {_joined(event)}" for event in relevant]


def _when(event: Mapping[str, Any]) -> str:
    return str(
        event.get("lastTimestamp") or event.get("eventTime") or get(event, ("metadata", "creationTimestamp"), "")
    )


def _joined(source: Mapping[str, Any]) -> str:
    return ": ".join(str(source[key]) for key in ("reason", "message") if source.get(key))
