"""Rate limits and whose address they count, on the real Envoy."""

import json
import ssl
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.real.edge import pki
from tests.sandbox.edge.conftest import RunEdge
from tests.sandbox.edge.rig import NO_LIMIT, OTHER, PAYMENTS, STRANGER, TRUSTED, WALLETS, Rig

LIMIT = 20
PER_HOUR = {"requests": LIMIT, "per": "hour"}  # refills one in 180 s: no slow machine sees one come back
BY_ADDRESS = {"edge/rate_limits": {"per-address": {"by": "client-address", **PER_HOUR}}}
CLIENT_ID = "X-Client-Id"
BY_CLIENT = {"edge/rate_limits": {"per-client": {"by": "header", "header": CLIENT_ID, **PER_HOUR}}}


def test_a_thousand_a_minute_for_each_address(edge: Rig) -> None:
    """The plan's own number, on the committed dev stack. The bucket refills evenly while it is emptied."""
    path = f"{PAYMENTS}/limit"
    with edge.client("127.0.3.1") as first, edge.client("127.0.3.2") as second:
        statuses, seconds = first.burst(1400, path)
        refilled = int(seconds * 1000 / 60) + 1
        assert set(statuses) <= {200, 429}
        assert 1000 <= statuses[200] <= 1000 + refilled
        assert edge.payments[0].seen(path) == statuses[200]
        others, _ = second.burst(100, path)
    assert others == Counter({200: 100})


@pytest.fixture
def limited(run_edge: RunEdge) -> Iterator[Rig]:
    with run_edge(BY_ADDRESS) as edge:
        yield edge


def test_a_refusal_says_why_and_how_long(limited: Rig) -> None:
    with limited.client() as client:
        allowed = client.get(PAYMENTS)
        client.burst(LIMIT, PAYMENTS)
        refused = client.post(PAYMENTS)
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/json"
    assert json.loads(refused.body) == {
        "error": "rate_limited",
        "message": "too many requests; try again after the time in Retry-After",
        "status": 429,
    }
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["retry-after"] == "180"  # an hour's 20 requests: one each 180 s
    assert refused.headers["ratelimit-policy"] == f'"per-address";q={LIMIT};w=3600'
    assert "strict-transport-security" in refused.headers
    assert (allowed.headers["x-ratelimit-limit"], allowed.headers["x-ratelimit-remaining"]) == ("20", "19")
    assert [method for method, _, _ in limited.payments[0].requests].count("POST") == 0


def test_each_route_counts_alone(limited: Rig) -> None:
    with limited.client() as client:
        assert client.burst(LIMIT + 5, PAYMENTS)[0] == Counter({200: LIMIT, 429: 5})
        assert client.burst(LIMIT, WALLETS)[0] == Counter({200: LIMIT})


def test_a_stranger_cannot_name_another_address(limited: Rig) -> None:
    """X-Forwarded-For from whoever is not the CDN is no address: each forged one would be a fresh allowance."""
    with limited.client(STRANGER) as client:
        statuses = Counter(
            client.get(
                PAYMENTS,
                {"X-Forwarded-For": f"198.51.100.{n}", "CF-Connecting-IP": f"198.51.100.{n}", "Forwarded": f"for={n}"},
            ).status
            for n in range(LIMIT + 10)
        )
    assert statuses == Counter({200: LIMIT, 429: 10})


def test_the_cdn_names_its_clients(limited: Rig) -> None:
    """From the CDN the right-most address counts: what a client wrote stands left of it."""
    with limited.client(TRUSTED) as cdn:
        one = Counter(cdn.get(PAYMENTS, {"X-Forwarded-For": "203.0.113.1"}).status for _ in range(LIMIT + 3))
        two = Counter(cdn.get(PAYMENTS, {"X-Forwarded-For": "203.0.113.2"}).status for _ in range(LIMIT))
        forged = Counter(
            cdn.get(PAYMENTS, {"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.3"}).status for n in range(LIMIT + 4)
        )
        six = Counter(cdn.get(PAYMENTS, {"X-Forwarded-For": "2001:db8::1"}).status for _ in range(LIMIT + 2))
        other_six = Counter(cdn.get(PAYMENTS, {"X-Forwarded-For": "2001:db8::2"}).status for _ in range(LIMIT))
    assert one == Counter({200: LIMIT, 429: 3})
    assert two == Counter({200: LIMIT})
    assert forged == Counter({200: LIMIT, 429: 4})
    assert six == Counter({200: LIMIT, 429: 2})
    assert other_six == Counter({200: LIMIT})


