"""An HTTPS server on loopback that answers GETs with JSON: what an APIService can name."""

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.files import PRIVATE_MODE, write_text
from sandbox.metric_documents import Document
from sandbox.ports import LOOPBACK

_CERTIFICATE_DAYS = 365
_IDLE_SECONDS = 120
_WAITING_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """Status code and body."""

    status: int
    document: Document


Query = dict[str, list[str]]
Respond = Callable[[str, Query], Answer]
"""Path and parameters → answer. Called by many threads at once."""


class MetricsServer(ThreadingHTTPServer):
    """Serves ``respond`` and ``/healthz``; the certificate is written where ``certificate`` says."""

    daemon_threads = True
    request_queue_size = _WAITING_CONNECTIONS

    def __init__(self, certificate: Path, port: int, respond: Respond) -> None:
        super().__init__((LOOPBACK, port), _handler(respond))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_write_certificate(certificate))
        # The handshake is left to each connection's own thread: a client that connects and stays silent would
        # otherwise block every autoscaler.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def _handler(respond: Respond) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # header and body are two writes; the second would wait for an acknowledgement
        timeout = _IDLE_SECONDS

        def do_GET(self) -> None:  # the base class's name
            url = urlsplit(self.path)
            answer = Answer(200, {}) if url.path == "/healthz" else respond(url.path, parse_qs(url.query))
            body = json.dumps(answer.document).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
            """One request a second per autoscaler is no news."""

    return Handler


def _write_certificate(path: Path) -> Path:
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
    write_text(path, pem.decode(), mode=PRIVATE_MODE)
    return path
