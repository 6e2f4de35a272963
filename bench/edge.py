"""``python -m bench.edge``: Envoy with our policies beside the same Envoy with routes only, in the same run.

Both are translated from the dev stack's manifests by egctl and stand before the same upstream, an Envoy that answers by
itself. Each is asked in turns, so that what else the machine does meets both.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.stacks import ROOT
from cli.recording import record_program
from cli.render import manifests
from cli.stack_file import PLATFORM_KEY, read_stack_file
from sandbox import envoy, tools
from sandbox.envoy import Bootstrap, Certificates, Envoy
from sandbox.ports import LOOPBACK, free_port
from tests.real.edge import pki
from tests.real.edge.client import HOST

_PATH = "/api/v1/payments"
_POLICIES = ("BackendTrafficPolicy", "ClientTrafficPolicy", "SecurityPolicy")
_SERVICES = ("payment-service-svc", "wallet-service-svc")
_MANAGER = "envoy.extensions.filters.network.http_connection_manager"
_CONNECTIONS = 8
_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One way through: requests per second over all connections, and the median and 99th percentile in ms."""

    variant: str
    requests: int
    requests_per_second: float
    median_ms: float
    p99_ms: float


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.edge", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench-edge.json", help="JSON file to write")
    parser.add_argument("--requests", type=int, default=5000, help="requests of each variant, in all")
    options = parser.parse_args()
    egctl = tools.ensure(tools.EDGE, tools.progress())["egctl"]
    with tempfile.TemporaryDirectory(prefix="payments-bench-edge-") as folder:
        measured = measure(egctl, Path(folder), options.requests)
    table = Table("variant", "requests", "requests/s", "median ms", "p99 ms")
    for row in measured:
        numbers = (row.requests_per_second, row.median_ms, row.p99_ms)
        table.add_row(row.variant, str(row.requests), *(f"{number:.2f}" for number in numbers))
    Console().print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in measured], indent=2) + "\n", encoding="utf-8")


def measure(egctl: Path, folder: Path, requests: int) -> list[Measured]:
    """The upstream alone (over plain HTTP), routes only, and with all policies."""
    pair = pki.server(folder)
    certificates = Certificates(certificate=pair.certificate, key=pair.key)
    rendered = _rendered()
    upstream = _answering()
    routes_only = [m for m in rendered if m["kind"] not in _POLICIES]
    found: dict[str, list[tuple[float, list[float]]]] = {"upstream alone": [], "routes only": [], "with policies": []}
    with (
        Envoy(config=upstream, folder=_sub(folder, "upstream")),
        _proxy(egctl, routes_only, _sub(folder, "routes"), upstream, certificates) as plain,
        _proxy(egctl, rendered, _sub(folder, "policies"), upstream, certificates) as full,
    ):
        tls = ssl.create_default_context(cafile=pair.certificate)
        ways = {
            "upstream alone": (upstream.ports["http"], None),
            "routes only": (plain.config.ports["https"], tls),
            "with policies": (full.config.ports["https"], tls),
        }
        for port, context in ways.values():
            asyncio.run(_ask(port, context, 50))  # connections, pools and code are warm
        for _ in range(_ROUNDS):
            for variant, (port, context) in ways.items():
                found[variant].append(asyncio.run(_ask(port, context, requests // _ROUNDS)))
    return [_summary(variant, rounds) for variant, rounds in found.items()]


def _summary(variant: str, rounds: list[tuple[float, list[float]]]) -> Measured:
    latencies = sorted(latency for _, part in rounds for latency in part)
    return Measured(
        variant=variant,
        requests=len(latencies),
        requests_per_second=len(latencies) / sum(seconds for seconds, _ in rounds),
        median_ms=statistics.median(latencies) * 1000,
        p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
    )


def _rendered() -> list[dict[str, Any]]:
    """The dev stack's objects. Its limit would answer most requests itself, so that it is raised, not removed."""
    file = read_stack_file(ROOT / "Pulumi.dev.yaml", "dev")
    edge = file.config[PLATFORM_KEY]["edge"]
    edge["accept_from"] = [f"{LOOPBACK}/32"]
    for limit in edge["rate_limits"].values():
        limit |= {"requests": 1_000_000, "per": "second"}
    del edge["active_health_check"]
    return list(manifests(record_program(file).resources).values())


def _proxy(
    egctl: Path, rendered: list[dict[str, Any]], folder: Path, upstream: Bootstrap, certificates: Certificates
) -> Envoy:
    secrets = certificates.as_secrets({"tls": "edge-tls", "ca": "origin-pull-ca"}, "edge")
    dump = envoy.translate(egctl, [*envoy.translatable(rendered), *secrets], folder)
    config = envoy.bootstrap(dump, {service: [upstream.ports["http"]] for service in _SERVICES}, certificates)
    return Envoy(config=config, folder=folder)


def _answering() -> Bootstrap:
    """An Envoy that answers 200 by itself: faster than anything in Python."""
    port, admin = free_port(), free_port()
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "{}"}}}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"type.googleapis.com/{_MANAGER}.v3.HttpConnectionManager",
        "stat_prefix": "upstream",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "http", "address": _at(port), "filter_chains": [chain]}
    document = {"admin": {"address": _at(admin)}, "static_resources": {"listeners": [listener]}}
    return Bootstrap(document=document, ports={"http": port}, admin_port=admin)


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


async def _ask(port: int, tls: ssl.SSLContext | None, requests: int) -> tuple[float, list[float]]:
    """Seconds in all and of each request, over a few kept connections."""
    started = time.perf_counter()
    parts = await asyncio.gather(*(_connection(port, tls, requests // _CONNECTIONS) for _ in range(_CONNECTIONS)))
    return time.perf_counter() - started, [latency for part in parts for latency in part]


async def _connection(port: int, tls: ssl.SSLContext | None, requests: int) -> list[float]:
    name = HOST if tls else None
    reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=tls, server_hostname=name)
    message = f"GET {_PATH} HTTP/1.1\r\nHost: {HOST}\r\nX-Client-Id: bench\r\n\r\n".encode()
    latencies = []
    try:
        for _ in range(requests):
            started = time.perf_counter()
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode(errors="replace"))
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            latencies.append(time.perf_counter() - started)
    finally:
        writer.close()
        await writer.wait_closed()
    return latencies


def _sub(folder: Path, name: str) -> Path:
    found = folder / name
    found.mkdir()
    return found


if __name__ == "__main__":
    main()
