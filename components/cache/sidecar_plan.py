"""L2 as a sidecar: a server in each pod of the services, over a socket that nobody else can reach."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from components.base.labels import Labels
from components.base.manifests import Manifest, content_hash, metadata
from components.cache.pods import plan_container
from components.cache.server_files import CONFIG_PATH, LOCAL_SOCKET_PATH, plan_socket_files
from settings.base import Environment
from settings.cache import Cache, LocalMode
from settings.cache_rules import LOCAL_NAME
from settings.quantities import parse_quantity
from settings.services import Service
from settings.services import peak_amounts as service_peak

SIDECAR_NAME = "cache-local"
_SOCKET_VOLUME = "cache-local-socket"
_CONFIG_VOLUME = "cache-local-config"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalCacheSidecar:
    """What a pod gets: the container, its volumes, and the mount for the containers that use it."""

    container: dict[str, Any]
    volumes: Sequence[dict[str, Any]]
    mount: dict[str, Any]


def plan_sidecar(cache: Cache | None) -> LocalCacheSidecar | None:
    """The sidecar; ``None`` unless L2 runs in the pods.

    It has no probe: a pod whose local cache is away still serves, with more misses. The kubelet restarts it.
    """
    if cache is None or cache.local.mode is not LocalMode.SIDECAR:
        return None
    socket = {"name": _SOCKET_VOLUME, "mountPath": LOCAL_SOCKET_PATH}
    container = plan_container(
        SIDECAR_NAME,
        cache.image,
        cache.local.resources,
        command=[f"{cache.server}-server", f"{CONFIG_PATH}/server.conf"],
        restartPolicy="Always",
        volumeMounts=[socket, {"name": _CONFIG_VOLUME, "mountPath": CONFIG_PATH, "readOnly": True}],
    )
    volumes = [
        {"name": _SOCKET_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": _CONFIG_VOLUME, "configMap": {"name": _config_name(cache), "defaultMode": 0o444}},
    ]
    return LocalCacheSidecar(container=container, volumes=volumes, mount=socket)


def plan_sidecar_config(cache: Cache, *, namespace: str, environment: Environment) -> Manifest:
    """The sidecars' configuration, in the services' namespace."""
    labels = Labels(name=LOCAL_NAME, environment=environment, owner=cache.owner, pci_scope="connected")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(_config_name(cache), labels=labels.of(SIDECAR_NAME), namespace=namespace),
        "data": plan_socket_files(cache),
        "immutable": True,
    }


def sidecar_amounts(cache: Cache | None, services: Iterable[Service]) -> dict[str, Decimal]:
    """What the sidecars ask of the services' namespace at most; keys as in ``settings.services.peak_amounts``."""
    if cache is None or cache.local.mode is not LocalMode.SIDECAR:
        return {}
    pods = sum(int(service_peak(service)["pods"]) for service in services)
    return {
        f"{side}.{field.replace('_', '-')}": pods * parse_quantity(getattr(getattr(cache.local.resources, side), field))
        for side in ("requests", "limits")
        for field in ("cpu", "memory", "ephemeral_storage")
    }


def _config_name(cache: Cache) -> str:
    return f"{LOCAL_NAME}-config-{content_hash(plan_socket_files(cache))}"
