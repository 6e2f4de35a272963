"""A table of requests: is the answer stored, for how long, and by which rule? From what the prod stack declares."""

from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cloudflare_requests import Decision, Request, decide, matching
from tests.unit.components.cloudflare_stacks import HOST, ZONE, rules
from tests.unit.stacks import REMOVED, Changes

HOUR, FIVE_MINUTES, DAY = 3600, 300, 86400
CONFIG, RATES, DOCS = "/api/v1/config/limits", "/api/v1/rates/EUR-USD", "/docs/index.html"
PUBLIC = ((CONFIG, HOUR, "cache-config"), (RATES, FIVE_MINUTES, "cache-rates"), (DOCS, DAY, "cache-docs"))


def request(
    method: str = "GET", path: str = DOCS, *, status: int = 200, raw: str | None = None, host: str = HOST,
    query: str = "", cookie: str = "", headers: str = "", answers: str = "",
) -> Request:  # fmt: skip
    """A request; ``headers`` and ``answers`` are names of headers, separated by spaces."""
    return Request(
        method=method,
        host=host,
        path=path,
        raw_path=raw,
        query=query,
        cookie=cookie,
        status=status,
        headers=dict.fromkeys(headers.split(), "x"),
        response_headers=dict.fromkeys(answers.split(), "x"),
    )


def decision(one: Request, changes: Changes | None = None) -> Decision:
    return decide(rules("cache", changes), rules("cache-responses", changes), one)


STORED = [
    (request(path=CONFIG), HOUR, "cache-config"),
    (request(path="/api/v1/config/fees/cards"), HOUR, "cache-config"),
    (request("HEAD", CONFIG), HOUR, "cache-config"),
    (request(path=CONFIG, query="country=ES"), HOUR, "cache-config"),
    (request(path=CONFIG, headers="accept user-agent"), HOUR, "cache-config"),
    (request(path=CONFIG, cookie="__cf_bm=x"), HOUR, "cache-config"),
    (request(path=RATES), FIVE_MINUTES, "cache-rates"),
    (request("HEAD", RATES), FIVE_MINUTES, "cache-rates"),
    (request(path="/api/v1/rates/2026/EUR"), FIVE_MINUTES, "cache-rates"),
    (request(path=RATES, query="b=2&a=1"), FIVE_MINUTES, "cache-rates"),
    (request(path=DOCS), DAY, "cache-docs"),
    (request("HEAD", DOCS), DAY, "cache-docs"),
    (request(path="/docs/"), DAY, "cache-docs"),
    (request(path="/docs/api/v1/payments"), DAY, "cache-docs"),
    (request(path="/docs/style.css", cookie="theme=dark"), DAY, "cache-docs"),
    (request(path=DOCS, status=304), DAY, "cache-docs"),
    (request(path=DOCS, answers="content-type etag"), DAY, "cache-docs"),
]


@pytest.mark.parametrize(("one", "seconds", "rule"), STORED, ids=str)
def test_public_reads_are_stored_for_the_plans_times(one: Request, seconds: int, rule: str) -> None:
    assert decision(one) == Decision(stored=True, rule=rule, edge_ttl_seconds=seconds)


BYPASSED = [
    # Writes, on public paths and elsewhere.
    *(request(method, path) for method in ("POST", "PUT", "PATCH", "DELETE") for path, _, _ in PUBLIC),
    request("OPTIONS", DOCS),
    request("QUERY", RATES),
    request("POST", "/api/v1/payments"),
    request("PUT", "/api/v1/wallets/7"),
    # Whoever is known by a header.
    *(request(path=path, headers=name) for name in ("authorization", "x-api-key") for path, _, _ in PUBLIC),
    request("HEAD", CONFIG, headers="authorization"),
    request(path=DOCS, headers="Authorization"),
    # Whoever is known by a session.
    *(request(path=path, cookie="session=abc") for path, _, _ in PUBLIC),
    request(path=DOCS, cookie="theme=dark; session=abc; a=b"),
    request(path=DOCS, cookie="my-session=abc"),
    # What belongs to one customer.
    request(path="/api/v1/payments"),
    request(path="/api/v1/payments/42"),
    request(path="/api/v1/payments/42/receipt.pdf"),
    request(path="/api/v1/wallets/7/balance"),
    request(path="/api/v1/wallets/7/balance.css"),
    request("HEAD", "/api/v1/wallets/7"),
    request(path="/api/v1/webhooks/acquirer"),
    request(path="/api/v1/tokens"),
    # What is not listed, and what only looks as if it were.
    request(path="/api/v1/config"),
    request(path="/api/v1/configuration/x"),
    request(path="/api/v1/rates"),
    request(path="/docs"),
    request(path="/docsets/x"),
    request(path="/DOCS/index.html"),
    request(path="/"),
    request(path="/static/logo.png"),
    request(path="/api/v2/config/limits"),
    # The same place, spelt so that the origin may read it differently.
    request(path="/docs/x", raw="/docs/..%2fapi/v1/wallets/7"),
    request(path="/docs/x", raw="/docs/%2e%2e/x"),
    request(path="/docs/x", raw="/api/../docs/x"),
    request(path="/docs/x", raw="//docs/x"),
    request(path="/docs/x;.css"),
    request(path="/docs/a\\b"),
    # Another spelling of the host does not open the API.
    request(path="/api/v1/payments/42.css", host="API.payments.com:443"),
    request(path="/api/v1/payments/42", host="other.payments.com"),
]


