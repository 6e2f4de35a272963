"""The edge as ingress-nginx objects: the plan's Ingress, with annotations that its controller knows."""

from typing import Any

from components.base.manifests import Manifest, metadata
from components.edge.model import CERTIFICATE_SECRET, EdgeContext, plan_certificate, plan_controller_config
from settings.edge import AddressSource, Edge, HashOn, Policy, RatePeriod, RetryOn, Route

INGRESS = "payment-api-ingress"
INGRESS_CLASS = "nginx"
ANNOTATION_PREFIX = "nginx.ingress.kubernetes.io/"
# Without it the controller allows five times the limit at once; 0 would space requests out evenly.
_BURST_MULTIPLIER = "1"
_HEADER_BUFFERS = 4
_LIMITS = {RatePeriod.SECOND: "limit-rps", RatePeriod.MINUTE: "limit-rpm"}
# nginx never repeats a POST that it has sent, unless it is told to by `non_idempotent`, which is never rendered.
_NEXT_UPSTREAM = {
    RetryOn.CONNECT_FAILURE: ("error",),
    RetryOn.REFUSED_STREAM: (),
    RetryOn.RESET_BEFORE_REQUEST: (),
    RetryOn.RESET: ("error", "timeout"),
    RetryOn.GATEWAY_ERROR: ("http_502", "http_503", "http_504"),
}


def plan_nginx(context: EdgeContext) -> dict[str, Manifest]:
    """Role → manifest. Annotations belong to a whole Ingress: routes that differ in them get one of their own."""
    manifests = {
        "controller-config": plan_controller_config(
            context, context.services_namespace, controller_config(context.edge)
        ),
        "certificate": plan_certificate(context, context.services_namespace),
    }
    groups: dict[tuple[tuple[str, str], ...], list[Route]] = {}
    names: dict[tuple[tuple[str, str], ...], str] = {}
    for name, route in sorted(context.edge.routes.items()):
        key = tuple(annotations(context, route).items())
        groups.setdefault(key, []).append(route)
        names.setdefault(key, name)
    first = next(iter(groups))
    for key, routes in groups.items():
        name = INGRESS if key is first else f"{INGRESS}-{names[key]}"
        role = "ingress" if key is first else f"ingress-{names[key]}"
        manifests[role] = _ingress(context, name, dict(key), routes)
    return manifests


def annotations(context: EdgeContext, route: Route) -> dict[str, str]:
    """A route's annotations, prefix included."""
    edge = context.edge
    found = {
        "ssl-redirect": "true",
        "force-ssl-redirect": "true",
        "proxy-body-size": f"{edge.max_body_kib}k",
        "proxy-connect-timeout": str(route.timeouts.connect_seconds),
        "proxy-read-timeout": str(route.timeouts.try_seconds),
        "proxy-send-timeout": str(route.timeouts.try_seconds),
        **_limits(edge),
        **_retries(route),
        **_balancing(route),
    }
    if route.allow_from:
        found["whitelist-source-range"] = ",".join(route.allow_from)
    if edge.tls.client_ca is not None:
        found["auth-tls-secret"] = f"{context.services_namespace}/{edge.tls.client_ca}"
        found["auth-tls-verify-client"] = "on"
    return {ANNOTATION_PREFIX + key: value for key, value in found.items()}


def controller_config(edge: Edge) -> dict[str, str]:
    """The controller's own ConfigMap (its flag ``--configmap``): what an Ingress cannot say."""
    config = {
        "limit-req-status-code": "429",
        "limit-conn-status-code": "429",
        "custom-http-errors": "",
        "allow-snippet-annotations": "false",
        "annotations-risk-level": "High",  # upstream-hash-by is of that level
        "large-client-header-buffers": f"{_HEADER_BUFFERS} {edge.max_header_kib // _HEADER_BUFFERS}k",
        "ssl-protocols": "TLSv1.3" if edge.tls.min_version == "1.3" else "TLSv1.2 TLSv1.3",
        "hsts": "true",
        "hsts-max-age": "31536000",
        "use-forwarded-headers": "false",
    }
    if edge.client_address.source is not AddressSource.CONNECTION:
        config |= {
            "enable-real-ip": "true",
            "forwarded-for-header": edge.client_address.header or "X-Forwarded-For",
            "proxy-real-ip-cidr": ",".join(edge.accept_from),
        }
    return config


def _limits(edge: Edge) -> dict[str, str]:
    limits = edge.rate_limits.values()
    rates = {_LIMITS[limit.per]: str(limit.requests) for limit in limits if limit.per in _LIMITS}
    return {**rates, "limit-burst-multiplier": _BURST_MULTIPLIER}


def _retries(route: Route) -> dict[str, str]:
    conditions = list(dict.fromkeys(word for reason in route.retries.on for word in _NEXT_UPSTREAM[reason]))
    if not route.retries.attempts or not conditions:
        return {"proxy-next-upstream": "off"}
    return {
        "proxy-next-upstream": " ".join(conditions),
        "proxy-next-upstream-tries": str(route.retries.attempts + 1),
        "proxy-next-upstream-timeout": str(route.timeouts.request_seconds),
    }


def _balancing(route: Route) -> dict[str, str]:
    """Either key alone: beside ``upstream-hash-by`` the controller ignores ``load-balance``."""
    balancing = route.balancing
    if balancing.policy is not Policy.HASH:
        return {"load-balance": "round_robin"}
    match balancing.hash_on:
        case HashOn.URI:
            variable = "$request_uri"
        case HashOn.HEADER:
            variable = "$http_" + (balancing.header or "").lower().replace("-", "_")
        case _:
            variable = "$remote_addr"
    return {"upstream-hash-by": variable}


def _ingress(context: EdgeContext, name: str, notes: dict[str, str], routes: list[Route]) -> Manifest:
    paths = [_path(context, route) for route in routes]
    labels = context.labels.of("route")
    host = context.edge.host
    spec: dict[str, Any] = {
        "ingressClassName": INGRESS_CLASS,
        "tls": [{"hosts": [host], "secretName": CERTIFICATE_SECRET}],
        "rules": [{"host": host, "http": {"paths": paths}}],
    }
    meta = metadata(name, labels=labels, namespace=context.services_namespace, annotations=notes)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def _path(context: EdgeContext, route: Route) -> dict[str, Any]:
    service, port = context.backend(route)
    backend = {"service": {"name": service, "port": {"number": port}}}
    return {"path": route.path, "pathType": "Prefix", "backend": backend}
