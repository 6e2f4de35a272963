"""What each workload of the rendered manifests asks for, at its fewest and its most pods."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings.quantities import parse_quantity

Manifest = Mapping[str, Any]
_GIB = 2**30
_ENVOY_DEFAULT_REPLICAS = 1
_OWNER_LABEL = "app.kubernetes.io/name"
_COMPONENT_LABEL = "app.kubernetes.io/component"


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """What one workload asks for: per pod, and how many pods there may be."""

    name: str
    service: str
    """Service or system that it belongs to."""
    component: str
    """Its role there: api, consumer, cache-cluster …"""
    fewest_pods: int
    most_pods: int
    cpu_cores: float
    """Requested by one pod."""
    memory_gib: float
    disk_gib: float
    """Claimed by one pod."""


class AmountsError(ValueError):
    """A rendered object whose amounts cannot be told; the message names it."""


def read_amounts(manifests: Iterable[Manifest], *, nodes: int) -> list[Amounts]:
    """Every long-running workload, sorted by service and name; ``nodes`` counts the pods of a DaemonSet.

    Jobs and CronJobs are left out: they run for seconds. Raises ``AmountsError``.
    """
    objects = list(manifests)
    bounds = dict(_scaler_bounds(objects))
    found = [amounts for each in objects if (amounts := _of_object(each, bounds, nodes)) is not None]
    return sorted(found, key=lambda each: (each.service, each.name))


def load_balancers(manifests: Iterable[Manifest]) -> int:
    """Services of type LoadBalancer, and the one that a gateway's proxy gets."""
    return sum(
        (each["kind"] == "Service" and each["spec"].get("type") == "LoadBalancer")
        or (each["kind"] == "EnvoyProxy" and _envoy(each).get("envoyService", {}).get("type") == "LoadBalancer")
        for each in manifests
    )


def _scaler_bounds(objects: Sequence[Manifest]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Deployment → fewest and most pods."""
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "HorizontalPodAutoscaler":
            yield spec["scaleTargetRef"]["name"], (int(spec.get("minReplicas", 1)), int(spec["maxReplicas"]))
        elif each["kind"] == "ScaledObject":
            bounds = int(spec.get("minReplicaCount", 0)), int(spec.get("maxReplicaCount", 100))
            yield spec["scaleTargetRef"]["name"], bounds


def _of_object(manifest: Manifest, bounds: Mapping[str, tuple[int, int]], nodes: int) -> Amounts | None:
    kind, spec = manifest["kind"], manifest.get("spec", {})
    name = manifest["metadata"]["name"]
    if kind in ("Deployment", "StatefulSet"):
        replicas = int(spec.get("replicas", 1))
        pods = bounds.get(name, (replicas, replicas)) if kind == "Deployment" else (replicas, replicas)
        return _amounts(manifest, pods, spec["template"]["spec"], _claims(spec.get("volumeClaimTemplates") or []))
    if kind == "DaemonSet":
        return _amounts(manifest, (nodes, nodes), spec["template"]["spec"], 0.0)
    if kind == "EnvoyProxy":
        return _of_envoy(manifest)
    if kind == "KafkaNodePool":
        replicas = int(spec.get("replicas", 1))
        container = {"name": "kafka", "resources": spec.get("resources") or {}}
        return _amounts(manifest, (replicas, replicas), {"containers": [container]}, _kafka_disk(spec))
    return None


def _envoy(manifest: Manifest) -> Mapping[str, Any]:
    provider: Mapping[str, Any] = manifest["spec"].get("provider", {}).get("kubernetes", {})
    return provider


def _of_envoy(manifest: Manifest) -> Amounts | None:
    """The proxies that Envoy Gateway makes from an EnvoyProxy."""
    provider = _envoy(manifest)
    deployment = provider.get("envoyDeployment")
    if deployment is None:
        return None
    replicas = int(deployment.get("replicas", _ENVOY_DEFAULT_REPLICAS))
    scaler = provider.get("envoyHpa")
    pods = (replicas, replicas) if scaler is None else (int(scaler.get("minReplicas", replicas)), scaler["maxReplicas"])
    container = {"name": "envoy", "resources": deployment.get("container", {}).get("resources", {})}
    return _amounts(manifest, pods, {"containers": [container]}, 0.0)


def _claims(templates: Sequence[Manifest]) -> float:
    return (
        sum(float(parse_quantity(str(each["spec"]["resources"]["requests"]["storage"]))) for each in templates) / _GIB
    )


def _kafka_disk(spec: Manifest) -> float:
    storage = spec.get("storage") or {}
    volumes = storage.get("volumes", [storage])
    return sum(float(parse_quantity(str(volume["size"]))) for volume in volumes if "size" in volume) / _GIB


def _amounts(manifest: Manifest, pods: tuple[int, int], pod: Mapping[str, Any], disk_gib: float) -> Amounts:
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    where = f"{manifest['kind']} {metadata['name']}"
    return Amounts(
        name=metadata["name"],
        service=labels.get(_OWNER_LABEL, metadata["name"]),
        component=labels.get(_COMPONENT_LABEL, manifest["kind"].lower()),
        fewest_pods=int(pods[0]),
        most_pods=int(pods[1]),
        cpu_cores=_requested(pod, "cpu", where),
        memory_gib=_requested(pod, "memory", where) / _GIB,
        disk_gib=disk_gib,
    )


def _requested(pod: Mapping[str, Any], resource: str, where: str) -> float:
    """Of all containers that keep running. A container without a request asks for its limit."""
    sidecars = [each for each in pod.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    total = 0.0
    for container in [*pod["containers"], *sidecars]:
        resources = container.get("resources") or {}
        found = (resources.get("requests") or {}).get(resource, (resources.get("limits") or {}).get(resource))
        if found is None:
            message = (
                f"{where}: container {container['name']} requests no {resource}: its cost is not known; "
                f"fix: give resources.requests.{resource}"
            )
            raise AmountsError(message)
        total += float(parse_quantity(str(found)))
    return total
