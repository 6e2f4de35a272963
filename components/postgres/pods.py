"""What the pods of the database share: metadata, volumes of secrets and files, probes, and how they are spread."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.base.labels import HOST_LABEL, ZONE_LABEL, selector
from components.base.manifests import Manifest, metadata
from components.cache.pods import plan_pod_security
from components.postgres.model import CONFIG_PATH, PASSWORDS_PATH, TLS_PATH, DatabaseContext
from settings.cache import Certificate

COMPONENT_ETCD = "database-etcd"
COMPONENT_SERVER = "database-server"
COMPONENT_POOLER = "database-pooler"
COMPONENT_JOB = "database-job"
TEMPORARY = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 # a mount point inside the container
CONFIG_MOUNT = {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True}
TLS_MOUNT = {"name": "tls", "mountPath": TLS_PATH, "readOnly": True}
PASSWORDS_MOUNT = {"name": "passwords", "mountPath": PASSWORDS_PATH, "readOnly": True}


def plan_metadata(context: DatabaseContext, name: str, *, of: str, component: str) -> dict[str, Any]:
    """Metadata of an object; ``of`` is the workload that it belongs to."""
    return metadata(name, labels=context.labels(of).of(component), namespace=context.namespace)


def plan_account(context: DatabaseContext, name: str, component: str) -> Manifest:
    """A ServiceAccount without a token in the pods."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": plan_metadata(context, name, of=name, component=component),
        "automountServiceAccountToken": False,
    }


def plan_config_map(
    context: DatabaseContext, name: str, files: Mapping[str, str], *, of: str, component: str, immutable: bool = True
) -> Manifest:
    """Files of a pod. One whose name carries the content's hash never changes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": plan_metadata(context, name, of=of, component=component),
        "data": dict(files),
        **({"immutable": True} if immutable else {}),
    }


def plan_service(
    context: DatabaseContext, name: str, workload: str, ports: Mapping[str, int], *, component: str, headless: bool
) -> Manifest:
    """A Service of a workload's pods; a headless one gives members their names before they are ready."""
    address: dict[str, Any] = {"clusterIP": "None", "publishNotReadyAddresses": True} if headless else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": plan_metadata(context, name, of=workload, component=component),
        "spec": {
            **(address or {"type": "ClusterIP"}),
            "selector": selector(workload),
            "ports": [
                {"name": port, "port": number, "targetPort": port, "protocol": "TCP"} for port, number in ports.items()
            ],
        },
    }


def plan_disruption_budget(context: DatabaseContext, workload: str, component: str, *, holds_data: bool) -> Manifest:
    """One pod at a time: a quorum of three has no second one to spare.

    A pod that is not ready may still be the one that counts: without a quorum no member of etcd is ready, and a member
    of PostgreSQL that recovers may be the last with all rows. Drains must not take those away, so pods with data go
    only while the others are healthy, and the drain of a node waits for a broken cluster, on purpose. A pooler has
    nothing to lose: one that is not ready never holds up a drain.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": plan_metadata(context, workload, of=workload, component=component),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "IfHealthyBudget" if holds_data else "AlwaysAllow",
            "selector": {"matchLabels": selector(workload)},
        },
    }


def plan_pod_base(account: str, *, grace_period_seconds: int) -> dict[str, Any]:
    """The part of a pod's ``spec`` that all have."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period_seconds,
        "securityContext": plan_pod_security(),
    }


def plan_apart(workload: str) -> dict[str, Any]:
    """No two members on one host, and zones that differ by one member at most."""
    own = {"matchLabels": selector(workload)}
    return {
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": own, "topologyKey": HOST_LABEL}]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "labelSelector": own,
                "topologyKey": ZONE_LABEL,
                "whenUnsatisfiable": "DoNotSchedule",
                "nodeTaintsPolicy": "Honor",
            }
        ],
    }


def plan_claim(storage: str, storage_class: str | None) -> dict[str, Any]:
    """The claim template ``data``."""
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


def certificate_volume(name: str, certificate: Certificate, *, authority_only: bool = False) -> dict[str, Any]:
    """A certificate's files ``tls.crt``, ``tls.key`` and ``ca.crt``, or the last one alone."""
    files = {certificate.authority_key: "ca.crt"}
    if not authority_only:
        files |= {certificate.certificate_key: "tls.crt", certificate.private_key_key: "tls.key"}
    items = [{"key": key, "path": path} for key, path in files.items()]
    return {"name": name, "secret": {"secretName": certificate.existing_secret, "defaultMode": 0o440, "items": items}}


def passwords_volume(context: DatabaseContext, keys: Mapping[str, str]) -> dict[str, Any]:
    """Some of the system's passwords: key of the internal Secret → file."""
    items = [{"key": key, "path": path} for key, path in keys.items()]
    return {
        "name": "passwords",
        "secret": {"secretName": context.postgres.existing_secret, "defaultMode": 0o440, "items": items},
    }


def memory_volume(name: str, size: str) -> dict[str, Any]:
    """A folder in memory, counted against the container's limit."""
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}}


def config_volume(config_map: str) -> dict[str, Any]:
    """The files of a ConfigMap, readable by all."""
    return {"name": "config", "configMap": {"name": config_map, "defaultMode": 0o444}}


def temporary_volume(size: str = "64Mi") -> dict[str, Any]:
    """The only place that a container may write to beside its own volumes."""
    return {"name": "tmp", "emptyDir": {"sizeLimit": size}}


def probe(period_seconds: int, failures: int, **handler: Any) -> dict[str, Any]:
    """A probe that asks every ``period_seconds`` and gives up after ``failures`` in a row."""
    return {
        **handler,
        "periodSeconds": period_seconds,
        "timeoutSeconds": max(1, min(3, period_seconds)),
        "failureThreshold": failures,
    }


def http_get(path: str, port: str, *, tls: bool = False) -> dict[str, Any]:
    """The handler of an HTTP probe."""
    return {"httpGet": {"path": path, "port": port, **({"scheme": "HTTPS"} if tls else {})}}


def ports(numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """A container's ports by name."""
    return [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in numbers.items()]


def variables(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """A container's environment, sorted."""
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def secret_variables(secret: str, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Environment from a Secret: variable → key. For programs that read a secret from nowhere else."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, key in sorted(keys.items())
    ]


def pod_field(name: str, path: str) -> dict[str, Any]:
    """A variable with a field of the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def names_of(prefix: str, count: int) -> Sequence[str]:
    """Names of a StatefulSet's pods."""
    return [f"{prefix}-{ordinal}" for ordinal in range(count)]
