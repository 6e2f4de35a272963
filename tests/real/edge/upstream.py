"""Local upstreams that remember every request, and behave as a test tells them to."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

READY_PATH = "/health/ready"


@dataclass(kw_only=True)
class Upstream:
    """One pod's stand-in: what it does at a path is set by it, everything else answers 200."""

    name: str
    port: int = 0
    delay_seconds: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    hang_up_after_reading: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path and headers (lower case), health checks left out."""
    released: threading.Event = field(default_factory=threading.Event)

    def seen(self, path: str | None = None) -> int:
        return sum(1 for _, seen, _ in self.requests if path is None or seen == path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    upstream: Upstream

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # TCP_NODELAY: headers and body leave at once

    def do_GET(self) -> None:
        upstream, path = self.server.upstream, self.path.partition("?")[0]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path != READY_PATH:
            headers = {key.lower(): value for key, value in self.headers.items()}
            upstream.requests.append((self.command, path, headers))
        if path in upstream.hang_up_after_reading:
            self.close_connection = True
            return
        if delay := upstream.delay_seconds.get(path):
            upstream.released.wait(delay)
        body = json.dumps({"upstream": upstream.name, "path": self.path}).encode()
        self.send_response(upstream.statuses.get(path, 200))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_GET  # noqa: N815 # the base class's names

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextlib.contextmanager
def serving(*names: str) -> Iterator[list[Upstream]]:
    """Upstreams on free loopback ports while the block runs."""
    servers: list[_Server] = []
    try:
        upstreams = []
        for name in names:
            server = _Server(("127.0.0.1", 0), _Handler)
            server.upstream = Upstream(name=name, port=server.server_address[1])
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            servers.append(server)
            upstreams.append(server.upstream)
        yield upstreams
    finally:
        for server in servers:
            server.upstream.released.set()
            server.shutdown()
            server.server_close()


def counts(upstreams: list[Upstream], path: str) -> Counter[str]:
    return Counter({upstream.name: upstream.seen(path) for upstream in upstreams})


def until(condition: Any, *, seconds: float = 60.0) -> bool:
    """Whether a condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
