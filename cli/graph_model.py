"""What the picture of the platform shows, read from the declared objects."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.scaler_summary import summarize_scaler

Manifest = Mapping[str, Any]

_WORKLOAD_KINDS = ("Deployment", "StatefulSet", "KafkaNodePool")
_OWN_PODS = {"app.kubernetes.io/part-of": "payments-platform"}
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Lane:
    """The other end of network flows: where calls come from, or where they go."""

    title: str
    detail: str
    """Ports, and the namespace where it is another one."""
    key: str
    """The selector as JSON: two lanes are one exactly when their selectors are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One Deployment, StatefulSet or pool of brokers with what scales it and what it may talk to."""

    name: str
    role: str
    bounds: str
    """``3–20 pods``, or ``2 pods`` without an autoscaler."""
    resource_targets: tuple[str, ...]
    """``cpu 70 %`` of the request, on average."""
    external_targets: tuple[str, ...]
    """``kafka_consumer_lag 1000 per pod``."""
    note: str
    """Address of the Service in front of it, or topic and group that it reads."""
    callers: tuple[Lane, ...]
    callees: tuple[Lane, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceGroup:
    """The workloads of one service; the API comes first."""

    name: str
    owner: str
    pci_scope: str
    workloads: tuple[Workload, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class NamespaceFrame:
    """A namespace with its guards in words and its services."""

    name: str
    environment: str
    guards: tuple[str, ...]
    services: tuple[ServiceGroup, ...]


def read_frames(manifests: Iterable[Manifest]) -> list[NamespaceFrame]:
    """Namespaces that hold workloads, sorted by name; services and workloads sorted too."""
    objects = sorted(manifests, key=lambda item: (item["kind"], item["metadata"]["name"]))
    names = sorted({item["metadata"]["namespace"] for item in objects if item["kind"] in _WORKLOAD_KINDS})
    return [_frame(name, [item for item in objects if _is_in(item, name)]) for name in names]


def _is_in(item: Manifest, namespace: str) -> bool:
    meta = item["metadata"]
    own_name = meta["name"] if item["kind"] == "Namespace" else None
    return bool(meta.get("namespace", own_name) == namespace)


def _frame(name: str, objects: Sequence[Manifest]) -> NamespaceFrame:
    declared = [item for kind in _WORKLOAD_KINDS for item in _of_kind(objects, kind)]
    services: dict[str, list[Manifest]] = {}
    for item in declared:
        services.setdefault(_label(item, "app.kubernetes.io/name"), []).append(item)
    environments = sorted({_label(item, "payments.dev/environment") for item in declared})
    return NamespaceFrame(
        name=name,
        environment=", ".join(environments),
        guards=tuple(_guards(objects)),
        services=tuple(_service(service, found, objects) for service, found in sorted(services.items())),
    )


def _guards(objects: Sequence[Manifest]) -> Iterable[str]:
    closed = {direction for policy in _of_kind(objects, "NetworkPolicy") for direction in _denied(policy["spec"])}
    if closed:
        yield f"default deny {' and '.join(sorted(direction.lower() for direction in closed))}"
    for namespace in _of_kind(objects, "Namespace"):
        level = namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if level is not None:
            yield f"pod security {level}"
    for quota in _of_kind(objects, "ResourceQuota"):
        hard = quota["spec"]["hard"]
        yield f"quota of {hard.get('pods', '–')} pods and {_cores(hard.get('requests.cpu', '–'))} requested cores"


def _cores(quantity: str) -> str:
    return f"{int(quantity[:-1]) / 1000:g}" if quantity.endswith("m") else quantity


def _denied(spec: Manifest) -> list[str]:
    if spec["podSelector"]:
        return []
    return [direction for direction in spec["policyTypes"] if not spec.get(direction.lower())]


def _service(name: str, declared: Sequence[Manifest], objects: Sequence[Manifest]) -> ServiceGroup:
    first = declared[0]
    workloads = [_workload(item, objects) for item in declared]
    return ServiceGroup(
        name=name,
        owner=_label(first, "owner"),
        pci_scope=_label(first, "pci-scope"),
        workloads=tuple(sorted(workloads, key=lambda workload: (workload.role, workload.name))),
    )


def _workload(declared: Manifest, objects: Sequence[Manifest]) -> Workload:
    name = declared["metadata"]["name"]
    pod_labels = _pod_labels(declared)
    kinds = ("HorizontalPodAutoscaler", "ScaledObject")
    scalers = [summarize_scaler(item) for kind in kinds for item in _of_kind(objects, kind)]
    scaler = next((found for found in scalers if found.target == name), None)
    policies = [item["spec"] for item in _of_kind(objects, "NetworkPolicy") if _selects(item["spec"], pod_labels)]
    return Workload(
        name=name,
        role=_label(declared, "app.kubernetes.io/component"),
        bounds=scaler.bounds if scaler else f"{declared['spec'].get('replicas', 1)} pods",
        resource_targets=scaler.resource_targets if scaler else (),
        external_targets=scaler.external_targets if scaler else (),
        note=_address(pod_labels, objects) or _subscription(declared),
        callers=_lanes(pod_labels, ((rule, "from") for spec in policies for rule in spec.get("ingress", ()))),
        callees=_lanes(pod_labels, ((rule, "to") for spec in policies for rule in spec.get("egress", ()))),
    )


def _pod_labels(declared: Manifest) -> Mapping[str, str]:
    """Labels of the pods; those of a pool of brokers are given by Strimzi, under the name of its cluster."""
    if declared["kind"] == "KafkaNodePool":
        cluster = _label(declared, "strimzi.io/cluster")
        return {"strimzi.io/cluster": cluster, "strimzi.io/name": f"{cluster}-kafka"}
    labels: Mapping[str, str] = declared["spec"]["template"]["metadata"]["labels"]
    return labels


def _selects(spec: Manifest, pod_labels: Mapping[str, str]) -> bool:
    """Whether a policy names this workload; policies of the whole namespace are the frame's business."""
    wanted = spec["podSelector"].get("matchLabels", {})
    return bool(wanted) and wanted.items() <= pod_labels.items()


