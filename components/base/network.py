"""Network policies: everything closed, then the named flows that a workload needs."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.base.labels import Labels, selector
from components.base.manifests import Manifest, metadata
from settings.cluster import Peer, is_within

_DNS_PORTS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
_DNS_PODS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def plan_default_deny(namespace: str, labels: Labels) -> Manifest:
    """No pod of the namespace receives or sends anything that another policy does not allow."""
    return _policy("default-deny", namespace, labels, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def plan_allow_dns(namespace: str, labels: Labels) -> Manifest:
    """Every pod may resolve names through the cluster's DNS pods, and reach nothing else by this."""
    egress = [{"to": [_DNS_PODS], "ports": _DNS_PORTS}]
    return _policy("allow-dns", namespace, labels, {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress})


def plan_workload_flows(
    workload: str,
    namespace: str,
    labels: Labels,
    *,
    port: int,
    ingress_from: Sequence[Peer],
    egress_to: Mapping[str, Peer],
) -> Manifest:
    """The named flows of one workload; an empty list leaves that direction closed."""
    ingress = [{"from": peer_selectors(peer), "ports": [_tcp(port)]} for peer in ingress_from]
    egress = [{"to": peer_selectors(peer), "ports": [_tcp(p) for p in peer.ports]} for peer in egress_to.values()]
    spec = {
        "podSelector": {"matchLabels": selector(workload)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return _policy(f"{workload}-flows", namespace, labels, spec)


def _policy(name: str, namespace: str, labels: Labels, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, labels=labels.of("network"), namespace=namespace),
        "spec": spec,
    }


def peer_selectors(peer: Peer) -> list[dict[str, Any]]:
    """The ``from`` or ``to`` of a rule that names a peer."""
    if peer.cidrs:
        return [
            {"ipBlock": _ip_block(cidr, [e for e in peer.except_cidrs if is_within(e, cidr)])} for cidr in peer.cidrs
        ]
    pods: dict[str, Any] = {"podSelector": {"matchLabels": dict(peer.pod_labels)}}
    if peer.namespace is not None:
        pods["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": peer.namespace}}
    return [pods]


def _ip_block(cidr: str, exceptions: Sequence[str]) -> dict[str, Any]:
    return {"cidr": cidr, "except": list(exceptions)} if exceptions else {"cidr": cidr}


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
