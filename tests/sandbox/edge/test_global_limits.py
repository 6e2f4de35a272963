"""Limits that all proxies count together: real Envoys, Envoy's rate limit service, a real Valkey behind it."""

import contextlib
import json
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import envoy, tools
from sandbox.envoy import Envoy, GlobalLimits
from sandbox.rate_limit import RateLimitService, service_config
from tests.real.cache_client.servers import Server
from tests.real.cache_client.servers import running as running_server
from tests.real.edge.client import Client
from tests.real.edge.upstream import serving
from tests.sandbox.edge import rig
from tests.sandbox.edge.rig import PAYMENTS, SERVICES

CLIENT_ID = "X-Client-Id"
LIMIT, WINDOW_SECONDS = 20, 86_400
CHANGES = {
    "edge/rate_limits": {
        "per-client": {"by": "header", "header": CLIENT_ID, "requests": LIMIT, "per": "day", "scope": "global"}
    },
    "edge/global_limits": {"redis": "redis.edge.svc:6379"},
}


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Two proxies with one configuration, and what counts for them."""

    proxies: tuple[Envoy, Envoy]
    service: RateLimitService
    redis: Server
    tls: ssl.SSLContext
    documents: list[str]

    @contextlib.contextmanager
    def clients(self) -> Iterator[list[Client]]:
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(Client(port=proxy.config.ports["https"], address="127.0.0.2", tls=self.tls))
                for proxy in self.proxies
            ]


def _controller(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The rendered configuration of Envoy Gateway's own controller."""
    (found,) = (m for m in manifests if m["kind"] == "ConfigMap" and "envoy-gateway.yaml" in m["data"])
    config: dict[str, Any] = yaml.safe_load(found["data"]["envoy-gateway.yaml"])
    return config


@contextlib.contextmanager
def edges(egctl: Path, folder: Path, changes: dict[str, object]) -> Iterator[Edges]:
    built = tools.ensure(tools.RATE_LIMIT, tools.progress())
    certificates = rig.certificates_in(folder)
    manifests = rig.edge_manifests(changes)
    closed = _controller(manifests)["rateLimit"]["failClosed"]
    dump = rig.translated(egctl, manifests, certificates, folder)
    documents = service_config(
        built["ratelimitconfig"], rig.translated(egctl, manifests, certificates, folder, to="ir")
    )
    with contextlib.ExitStack() as stack:
        upstreams = stack.enter_context(serving("payment-0", "wallet-0"))
        redis = stack.enter_context(running_server(folder))
        service = stack.enter_context(
            RateLimitService(binary=built["ratelimit"], documents=documents, redis_port=redis.port, folder=folder)
        )
        ports = {name: [upstream.port] for name, upstream in zip(SERVICES, upstreams, strict=True)}
        proxies = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            config = envoy.bootstrap(dump, ports, certificates, GlobalLimits(port=service.port, fail_closed=closed))
            proxies.append(stack.enter_context(Envoy(config=config, folder=folder / name)))
        yield Edges(
            proxies=(proxies[0], proxies[1]), service=service, redis=redis, documents=documents,
            tls=ssl.create_default_context(cafile=certificates.certificate),
        )  # fmt: skip


@pytest.fixture(scope="module")
def shared(egctl: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    with edges(egctl, tmp_path_factory.mktemp("global"), CHANGES) as found:
        yield found


@pytest.fixture(autouse=True)
def _not_across_midnight() -> None:
    """The service's day is UTC's; a test that begins within its last minute would see two of them."""
    left = WINDOW_SECONDS - time.time() % WINDOW_SECONDS
    if left < 60:
        time.sleep(left + 1)


def test_two_proxies_count_one_client_together(shared: Edges) -> None:
    counted: Counter[int] = Counter()
    with shared.clients() as clients:
        for client in clients:
            counted += client.burst(LIMIT, PAYMENTS, {CLIENT_ID: "shop-1"})[0]
    assert counted == {200: LIMIT, 429: LIMIT}


def test_a_refusal_says_why_and_until_when(shared: Edges) -> None:
    with shared.clients() as (first, second):
        allowed = first.get(PAYMENTS, {CLIENT_ID: "shop-2"})
        first.burst(LIMIT, PAYMENTS, {CLIENT_ID: "shop-2"})
        refused = second.post(PAYMENTS, {CLIENT_ID: "shop-2"})
    assert allowed.headers["x-ratelimit-limit"].startswith(f"{LIMIT}, {LIMIT};w={WINDOW_SECONDS}")
    assert allowed.headers["x-ratelimit-remaining"] == str(LIMIT - 1)
    assert (refused.status, refused.headers["content-type"]) == (429, "application/json")
    assert json.loads(refused.body)["error"] == "rate_limited"
    assert refused.headers["cache-control"] == "no-store"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["ratelimit-policy"] == f'"per-client";q={LIMIT};w={WINDOW_SECONDS}'


def test_clients_are_counted_apart_and_the_nameless_not_at_all(shared: Edges) -> None:
    with shared.clients() as (first, _):
        first.burst(LIMIT + 1, PAYMENTS, {CLIENT_ID: "shop-3"})
        assert first.get(PAYMENTS, {CLIENT_ID: "shop-3"}).status == 429
        assert first.get(PAYMENTS, {CLIENT_ID: "shop-4"}).status == 200
        assert first.burst(2 * LIMIT, PAYMENTS)[0] == {200: 2 * LIMIT}


def test_the_service_is_told_the_limit_of_each_route(shared: Edges) -> None:
    [document] = [yaml.safe_load(text) for text in shared.documents]
    found = [inner["rate_limit"] for route in document["descriptors"] for inner in route["descriptors"]]
    routes = {route["key"].split("/")[2] for route in document["descriptors"]}
    assert routes == {"config", "docs", "payments", "rates", "wallets"}
    assert {(limit["requests_per_unit"], limit["unit"].lower()) for limit in found} == {(LIMIT, "day")}


@pytest.mark.parametrize(("fail_closed", "status"), [(False, 200), (True, 500)])
def test_without_its_memory_requests_pass_unless_the_stack_says_otherwise(
    egctl: Path,
    tmp_path: Path,
    fail_closed: bool,  # noqa: FBT001 # a case of the table above
    status: int,
) -> None:
    changes = {**CHANGES, "edge/global_limits": {"redis": "redis.edge.svc:6379", "fail_closed": fail_closed}}
    with edges(egctl, tmp_path, changes) as found, found.clients() as (first, _):
        assert first.get(PAYMENTS, {CLIENT_ID: "shop"}).status == 200
        found.redis.stop()
        assert first.get(PAYMENTS, {CLIENT_ID: "shop"}).status == status
        assert first.get(PAYMENTS).status == 200, "nobody counts a request without the header"
