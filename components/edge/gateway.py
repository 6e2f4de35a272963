"""The edge as Gateway API objects with Envoy Gateway's policies."""

from typing import Any

import yaml

from components.base.manifests import Manifest, metadata
from components.edge.model import (
    CERTIFICATE_SECRET,
    READ_METHODS,
    EdgeContext,
    plan_certificate,
    plan_controller_config,
)
from components.edge.traffic import allow_list, backend_traffic, client_traffic
from settings.edge import Edge, LimitScope, Route
from settings.edge_rules import GATEWAY_NAME

CONTROLLER_NAME = "gateway.envoyproxy.io/gatewayclass-controller"
GATEWAY_CLASS = "payments-edge"
HTTPS, HTTP = "https", "http"
LISTENER_PORTS = {HTTPS: 443, HTTP: 80}
_GATEWAY_API = "gateway.networking.k8s.io"
_ENVOY_API = "gateway.envoyproxy.io/v1alpha1"


def plan_gateway(context: EdgeContext) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    planner = _Planner(context)
    manifests = {
        "class": planner.gateway_class(),
        "controller-config": plan_controller_config(context, context.namespace, controller_config(context.edge)),
        "proxy": planner.proxy(),
        "certificate": plan_certificate(context, context.namespace),
        "gateway": planner.gateway(),
        "clients": planner.client_policy(),
        "redirect": planner.redirect(),
    }
    for name, route in sorted(context.edge.routes.items()):
        manifests[f"{name}-route"] = planner.route(name, route)
        manifests[f"{name}-traffic"] = planner.route_policy(
            "BackendTrafficPolicy", name, backend_traffic(context.edge, route)
        )
        if route.allow_from:
            manifests[f"{name}-access"] = planner.route_policy("SecurityPolicy", name, allow_list(route))
    return manifests


def controller_config(edge: Edge) -> dict[str, str]:
    """File → text of the EnvoyGateway configuration that these objects rely on."""
    config: dict[str, Any] = {
        "apiVersion": _ENVOY_API,
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER_NAME},
        # Proxies beside their Gateway: the services' network policies admit that namespace, and its quota holds them.
        "provider": {"type": "Kubernetes", "kubernetes": {"deploy": {"type": "GatewayNamespace"}}},
    }
    if edge.global_limits is not None:
        config["rateLimit"] = {
            "backend": {"type": "Redis", "redis": {"url": edge.global_limits.redis}},
            "failClosed": edge.global_limits.fail_closed,
        }
    return {"envoy-gateway.yaml": yaml.safe_dump(config, sort_keys=True)}


def uses_global_limits(edge: Edge) -> bool:
    """Whether the proxies ask the rate limit service."""
    return any(limit.scope is LimitScope.GLOBAL for limit in edge.rate_limits.values())


