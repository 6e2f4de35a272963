"""How requests are spread over pods, and what happens when pods fail, on the real Envoy."""

import json
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.real.edge.upstream import READY_PATH, counts, until
from tests.sandbox.edge.conftest import RunEdge
from tests.sandbox.edge.rig import DOCS, NO_LIMIT, PAYMENTS

QUICK_BACKOFF = {"backoff_base_ms": 1, "backoff_max_ms": 2}
HASHED = {"policy": "hash", "hash_on": "header", "header": "Idempotency-Key"}


@pytest.mark.parametrize("pods", [2, 3, 5])
def test_round_robin_is_even(run_edge: RunEdge, pods: int) -> None:
    each = 120
    with run_edge({**NO_LIMIT}, payments=pods) as edge, edge.client() as client:
        client.burst(pods * each, PAYMENTS)
        shares = counts(edge.payments, PAYMENTS)
    assert sum(shares.values()) == pods * each
    assert all(abs(share - each) <= each * 0.05 for share in shares.values()), shares


def test_round_robin_is_even_for_one_path_of_posts(run_edge: RunEdge) -> None:
    """Hashing the URI would send every POST of the collection to one pod."""
    with run_edge({**NO_LIMIT}, payments=3) as edge, edge.client() as client:
        for _ in range(300):
            client.post(PAYMENTS)
        assert all(95 <= share <= 105 for share in counts(edge.payments, PAYMENTS).values())


def test_a_hash_keeps_a_key_on_one_pod_and_spreads_keys(run_edge: RunEdge) -> None:
    with run_edge({**NO_LIMIT, "edge/routes/payments/balancing": HASHED}, payments=3) as edge, edge.client() as client:
        pods_of: dict[str, set[str]] = {}
        for _ in range(4):
            for key in (f"key-{n}" for n in range(60)):
                answer = client.post(PAYMENTS, {"Idempotency-Key": key})
                pods_of.setdefault(key, set()).add(json.loads(answer.body)["upstream"])
        assert all(len(pods) == 1 for pods in pods_of.values())
        shares = Counter(pod for pods in pods_of.values() for pod in pods)
        assert set(shares) == {"payment-0", "payment-1", "payment-2"}


def test_a_dead_pod_is_ejected_and_nobody_notices(run_edge: RunEdge) -> None:
    """One of three endpoints refuses connections: its requests go elsewhere, POSTs too, each exactly once."""
    changes: Mapping[str, object] = {
        **NO_LIMIT,
        "edge/passive_health_check": {"consecutive_failures": 3, "interval_seconds": 1, "ejection_seconds": 300},
        "edge/routes/payments/retries": QUICK_BACKOFF,
    }
    with run_edge(changes, payments=2, dead=1) as edge, edge.client() as client:
        statuses = Counter(client.post(f"{PAYMENTS}/{n}").status for n in range(60))
        assert statuses == Counter({200: 60})
        paths = Counter(path for upstream in edge.payments for _, path, _ in upstream.requests)
        assert paths == Counter({f"{PAYMENTS}/{n}": 1 for n in range(60)})
        assert until(lambda: edge.stat("payments", "outlier_detection.ejections_active") == 1)
        failed = edge.stat("payments", "upstream_cx_connect_fail")
        client.burst(60, PAYMENTS)
        assert edge.stat("payments", "upstream_cx_connect_fail") == failed  # it is not even tried


def test_a_pod_that_answers_with_errors_is_ejected(run_edge: RunEdge) -> None:
    changes = {
        **NO_LIMIT,
        "edge/passive_health_check": {"consecutive_failures": 3, "interval_seconds": 1, "ejection_seconds": 300},
    }
    with run_edge(changes, payments=3) as edge, edge.client() as client:
        sick = edge.payments[0]
        sick.statuses[PAYMENTS] = 500
        client.burst(30, PAYMENTS)
        assert until(lambda: edge.stat("payments", "outlier_detection.ejections_active") == 1)
        before = sick.seen()
        statuses, _ = client.burst(60, PAYMENTS)
        assert (statuses, sick.seen()) == (Counter({200: 60}), before)


