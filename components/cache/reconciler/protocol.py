"""The few commands' worth of Redis protocol (RESP2) that the reconciler needs, over TLS.

A library would need an image of its own; the image of Python has none (redis.io, "Redis serialization protocol").
"""

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

Reply = bytes | int | list["Reply"] | None
_BUFFER_BYTES = 1 << 16


class ServerError(Exception):
    """The server refused a command; the text is its own and never repeats arguments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How to reach any member: credentials and, unless ``tls`` is None, the authority that signed its certificate."""

    user: str
    auth: str
    tls: ssl.SSLContext | None
    timeout_seconds: float = 5.0

    def __repr__(self) -> str:
        return f"Access(user={self.user!r})"

    @classmethod
    def from_environment(cls) -> "Access":
        """From CACHE_USER, CACHE_PASSWORD_FILE and CACHE_CA_FILE (absent: no TLS)."""
        authority = os.environ.get("CACHE_CA_FILE")
        return cls(
            user=os.environ["CACHE_USER"],
            auth=Path(os.environ["CACHE_PASSWORD_FILE"]).read_text(encoding="utf-8").strip(),
            tls=ssl.create_default_context(cafile=authority) if authority else None,
        )


class Connection:
    """One connection; raises ``OSError`` when the member cannot be reached, ``ServerError`` when it refuses."""

    def __init__(self, host: str, port: int, access: Access) -> None:
        self._socket = socket.create_connection((host, port), timeout=access.timeout_seconds)
        try:
            if access.tls is not None:
                self._socket = access.tls.wrap_socket(self._socket, server_hostname=host)
            self._received = bytearray()
            self.address = str(self._socket.getpeername()[0])
            """Address that the host's name led to."""
            self.call("AUTH", access.user, access.auth)
        except BaseException:
            self._socket.close()
            raise

    def call(self, *arguments: str | int | bytes) -> Reply:
        """Send one command and return its reply."""
        self.send(*arguments)
        return self.receive()

    def send(self, *arguments: str | int | bytes) -> None:
        """Send one command without waiting for its reply."""
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
        frame = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), frame))

    def receive(self) -> Reply:
        """Wait for one reply."""
        kind, rest = self._line()
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ServerError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.receive() for _ in range(int(rest))]
        raise ServerError(f"a reply of unknown kind {kind!r}")

    def text(self, *arguments: str | int | bytes) -> str:
        """The reply as text; for commands that answer with one."""
        reply = self.call(*arguments)
        return reply.decode() if isinstance(reply, bytes) else str(reply)

    def close(self) -> None:
        """Close the connection; what it held on the server is gone with it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> tuple[bytes, bytes]:
        while (end := self._received.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        return line[:1], line[1:]

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size + 2:
            self._fill()
        content = bytes(self._received[:size])
        del self._received[: size + 2]
        return content

    def _fill(self) -> None:
        more = self._socket.recv(_BUFFER_BYTES)
        if not more:
            raise ConnectionError("the server closed the connection")
        self._received += more
