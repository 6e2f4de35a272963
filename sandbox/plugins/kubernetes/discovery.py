"""Which path serves a kind: the API server's own discovery, asked once per group and version."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sandbox.plugins.kubernetes.errors import ApiError
from sandbox.plugins.kubernetes.kube import KubeClient


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return group_of(self.api_version)

    def collection(self, namespace: str | None) -> str:
        """The path of all objects, of one namespace where the kind has namespaces."""
        base = f"{_root(self.api_version)}/{self.api_version}"
        return (
            f"{base}/namespaces/{quote(namespace or 'default')}/{self.plural}"
            if self.namespaced
            else (f"{base}/{self.plural}")
        )

    def path(self, namespace: str | None, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{quote(name)}"


def group_of(api_version: str) -> str:
    """``apps`` of ``apps/v1``; empty for ``v1``."""
    return api_version.rpartition("/")[0]


def _root(api_version: str) -> str:
    return "/apis" if "/" in api_version else "/api"


class Discovery:
    """Looks kinds up and remembers them; also those that a program is about to define itself."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._served: dict[str, dict[str, Resource]] = {}
        self._announced: dict[tuple[str, str], Resource] = {}

    def find(self, api_version: str, kind: str, *, fresh: bool = False) -> Resource | None:
        """How a kind is served, or None when it is not. ``fresh`` asks again: a CRD may have appeared."""
        with self._lock:
            kinds = self._served.get(api_version)
            if kinds is None or (fresh and kind not in kinds):
                kinds = self._ask(api_version)
                self._served[api_version] = kinds
            return kinds.get(kind)

    def announce(self, definition: Mapping[str, Any]) -> None:
        """Remember a CustomResourceDefinition of the program: its kind may be declared before it is served."""
        spec = definition.get("spec")
        names = spec.get("names") if isinstance(spec, Mapping) else None
        if not isinstance(spec, Mapping) or not isinstance(names, Mapping):
            return
        for version in spec.get("versions") or []:
            name = version.get("name") if isinstance(version, Mapping) else None
            if name:
                api_version = f"{spec.get('group')}/{name}"
                resource = Resource(
                    api_version, str(names.get("kind")), str(names.get("plural")), spec.get("scope") == "Namespaced"
                )
                self._announced[api_version, resource.kind] = resource

    def announced(self, api_version: str, kind: str) -> Resource | None:
        """A kind that the program itself defines."""
        return self._announced.get((api_version, kind))

    def _ask(self, api_version: str) -> dict[str, Resource]:
        try:
            answer = self._client.request("GET", f"{_root(api_version)}/{api_version}")
        except ApiError as error:
            if error.not_found:
                return {}
            raise
        return {
            entry["kind"]: Resource(api_version, entry["kind"], entry["name"], bool(entry.get("namespaced")))
            for entry in answer.get("resources", [])
            if "/" not in entry["name"]  # scale, status and the like
        }