class _Planner:
    def __init__(self, context: EdgeContext) -> None:
        self.context = context

    def gateway_class(self) -> Manifest:
        return {
            "apiVersion": f"{_GATEWAY_API}/v1",
            "kind": "GatewayClass",
            "metadata": metadata(GATEWAY_CLASS, labels=self.context.labels.of("gateway")),
            "spec": {"controllerName": CONTROLLER_NAME},
        }

    def proxy(self) -> Manifest:
        """Size, spread and address of the proxies."""
        edge = self.context.edge
        proxies = edge.proxies
        amounts = {
            side: {"cpu": values.cpu, "memory": values.memory, "ephemeral-storage": values.ephemeral_storage}
            for side, values in (("requests", proxies.resources.requests), ("limits", proxies.resources.limits))
        }
        target = {"type": "Utilization", "averageUtilization": proxies.cpu_target_percent}
        kubernetes = {
            # No replicas: the autoscaler owns the count.
            "envoyDeployment": {"container": {"resources": amounts}, "pod": {"topologySpreadConstraints": [_SPREAD]}},
            "envoyHpa": {
                "minReplicas": proxies.min_replicas,
                "maxReplicas": proxies.max_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            },
            "envoyPDB": {"maxUnavailable": 1},
            # Local keeps the client's address and spares a hop; only the named blocks get a connection at all.
            "envoyService": {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Local",
                "loadBalancerSourceRanges": list(edge.accept_from),
            },
        }
        return self._envoy("EnvoyProxy", {"provider": {"type": "Kubernetes", "kubernetes": kubernetes}})

    def gateway(self) -> Manifest:
        parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": GATEWAY_NAME}
        return {
            "apiVersion": f"{_GATEWAY_API}/v1",
            "kind": "Gateway",
            "metadata": self._metadata(GATEWAY_NAME, self.context.namespace, "gateway"),
            "spec": {
                "gatewayClassName": GATEWAY_CLASS,
                "infrastructure": {"parametersRef": parameters},
                "listeners": [
                    self._listener(HTTP, {"from": "Same"}),
                    {
                        **self._listener(HTTPS, _namespace_selector(self.context.services_namespace)),
                        "tls": {"mode": "Terminate", "certificateRefs": [{"name": CERTIFICATE_SECRET}]},
                    },
                ],
            },
        }

    def client_policy(self) -> Manifest:
        target = {"group": _GATEWAY_API, "kind": "Gateway", "name": GATEWAY_NAME}
        return self._envoy("ClientTrafficPolicy", {"targetRefs": [target], **client_traffic(self.context)})

    def redirect(self) -> Manifest:
        """Plain HTTP is only ever answered with the way to HTTPS."""
        redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
        return {
            "apiVersion": f"{_GATEWAY_API}/v1",
            "kind": "HTTPRoute",
            "metadata": self._metadata("https-redirect", self.context.namespace, "route"),
            "spec": {
                "parentRefs": [{"name": GATEWAY_NAME, "sectionName": HTTP}],
                "hostnames": [self.context.edge.host],
                "rules": [{"filters": [redirect]}],
            },
        }

    def route(self, name: str, route: Route) -> Manifest:
        service, port = self.context.backend(route)
        path = {"path": {"type": "PathPrefix", "value": route.path}}
        rule: dict[str, Any] = {
            "matches": [{**path, "method": method} for method in READ_METHODS] if route.read_only else [path],
            "timeouts": {"request": f"{_whole_request_seconds(route)}s"},
            "backendRefs": [{"name": service, "port": port}],
        }
        parent = {"name": GATEWAY_NAME, "namespace": self.context.namespace, "sectionName": HTTPS}
        return {
            "apiVersion": f"{_GATEWAY_API}/v1",
            "kind": "HTTPRoute",
            "metadata": self._metadata(name, self.context.services_namespace, "route"),
            "spec": {"parentRefs": [parent], "hostnames": [self.context.edge.host], "rules": [rule]},
        }

    def route_policy(self, kind: str, route: str, spec: dict[str, Any]) -> Manifest:
        target = {"group": _GATEWAY_API, "kind": "HTTPRoute", "name": route}
        return {
            "apiVersion": _ENVOY_API,
            "kind": kind,
            "metadata": self._metadata(route, self.context.services_namespace, "route"),
            "spec": {"targetRefs": [target], **spec},
        }

    def _listener(self, name: str, namespaces: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "port": LISTENER_PORTS[name],
            "protocol": name.upper(),
            "hostname": self.context.edge.host,
            "allowedRoutes": {"namespaces": namespaces, "kinds": [{"group": _GATEWAY_API, "kind": "HTTPRoute"}]},
        }

    def _envoy(self, kind: str, spec: dict[str, Any]) -> Manifest:
        meta = self._metadata(GATEWAY_NAME, self.context.namespace, "gateway")
        return {"apiVersion": _ENVOY_API, "kind": kind, "metadata": meta, "spec": spec}

    def _metadata(self, name: str, namespace: str, component: str) -> dict[str, Any]:
        return metadata(name, labels=self.context.labels.of(component), namespace=namespace)


_SPREAD = {
    "maxSkew": 1,
    "topologyKey": "topology.kubernetes.io/zone",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"gateway.envoyproxy.io/owning-gateway-name": GATEWAY_NAME}},
}


def _whole_request_seconds(route: Route) -> int:
    """The route's time. Envoy Gateway would take ``backendRequest`` for it, so one try's bound stands in the retries;
    without retries the one try is the whole.
    """
    return route.timeouts.request_seconds if route.retries.attempts else route.timeouts.try_seconds


def _namespace_selector(namespace: str) -> dict[str, Any]:
    return {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
