"""Balancing by load and by address, the ceiling of parallel requests, the smallest TLS version: on the real Envoy."""

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.real.edge.client import Answer
from tests.real.edge.upstream import counts, until
from tests.sandbox.edge.conftest import RunEdge
from tests.sandbox.edge.rig import NO_LIMIT, PAYMENTS, Rig

SLOW = f"{PAYMENTS}/slow"
_HELD_SECONDS = 25  # below the edge's own 30 s for a request


@contextmanager
def held(edge: Rig, count: int) -> Iterator[list[Answer]]:
    """So many requests that wait in the services until the block ends; their answers, complete afterwards."""
    answers: list[Answer] = []

    def ask() -> None:
        with edge.client() as client:
            answers.append(client.get(SLOW))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        for upstream in edge.payments:
            upstream.released.set()
        for thread in threads:
            thread.join(2 * _HELD_SECONDS)


def test_least_request_avoids_the_busy_pod(run_edge: RunEdge) -> None:
    policy = {"edge/routes/payments/balancing": {"policy": "least-request"}, **NO_LIMIT}
    with run_edge(policy, payments=2) as edge:
        busy, idle = edge.payments
        busy.delay_seconds[SLOW] = idle.delay_seconds[SLOW] = _HELD_SECONDS
        with held(edge, 40):
            assert until(lambda: busy.seen(SLOW) + idle.seen(SLOW) == 40)
            waiting = counts(edge.payments, SLOW)
            # Each new request goes to the pod with fewer open ones, of two drawn: neither runs away.
            assert max(waiting.values()) <= 25, waiting
            idle.released.set()
            assert until(lambda: edge.stat("payments", "upstream_rq_active") == waiting[busy.name])
            with edge.client() as client:
                client.burst(100, PAYMENTS)
            # Drawn twice with replacement, the busy pod is the only choice in a quarter of the draws.
            assert counts(edge.payments, PAYMENTS)[idle.name] >= 60


def test_an_address_stays_on_its_pod_and_addresses_spread(run_edge: RunEdge) -> None:
    hashed = {"edge/routes/payments/balancing": {"policy": "hash", "hash_on": "client-address"}, **NO_LIMIT}
    with run_edge(hashed, payments=3) as edge:
        homes: Counter[str] = Counter()
        for last in range(1, 41):
            with edge.client(f"127.0.9.{last}") as client:
                client.burst(5, f"{PAYMENTS}/{last}")
            seen = counts(edge.payments, f"{PAYMENTS}/{last}")
            assert sorted(seen.values()) == [0, 0, 5], f"127.0.9.{last} was sent to {seen}"
            homes[seen.most_common(1)[0][0]] += 1
        assert len(homes) == 3, homes


def test_as_many_as_allowed_again_wait_and_more_are_refused_at_once(run_edge: RunEdge) -> None:
    with run_edge({"edge/max_parallel_requests": 4, **NO_LIMIT}) as edge:
        (pod,) = edge.payments
        pod.delay_seconds[SLOW] = _HELD_SECONDS
        with held(edge, 8) as answers:
            assert until(lambda: edge.stat("payments", "upstream_rq_pending_active") == 4)
            with edge.client() as client:
                refused = client.get(PAYMENTS)
            assert pod.seen(SLOW) == 4
        assert (refused.status, refused.headers["content-type"]) == (503, "application/json")
        assert pod.seen(PAYMENTS) == 0
        assert [answer.status for answer in answers] == [200] * 8


@pytest.mark.parametrize(
    ("smallest", "offered", "accepted"),
    [
        ("1.2", ssl.TLSVersion.TLSv1_2, True),
        ("1.3", ssl.TLSVersion.TLSv1_2, False),
        ("1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_older_tls_is_refused(
    run_edge: RunEdge,
    smallest: str,
    offered: ssl.TLSVersion,
    accepted: bool,  # noqa: FBT001 # a case of the table above
) -> None:
    with run_edge({"edge/tls/min_version": smallest}) as edge:
        edge.tls.maximum_version = offered
        with edge.client() as client:
            if accepted:
                assert client.get(PAYMENTS).status == 200
            else:
                with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                    client.get(PAYMENTS)
