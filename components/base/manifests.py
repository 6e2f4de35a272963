"""Kubernetes manifests as data, and the one place where they become resources."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes import apiextensions, apps, autoscaling, batch, core, networking, policy, rbac

Manifest = dict[str, Any]
"""A manifest as the API server reads it: camelCase keys, ``apiVersion`` and ``kind`` included."""

_CLASSES: dict[tuple[str, str], type[pulumi.CustomResource]] = {
    ("apps/v1", "DaemonSet"): apps.v1.DaemonSet,
    ("apps/v1", "Deployment"): apps.v1.Deployment,
    ("apps/v1", "StatefulSet"): apps.v1.StatefulSet,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): autoscaling.v2.HorizontalPodAutoscaler,
    ("networking.k8s.io/v1", "Ingress"): networking.v1.Ingress,
    ("batch/v1", "CronJob"): batch.v1.CronJob,
    ("batch/v1", "Job"): batch.v1.Job,
    ("networking.k8s.io/v1", "NetworkPolicy"): networking.v1.NetworkPolicy,
    ("policy/v1", "PodDisruptionBudget"): policy.v1.PodDisruptionBudget,
    ("v1", "ConfigMap"): core.v1.ConfigMap,
    ("v1", "LimitRange"): core.v1.LimitRange,
    ("v1", "Namespace"): core.v1.Namespace,
    ("v1", "PersistentVolumeClaim"): core.v1.PersistentVolumeClaim,
    ("v1", "ResourceQuota"): core.v1.ResourceQuota,
    ("v1", "Secret"): core.v1.Secret,
    ("v1", "Service"): core.v1.Service,
    ("v1", "ServiceAccount"): core.v1.ServiceAccount,
    ("rbac.authorization.k8s.io/v1", "Role"): rbac.v1.Role,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): rbac.v1.RoleBinding,
}
# Python argument names of the keys that are not spelt the same.
_ARGUMENTS = {
    "automountServiceAccountToken": "automount_service_account_token",
    "roleRef": "role_ref",
}


def declare(name: str, manifest: Manifest, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Register one manifest as a resource; kinds of operators become custom resources of their own group."""
    kind = (manifest["apiVersion"], manifest["kind"])
    arguments = {
        _ARGUMENTS.get(key, key): value for key, value in manifest.items() if key not in ("apiVersion", "kind")
    }
    if kind in _CLASSES:
        return _CLASSES[kind](name, opts=opts, **arguments)
    return apiextensions.CustomResource(name, api_version=kind[0], kind=kind[1], opts=opts, **arguments)


def child_opts(
    parent: pulumi.Resource,
    *,
    ignore_changes: Sequence[str] = (),
    depends_on: Sequence[pulumi.Resource] = (),
    protect: bool | None = None,
    retain_on_delete: bool | None = None,
) -> pulumi.ResourceOptions:
    """Options of a child: never the caller's merged in, because that would copy aliases onto every child.

    The provider and, unless it is given, ``protect`` are inherited from the parent by the engine.
    """
    return pulumi.ResourceOptions(
        parent=parent,
        ignore_changes=list(ignore_changes) or None,
        depends_on=list(depends_on) or None,
        protect=protect,
        retain_on_delete=retain_on_delete,
    )


def metadata(
    name: str, *, labels: Mapping[str, str], namespace: str | None = None, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Object metadata; absent parts are left out rather than empty."""
    parts: dict[str, Any] = {"name": name, "labels": dict(labels)}
    if namespace is not None:
        parts["namespace"] = namespace
    if annotations:
        parts["annotations"] = dict(annotations)
    return parts


def content_hash(value: object) -> str:
    """Eight hexadecimal digits that change with the content, for names of immutable objects."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
