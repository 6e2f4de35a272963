"""Free ports on loopback, kept between runs while nobody else takes them."""

import socket
from collections.abc import Callable, Iterable

from sandbox.files import read_json, write_json
from sandbox.layout import Layout

LOOPBACK = "127.0.0.1"


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
    """A port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


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
