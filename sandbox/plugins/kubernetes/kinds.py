"""Facts about kinds: what cannot change in place, what is refused, what has dependents."""

from typing import Any

from sandbox.plugins.kubernetes.discovery import group_of
from sandbox.plugins.kubernetes.paths import Path, parse

# A change of a name or a namespace is another object, whatever the kind.
_ALWAYS = ("metadata.name", "metadata.namespace")
_POD = ("spec",)
# By group and kind: the fields that the API server refuses to change. ConfigMap and Secret are here because
# Pulumi treats their data as immutable unless the provider says otherwise: pods do not see a change in place.
_IMMUTABLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "ConfigMap"): ("data", "binaryData"),
    ("", "Secret"): ("type", "data", "stringData"),
    ("", "Service"): ("spec.clusterIP",),
    ("", "Pod"): _POD,
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.dataSource",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeMode",
        "spec.volumeName",
    ),
    ("", "PersistentVolume"): ("spec.csi", "spec.hostPath", "spec.local", "spec.nfs", "spec.volumeMode"),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.completionMode", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("storage.k8s.io", "StorageClass"): (
        "parameters",
        "provisioner",
        "reclaimPolicy",
        "volumeBindingMode",
    ),
    ("networking.k8s.io", "IngressClass"): ("spec.controller",),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec.group", "spec.scope", "spec.names.kind"),
}
_MUTABLE_ON_REQUEST = {("", "ConfigMap"): "enableConfigMapMutable", ("", "Secret"): "enableSecretMutable"}
# Their pods are gone before they are: a namesake created at once would otherwise adopt or clash with them.
_WITH_DEPENDENTS = {
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("apps", "ReplicaSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
}
_PACKAGES_NOT_SPOKEN = ("helm.sh", "kustomize", "yaml")


def refused(type_token: str) -> str | None:
    """Why a resource type is not supported by the stand-in, or None.

    ``type_token`` is Pulumi's, for instance ``kubernetes:apps/v1:Deployment``.
    """
    module, _, kind = type_token.removeprefix("kubernetes:").rpartition(":")
    advice = "declare the objects themselves, or install Pulumi's own Kubernetes plugin"
    if module.split("/")[0] in _PACKAGES_NOT_SPOKEN:
        return f"the stand-in Kubernetes provider does not support {module}:{kind}: {advice}"
    if kind.endswith("Patch"):
        return f"the stand-in Kubernetes provider does not patch objects that it does not own ({kind}): {advice}"
    if kind.endswith("List") and kind != "List":
        return f"the stand-in Kubernetes provider does not support lists ({kind}): {advice}"
    return None


def immutable_paths(api_version: str, kind: str, options: dict[str, Any]) -> list[Path]:
    """The fields whose change needs a replacement, given the provider's options."""
    key = (group_of(api_version), kind)
    always = [parse(path) for path in _ALWAYS]
    if key in _MUTABLE_ON_REQUEST and options.get(_MUTABLE_ON_REQUEST[key]):
        return [*always, *([("type",)] if kind == "Secret" else [])]
    return [*always, *(parse(path) for path in _IMMUTABLE.get(key, ()))]


def has_dependents(api_version: str, kind: str) -> bool:
    """Whether deleting waits for objects that this one owns."""
    return (group_of(api_version), kind) in _WITH_DEPENDENTS
