"""The provider's own settings, as a program states them."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.plugins.kubernetes.checking import Failure
from sandbox.plugins.kubernetes.values import plain

_USED: Final = (
    "cluster",
    "context",
    "enableConfigMapMutable",
    "enableSecretMutable",
    "enablePatchForce",
    "enableServerSideApply",
    "kubeconfig",
    "namespace",
    "strictMode",
    "upsertExistingObjects",
)
# Known to the official provider and of no effect here.
_IGNORED: Final = (
    "alwaysRender",
    "clusterIdentifier",
    "deleteUnreachable",
    "enableReplaceCRD",
    "helmReleaseSettings",
    "kubeClientSettings",
    "skipUpdateUnreachable",
    "suppressDeprecationWarnings",
    "suppressHelmHookWarnings",
    "version",
    "pluginDownloadURL",
)
_FLAGS: Final = ("enableConfigMapMutable", "enableSecretMutable", "enablePatchForce", "upsertExistingObjects")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ProviderOptions:
    """Settings of one provider; ``flags`` maps the names of switches to whether they are on."""

    kubeconfig: str | None = None
    context: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "ProviderOptions":
        """Read checked inputs."""
        values = plain(dict(inputs))
        kubeconfig = values.get("kubeconfig")
        return cls(
            kubeconfig=json.dumps(kubeconfig) if isinstance(kubeconfig, dict) else kubeconfig,
            context=values.get("context"),
            cluster=values.get("cluster"),
            namespace=values.get("namespace"),
            flags={name: _on(values.get(name)) for name in _FLAGS},
        )


def _on(value: object) -> bool:
    return str(value).lower() == "true"


def problems(inputs: Mapping[str, Any]) -> list[Failure]:
    """What is wrong with the provider's inputs."""
    values = plain(dict(inputs))
    found = [
        Failure(name, _unknown_option(name))
        for name in values
        if name not in _USED and name not in _IGNORED and not name.startswith("__")
    ]
    if "enableServerSideApply" in values and not _on(values["enableServerSideApply"]):
        reason = "false is not supported: the stand-in always applies on the server's side"
        found.append(Failure("enableServerSideApply", reason))
    if _on(values.get("strictMode")) and not (values.get("kubeconfig") and values.get("context")):
        found.append(Failure("strictMode", "is on: both `kubeconfig` and `context` must be given"))
    return found


def _unknown_option(name: str) -> str:
    if name == "renderYamlToDirectory":
        return "rendering to a folder is not supported by the stand-in provider"
    close = difflib.get_close_matches(name, [*_USED, *_IGNORED], n=1)
    return "is not a setting of the Kubernetes provider" + (f"; did you mean {close[0]}?" if close else "")
