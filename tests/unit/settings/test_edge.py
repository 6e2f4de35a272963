"""What an edge may ask for; contradictions and what the chosen renderer cannot express are refused with a way out."""

import pytest

from settings.edge import Edge
from tests.unit.components.edge_stacks import nginx_form
from tests.unit.stacks import REMOVED, STACKS, problems_of, settings_of

PAYMENTS = "edge/routes/payments"
HOURLY = {"by": "client-address", "requests": 10, "per": "hour"}


@pytest.mark.parametrize("stack", STACKS)
def test_the_committed_edge_is_valid_and_the_plans(stack: str) -> None:
    edge = settings_of(stack).edge
    assert isinstance(edge, Edge)
    assert (edge.host, edge.renderer) == ("api.payments.com", "gateway")
    assert {r.path: r.service for r in edge.routes.values() if not r.read_only} == {
        "/api/v1/payments": "payment-service",
        "/api/v1/wallets": "wallet-service",
    }
    assert {(limit.by, limit.requests, limit.per) for limit in edge.rate_limits.values()} == {
        ("client-address", 1000, "minute"),
        ("header", 1000, "minute"),
    }


@pytest.mark.parametrize("path", ["/docs", "/api/v1/config", "/api/v1/rates"])
@pytest.mark.parametrize("stack", STACKS)
def test_what_the_cdn_keeps_has_a_backend(stack: str, path: str) -> None:
    edge = settings_of(stack).edge
    assert edge is not None
    assert [route.read_only for route in edge.routes.values() if route.path == path] == [True]


def test_the_nginx_form_is_valid_in_dev() -> None:
    assert problems_of("dev", nginx_form()) == []


