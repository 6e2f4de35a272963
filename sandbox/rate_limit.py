"""The service that counts requests for all proxies together: Envoy's own, with what Envoy Gateway would tell it.

In a cluster the controller sends that configuration over xDS and both sides prove themselves by certificates; here the
same function of Envoy Gateway writes it to a file, and the service listens on loopback without TLS.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox import program
from sandbox.errors import SandboxError
from sandbox.ports import LOOPBACK, free_port

_CONFIGURE_TIMEOUT_SECONDS = 120
_START_TIMEOUT_SECONDS = 60


def service_config(ratelimitconfig: Path, ir: Mapping[str, Any]) -> list[str]:
    """YAML documents, one for each domain, from what ``egctl x translate --to ir`` prints."""
    answer = subprocess.run(
        [str(ratelimitconfig)],
        input=json.dumps(ir),
        capture_output=True,
        text=True,
        timeout=_CONFIGURE_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        message = f"the limits cannot be configured: {answer.stderr.strip()}"
        raise SandboxError(message, next_step="compare sandbox/toolchain/ratelimitconfig with egctl's version")
    return [document for document in answer.stdout.split("---\n") if document.strip()]


@dataclass(kw_only=True, slots=True)
class RateLimitService:
    """A running service; a context manager that ends it."""

    binary: Path
    documents: list[str]
    redis_port: int
    folder: Path
    port: int = field(default_factory=free_port)
    _http: int = field(default_factory=free_port, init=False)
    _debug: int = field(default_factory=free_port, init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        config, log = self.folder / "limits" / "config", self.folder / "ratelimit.log"
        config.mkdir(parents=True, exist_ok=True)
        for position, document in enumerate(self.documents):
            (config / f"{position}.yaml").write_text(document, encoding="utf-8")
        self._process = program.start(
            "the rate limit service",
            [str(self.binary)],
            log=log,
            is_ready=lambda: program.answers(f"http://{LOOPBACK}:{self._http}/healthcheck"),
            timeout_seconds=_START_TIMEOUT_SECONDS,
            environment=self._environment(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            program.stop(self._process)
            self._process = None

    def _environment(self) -> dict[str, str]:
        return {
            "USE_STATSD": "false",
            "BACKEND_TYPE": "redis",
            "REDIS_SOCKET_TYPE": "tcp",
            "REDIS_URL": f"{LOOPBACK}:{self.redis_port}",
            "RUNTIME_ROOT": str(self.folder),
            "RUNTIME_SUBDIRECTORY": "limits",
            "RUNTIME_WATCH_ROOT": "false",
            "GRPC_HOST": LOOPBACK,
            "GRPC_PORT": str(self.port),
            "HOST": LOOPBACK,
            "PORT": str(self._http),
            "DEBUG_HOST": LOOPBACK,
            "DEBUG_PORT": str(self._debug),
        }
