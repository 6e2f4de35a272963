"""What one pod of a Deployment requests, as the autoscaler's utilisation counts it."""

from collections.abc import Mapping
from typing import Any

from planning.twin.quantity import milli


class ManifestError(ValueError):
    """A manifest that the API server would refuse, or that the twin cannot follow: object, field, found, allowed."""

    def __init__(self, where: str, path: str, found: str, allowed: str) -> None:
        self.where = where
        self.path = path
        super().__init__(f"{where}: {path} {found}; allowed: {allowed}")


def request_milli(deployment: Mapping[str, Any], resource: str, container: str = "", *, user: str = "") -> int:
    """Milli-units of ``cpu`` or ``memory`` that one pod requests, or one of its containers when it is named.

    Init containers that keep running (``restartPolicy: Always``) count, other init containers do not; a container
    with a limit and no request requests its limit (API server default). Requests of the pod itself win over the
    containers'. Raises ``ManifestError`` when a container that counts requests nothing: such an autoscaler reports
    FailedGetResourceMetric for ever. ``user`` names who asks, for the message.
    """
    template = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    where = f"Deployment {(deployment.get('metadata') or {}).get('name', '')}"
    pod_level = (template.get("resources") or {}).get("requests") or {}
    if not container and resource in pod_level:
        return milli(pod_level[resource])
    sidecars = [init for init in template.get("initContainers") or [] if init.get("restartPolicy") == "Always"]
    counted = [
        (path, each)
        for path, each in _with_paths(template.get("containers") or [], sidecars)
        if not container or each["name"] == container
    ]
    if not counted:
        names = ", ".join(each["name"] for _, each in _with_paths(template.get("containers") or [], sidecars))
        raise ManifestError(where, "spec.template.spec.containers", f"has no '{container}'", f"one of: {names}")
    return sum(_request(each, resource, where=where, path=path, user=user) for path, each in counted)


def _with_paths(
    containers: list[Mapping[str, Any]], sidecars: list[Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    named = [(f"spec.template.spec.containers[{each['name']}]", each) for each in containers]
    return named + [(f"spec.template.spec.initContainers[{each['name']}]", each) for each in sidecars]


def _request(container: Mapping[str, Any], resource: str, *, where: str, path: str, user: str) -> int:
    resources = container.get("resources") or {}
    found = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource))
    if found is None:
        reader = f" ({user} scales on a percentage of it)" if user else ""
        raise ManifestError(where, f"{path}.resources.requests.{resource}", "is missing", f"a quantity{reader}")
    return milli(found)
