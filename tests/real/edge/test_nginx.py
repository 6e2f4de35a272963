"""The nginx form of the edge on a real nginx, by the translation that tests/real/edge/nginx.py describes."""

import contextlib
import json
import ssl
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.edge import pki
from tests.real.edge.client import HOST, Client
from tests.real.edge.nginx import Nginx, Site
from tests.real.edge.upstream import Upstream, counts, serving
from tests.unit.components.edge_stacks import nginx_form
from tests.unit.stacks import manifests_of

pytestmark = pytest.mark.real
PAYMENTS, DOCS = "/api/v1/payments", "/docs"
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Running:
    nginx: Nginx
    payments: list[Upstream]
    wallets: list[Upstream]
    tls: ssl.SSLContext

    def client(self, address: str = STRANGER) -> Client:
        return Client(port=self.nginx.https, address=address, tls=self.tls)


@contextlib.contextmanager
def running(folder: Path, changes: Mapping[str, object], *, payments: int = 1, dead: bool = False) -> Iterator[Running]:
    form = nginx_form({"edge/accept_from": [f"{TRUSTED}/32"], **changes})
    manifests = manifests_of("dev", form).values()
    ingresses = [m for m in manifests if m["kind"] == "Ingress"]
    (config,) = [m["data"] for m in manifests if m["metadata"]["name"] == "edge-controller-config"]
    pair = pki.server(folder)
    with serving(*(f"payment-{n}" for n in range(payments)), "wallet-0") as upstreams:
        ports = [upstream.port for upstream in upstreams]
        by_service = {"payment-service-svc": ports[:payments] + [1] * dead, "wallet-service-svc": ports[payments:]}
        site = Site(ingresses=ingresses, config=config, upstreams=by_service, pair=pair)
        with Nginx(site=site, folder=folder) as nginx:
            context = ssl.create_default_context(cafile=pair.certificate)
            yield Running(nginx, upstreams[:payments], upstreams[payments:], context)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, {}, payments=3) as found:
        yield found


def test_paths_reach_their_services_and_others_nobody(site: Running) -> None:
    with site.client() as client:
        answers = {
            path: client.get(path)
            for path in (PAYMENTS, f"{PAYMENTS}/1", "/api/v1/wallets/7", DOCS, "/api/v1/paymentsx", "/", "/metrics")
        }
    assert [answer.status for answer in answers.values()] == [200, 200, 200, 200, 404, 404, 404]
    assert json.loads(answers["/api/v1/wallets/7"].body)["upstream"] == "wallet-0"


def test_plain_http_is_redirected(site: Running) -> None:
    with Client(port=site.nginx.http) as client:
        answer = client.get(f"{PAYMENTS}?a=1")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{HOST}{PAYMENTS}?a=1")


def test_t1_the_translated_limit_counts_each_address(site: Running) -> None:
    """1000 a minute with the burst multiplier 1: at most a window's worth at once, then 429."""
    with site.client("127.0.0.5") as first, site.client("127.0.0.6") as second:
        statuses, seconds = first.burst(1300, PAYMENTS)
        refilled = int(seconds * 1000 / 60) + 2
        assert 1000 <= statuses[200] <= 1000 + refilled
        assert statuses[200] + statuses[429] == 1300
        assert second.burst(50, PAYMENTS)[0] == Counter({200: 50})


def test_round_robin_is_even_for_posts(site: Running) -> None:
    with site.client("127.0.0.7") as client:
        for _ in range(150):
            client.post(f"{PAYMENTS}/even")
    assert all(abs(share - 50) <= 2.5 for share in counts(site.payments, f"{PAYMENTS}/even").values())


def test_t3_a_uri_hash_keeps_a_page_on_one_pod(tmp_path: Path) -> None:
    changes = {"edge/routes/docs/balancing": {"policy": "hash", "hash_on": "uri"}}
    with running(tmp_path, changes, payments=3) as site, site.client() as client:
        for _ in range(4):
            for page in range(30):
                client.get(f"{DOCS}/{page}")
        pods = [{u.name for u in site.payments if u.seen(f"{DOCS}/{page}")} for page in range(30)]
    assert all(len(names) == 1 for names in pods)
    assert len(set.union(*pods)) == 3


def test_a_forged_address_is_ignored_and_the_cdns_is_not(tmp_path: Path) -> None:
    limits = {"per-address": {"by": "client-address", "requests": 5, "per": "minute"}}
    with running(tmp_path, {"edge/rate_limits": limits}) as site:
        with site.client(STRANGER) as client:
            forged = Counter(client.get(PAYMENTS, {"X-Forwarded-For": f"198.51.100.{n}"}).status for n in range(30))
        with site.client(TRUSTED) as cdn:
            named = Counter(cdn.get(PAYMENTS, {"X-Forwarded-For": f"198.51.100.{n}"}).status for n in range(30))
            left = Counter(
                cdn.get(PAYMENTS, {"X-Forwarded-For": f"192.0.2.{n}, 203.0.113.1"}).status for n in range(30)
            )
    assert forged[429] > 0
    assert named == Counter({200: 30})
    assert left[429] > 0


def test_a_post_that_a_pod_has_read_is_not_repeated(tmp_path: Path) -> None:
    path = f"{PAYMENTS}/seen"
    with running(tmp_path, {}, payments=2) as site, site.client() as client:
        for upstream in site.payments:
            upstream.hang_up_after_reading.add(path)
        assert client.post(path).status == 502
        assert sum(upstream.seen(path) for upstream in site.payments) == 1


def test_a_dead_pod_costs_nobody_an_answer(tmp_path: Path) -> None:
    with running(tmp_path, {}, payments=2, dead=True) as site, site.client() as client:
        assert Counter(client.post(f"{PAYMENTS}/{n}").status for n in range(30)) == Counter({200: 30})
        seen = Counter(path for upstream in site.payments for _, path, _ in upstream.requests)
    assert seen == Counter({f"{PAYMENTS}/{n}": 1 for n in range(30)})


def test_large_bodies_and_strangers_are_refused(tmp_path: Path) -> None:
    changes = {"edge/max_body_kib": 8, "edge/routes/docs/allow_from": ["127.0.9.0/24"]}
    with running(tmp_path, changes) as site, site.client() as client, site.client("127.0.9.1") as admitted:
        assert client.post(PAYMENTS, body=b"x" * 8192).status == 200
        assert client.post(PAYMENTS, body=b"x" * 8193).status == 413
        assert [client.get(DOCS).status for client in (client, admitted)] == [403, 200]
