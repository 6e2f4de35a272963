"""The edge's objects against the real API server with the real CRDs, and against Envoy Gateway's own judgement."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sandbox.conftest import Cluster
from tests.sandbox.edge.rig import certificates_in, edge_manifests, translated
from tests.unit.components.edge_stacks import nginx_form
from tests.unit.stacks import STACKS, manifests_of

EDGE_KINDS = {
    "BackendTrafficPolicy",
    "Certificate",
    "ClientTrafficPolicy",
    "EnvoyProxy",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "SecurityPolicy",
}
ALLOW_LIST = {"edge/routes/docs/allow_from": ["203.0.113.0/24", "2001:db8::/32"]}
HASH = {"edge/routes/payments/balancing": {"policy": "hash", "hash_on": "header", "header": "Idempotency-Key"}}


@pytest.fixture
def namespaces(cluster: Cluster) -> Iterator[Cluster]:
    """A server-side dry run needs the namespaces, and keeps nothing else."""
    for name in ("edge", "payments"):
        cluster.kubectl("create", "namespace", name)
    yield cluster
    cluster.kubectl("delete", "namespace", "edge", "payments", "--wait")


def dry_run(cluster: Cluster, manifests: list[dict[str, Any]], *, check: bool = True) -> str:
    text = yaml.safe_dump_all(manifests)
    arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-")
    return cluster.kubectl(*arguments, standard_input=text, check=check)


def of_edge(stack: str, changes: Mapping[str, object], kinds: set[str]) -> list[dict[str, Any]]:
    found = [m for m in manifests_of(stack, changes).values() if m["kind"] in kinds]
    assert {m["kind"] for m in found} <= kinds
    return found


@pytest.mark.parametrize("changes", [{}, {**ALLOW_LIST, **HASH}], ids=["committed", "allow-list-and-hash"])
@pytest.mark.parametrize("stack", STACKS)
def test_the_api_server_accepts_the_gateway_form(
    namespaces: Cluster, stack: str, changes: Mapping[str, object]
) -> None:
    manifests = of_edge(stack, changes, EDGE_KINDS)
    assert {m["kind"] for m in manifests} >= EDGE_KINDS - {"SecurityPolicy"}
    said = dry_run(namespaces, manifests)
    assert said.count("serverside-applied") == len(manifests)


def test_the_api_server_accepts_the_edges_namespace_and_flows(namespaces: Cluster) -> None:
    manifests = [m for m in manifests_of("prod").values() if m["metadata"].get("namespace") == "edge"]
    assert {m["kind"] for m in manifests} >= {"NetworkPolicy", "ResourceQuota", "LimitRange", "ConfigMap"}
    assert dry_run(namespaces, manifests).count("serverside-applied") == len(manifests)


def test_the_api_server_accepts_the_nginx_form(namespaces: Cluster) -> None:
    manifests = of_edge("dev", nginx_form(), {"Ingress", "Certificate"})
    assert any(m["metadata"]["name"] == "payment-api-ingress" for m in manifests)
    assert dry_run(namespaces, manifests).count("serverside-applied") == len(manifests)


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("BackendTrafficPolicy", "spec/rateLimit/window", "1m", "field not declared in schema"),
        ("BackendTrafficPolicy", "spec/retry/retryOn/triggers", ["sometimes"], "Unsupported value"),
        ("ClientTrafficPolicy", "spec/clientIPDetection/customHeader", {"name": "X"}, "exactly one of"),
        ("HTTPRoute", "spec/rules/0/timeouts/backendRequest", "90s", "backendRequest timeout cannot be longer"),
        ("Gateway", "spec/listeners/0/hostname", "*", "hostname"),
    ],
)
def test_the_api_server_would_refuse_a_wrong_one(
    namespaces: Cluster, kind: str, path: str, value: object, said: str
) -> None:
    """The schemas are real and strict: what passes above is known to the operators."""
    manifest = of_edge("dev", {}, {kind})[-1]
    node: Any = manifest
    *parents, last = path.split("/")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[last] = value
    assert said in dry_run(namespaces, [manifest], check=False)


@pytest.mark.parametrize("stack", STACKS)
def test_envoy_gateway_accepts_every_object(egctl: Path, tmp_path: Path, stack: str) -> None:
    """Its own conditions: each route attached with its references resolved, each policy accepted, nothing left out."""
    found = translated(egctl, edge_manifests(ALLOW_LIST, stack), certificates_in(tmp_path), tmp_path, to="gateway-api")
    refused = [
        f"{kind} {item['metadata']['name']}: {condition['type']} {condition['message']}"
        for kind, items in found.items()
        for item in (items if isinstance(items, list) else [items])
        for condition in _conditions(item.get("status", {}))
        if condition["type"] in ("Accepted", "ResolvedRefs", "Programmed") and condition["status"] != "True"
    ]
    # Without a cluster no address is assigned, and the global limits' service is not known to egctl.
    assert [line for line in refused if "address" not in line.lower()] == []
    assert len(found["httpRoutes"]) == 6
    assert len(found["backendTrafficPolicies"]) == 5
    assert len(found["securityPolicies"]) == 1


def _conditions(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from status.get("conditions", [])
    for part in ("ancestors", "parents", "listeners"):
        for entry in status.get(part, []):
            yield from entry.get("conditions", [])


def test_global_limits_reach_the_proxies(egctl: Path, tmp_path: Path) -> None:
    """In prod API clients are counted by all proxies together: each route asks the rate limit service by header."""
    manifests = edge_manifests({}, "prod")
    dump = translated(egctl, manifests, certificates_in(tmp_path), tmp_path)
    routes = [
        route
        for entry in dump["RoutesConfigDump"]["dynamicRouteConfigs"]
        for host in entry["routeConfig"]["virtualHosts"]
        for route in host["routes"]
        if "route" in route
    ]
    assert routes
    for route in routes:
        headers = {
            action["requestHeaders"]["headerName"]
            for limit in route["typedPerFilterConfig"]["envoy.filters.http.ratelimit"]["rateLimits"]
            for action in limit["actions"]
            if "requestHeaders" in action
        }
        assert headers == {"X-Client-Id"}, route["name"]
