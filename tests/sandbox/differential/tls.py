"""A TLS connection that one thread reads while another one writes.

OpenSSL's connections are not safe for two threads at once, and Python before 3.13 does not keep them apart: the process
was aborted. Here each call of OpenSSL returns at once, and the waiting is done outside the lock.
"""

import select
import socket
import ssl
import threading
from contextlib import suppress

_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_LOOK_MILLISECONDS = 1000


class TlsConnection:
    """The client's end of a connection; every method may be called from any thread."""

    def __init__(self, context: ssl.SSLContext, address: tuple[str, int]) -> None:
        """Connect and shake hands. Raises ``OSError``."""
        plain = socket.create_connection(address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=address[0])
        except OSError:
            plain.close()
            raise
        self._socket.settimeout(0)
        self._lock = threading.Lock()

    def recv(self, most_bytes: int) -> bytes:
        """What has come, as soon as something has; empty at the end. Raises ``OSError``."""
        while True:
            with self._lock:
                try:
                    return self._socket.recv(most_bytes)
                except _WAITS as error:
                    wanted = _wanted(error)
            self._wait(wanted)

    def sendall(self, data: bytes) -> None:
        """Send all of it. Raises ``OSError``."""
        rest = memoryview(data)
        while rest:
            with self._lock:
                try:
                    rest = rest[self._socket.send(rest) :]
                    continue
                except _WAITS as error:
                    wanted = _wanted(error)
            self._wait(wanted)

    def shut(self) -> None:
        """Send and receive no more: whoever waits is woken up."""
        with self._lock, suppress(OSError):
            # The system's own call: Python's would throw OpenSSL's state away under the thread that waits.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back, once nobody uses it any more."""
        self._socket.close()

    def _wait(self, wanted: int) -> None:
        waiting = select.poll()
        waiting.register(self._socket.fileno(), wanted)
        # The other thread may have taken what this one waits for.
        waiting.poll(_LOOK_MILLISECONDS)


def _wanted(error: ssl.SSLError) -> int:
    return select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
