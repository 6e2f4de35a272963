"""The edge's namespace: closed like every other, but with room for one load balancer and the proxies."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from components.base.network import plan_allow_dns, plan_default_deny
from components.edge.model import EdgeContext
from settings.edge import Edge
from settings.edge_rules import GATEWAY_NAME
from settings.quantities import format_bytes, format_cpu, parse_quantity

CONTROLLER_NAMESPACE = "envoy-gateway-system"
# Envoy Gateway adds 10000 to ports below 1024, so that the proxies need no privilege.
_PROXY_PORTS = (10080, 10443)
_XDS_PORT = 18000
_RATE_LIMIT_PORT = 8081
# Beside the proxies: their shutdown manager, a container of each pod, at the controller's default size.
_SIDECAR = {"cpu": "10m", "memory": "32Mi"}
_SURGE_PERCENT = 125
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def plan_edge_namespace(context: EdgeContext) -> dict[str, Manifest]:
    """Role → manifest: the namespace, its bounds, and the flows of the proxies."""
    namespace, labels = context.namespace, context.labels
    pod_security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {
        "namespace": {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": metadata(namespace, labels={**labels.of("namespace"), **pod_security}),
        },
        "quota": _in_namespace(context, "v1", "ResourceQuota", "quota", {"hard": quota(context.edge)}),
        "limits": _in_namespace(context, "v1", "LimitRange", "limits", {"limits": [_CONTAINER_DEFAULTS]}),
        "default-deny": plan_default_deny(namespace, labels),
        "allow-dns": plan_allow_dns(namespace, labels),
        "flows": _in_namespace(context, "networking.k8s.io/v1", "NetworkPolicy", "proxy-flows", _flows(context)),
    }


def quota(edge: Edge) -> dict[str, str]:
    """``spec.hard``: the proxies at their maximum while they roll, and one load balancer."""
    proxies = edge.proxies
    pods = -(-proxies.max_replicas * _SURGE_PERCENT // 100) + 1
    hard = {"pods": str(pods), "services.loadbalancers": "1", "services.nodeports": "2", "persistentvolumeclaims": "0"}
    for side, amounts in (("requests", proxies.resources.requests), ("limits", proxies.resources.limits)):
        hard[f"{side}.cpu"] = format_cpu(pods * (parse_quantity(amounts.cpu) + parse_quantity(_SIDECAR["cpu"])))
        memory = parse_quantity(amounts.memory) + parse_quantity(_SIDECAR["memory"])
        hard[f"{side}.memory"] = format_bytes(pods * memory)
    return hard


_CONTAINER_DEFAULTS = {
    "type": "Container",
    "defaultRequest": {**_SIDECAR, "ephemeral-storage": "64Mi"},
    "default": {"cpu": "200m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
}


def _flows(context: EdgeContext) -> dict[str, Any]:
    """In: the named blocks. Out: the services behind the routes, and the controller that configures the proxies."""
    edge = context.edge
    services = sorted({route.service for route in edge.routes.values()})
    controller = [(_pods({"control-plane": "envoy-gateway"}, CONTROLLER_NAMESPACE), _XDS_PORT)]
    if edge.global_limits is not None:
        rate_limit = _pods({"app.kubernetes.io/name": "envoy-ratelimit"}, CONTROLLER_NAMESPACE)
        controller.append((rate_limit, _RATE_LIMIT_PORT))
    backends = [
        (_pods(selector(service), context.services_namespace), context.service_ports[service]) for service in services
    ]
    return {
        "podSelector": {"matchLabels": {"gateway.envoyproxy.io/owning-gateway-name": GATEWAY_NAME}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"ipBlock": {"cidr": block}} for block in edge.accept_from],
                "ports": [_tcp(port) for port in _PROXY_PORTS],
            }
        ],
        "egress": [{"to": [peer], "ports": [_tcp(port)]} for peer, port in [*backends, *controller]],
    }


def _in_namespace(context: EdgeContext, version: str, kind: str, name: str, spec: dict[str, Any]) -> Manifest:
    meta = metadata(name, labels=context.labels.of("guard"), namespace=context.namespace)
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


def _pods(labels: dict[str, str], namespace: str) -> dict[str, Any]:
    return {
        "podSelector": {"matchLabels": labels},
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: namespace}},
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
