"""Secure and available defaults of a pod: what every workload of the platform starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.base.labels import HOST_LABEL, ZONE_LABEL, selector
from settings.services import Probes, Resources, Shutdown

# Above every uid of a common base image and of the host's own users.
USER_ID = 10001
PROBE_PERIOD_SECONDS = 5
TEMPORARY_SIZE = "64Mi"
TEMPORARY_PATH = "/tmp"  # noqa: S108 # a mount point inside the container, its own emptyDir
SECRETS_PATH = "/var/run/secrets/payments"
HTTP_PORT_NAME = "http"
HEALTH_PORT_NAME = "health"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFile:
    """One key of a Secret as a file; ``<variable>_FILE`` names its path."""

    variable: str
    secret: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSpec:
    """What differs between pods; everything else is the same and secure."""

    workload: str
    image: str
    service_account: str
    port: int
    resources: Resources
    probes: Probes
    shutdown: Shutdown
    config_map: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_of_fields: Mapping[str, str] = field(default_factory=dict)
    """Variable → path of the pod's own field that it takes its value from."""
    secret_files: Sequence[SecretFile] = ()
    sidecars: Sequence[dict[str, Any]] = ()
    """Containers that start before and stop after the workload's own (init containers that restart)."""
    shared_volumes: Sequence[dict[str, Any]] = ()
    """Volumes of the sidecars."""
    shared_mounts: Sequence[dict[str, Any]] = ()
    """What of them the workload's own container sees."""


def plan_pod(pod: PodSpec) -> dict[str, Any]:
    """The ``spec`` of a pod template, one container named like its workload."""
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {"sizeLimit": TEMPORARY_SIZE}}]
    if pod.secret_files:
        volumes.append({"name": "secrets", "projected": _projected(pod.secret_files)})
    return {
        **({"initContainers": list(pod.sidecars)} if pod.sidecars else {}),
        "serviceAccountName": pod.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": pod.shutdown.grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": zone_spread(pod.workload),
        "containers": [_container(pod)],
        "volumes": [*volumes, *pod.shared_volumes],
    }


def zone_spread(workload: str) -> list[dict[str, Any]]:
    """Zones differ by at most one pod, hosts as far as they can.

    Each revision is spread by itself (``matchLabelKeys``): old pods that are about to go do not count.
    """
    common = {
        "maxSkew": 1,
        "labelSelector": {"matchLabels": selector(workload)},
        "matchLabelKeys": ["pod-template-hash"],
    }
    return [
        {**common, "topologyKey": ZONE_LABEL, "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Honor"},
        {**common, "topologyKey": HOST_LABEL, "whenUnsatisfiable": "ScheduleAnyway"},
    ]


def _container(pod: PodSpec) -> dict[str, Any]:
    files = {f"{file.variable}_FILE": f"{SECRETS_PATH}/{file.variable}" for file in pod.secret_files}
    environment = {**pod.environment, **files}
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": TEMPORARY_PATH}]
    if pod.secret_files:
        mounts.append({"name": "secrets", "mountPath": SECRETS_PATH, "readOnly": True})
    container: dict[str, Any] = {
        "name": pod.workload,
        "image": pod.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": _ports(pod),
        "resources": _resources(pod.resources),
        **plan_probes(pod.probes, port=HEALTH_PORT_NAME if _has_health_port(pod) else HTTP_PORT_NAME),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*mounts, *pod.shared_mounts],
    }
    entries = [{"name": name, "value": value} for name, value in environment.items()] + [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in pod.environment_of_fields.items()
    ]
    if entries:
        container["env"] = sorted(entries, key=lambda entry: str(entry["name"]))
    if pod.config_map is not None:
        container["envFrom"] = [{"configMapRef": {"name": pod.config_map}}]
    if pod.shutdown.pre_stop_seconds:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": pod.shutdown.pre_stop_seconds}}}
    return container


def _has_health_port(pod: PodSpec) -> bool:
    return pod.probes.port not in (None, pod.port)


def _ports(pod: PodSpec) -> list[dict[str, Any]]:
    ports = [{"name": HTTP_PORT_NAME, "containerPort": pod.port, "protocol": "TCP"}]
    if _has_health_port(pod):
        ports.append({"name": HEALTH_PORT_NAME, "containerPort": pod.probes.port, "protocol": "TCP"})
    return ports


def plan_probes(probes: Probes, *, port: str) -> dict[str, Any]:
    """Startup, readiness and liveness on their own paths of one named port.

    Readiness reacts in 10 s (2 failures), liveness only after 30 s (6 failures): a restart is the last resort, and
    a pod that is briefly overloaded must leave the endpoints before it is killed.
    """

    def probe(path: str, failures: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": port},
            "periodSeconds": PROBE_PERIOD_SECONDS,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
        }

    return {
        "startupProbe": probe(probes.startup_path, -(-probes.startup_budget_seconds // PROBE_PERIOD_SECONDS)),
        "readinessProbe": probe(probes.readiness_path, 2),
        "livenessProbe": probe(probes.liveness_path, 6),
    }


def _resources(resources: Resources) -> dict[str, Any]:
    return {
        side: {
            "cpu": amounts.cpu,
            "memory": amounts.memory,
            "ephemeral-storage": amounts.ephemeral_storage,
        }
        for side, amounts in (("requests", resources.requests), ("limits", resources.limits))
    }


def _projected(files: Sequence[SecretFile]) -> dict[str, Any]:
    return {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": file.secret, "items": [{"key": file.key, "path": file.variable}]}} for file in files
        ],
    }
