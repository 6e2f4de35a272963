"""Rules between the edge and the rest of a stack, and which renderer can express which wish."""

from collections.abc import Iterator

from settings.base import Environment
from settings.cluster import Peer
from settings.edge import AddressSource, Edge, EdgeRenderer, HashOn, LimitBy, LimitScope, Policy, RatePeriod
from settings.problems import Problem

# What Envoy Gateway puts on its proxies (proxy.EnvoyAppLabel and the owning gateway's labels); Gateway is `edge`.
GATEWAY_NAME = "edge"
_NGINX_PERIODS = (RatePeriod.SECOND, RatePeriod.MINUTE)
_ENVOY_HEADER_KIB = 60


def proxy_labels(namespace: str) -> dict[str, str]:
    """Labels that Envoy Gateway puts on the pods of our Gateway."""
    return {
        "app.kubernetes.io/name": "envoy",
        "app.kubernetes.io/component": "proxy",
        "app.kubernetes.io/managed-by": "envoy-gateway",
        "gateway.envoyproxy.io/owning-gateway-name": GATEWAY_NAME,
        "gateway.envoyproxy.io/owning-gateway-namespace": namespace,
    }


def edge_problems(
    edge: Edge, environment: Environment, services: dict[str, list[str]], peers: dict[str, Peer], namespace: str
) -> Iterator[Problem]:
    """Everything that contradicts the rest of the stack. ``services`` maps names to their ``ingress_from``."""
    yield from _peer(edge, peers, namespace)
    yield from _routes(edge, services)
    yield from _admitted(edge, services, peers)
    if any(limit.scope is LimitScope.GLOBAL for limit in edge.rate_limits.values()) and edge.global_limits is None:
        yield Problem(
            path="edge.global_limits",
            has_value=False,
            allowed="required by rate limits of scope global: they are counted in Redis",
            fix="name the Redis, or use scope: local",
        )
    if edge.renderer is EdgeRenderer.NGINX:
        yield from _nginx(edge, environment)
    else:
        yield from _gateway(edge)


def _peer(edge: Edge, peers: dict[str, Peer], services_namespace: str) -> Iterator[Problem]:
    peer = peers.get(edge.peer)
    if peer is None:
        yield Problem.unknown_name(path="edge.peer", value=edge.peer, known=peers, where="cluster.peers")
        return
    path = f"cluster.peers.{edge.peer}"
    if peer.namespace is None or peer.namespace == services_namespace:
        yield Problem(
            path=f"{path}.namespace",
            value=peer.namespace,
            allowed="a namespace other than the services': what stands in the internet is kept apart",
            fix="name the namespace of the edge's pods",
        )
    elif edge.renderer is EdgeRenderer.GATEWAY and not peer.pod_labels.items() <= proxy_labels(peer.namespace).items():
        known = ", ".join(f"{key}: {value}" for key, value in proxy_labels(peer.namespace).items())
        yield Problem(
            path=f"{path}.pod_labels",
            value=dict(peer.pod_labels),
            allowed=f"labels that Envoy Gateway gives its proxies ({known}); others admit nobody",
            fix="choose among them",
        )


def _admitted(edge: Edge, services: dict[str, list[str]], peers: dict[str, Peer]) -> Iterator[Problem]:
    """Each routed service lets the edge in; a misspelt peer is told about by its own rule."""
    for service, callers in services.items():
        routes = sorted(name for name, route in edge.routes.items() if route.service == service)
        if not routes or edge.peer in callers or not {edge.peer, *callers} <= peers.keys():
            continue
        yield Problem(
            path=f"services.{service}.ingress_from",
            value=callers,
            allowed=f"must hold '{edge.peer}': the edge's routes {', '.join(routes)} lead there",
            fix=f"add '{edge.peer}', or route elsewhere",
        )