@pytest.mark.parametrize("one", BYPASSED, ids=str)
def test_everything_else_is_bypassed_by_the_last_rule(one: Request) -> None:
    assert decision(one) == Decision(stored=False, rule="bypass")


TAKEN_BACK = [
    *((request(path=path, status=status), "no-store-errors") for path, _, _ in PUBLIC for status in (400, 429, 500)),
    (request(path=DOCS, status=404), "no-store-errors"),
    (request(path=CONFIG, status=503), "no-store-errors"),
    *((request(path=path, answers="set-cookie"), "no-store-cookies") for path, _, _ in PUBLIC),
    (request(path=DOCS, answers="content-type Set-Cookie"), "no-store-cookies"),
]


@pytest.mark.parametrize(("one", "rule"), TAKEN_BACK, ids=str)
def test_t27_errors_and_answers_with_cookies_are_taken_back_by_a_response_rule(one: Request, rule: str) -> None:
    assert decision(one) == Decision(stored=False, rule=rule)


def test_the_table_is_long_enough() -> None:
    assert len(STORED) + len(BYPASSED) + len(TAKEN_BACK) >= 60


@pytest.mark.parametrize(
    ("one", "refs"),
    [
        (request("POST", "/api/v1/payments", status=201), ["no-store-api"]),
        (request("GET", "/api/v1/wallets/7"), ["no-store-api"]),
        (request("GET", "/api/v1/wallets/7", status=429), ["no-store-api", "no-store-errors"]),
        (request("GET", "/api/v1/wallets/7", host="other.payments.com"), ["no-store-api"]),
        (request("GET", CONFIG), []),
        (request("GET", CONFIG, status=503, answers="set-cookie"), ["no-store-errors", "no-store-cookies"]),
        (request("GET", "/login", answers="set-cookie"), ["no-store-cookies"]),
        (request("GET", "/"), []),
    ],
)
def test_answers_of_the_api_and_errors_tell_the_browser_not_to_store_them(one: Request, refs: list[str]) -> None:
    assert [rule["ref"] for rule in cast("list[Mapping[str, str]]", matching(rules("cache-responses"), one))] == refs
    assert {str(rule["actionParameters"]) for rule in rules("cache-responses")} == {"{'noStore': {'operation': 'set'}}"}


def test_the_bypass_stands_last_whatever_the_entries_are_called() -> None:
    late = {f"{ZONE}/cached/zz": {"path": "/zz/*"}, "edge/routes/zz": {"path": "/zz", "service": "payment-service"}}
    assert [one["ref"] for one in rules("cache", late)] == [
        "cache-config", "cache-docs", "cache-rates", "cache-zz", "bypass",
    ]  # fmt: skip


def test_the_order_of_entries_in_the_file_changes_nothing() -> None:
    entries = {"rates": {"path": "/api/v1/rates/*"}, "docs": {"path": "/docs/*"}}
    turned = dict(reversed(entries.items()))
    assert rules("cache", {f"{ZONE}/cached": entries}) == rules("cache", {f"{ZONE}/cached": turned})


def test_without_a_ttl_the_origin_decides_and_nothing_is_stripped() -> None:
    changes: Changes = {f"{ZONE}/cached/rates/edge_ttl_seconds": REMOVED}
    assert decision(request(path=RATES), changes) == Decision(stored=True, rule="cache-rates")
    parameters = next(one for one in rules("cache", changes) if one["ref"] == "cache-rates")["actionParameters"]
    assert parameters["edgeTtl"] == {"mode": "bypass_by_default"}


def test_every_cached_path_has_the_deception_armour_and_serves_nothing_stale() -> None:
    cached = [one["actionParameters"] for one in rules("cache") if one["ref"] != "bypass"]
    assert len(cached) == 3
    for parameters in cached:
        assert parameters["cacheKey"]["cacheDeceptionArmor"] is True
        assert parameters["serveStale"] == {"disableStaleWhileUpdating": True}
        assert parameters["browserTtl"] == {"mode": "respect_origin"}


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
PLACES = st.sampled_from(["/docs/", "/api/v1/config/", "/api/v1/payments/", "/api/v1/wallets/", "/x/"])


@given(
    method=METHODS,
    place=PLACES,
    rest=st.text("abc.%/;", max_size=8),
    headers=st.lists(st.sampled_from(["authorization", "x-api-key", "accept"]), unique=True),
    cookie=st.sampled_from(["", "session=1", "theme=dark"]),
    status=st.sampled_from([200, 301, 404, 500]),
)
def test_whatever_is_stored_is_a_public_read_that_succeeded(
    *, method: str, place: str, rest: str, headers: list[str], cookie: str, status: int
) -> None:
    one = Request(
        method=method, host=HOST, path=place + rest, headers=dict.fromkeys(headers, "x"), cookie=cookie, status=status
    )
    if decision(one).stored:
        assert method in ("GET", "HEAD")
        assert place in ("/docs/", "/api/v1/config/")
        assert not {"authorization", "x-api-key"} & set(headers)
        assert "session" not in cookie
        assert status < 400
