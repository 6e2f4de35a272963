"""What both renderers need to know, worked out once from the neutral model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from components.base.labels import Labels
from components.base.manifests import Manifest, metadata
from settings.base import Environment
from settings.cluster import Peer
from settings.edge import Edge, LimitScope, Route

CERTIFICATE_SECRET = "edge-tls"  # noqa: S105 # a name
CONTROLLER_CONFIG = "edge-controller-config"
RATE_LIMITED_STATUS = 429
ANY_ADDRESS = ("0.0.0.0/0", "::/0")
HSTS = "max-age=31536000; includeSubDomains"
READ_METHODS = ("GET", "HEAD")
_ERRORS = {
    403: ("forbidden", "this address may not call this resource"),
    413: ("body_too_large", "the request's body is larger than the API accepts"),
    RATE_LIMITED_STATUS: ("rate_limited", "too many requests; try again after the time in Retry-After"),
    503: ("unavailable", "no instance can answer at the moment"),
    504: ("timed_out", "the answer took too long; the outcome is unknown, ask for it with the Idempotency-Key"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeContext:
    """The edge's settings and its surroundings."""

    edge: Edge
    environment: Environment
    services_namespace: str
    peer: Peer
    """The edge's own pods, as the services admit them."""
    service_ports: Mapping[str, int]
    """Service name → port of its API."""

    @property
    def namespace(self) -> str:
        """Where the edge's pods run. Settings require it; see ``settings/edge_rules.py``."""
        if self.peer.namespace is None:
            message = "the edge's peer has no namespace"
            raise ValueError(message)
        return self.peer.namespace

    @property
    def labels(self) -> Labels:
        """Labels of the edge's objects. Card data passes through it, so it is in scope."""
        return Labels(name="edge", environment=self.environment, owner="platform", pci_scope="cde")

    def backend(self, route: Route) -> tuple[str, int]:
        """Name and port of the Service behind a route."""
        return f"{route.service}-svc", self.service_ports[route.service]


def error_bodies(edge: Edge) -> dict[int, tuple[str, dict[str, str]]]:
    """Status → JSON body and headers of the answers that the edge gives itself; none of them may be cached."""
    answers = {}
    for status, (code, message) in _ERRORS.items():
        # The replaced answer passes no further filter, so that it has to bring every header itself.
        headers = {"Cache-Control": "no-store", "Strict-Transport-Security": HSTS}
        if status == RATE_LIMITED_STATUS:
            headers |= {"Retry-After": str(retry_after_seconds(edge)), "RateLimit-Policy": rate_limit_policy(edge)}
        body = json.dumps({"error": code, "message": message, "status": status}, separators=(",", ":"))
        answers[status] = (body, headers)
    return answers


def retry_after_seconds(edge: Edge) -> int:
    """After how many seconds a refused client may succeed, whichever limit refused it.

    A local limit is a bucket that fills evenly: one more request after window/requests. A global one is a fixed
    window that may only just have begun.
    """
    waits = (
        limit.per.seconds if limit.scope is LimitScope.GLOBAL else ceil(limit.per.seconds / limit.requests)
        for limit in edge.rate_limits.values()
    )
    return max(waits)


def rate_limit_policy(edge: Edge) -> str:
    """All limits as the header ``RateLimit-Policy`` names them (draft-ietf-httpapi-ratelimit-headers)."""
    return ", ".join(
        f'"{name}";q={limit.requests};w={limit.per.seconds}' for name, limit in sorted(edge.rate_limits.items())
    )


def plan_certificate(context: EdgeContext, namespace: str) -> Manifest:
    """cert-manager's request for the host's certificate, with a new key at every renewal."""
    edge = context.edge
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": metadata(CERTIFICATE_SECRET, labels=context.labels.of("tls"), namespace=namespace),
        "spec": {
            "secretName": CERTIFICATE_SECRET,
            "dnsNames": [edge.host],
            "issuerRef": {"group": "cert-manager.io", "kind": edge.tls.issuer_kind, "name": edge.tls.issuer},
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
        },
    }


def plan_controller_config(context: EdgeContext, namespace: str, data: Mapping[str, str]) -> Manifest:
    """What the controller itself must be configured with; its installer passes it on (docs/edge.md)."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(CONTROLLER_CONFIG, labels=context.labels.of("controller"), namespace=namespace),
        "data": dict(data),
    }
