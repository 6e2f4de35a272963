"""What the pods of the caches share: the security context, containers, volumes and probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.base.labels import Labels
from components.base.workload import USER_ID
from components.cache.server_files import CONFIG_PATH, DATA_PATH, PASSWORDS_PATH, RUN_PATH, TLS_PATH
from settings.base import Environment
from settings.cache import CACHE_USER, Cache, Certificate, SecretValue
from settings.services import Resources

SERVER = "server"
PORT_NAME = "redis"
BUS_PORT_NAME = "bus"
GRACE_PERIOD_SECONDS = 60
PROBE_PERIOD_SECONDS = 5
_RUN_SIZE = "1Mi"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheContext:
    """What the caches need to know of their stack."""

    namespace: str
    services_namespace: str
    environment: Environment
    workloads_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service → names of its Deployments."""

    def labels(self, name: str, cache: Cache) -> Labels:
        """Labels of a tier's objects. Values are wallets' and users' data, never card data."""
        return Labels(name=name, environment=self.environment, owner=cache.owner, pci_scope="connected")


def plan_pod_security() -> dict[str, Any]:
    """Security context of the pods; the id also owns the mounted files."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        # Otherwise every file of the volume is changed at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def plan_container(name: str, image: str, resources: Resources, **more: Any) -> dict[str, Any]:
    """A container with the restrictions of all; ``more`` is its own part in the API's spelling."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            side: {"cpu": a.cpu, "memory": a.memory, "ephemeral-storage": a.ephemeral_storage}
            for side, a in (("requests", resources.requests), ("limits", resources.limits))
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **more,
    }


def plan_server(cache: Cache, resources: Resources, **more: Any) -> dict[str, Any]:
    """The container of a server that is reached over TLS."""
    return plan_container(
        SERVER,
        cache.image,
        resources,
        command=["sh", f"{CONFIG_PATH}/start.sh"],
        # Ready: it answers. Alive: it accepts. A server that is busy loses its readiness and is not restarted.
        startupProbe=_probe(30, exec={"command": ["sh", f"{CONFIG_PATH}/ping.sh"]}),
        readinessProbe=_probe(3, exec={"command": ["sh", f"{CONFIG_PATH}/ping.sh"]}),
        livenessProbe=_probe(6, tcpSocket={"port": PORT_NAME}),
        **more,
    )


def plan_mounts(*, data: bool = True) -> list[dict[str, Any]]:
    """Where a server finds its files."""
    return [
        {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
        {"name": "tls", "mountPath": TLS_PATH, "readOnly": True},
        {"name": "passwords", "mountPath": PASSWORDS_PATH, "readOnly": True},
        {"name": "run", "mountPath": RUN_PATH},
        *([{"name": "data", "mountPath": DATA_PATH}] if data else []),
    ]


def plan_volumes(cache: Cache, config_map: str) -> list[dict[str, Any]]:
    """The volumes behind ``plan_mounts``, without the data."""
    return [
        {"name": "config", "configMap": {"name": config_map, "defaultMode": 0o444}},
        {"name": "tls", "secret": _certificate(cache.tls)},
        {"name": "passwords", "projected": _passwords(cache)},
        # In memory: the internal password stands here in the form that the server reads.
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": _RUN_SIZE}},
    ]


def authority_volume(certificate: Certificate) -> dict[str, Any]:
    """Only what a client needs of the certificate: who signed it."""
    items = [{"key": certificate.authority_key, "path": "ca.crt"}]
    return {"name": "tls", "secret": {"secretName": certificate.existing_secret, "defaultMode": 0o440, "items": items}}


def internal_password_volume(cache: Cache) -> dict[str, Any]:
    """The internal user's password and nobody else's."""
    return {
        "name": "passwords",
        "projected": {"defaultMode": 0o440, "sources": [_password(CACHE_USER, cache.internal_password)]},
    }


def hosts(name: str, pods: int) -> Sequence[str]:
    """Names of the pods of a StatefulSet, which their own Services have too."""
    return [f"{name}-{ordinal}" for ordinal in range(pods)]


def _certificate(certificate: Certificate) -> dict[str, Any]:
    pairs = (
        (certificate.certificate_key, "tls.crt"),
        (certificate.private_key_key, "tls.key"),
        (certificate.authority_key, "ca.crt"),
    )
    items = [{"key": key, "path": path} for key, path in pairs]
    return {"secretName": certificate.existing_secret, "defaultMode": 0o440, "items": items}


def _passwords(cache: Cache) -> dict[str, Any]:
    users = [_password(name, user.password) for name, user in sorted(cache.users.items())]
    return {"defaultMode": 0o440, "sources": [_password(CACHE_USER, cache.internal_password), *users]}


def _password(user: str, value: SecretValue) -> dict[str, Any]:
    return {"secret": {"name": value.existing_secret, "items": [{"key": value.key, "path": user}]}}


def _probe(failures: int, **handler: Any) -> dict[str, Any]:
    return {**handler, "periodSeconds": PROBE_PERIOD_SECONDS, "timeoutSeconds": 3, "failureThreshold": failures}