def test_an_unready_pod_is_left_out_until_it_is_ready_again(run_edge: RunEdge) -> None:
    check = {"interval_seconds": 1, "timeout_seconds": 1, "unhealthy_after": 1, "healthy_after": 1}
    with run_edge({**NO_LIMIT, "edge/active_health_check": check}, payments=3) as edge, edge.client() as client:
        pausing = edge.payments[2]
        pausing.statuses[READY_PATH] = 503
        assert until(lambda: edge.stat("payments", "membership_healthy") == 2)
        before = pausing.seen()
        statuses, _ = client.burst(30, PAYMENTS)
        assert (statuses, pausing.seen()) == (Counter({200: 30}), before)
        del pausing.statuses[READY_PATH]
        assert until(lambda: edge.stat("payments", "membership_healthy") == 3)
        client.burst(30, PAYMENTS)
        assert pausing.seen() > before


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_what_a_pod_may_have_seen_is_never_repeated(run_edge: RunEdge, method: str) -> None:
    """The pod reads the request and hangs up: nobody knows whether it was carried out."""
    path = f"{PAYMENTS}/seen"
    with run_edge({**NO_LIMIT}, payments=2) as edge, edge.client() as client:
        for upstream in edge.payments:
            upstream.hang_up_after_reading.add(path)
        answer = client.request(method, path, body=b"{}")
        assert answer.status == 503
        assert sum(upstream.seen(path) for upstream in edge.payments) == 1


def test_a_read_only_route_may_try_again(run_edge: RunEdge) -> None:
    retries = {"attempts": 2, "on": ["gateway-error", "reset"], **QUICK_BACKOFF}
    path = f"{DOCS}/page"
    with run_edge({**NO_LIMIT, "edge/routes/docs/retries": retries}, payments=1) as edge, edge.client() as client:
        (upstream,) = edge.payments
        upstream.statuses[path] = 503
        assert client.get(path).status == 503
        assert upstream.seen(path) == 3
        upstream.hang_up_after_reading.add(f"{path}/2")
        assert client.get(f"{path}/2").status == 503
        assert upstream.seen(f"{path}/2") == 3


@pytest.mark.parametrize(
    ("timeouts", "path"),
    [
        ({"try_seconds": 1, "connect_seconds": 1, "request_seconds": 30}, f"{PAYMENTS}/slow-try"),
        ({"try_seconds": 1, "connect_seconds": 1, "request_seconds": 1}, f"{PAYMENTS}/slow-request"),
    ],
)
def test_a_slow_answer_is_given_up_and_not_asked_for_again(
    run_edge: RunEdge, timeouts: dict[str, int], path: str
) -> None:
    with run_edge({**NO_LIMIT, "edge/routes/payments/timeouts": timeouts}, payments=2) as edge:
        for upstream in edge.payments:
            upstream.delay_seconds[path] = 600
        with edge.client() as client:
            answer = client.post(path)
        assert (answer.status, json.loads(answer.body)["error"]) == (504, "timed_out")
        assert answer.headers["cache-control"] == "no-store"
        assert sum(upstream.seen(path) for upstream in edge.payments) == 1


def test_a_services_own_errors_pass_through(run_edge: RunEdge) -> None:
    with run_edge({**NO_LIMIT}) as edge, edge.client() as client:
        for status in (403, 413, 429, 503, 504):
            path = f"{PAYMENTS}/{status}"
            edge.payments[0].statuses[path] = status
            answer = client.get(path)
            assert (answer.status, json.loads(answer.body)["upstream"]) == (status, "payment-0")


def test_without_any_pod_the_answer_is_json(run_edge: RunEdge) -> None:
    with run_edge({**NO_LIMIT}, payments=0, dead=1) as edge, edge.client() as client:
        answer = client.get(PAYMENTS)
        assert (answer.status, json.loads(answer.body)["error"]) == (503, "unavailable")