def _address(pod_labels: Mapping[str, str], objects: Sequence[Manifest]) -> str:
    for service in _of_kind(objects, "Service"):
        if _leads_to(service, pod_labels):
            ports = ", ".join(str(port["port"]) for port in service["spec"]["ports"])
            return f"{service['metadata']['name']}:{ports}"
    return ""


def _subscription(declared: Manifest) -> str:
    if declared["kind"] == "KafkaNodePool":
        return ""
    container = declared["spec"]["template"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
    topic, group = variables.get("KAFKA_TOPIC"), variables.get("KAFKA_CONSUMER_GROUP")
    return f"reads {topic} as {group}" if topic else ""


def _lanes(pod_labels: Mapping[str, str], rules: Iterable[tuple[Manifest, str]]) -> tuple[Lane, ...]:
    """One lane for each peer; several address blocks of one rule are one peer.

    What members of one workload say to each other is left out: a cluster without it is none.
    """
    found = {}
    for rule, side in rules:
        peers = rule[side]
        ports = " ".join(f":{port['port']}" for port in rule["ports"])
        for group in [peers] if "ipBlock" in peers[0] else [[peer] for peer in peers]:
            if _is_itself(group[0], pod_labels):
                continue
            title, where = _title(group)
            detail = f"{where} {ports}" if where and side == "to" else where or ports
            lane = Lane(title=title, detail=detail, key=json.dumps([group, side], sort_keys=True))
            found[lane.key] = lane
    return tuple(sorted(found.values()))


def _is_itself(peer: Manifest, pod_labels: Mapping[str, str]) -> bool:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    own = bool(labels) and labels != _OWN_PODS and "namespaceSelector" not in peer
    return own and labels.items() <= pod_labels.items()


def _title(peers: Sequence[Manifest]) -> tuple[str, str]:
    if "ipBlock" in peers[0]:
        cidrs = [peer["ipBlock"]["cidr"] for peer in peers]
        return ("internet" if "0.0.0.0/0" in cidrs else ", ".join(cidrs)), ""
    labels = peers[0].get("podSelector", {}).get("matchLabels", {})
    namespace = peers[0].get("namespaceSelector", {}).get("matchLabels", {}).get(_NAMESPACE_NAME, "")
    if labels == _OWN_PODS:
        return "own services", ""
    # The name of a cluster of Strimzi's is part of the names of its workloads.
    shown = [labels[key] for key in sorted(labels) if len(labels) == 1 or key != "strimzi.io/cluster"]
    return ", ".join(shown), f"in {namespace}" if namespace else ""


def _of_kind(objects: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [item for item in objects if item["kind"] == kind]


def _label(item: Manifest, key: str) -> str:
    return str(item["metadata"].get("labels", {}).get(key, ""))


def _leads_to(service: Manifest, pod_labels: Mapping[str, str]) -> bool:
    """Whether a Service selects pods with these labels; a mere name for another one selects none."""
    selector: dict[str, str] = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= pod_labels.items()
