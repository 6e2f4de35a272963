"""The dev stack's edge, with changes, on a real Envoy before local upstreams."""

import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import envoy
from sandbox.envoy import Bootstrap, Certificates, Envoy
from sandbox.ports import free_port
from tests.real.edge import pki
from tests.real.edge.client import Client
from tests.real.edge.upstream import Upstream, serving
from tests.unit.stacks import REMOVED, manifests_of

PAYMENTS, WALLETS, DOCS = "/api/v1/payments", "/api/v1/wallets", "/docs"
SERVICES = ("payment-service-svc", "wallet-service-svc")
TRUSTED, STRANGER, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
# Only this address of the loopback network plays the CDN; health checks would keep Envoy waiting for bad upstreams.
BASE: Mapping[str, object] = {
    "edge/accept_from": [f"{TRUSTED}/32"],
    "edge/active_health_check": REMOVED,
    "edge/passive_health_check": REMOVED,
}
NO_LIMIT: Mapping[str, object] = {
    "edge/rate_limits": {"per-address": {"by": "client-address", "requests": 1_000_000, "per": "second"}}
}


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A running edge: its proxy, its upstreams by Service, and how to call it."""

    envoy: Envoy
    upstreams: Mapping[str, list[Upstream]]
    tls: ssl.SSLContext

    @property
    def payments(self) -> list[Upstream]:
        return self.upstreams["payment-service-svc"]

    @property
    def wallets(self) -> list[Upstream]:
        return self.upstreams["wallet-service-svc"]

    def client(self, address: str = STRANGER, *, tls: ssl.SSLContext | None = None) -> Client:
        return Client(port=self.envoy.config.ports["https"], address=address, tls=tls or self.tls)

    def plain_client(self, address: str = STRANGER) -> Client:
        return Client(port=self.envoy.config.ports["http"], address=address)

    def stat(self, route: str, name: str) -> int:
        return self.envoy.stat(rf"cluster.httproute/payments/{route}/rule/0.{name}")


def edge_manifests(changes: Mapping[str, object], stack: str = "dev") -> list[dict[str, Any]]:
    return list(manifests_of(stack, {**BASE, **changes}).values())


def translated(
    egctl: Path, manifests: Sequence[dict[str, Any]], certificates: Certificates, folder: Path, *, to: str = "xds"
) -> dict[str, Any]:
    secrets = certificates.as_secrets({"tls": "edge-tls", "ca": "origin-pull-ca"}, "edge")
    return envoy.translate(egctl, [*envoy.translatable(manifests), *secrets], folder, to=to)


def certificates_in(folder: Path) -> Certificates:
    pair = pki.server(folder)
    client = pki.self_signed("cdn.example.com", folder)
    return Certificates(certificate=pair.certificate, key=pair.key, client_ca=client.certificate)


_dumps: dict[str, str] = {}


def _dump(egctl: Path, manifests: str, certificates: Certificates, folder: Path) -> dict[str, Any]:
    """Translated once for the same manifests: no key or address of a test is part of the result."""
    if manifests not in _dumps:
        _dumps[manifests] = json.dumps(translated(egctl, json.loads(manifests), certificates, folder))
    dump: dict[str, Any] = json.loads(_dumps[manifests])
    return dump


@contextlib.contextmanager
def running(
    egctl: Path, folder: Path, changes: Mapping[str, object], *, payments: int = 1, dead: int = 0
) -> Iterator[Rig]:
    """The edge with so many payment upstreams, and further endpoints of them at which nobody listens."""
    certificates = certificates_in(folder)
    dump = _dump(egctl, json.dumps(edge_manifests(changes)), certificates, folder)
    names = [f"payment-{position}" for position in range(payments)]
    with serving(*names, "wallet-0") as upstreams:
        by_service = {SERVICES[0]: upstreams[:payments], SERVICES[1]: upstreams[payments:]}
        ports = {service: [upstream.port for upstream in found] for service, found in by_service.items()}
        ports[SERVICES[0]] += [free_port() for _ in range(dead)]
        config: Bootstrap = envoy.bootstrap(dump, ports, certificates)
        with Envoy(config=config, folder=folder) as proxy:
            context = ssl.create_default_context(cafile=certificates.certificate)
            yield Rig(envoy=proxy, upstreams=by_service, tls=context)
