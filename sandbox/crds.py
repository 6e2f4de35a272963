"""The operators' own CRDs on the sandbox's API server, read from the operators' sources at pinned versions.

The operators themselves do not run: what the program declares for them is checked against their real schemas.
"""

import hashlib
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml

from sandbox.access import Access, read_access
from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json
from sandbox.gobuild import TOOLCHAIN, GoModule, source_folder
from sandbox.layout import Layout
from sandbox.progress import Progress
from sandbox.strimzi_crds import StrimziSet
from sandbox.tools import cache_root

SOURCE_ANNOTATION = "payments.sandbox/crd-source"
_TOOLCHAIN_FOLDER = "crds"
_KIND = "CustomResourceDefinition"
_APPLY_TIMEOUT_SECONDS = 180
_SERVED_TIMEOUT_SECONDS = 60
_POLL_SECONDS = 0.1
_HTTP_OK = 200
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_DISCOVERY = "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml takes a tenth of the time; not built everywhere


class _CrdLoader(_Loader):  # type: ignore[misc]
    """Reads a bare ``=``, one of Alertmanager's match types, as the text that it is and not as YAML 1.1's "value"."""


_CrdLoader.add_constructor("tag:yaml.org,2002:value", _Loader.construct_yaml_str)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrdSet:
    """One operator: the Go module that carries its CRD files, and the folder inside it."""

    name: str
    requires: str
    folder: str

    @property
    def module(self) -> GoModule:
        """The pin in ``toolchain/crds``; nothing of it is compiled."""
        return GoModule(
            folder=_TOOLCHAIN_FOLDER, requires=self.requires, packages={f"the CRDs of {self.name}": ""}, ldflags=""
        )

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.module.version

    def files(self, _report: Progress) -> Path:
        """The folder with the CRD files, fetched when it is not in Go's cache."""
        return source_folder(self.module) / self.folder

    @property
    def source(self) -> str:
        """Version and checksum: what the cache and the objects on the server are known by."""
        version = self.module.version
        sums = (TOOLCHAIN / _TOOLCHAIN_FOLDER / "go.sum").read_text(encoding="utf-8")
        found = re.search(rf"^{re.escape(self.requires)} v{re.escape(version)} (h1:\S+)$", sums, re.MULTILINE)
        if found is None:
            message = f"toolchain/{_TOOLCHAIN_FOLDER}/go.sum has no checksum of {self.requires} v{version}"
            step = f"in that folder: go mod download -json {self.requires}@v{version}"
            raise SandboxError(message, next_step=step)
        return f"{self.name}-{version} {found.group(1)}"


SETS: tuple[CrdSet | StrimziSet, ...] = (
    CrdSet(name="keda", requires="github.com/kedacore/keda/v2", folder="config/crd/bases"),
    CrdSet(
        name="prometheus-operator",
        requires="github.com/prometheus-operator/prometheus-operator",
        folder="example/prometheus-operator-crd",
    ),
    CrdSet(name="gateway-api", requires="sigs.k8s.io/gateway-api", folder="config/crd/standard"),
    CrdSet(
        name="envoy-gateway",
        requires="github.com/envoyproxy/gateway",
        folder="charts/gateway-helm/charts/crds/crds/generated",
    ),
    CrdSet(name="cert-manager", requires="github.com/cert-manager/cert-manager", folder="deploy/crds"),
    StrimziSet(),
)
DEFAULT = tuple(known.name for known in SETS)


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedSet:
    """A set in the per-user cache: who it is, what it serves, and the file with its objects."""

    name: str
    source: str
    resources: list[str]
    """Names of the CRDs: ``plural.group``."""
    objects: Path


def install(layout: Layout, kubectl: Path, report: Progress, names: Iterable[str] = DEFAULT) -> list[str]:
    """Put sets on the API server and wait until it serves them. Returns the sets that had to be applied.

    A set that is there already, from the same source, costs two small requests for all sets together. Raises
    ``SandboxError`` for an unknown name, sources that cannot be had, or what the API server refuses.
    """
    wanted = [_cached(chosen, report) for chosen in _chosen(names)]
    access = read_access(layout.kubeconfig)
    known, served = _sources_on_server(access), _served(access)
    missing = [
        cached
        for cached in wanted
        if any(known.get(name) != cached.source or name not in served for name in cached.resources)
    ]
    if missing:
        with report.step(f"CRDs of {', '.join(cached.name for cached in missing)}", key="crds"):
            for cached in missing:
                _apply(kubectl, layout.kubeconfig, cached)
            _wait_until_served(access, [name for cached in missing for name in cached.resources])
    return [cached.name for cached in missing]


