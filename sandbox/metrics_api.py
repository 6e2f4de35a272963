"""A metrics API server whose values are set by hand: external.metrics.k8s.io and metrics.k8s.io.

Run as ``python -m sandbox.metrics_api STATE_FOLDER PORT``. The API server reaches it through an APIService that
names a Service of type ExternalName, so the real HPA controller reads it as it reads any adapter.
"""

import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.access import read_access
from sandbox.files import PRIVATE_MODE, write_text
from sandbox.layout import Layout
from sandbox.metric_values import container_usage, external_value, read_values
from sandbox.ports import LOOPBACK

EXTERNAL_GROUP = "external.metrics.k8s.io"
RESOURCE_GROUP = "metrics.k8s.io"
VERSION = "v1beta1"
_CERTIFICATE_DAYS = 365
_WINDOW_SECONDS = 15
_IDLE_SECONDS = 120


def main() -> None:
    """Serve until ended."""
    layout, port = Layout(Path(sys.argv[1])), int(sys.argv[2])
    server = ThreadingHTTPServer((LOOPBACK, port), _handler(layout))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(layout))
    # The handshake is left to each connection's own thread: a client that connects and stays silent would
    # otherwise block every autoscaler.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def answer(layout: Layout, path: str, query: dict[str, list[str]]) -> dict[str, Any] | None:
    """The document for a request path; ``None`` for one that does not exist."""
    parts = path.strip("/").split("/")
    if parts[:1] != ["apis"] or len(parts) < 3 or parts[2] != VERSION:  # noqa: PLR2004 # apis/GROUP/VERSION
        return None
    group, rest = parts[1], parts[3:]
    if not rest:
        return _resource_list(group)
    if group == EXTERNAL_GROUP and len(rest) == 3:  # noqa: PLR2004 # namespaces/NAME/METRIC
        return _external(layout, rest[2], query)
    if group == RESOURCE_GROUP and rest[0] == "namespaces" and rest[2:3] == ["pods"]:
        return _pods(layout, rest[1], query)
    return None


def _external(layout: Layout, metric: str, query: dict[str, list[str]]) -> dict[str, Any]:
    selector = dict(part.split("=", 1) for part in ",".join(query.get("labelSelector", [])).split(",") if "=" in part)
    value = external_value(read_values(layout.metrics), metric, selector)
    item = {"metricName": metric, "metricLabels": selector, "timestamp": _now(), "value": str(value)}
    items = [] if value is None else [item]
    return {
        "kind": "ExternalMetricValueList",
        "apiVersion": f"{EXTERNAL_GROUP}/{VERSION}",
        "metadata": {},
        "items": items,
    }


def _pods(layout: Layout, namespace: str, query: dict[str, list[str]]) -> dict[str, Any]:
    values = read_values(layout.metrics)
    selector = query.get("labelSelector", [""])[0]
    items = [_pod_metrics(values, pod) for pod in _running_pods(layout, namespace, selector)]
    return {"kind": "PodMetricsList", "apiVersion": f"{RESOURCE_GROUP}/{VERSION}", "metadata": {}, "items": items}


def _running_pods(layout: Layout, namespace: str, selector: str) -> list[dict[str, Any]]:
    access = read_access(layout.kubeconfig)
    with urllib3.PoolManager(ca_certs=str(access.certificate_authority), retries=False, timeout=5.0) as pool:
        response = pool.request(
            "GET",
            f"{access.server}/api/v1/namespaces/{namespace}/pods",
            fields={"labelSelector": selector} if selector else {},
            headers={"Authorization": f"Bearer {access.token}"},
        )
    pods: list[dict[str, Any]] = response.json().get("items", [])
    return [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]


def _pod_metrics(values: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    meta = pod["metadata"]
    workload = meta.get("labels", {}).get("app", "")
    containers = []
    for container in pod["spec"]["containers"]:
        usage = container_usage(values, workload, container.get("resources", {}).get("requests", {}))
        amounts = {"cpu": f"{usage.cpu_nanocores}n", "memory": str(usage.memory_bytes)}
        containers.append({"name": container["name"], "usage": amounts})
    return {
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": meta.get("labels", {})},
        "timestamp": _now(),
        "window": f"{_WINDOW_SECONDS}s",
        "containers": containers,
    }


def _resource_list(group: str) -> dict[str, Any]:
    pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
    resources = [pods] if group == RESOURCE_GROUP else []
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{VERSION}",
        "resources": resources,
    }


def _handler(layout: Layout) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # header and body are two writes; the second would wait for an acknowledgement
        timeout = _IDLE_SECONDS

        def do_GET(self) -> None:  # the base class's name
            url = urlsplit(self.path)
            document = {} if url.path == "/healthz" else answer(layout, url.path, parse_qs(url.query))
            body = json.dumps(document or {}).encode()
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
            """One request a second per autoscaler is no news."""

    return Handler


def _certificate(layout: Layout) -> Path:
    """A key and a certificate that nobody verifies: the APIService says so, and the port is on loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    write_text(layout.metrics_certificate, pem.decode(), mode=PRIVATE_MODE)
    return layout.metrics_certificate


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