def test_no_edge_is_no_mistake() -> None:
    assert problems_of("dev", {"edge": REMOVED}) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        # T2: one of the two decides alone.
        (f"{PAYMENTS}/balancing", {"policy": "round-robin", "hash_on": "uri"}, "contradict each other"),
        (f"{PAYMENTS}/balancing", {"policy": "hash"}, "contradict each other"),
        (f"{PAYMENTS}/balancing", {"policy": "hash", "hash_on": "header"}, "header and hash_on: header go together"),
        # T3: one path for every POST.
        (f"{PAYMENTS}/balancing", {"policy": "hash", "hash_on": "uri"}, "sends every POST of a collection to one pod"),
        (f"{PAYMENTS}/retries", {"on": ["gateway-error"]}, "a POST would be paid twice"),
        (f"{PAYMENTS}/retries", {"on": ["connect-failure", "reset"]}, "a POST would be paid twice"),
        (f"{PAYMENTS}/retries", {"attempts": 1, "on": []}, "never happen"),
        (f"{PAYMENTS}/timeouts", {"try_seconds": 40}, "must not decrease"),
        ("edge/rate_limits/per-address", {"by": "header", "requests": 1, "per": "minute"}, "header and by go together"),
        ("edge/client_address", {"source": "header"}, "header and source: header go together"),
        ("edge/host", "*.payments.com", "a full host name without a wildcard"),
        ("edge/host", "localhost", "a full host name"),
        (f"{PAYMENTS}/path", "/api/v1/payments/", "without a slash at the end"),
        (f"{PAYMENTS}/path", "/", "without a slash at the end"),
        (f"{PAYMENTS}/path", "/api/(v1|v2)", "a path prefix in whole segments"),
        ("edge/rate_limits", {}, "at least 1"),
        ("edge/accept_from", [], "at least 1"),
        ("edge/accept_from", ["10.0.0.1/8"], "has host bits set"),
        ("edge/tls/min_version", "1.1", "1.2"),
    ],
)
def test_a_contradiction_is_refused(path: str, value: object, said: str) -> None:
    (problem,) = problems_of("dev", {path: value})
    assert said in problem
    assert path.replace("/", ".").startswith(problem.split(":")[0].partition("[")[0])
    assert "fix: " in problem


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"edge/peer": "nobody"}, "edge.peer"),
        ({f"{PAYMENTS}/service": "paymnt-service"}, "edge.routes.payments.service"),
        ({f"{PAYMENTS}/service": "gateway-service"}, "services.gateway-service.ingress_from"),
        ({"edge/routes/wallets/path": "/api/v1/payments"}, "edge.routes.wallets.path"),
        ({"cluster/peers/edge/namespace": REMOVED}, "cluster.peers.edge.namespace"),
        ({"cluster/peers/edge/namespace": "payments"}, "cluster.peers.edge.namespace"),
        ({"cluster/peers/edge/pod_labels": {"app": "gateway"}}, "cluster.peers.edge.pod_labels"),
        ({"edge/rate_limits/per-client/scope": "global"}, "edge.global_limits"),
    ],
)
def test_the_edge_fits_the_rest_of_the_stack(changes: dict[str, object], path: str) -> None:
    (problem,) = problems_of("dev", changes)
    assert problem.startswith(f"{path}: ")
    assert "fix: " in problem


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({f"{PAYMENTS}/balancing": {"policy": "least-request"}}, "edge.routes.payments.balancing.policy"),
        (
            {"edge/rate_limits/more": {**HOURLY, "per": "second", "by": "header", "header": "X-Id"}},
            "edge.rate_limits.more.by",
        ),
        ({"edge/rate_limits/more": HOURLY}, "edge.rate_limits.more.per"),
        ({"edge/rate_limits/more": {**HOURLY, "per": "minute"}}, "edge.rate_limits.more.per"),
        (
            {
                "edge/rate_limits/more": {**HOURLY, "per": "second", "scope": "global"},
                "edge/global_limits": {"redis": "redis:6379"},
            },
            "edge.rate_limits.more.scope",
        ),
        ({"edge/active_health_check": {}}, "edge.active_health_check"),
        ({"edge/passive_health_check": {}}, "edge.passive_health_check"),
        ({"edge/max_parallel_requests": 100}, "edge.max_parallel_requests"),
    ],
)
def test_what_only_the_gateway_can_express_names_it(changes: dict[str, object], path: str) -> None:
    (problem,) = problems_of("dev", nginx_form(changes))
    assert problem.startswith(f"{path}: ")
    assert "only with edge.renderer gateway: " in problem
    assert problem.endswith(", or set renderer: gateway")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (
            {"edge/routes/docs/balancing": {"policy": "hash", "hash_on": "uri"}},
            "edge.routes.docs.balancing.hash_on",
        ),
        ({"edge/max_header_kib": 32}, "edge.max_header_kib"),
        ({"edge/client_address": {"source": "header", "header": "CF-Connecting-IP"}}, "edge.client_address.source"),
    ],
)
def test_what_only_nginx_can_express_names_it(changes: dict[str, object], path: str) -> None:
    (problem,) = problems_of("dev", changes)
    assert problem.startswith(f"{path}: ")
    assert "only with edge.renderer nginx: " in problem
    assert problem.endswith(", or set renderer: nginx")
    assert problems_of("dev", nginx_form(changes)) == []


def test_a_clients_header_is_trusted_where_only_the_cdn_can_connect() -> None:
    header = {"edge/client_address": {"source": "header", "header": "CF-Connecting-IP"}}
    assert problems_of("dev", {**header, "edge/tls/client_ca": "origin-pull-ca"}) == []


def test_t1_a_retired_controller_is_refused_in_prod() -> None:
    problems = problems_of("prod", nginx_form({"edge/global_limits": REMOVED}))
    assert [problem for problem in problems if "ingress-nginx ended in March 2026" in problem]


def test_all_problems_come_at_once() -> None:
    problems = problems_of("dev", {"edge/peer": "nobody", "edge/max_header_kib": 32, f"{PAYMENTS}/service": "x"})
    assert [problem.split(":")[0] for problem in problems] == [
        "edge.peer",
        "edge.routes.payments.service",
        "edge.max_header_kib",
    ]