def _chosen(names: Iterable[str]) -> list[CrdSet | StrimziSet]:
    wanted = list(dict.fromkeys(names))
    by_name = {known.name: known for known in SETS}
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        message = f"unknown CRD set {', '.join(unknown)}; known are {', '.join(by_name)}"
        raise SandboxError(message, next_step="correct the name")
    return [by_name[name] for name in wanted]


def _cached(chosen: CrdSet | StrimziSet, report: Progress) -> CachedSet:
    """The set in the cache, fetched when it is not there; the list of names is written last."""
    source = chosen.source
    digest = hashlib.sha256(f"{source} {chosen.folder} {SOURCE_ANNOTATION}".encode()).hexdigest()[:12]
    folder = cache_root() / "crds" / f"{chosen.name}-{chosen.version}-{digest}"
    objects, names = folder / "objects.json", folder / "names.json"
    if read_json(names) is None:
        found = _read_crds(chosen.files(report), source)
        write_json(objects, {"apiVersion": "v1", "kind": "List", "items": found})
        write_json(names, {"resources": [crd["metadata"]["name"] for crd in found]})
    resources: list[str] = (read_json(names) or {})["resources"]
    return CachedSet(name=chosen.name, source=source, resources=resources, objects=objects)


def _read_crds(folder: Path, source: str) -> list[dict[str, Any]]:
    found = [
        document
        for file in sorted(folder.glob("*.yaml"))
        for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader=_CrdLoader)
        if document and document.get("kind") == _KIND
    ]
    if not found:
        raise SandboxError(
            f"no CRDs in {folder}", next_step="compare the folder in sandbox/crds.py with the pinned version's sources"
        )
    for document in found:
        document["metadata"].setdefault("annotations", {})[SOURCE_ANNOTATION] = source
        document.pop("status", None)
    return found


def _apply(kubectl: Path, kubeconfig: Path, cached: CachedSet) -> None:
    arguments = ["apply", "--server-side", "--force-conflicts", "--filename", str(cached.objects)]
    answer = subprocess.run(
        [str(kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        capture_output=True,
        text=True,
        timeout=_APPLY_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(
            f"the API server refuses CRDs of {cached.name}: {answer.stderr.strip()}", next_step="run the command again"
        )


def _wait_until_served(access: Access, names: list[str]) -> None:
    """Discovery lists a resource only once its CRD is Established, and lists it a moment later."""
    deadline = time.monotonic() + _SERVED_TIMEOUT_SECONDS
    while unserved := sorted(set(names) - _served(access)):
        if time.monotonic() > deadline:
            raise SandboxError(
                f"the API server does not serve {', '.join(unserved)} after {_SERVED_TIMEOUT_SECONDS} s",
                next_step=f"look at the conditions: kubectl describe crd {unserved[0]}",
            )
        time.sleep(_POLL_SECONDS)


def _sources_on_server(access: Access) -> dict[str, str]:
    """CRD name → the source that it was applied from, empty for those that somebody else applied."""
    answer = _get(access, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _METADATA_ONLY)
    items = [item["metadata"] for item in answer.get("items") or []]
    return {item["name"]: item.get("annotations", {}).get(SOURCE_ANNOTATION, "") for item in items}


def _served(access: Access) -> set[str]:
    """``plural.group`` of everything that discovery lists beside the core API."""
    groups = _get(access, "/apis", _DISCOVERY).get("items", [])
    return {
        f"{resource['resource']}.{group['metadata']['name']}"
        for group in groups
        for version in group.get("versions", [])
        for resource in version.get("resources", [])
    }


def _get(access: Access, path: str, accept: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {access.token}", "Accept": accept}
    try:
        with urllib3.PoolManager(ca_certs=str(access.certificate_authority), retries=False, timeout=10.0) as pool:
            response = pool.request("GET", f"{access.server}{path}", headers=headers)
    except urllib3.exceptions.HTTPError as error:
        raise SandboxError(
            f"the API server does not answer {path}: {error}", next_step="run the command again"
        ) from None
    if response.status != _HTTP_OK:
        raise SandboxError(f"the API server answers {path} with {response.status}", next_step="run the command again")
    document: dict[str, Any] = response.json()
    return document