def test_an_api_client_is_counted_over_all_its_addresses(run_edge: RunEdge) -> None:
    with run_edge(BY_CLIENT) as edge, edge.client(STRANGER) as first, edge.client(OTHER) as second:
        half = LIMIT // 2
        assert first.burst(half, PAYMENTS, {CLIENT_ID: "shop-a"})[0] == Counter({200: half})
        assert second.burst(half + 5, PAYMENTS, {CLIENT_ID: "shop-a"})[0] == Counter({200: half, 429: 5})
        assert first.burst(LIMIT, PAYMENTS, {CLIENT_ID: "shop-b"})[0] == Counter({200: LIMIT})
        assert first.burst(LIMIT + 5, PAYMENTS)[0] == Counter({200: LIMIT + 5})  # names no client


def test_the_stricter_of_two_limits_counts(run_edge: RunEdge) -> None:
    limits = {**BY_ADDRESS["edge/rate_limits"], "per-client": {"by": "header", "header": CLIENT_ID, **PER_HOUR}}
    limits["per-client"]["requests"] = LIMIT // 2
    with run_edge({"edge/rate_limits": limits}) as edge, edge.client() as client:
        statuses, _ = client.burst(LIMIT, PAYMENTS, {CLIENT_ID: "shop"})
    assert statuses == Counter({200: LIMIT // 2, 429: LIMIT // 2})


def test_behind_client_certificates_a_header_may_name_the_client(run_edge: RunEdge) -> None:
    """Authenticated origin pulls: without the CDN's certificate there is no connection, so nobody can forge."""
    changes = {
        **BY_ADDRESS,
        "edge/client_address": {"source": "header", "header": "CF-Connecting-IP"},
        "edge/tls/client_ca": "origin-pull-ca",
    }
    with run_edge(changes) as edge:
        folder = edge.envoy.folder
        cdn = ssl.create_default_context(cafile=folder / "api.payments.com.crt")
        cdn.load_cert_chain(folder / "cdn.example.com.crt", folder / "cdn.example.com.key")
        foreign = pki.self_signed("stranger.example.com", folder)
        stranger = ssl.create_default_context(cafile=folder / "api.payments.com.crt")
        stranger.load_cert_chain(foreign.certificate, foreign.key)
        for refused in (edge.tls, stranger):
            with edge.client(tls=refused) as client, pytest.raises((ssl.SSLError, OSError)):
                client.get(PAYMENTS, {"CF-Connecting-IP": "203.0.113.9"})
        with edge.client(tls=cdn) as client:
            one = Counter(client.get(PAYMENTS, {"CF-Connecting-IP": "203.0.113.1"}).status for _ in range(LIMIT + 3))
            two = Counter(client.get(PAYMENTS, {"CF-Connecting-IP": "203.0.113.2"}).status for _ in range(LIMIT))
            nobody = client.get(PAYMENTS)
    assert one == Counter({200: LIMIT, 429: 3})
    assert two == Counter({200: LIMIT})
    assert nobody.status == 403


def test_large_bodies_and_headers_are_refused(run_edge: RunEdge) -> None:
    with run_edge({**NO_LIMIT, "edge/max_body_kib": 8}) as edge, edge.client() as client:
        fits = client.post(PAYMENTS, body=b"x" * 8 * 1024)
        refused = client.post(PAYMENTS, body=b"x" * (8 * 1024 + 1))
        many_headers = client.get(PAYMENTS, {f"X-Filler-{n}": "y" * 1024 for n in range(50)})
        too_many = client.get(PAYMENTS, {f"X-Filler-{n}": "y" * 1024 for n in range(62)})
        assert [fits.status, refused.status, many_headers.status, too_many.status] == [200, 413, 200, 431]
        assert json.loads(refused.body)["error"] == "body_too_large"
        assert [method for method, _, _ in edge.payments[0].requests] == ["POST", "GET"]
