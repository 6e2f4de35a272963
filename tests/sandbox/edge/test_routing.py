"""Which request reaches which service, on the real Envoy."""

import json

import pytest

from tests.real.edge.client import HOST
from tests.sandbox.edge.conftest import RunEdge
from tests.sandbox.edge.rig import DOCS, PAYMENTS, WALLETS, Rig

ADDRESS = "127.0.1.1"  # of this file's tests: limits of other files' clients are not touched


@pytest.mark.parametrize(
    ("method", "path", "upstream"),
    [
        ("GET", PAYMENTS, "payment-0"),
        ("POST", PAYMENTS, "payment-0"),
        ("GET", f"{PAYMENTS}/", "payment-0"),
        ("GET", f"{PAYMENTS}/42/refunds?page=2", "payment-0"),
        ("DELETE", f"{PAYMENTS}/42", "payment-0"),
        ("GET", WALLETS, "wallet-0"),
        ("PUT", f"{WALLETS}/7", "wallet-0"),
        ("GET", "/api/v1/config/currencies", "payment-0"),
        ("GET", "/api/v1/rates/EUR", "payment-0"),
        ("GET", f"{DOCS}/index.html", "payment-0"),
        ("GET", f"//{PAYMENTS[1:]}", "payment-0"),
        ("GET", f"{DOCS}/../api/v1/wallets", "wallet-0"),
    ],
)
def test_a_path_reaches_its_service(edge: Rig, method: str, path: str, upstream: str) -> None:
    with edge.client(ADDRESS) as client:
        answer = client.request(method, path)
    assert (answer.status, json.loads(answer.body)["upstream"]) == (200, upstream)


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", HOST, 404),
        ("GET", "/api/v1/paymentsx", HOST, 404),
        ("GET", "/api/v1", HOST, 404),
        ("GET", "/api/v2/payments", HOST, 404),
        ("GET", "/health/ready", HOST, 404),
        ("GET", "/metrics", HOST, 404),
        ("GET", PAYMENTS, "other.payments.com", 404),
        ("POST", f"{DOCS}/index.html", HOST, 404),
        ("DELETE", "/api/v1/config/currencies", HOST, 404),
        ("PUT", "/api/v1/rates/EUR", HOST, 404),
        ("GET", "/docs/%2e%2e%2fapi/v1/payments", HOST, 400),
        ("GET", "/docs%2findex.html", HOST, 400),
    ],
)
def test_everything_else_reaches_nobody(edge: Rig, method: str, path: str, host: str, status: int) -> None:
    before = [upstream.seen() for upstream in (*edge.payments, *edge.wallets)]
    with edge.client(ADDRESS) as client:
        answer = client.request(method, path, {"Host": host})
    assert answer.status == status
    assert [upstream.seen() for upstream in (*edge.payments, *edge.wallets)] == before


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plain_http_is_only_told_the_way_to_https(edge: Rig, method: str) -> None:
    path = f"{PAYMENTS}/plain"
    with edge.plain_client(ADDRESS) as client:
        answer = client.request(method, f"{path}?a=1")
    assert (answer.status, answer.headers["location"]) == (301, f"https://{HOST}{path}?a=1")
    assert edge.payments[0].seen(path) == 0


def test_answers_ask_for_https_from_now_on(edge: Rig) -> None:
    with edge.client(ADDRESS) as client:
        answers = [client.get(PAYMENTS), client.get("/unknown")]
    assert [a.headers["strict-transport-security"] for a in answers] == ["max-age=31536000; includeSubDomains"] * 2


def test_an_allow_list_admits_its_addresses_only(run_edge: RunEdge) -> None:
    with run_edge({"edge/routes/docs/allow_from": ["127.0.1.0/24"]}) as edge:
        with edge.client("127.0.1.9") as inside, edge.client("127.0.2.9") as outside:
            answers = [inside.get(DOCS), outside.get(DOCS), outside.get(PAYMENTS)]
        refused = answers[1]
        assert [answer.status for answer in answers] == [200, 403, 200]
        assert json.loads(refused.body)["error"] == "forbidden"
        assert refused.headers["cache-control"] == "no-store"
