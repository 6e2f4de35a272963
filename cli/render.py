"""What the program declares, as one YAML file per Kubernetes object: the same bytes every time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cli.recording import Recorded

SECRET_PLACEHOLDER = "[secret]"  # noqa: S105 # what is shown instead of one
# The wire form of a secret: https://github.com/pulumi/pulumi, sdk/python/lib/pulumi/runtime/rpc.py.
_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
# Namespaces first, so that `kubectl apply -f DIR` works in one pass.
_FIRST_KINDS = ("Namespace",)
# No object of the API server but an instruction to Helm; what its chart holds is not known without the registry.
_RELEASES = "kubernetes:helm.sh/"


def manifests(resources: Sequence[Recorded]) -> dict[str, dict[str, Any]]:
    """File name → manifest of every Kubernetes object among the resources, in the order to apply them."""
    found = {}
    for resource in resources:
        if resource.custom and resource.type.startswith("kubernetes:") and not resource.type.startswith(_RELEASES):
            manifest = plain(resource.inputs)
            found[file_name(manifest)] = manifest
    return dict(sorted(found.items()))


def file_name(manifest: Mapping[str, Any]) -> str:
    """``1-payments-deployment-payment-service.yaml``; a namespace starts with 0."""
    order = 0 if manifest["kind"] in _FIRST_KINDS else 1
    meta = manifest["metadata"]
    parts = [str(order), meta.get("namespace", "cluster"), manifest["kind"].lower(), meta["name"]]
    return "-".join(parts) + ".yaml"


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Sorted keys, no aliases, no line folding: a diff shows what changed and nothing else."""

    class _Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 # the signature is yaml's
            return True

    return yaml.dump(manifest, Dumper=_Plain, sort_keys=True, width=1000, default_flow_style=False)


def write(resources: Sequence[Recorded], folder: Path) -> list[Path]:
    """Write every object into a folder and remove YAML files of earlier runs that are no longer declared."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: to_yaml(manifest) for name, manifest in manifests(resources).items()}
    for stale in sorted(folder.glob("[01]-*.yaml")):
        if stale.name not in texts:
            stale.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def plain(value: Any) -> Any:
    """Wire values as a person writes them: whole numbers without a fraction, secrets as a placeholder."""
    if isinstance(value, Mapping):
        if _SIGNATURE_KEY in value:
            return _masked(value.get("value"))
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _masked(value: Any) -> Any:
    """A secret keeps its shape, never its text. The SDK wraps a whole mapping when one of its values is secret."""
    if isinstance(value, Mapping):
        return {key: _masked(part) for key, part in value.items()}
    return SECRET_PLACEHOLDER
