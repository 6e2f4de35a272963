"""A door in front of a server: shut, nobody gets a connection; opened again, everybody does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sandbox.ports import free_port

_CHUNK_BYTES = 65_536


@dataclass(kw_only=True)
class Gate:
    """Forwards a port of its own to the server's. Shut at first; ``shut`` also cuts what is open."""

    target: int
    port: int = field(default_factory=free_port)
    _listener: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)

    def open(self) -> None:
        """Let clients in from now on."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse new connections and end the others, as a node that is lost."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._open += [near, far]
                threading.Thread(target=_serve, args=(near, far), daemon=True).start()


def _serve(near: socket.socket, far: socket.socket) -> None:
    with near, far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            sink.sendall(chunk)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def gate_to(port: int) -> Iterator[Gate]:
    """A gate that is shut, and gone afterwards."""
    gate = Gate(target=port)
    try:
        yield gate
    finally:
        gate.shut()
