"""Free ports on loopback, kept between runs while nobody else takes them."""

import secrets
import socket
from collections.abc import Callable, Iterable

from sandbox.files import read_json, write_json
from sandbox.layout import Layout

LOOPBACK = "127.0.0.1"
_PORTS = range(15_000, 30_000)
"""Outgoing connections have 32768 and more on Linux, 49152 and more on macOS; Kubernetes' NodePorts begin at 30000."""
_ATTEMPTS = 1000


def is_free(port: int) -> bool:
    """Whether this process could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on at this moment. Raises ``OSError`` when there is none.

    Chosen by chance below those of outgoing connections: one that the kernel names may be taken by such a connection
    before its daemon listens.
    """
    for _ in range(_ATTEMPTS):
        # Not from `random`: two test processes with one seed would choose the same.
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        if is_free(port):
            return port
    message = f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free on {LOOPBACK}"
    raise OSError(message)


def keep_ports(layout: Layout, owners: Iterable[tuple[str, str]], is_ours: Callable[[str], bool]) -> dict[str, int]:
    """Port name → number. ``owners`` pairs a port with its daemon; what others keep in the same file stays.

    A kept port whose daemon is gone and that somebody else listens on is replaced: the sandbox moves, the other
    program stays.
    """
    known = read_json(layout.ports) or {}
    ports: dict[str, int] = {}
    for name, daemon in owners:
        kept = known.get(name)
        usable = isinstance(kept, int) and (is_ours(daemon) or is_free(kept))
        ports[name] = int(kept) if usable and kept is not None else _unused({**known, **ports})
    write_json(layout.ports, {**known, **ports})
    return ports


def _unused(taken: dict[str, int]) -> int:
    port = free_port()
    while port in taken.values():
        port = free_port()
    return port