def _routes(edge: Edge, services: dict[str, list[str]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, route in edge.routes.items():
        path = f"edge.routes.{name}"
        if route.service not in services:
            yield Problem.unknown_name(path=f"{path}.service", value=route.service, known=services, where="services")
        if route.path in first:
            yield Problem(
                path=f"{path}.path",
                value=route.path,
                allowed="a path that no other route has",
                fix=f"change it; edge.routes.{first[route.path]} has this path already",
            )
        first.setdefault(route.path, name)


def _gateway(edge: Edge) -> Iterator[Problem]:
    for name, route in edge.routes.items():
        if route.balancing.hash_on is HashOn.URI:
            yield _only(
                f"edge.routes.{name}.balancing.hash_on",
                "uri",
                EdgeRenderer.NGINX,
                "Envoy Gateway hashes headers, cookies, query parameters and addresses only",
                "hash on a header",
            )
    if edge.max_header_kib != _ENVOY_HEADER_KIB:
        yield _only(
            "edge.max_header_kib",
            edge.max_header_kib,
            EdgeRenderer.NGINX,
            f"Envoy Gateway has no field for it, Envoy's own limit is {_ENVOY_HEADER_KIB}",
            f"set it to {_ENVOY_HEADER_KIB}",
        )
    if edge.client_address.source is AddressSource.HEADER and edge.tls.client_ca is None:
        yield _only(
            "edge.client_address.source",
            "header",
            EdgeRenderer.NGINX,
            "Envoy takes such a header from whoever connects, so that a forged one counts as long as the edge admits "
            "clients without a certificate",
            "use x-forwarded-for, or set edge.tls.client_ca",
        )


def _nginx(edge: Edge, environment: Environment) -> Iterator[Problem]:
    if environment is Environment.PROD:
        yield Problem(
            path="edge.renderer",
            value="nginx",
            allowed="gateway in prod: ingress-nginx ended in March 2026 and gets no security fixes",
            fix="set renderer: gateway",
        )
    kept = "ingress-nginx only follows the pods' readiness"
    for field in ("active_health_check", "passive_health_check"):
        if getattr(edge, field) is not None:
            yield _only(f"edge.{field}", "set", EdgeRenderer.GATEWAY, kept, "remove it")
    if edge.max_parallel_requests is not None:
        why = "ingress-nginx has no such limit"
        yield _only("edge.max_parallel_requests", edge.max_parallel_requests, EdgeRenderer.GATEWAY, why, "remove it")
    for name, route in edge.routes.items():
        if route.balancing.policy is Policy.LEAST_REQUEST:
            why = "ingress-nginx knows round robin, ewma and hashes"
            path = f"edge.routes.{name}.balancing.policy"
            yield _only(path, "least-request", EdgeRenderer.GATEWAY, why, "use round-robin")
    yield from _nginx_limits(edge)


def _nginx_limits(edge: Edge) -> Iterator[Problem]:
    seen: dict[RatePeriod, str] = {}
    for name, limit in edge.rate_limits.items():
        path = f"edge.rate_limits.{name}"
        if limit.by is LimitBy.HEADER:
            why = "ingress-nginx counts by client address only"
            yield _only(f"{path}.by", "header", EdgeRenderer.GATEWAY, why, "use client-address")
        if limit.scope is LimitScope.GLOBAL:
            why = "each ingress-nginx replica counts alone"
            yield _only(f"{path}.scope", "global", EdgeRenderer.GATEWAY, why, "use scope: local")
        if limit.per not in _NGINX_PERIODS:
            why = "ingress-nginx counts by second or minute"
            yield _only(f"{path}.per", str(limit.per), EdgeRenderer.GATEWAY, why, "use second or minute")
        elif limit.per in seen:
            why = f"ingress-nginx has one limit for each window, and {seen[limit.per]} has this one"
            yield _only(f"{path}.per", str(limit.per), EdgeRenderer.GATEWAY, why, "keep one of them")
        seen.setdefault(limit.per, name)


def _only(path: str, value: object, renderer: EdgeRenderer, why: str, otherwise: str) -> Problem:
    """A wish that one renderer can express and the chosen one cannot."""
    return Problem(
        path=path,
        value=value,
        allowed=f"only with edge.renderer {renderer}: {why}",
        fix=f"{otherwise}, or set renderer: {renderer}",
    )
