"""A client of the edge: one kept connection, from a chosen loopback address, over TLS or not."""

import http.client
import socket
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

HOST = "api.payments.com"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(kw_only=True)
class Client:
    """Addresses in 127.0.0.0/8 are all ours: each ``address`` is another client to the edge."""

    port: int
    address: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    _connection: http.client.HTTPConnection | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, body=body, headers={"Host": HOST, **(headers or {})})
        response = self._connection.getresponse()
        found = {key.lower(): value for key, value in response.getheaders()}
        answer = Answer(status=response.status, headers=found, body=response.read())
        if response.will_close:
            self.close()
        return answer

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers)

    def post(self, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"{}") -> Answer:
        return self.request("POST", path, headers, body)

    def burst(self, count: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[Counter[int], float]:
        """Statuses of so many requests one after the other, and how many seconds they took."""
        started = time.monotonic()
        statuses = Counter(self.get(path, headers).status for _ in range(count))
        return statuses, time.monotonic() - started

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS)
        plain = socket.create_connection(
            ("127.0.0.1", self.port), timeout=_TIMEOUT_SECONDS, source_address=(self.address, 0)
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = self.tls.wrap_socket(plain, server_hostname=HOST) if self.tls else plain
        return connection
