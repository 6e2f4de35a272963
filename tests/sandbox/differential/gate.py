"""A gate in front of the API server: every sync of the real controller waits until its inputs are in place.

The controller begins each sync by reading the scale of its target. Its connections pass through here; that one
request is held until the test says so. Everything else passes at once, byte by byte. The status that the controller
writes at the end of a sync is noted here, because the API server refuses it when the sync began with an older copy.
"""

import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sandbox.access import Access
from sandbox.ports import LOOPBACK
from tests.sandbox.differential.tls import TlsConnection

_SCALE = re.compile(r"GET /apis/apps/v1/namespaces/([^/]+)/deployments/[^/]+/scale[? ]")
_STATUS = re.compile(r"PUT /apis/autoscaling/v2/namespaces/([^/]+)/horizontalpodautoscalers/[^/]+/status[? ]")
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
_BLOCK_BYTES = 65536
_MAXIMUM_HEAD_BYTES = 65536


@dataclass(slots=True)
class Turnstile:
    """One namespace's syncs: they arrive, and each is let through by one ``release``."""

    _changed: threading.Condition = field(default_factory=threading.Condition)
    _waiting: int = 0
    _permits: int = 0
    _open: bool = False

    def enter(self) -> None:
        """Called by the proxy: wait until released."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open or self._permits > 0)
            self._permits = max(0, self._permits - 1)
            self._waiting -= 1

    def await_arrival(self, timeout_seconds: float) -> bool:
        """Whether a sync stands at the gate before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting > self._permits, timeout_seconds)

    def release(self) -> float:
        """Let the waiting sync through; returns the moment (Unix seconds)."""
        with self._changed:
            self._permits += 1
            self._changed.notify_all()
            return time.time()

    def open(self) -> None:
        """Hold nothing any more."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


class Gate:
    """A proxy on loopback that speaks plain HTTP to the controller and TLS to the API server."""

    def __init__(self, access: Access) -> None:
        """Listen on a free port; ``access`` is that of the API server behind."""
        server = urlsplit(access.server)
        self._upstream = (server.hostname or LOOPBACK, server.port or 443)
        self._authorization = f"Authorization: Bearer {access.token}\r\n".encode()
        # Whoever does not know the path gets no answer: behind it, everybody is the administrator.
        self._path = f"/{secrets.token_urlsafe(16)}".encode()
        self._tls = ssl.create_default_context(cafile=str(access.certificate_authority))
        self._turnstiles: dict[str, Turnstile] = {}
        self._statuses: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self._sockets: set[socket.socket] = set()
        self._servers: set[TlsConnection] = set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """The server to name in the controller's kubeconfig; its path is the only credential."""
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}{self._path.decode()}"

    @contextmanager
    def turnstile(self, namespace: str) -> Iterator[Turnstile]:
        """Hold the syncs of one namespace while the block runs."""
        made = Turnstile()
        with self._lock:
            self._turnstiles[namespace] = made
        try:
            yield made
        finally:
            with self._lock:
                del self._turnstiles[namespace]
            made.open()

    def take_status(self, namespace: str) -> dict[str, Any] | None:
        """The autoscaler's status as last written since the last call; ``None``: it was not, for nothing changed."""
        with self._lock:
            return self._statuses.pop(namespace, None)

    def close(self) -> None:
        """End every connection."""
        self._closed = True
        with self._lock:
            turnstiles, sockets, servers = list(self._turnstiles.values()), list(self._sockets), list(self._servers)
        for turnstile in turnstiles:
            turnstile.open()
        for each in (self._listener, *sockets):
            _shut(each)
        for server in servers:
            server.shut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = TlsConnection(self._tls, self._upstream)
        except OSError:
            _shut(client)
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.add(client)
            self._servers.add(server)
        pump = threading.Thread(target=_pump, args=(server, client), daemon=True)
        pump.start()
        try:
            with suppress(OSError):
                self._requests(client, server)
        finally:
            with self._lock:
                self._sockets.discard(client)
                self._servers.discard(server)
            _shut(client)
            server.shut()
            pump.join()
            server.close()

    def _requests(self, client: socket.socket, server: TlsConnection) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                block = client.recv(_BLOCK_BYTES)
                if not block or len(buffer) > _MAXIMUM_HEAD_BYTES:
                    return
                buffer += block
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            method, _, rest = head.partition(b" ")
            if not rest.startswith(self._path + b"/"):
                return
            head = method + b" " + rest.removeprefix(self._path)
            assert not _CHUNKED.search(head), "the controller's client states the length of what it sends"
            length = _LENGTH.search(head)
            missing = (int(length.group(1)) if length else 0) - len(buffer)
            while missing > 0:
                block = client.recv(min(missing, _BLOCK_BYTES))
                if not block:
                    return
                buffer, missing = buffer + block, missing - len(block)
            body, buffer = buffer[: len(buffer) + missing], buffer[len(buffer) + missing :]
            self._look(head, body)
            line, rest = head.split(b"\r\n", 1)
            server.sendall(line + b"\r\n" + self._authorization + rest + b"\r\n\r\n" + body)

    def _look(self, head: bytes, body: bytes) -> None:
        text = head.decode("latin-1")
        written, read = _STATUS.match(text), _SCALE.match(text)
        if written:
            status = json.loads(body)["status"]
            with self._lock:
                self._statuses[written.group(1)] = status
        if read:
            with self._lock:
                turnstile = self._turnstiles.get(read.group(1))
            if turnstile is not None:
                turnstile.enter()


def _pump(source: TlsConnection, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK_BYTES):
            sink.sendall(block)
    _shut(sink)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        each.close()
