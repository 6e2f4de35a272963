"""A small client of the Kubernetes REST API: keep-alive connections, JSON, errors as the server states them."""

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.util import Retry, Timeout

from sandbox.plugins.kubernetes.errors import ApiError, ProviderError, UnreachableError
from sandbox.plugins.kubernetes.kubeconfig import Cluster

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 60.0
CONNECTIONS = 32
APPLY = "application/apply-patch+yaml"  # JSON is YAML
_FIRST_ERROR_STATUS = 400

Method = Literal["GET", "POST", "PATCH", "DELETE"]


class KubeClient:
    """Talks to one API server. Safe to use from many threads."""

    def __init__(self, cluster: Cluster) -> None:
        self.server = cluster.server
        self._token_file = cluster.token_file
        self._headers = {"Accept": "application/json", "User-Agent": "payments-platform-provider"}
        if cluster.token:
            self._headers["Authorization"] = f"Bearer {cluster.token}"
        elif cluster.username:
            self._headers |= urllib3.make_headers(basic_auth=f"{cluster.username}:{cluster.password or ''}")
        self._prefix, self._pool = self._connect(cluster)
        self._lock = threading.Lock()

    @staticmethod
    def _connect(cluster: Cluster) -> tuple[str, urllib3.HTTPConnectionPool]:
        address = urlsplit(cluster.server)
        if address.scheme not in {"http", "https"} or not address.hostname:
            message = f"the kubeconfig's server {cluster.server!r} is not an http(s) address"
            raise ProviderError(message)
        timeout = Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)
        if address.scheme == "http":
            pool: urllib3.HTTPConnectionPool = urllib3.HTTPConnectionPool(
                address.hostname, address.port or 80, maxsize=CONNECTIONS, timeout=timeout
            )
        else:
            pool = urllib3.HTTPSConnectionPool(
                address.hostname,
                address.port or 443,
                maxsize=CONNECTIONS,
                timeout=timeout,
                ssl_context=_tls(cluster),
                assert_hostname=False if cluster.insecure else cluster.server_name,
                server_hostname=cluster.server_name,
            )
        return address.path.rstrip("/"), pool

    def request(
        self,
        method: Method,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One call; the decoded answer. Raises ``ApiError`` or ``UnreachableError``."""
        response = self._send(
            method,
            path,
            body=json.dumps(body, separators=(",", ":")).encode() if body is not None else None,
            query=query,
            headers={"Content-Type": content_type} if body is not None else {},
            stream=False,
        )
        if response.status >= _FIRST_ERROR_STATUS:
            raise ApiError(response.status, _status_of(response.data))
        answer = json.loads(response.data)
        if not isinstance(answer, dict):
            message = f"the API server at {self.server} answered {method} {path} with something else than an object"
            raise ProviderError(message)
        return answer

    def watch(self, path: str, *, query: Mapping[str, str], timeout_seconds: int) -> Iterator[dict[str, Any]]:
        """Events of a collection until the server ends the stream. Raises like ``request``."""
        response = self._send(
            "GET",
            path,
            body=None,
            query={**query, "watch": "1", "timeoutSeconds": str(timeout_seconds)},
            headers={},
            stream=True,
        )
        try:
            if response.status >= _FIRST_ERROR_STATUS:
                raise ApiError(response.status, _status_of(response.data))
            yield from _events(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(self.server, type(error).__name__) from error
        finally:
            response.close()

    def _send(
        self,
        method: Method,
        path: str,
        *,
        body: bytes | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        stream: bool,
    ) -> urllib3.BaseHTTPResponse:
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        # A connection that the server has closed between two calls is opened again; a refused one is not.
        retries = Retry(total=2, connect=0, read=2, redirect=0, status=0, other=0, allowed_methods=None)
        try:
            return self._pool.urlopen(
                method,
                target,
                body=body,
                headers={**self._headers, **self._fresh_token(), **headers},
                retries=retries,
                redirect=False,
                preload_content=not stream,
                decode_content=True,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(self.server, _why(error)) from error

    def _fresh_token(self) -> dict[str, str]:
        """Mounted tokens are renewed in place."""
        if self._token_file is None:
            return {}
        with suppress(OSError):
            return {"Authorization": f"Bearer {Path(self._token_file).read_text(encoding='utf-8').strip()}"}
        return {}


def _status_of(data: bytes) -> dict[str, Any]:
    try:
        status = json.loads(data)
    except ValueError:
        return {"message": data[:300].decode(errors="replace").strip()}
    return status if isinstance(status, dict) else {}


def _events(response: urllib3.BaseHTTPResponse) -> Iterator[dict[str, Any]]:
    rest = b""
    while chunk := response.read1():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def _why(error: BaseException) -> str:
    """The innermost reason: what the operating system or TLS said."""
    reason: BaseException = error
    for _ in range(5):
        inner = getattr(reason, "reason", None)
        if isinstance(inner, BaseException):
            reason = inner
        elif reason.__cause__ is not None:
            reason = reason.__cause__
        else:
            break
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason).rsplit(": ", 1)[-1] or type(reason).__name__


def _tls(cluster: Cluster) -> ssl.SSLContext:
    tls = ssl.create_default_context(
        cafile=None if cluster.ca_data else cluster.ca_file,
        cadata=base64.b64decode(cluster.ca_data).decode() if cluster.ca_data else None,
    )
    if cluster.insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    elif cluster.server_name:
        tls.check_hostname = False  # urllib3 checks the name that the kubeconfig states instead
    _load_client_certificate(tls, cluster)
    return tls


def _load_client_certificate(tls: ssl.SSLContext, cluster: Cluster) -> None:
    if not (cluster.certificate_file or cluster.certificate_data):
        return
    # The ssl module reads key pairs from files only; both are private to this user and gone at once.
    with tempfile.TemporaryDirectory(prefix="payments-kubeconfig-") as folder:
        certificate = _as_file(folder, "crt", cluster.certificate_data, cluster.certificate_file)
        key = _as_file(folder, "key", cluster.key_data, cluster.key_file)
        tls.load_cert_chain(certificate or "", key)


def _as_file(folder: str, name: str, data: str | None, file: str | None) -> str | None:
    if not data:
        return file
    path = Path(folder, name)
    path.write_bytes(base64.b64decode(data))
    return str(path)
