"""What a Cloudflare plan cannot do is refused before any call, and the message names a plan that can."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings.cloudflare_tiers import TIERS, Plan, first_plan
from tests.unit.stacks import REMOVED, Changes, problems_of

ZONE = "edge/cloudflare"
PATH = "edge.cloudflare"
# What the smaller plans can do, so that each test changes one thing only.
FREE: Changes = {
    f"{ZONE}/plan": "free",
    f"{ZONE}/cached": {"docs": {"path": "/docs/*", "edge_ttl_seconds": 86400}},
    f"{ZONE}/rate_limits": {"api": {"path": "/api/*", "requests": 170, "period_seconds": 10, "blocked_seconds": 10}},
    f"{ZONE}/waf": "free",
    f"{ZONE}/custom_errors": False,
}
PRO: Changes = {f"{ZONE}/plan": "pro", f"{ZONE}/cached": {"docs": {"path": "/docs/*", "edge_ttl_seconds": 86400}}}
BUSINESS: Changes = {f"{ZONE}/plan": "business"}
ENTERPRISE: Changes = {f"{ZONE}/plan": "enterprise"}
BASES = {"free": FREE, "pro": PRO, "business": BUSINESS, "enterprise": ENTERPRISE}
LIMIT = {"path": "/api/*", "requests": 1}


def problems(plan: str, **wishes: object) -> list[str]:
    return problems_of("prod", {**BASES[plan], **{f"{ZONE}/{key}": value for key, value in wishes.items()}})


@pytest.mark.parametrize("plan", BASES)
def test_each_plan_can_carry_a_zone(plan: str) -> None:
    assert problems(plan) == []


def cached(seconds: int | None) -> dict[str, object]:
    return {"rates": {"path": "/api/v1/rates/*", **({} if seconds is None else {"edge_ttl_seconds": seconds})}}


@pytest.mark.parametrize(("plan", "minimum"), [("free", 7200), ("pro", 3600)])
def test_t26_five_minutes_at_the_edge_need_business(plan: str, minimum: int) -> None:
    assert problems(plan, cached=cached(300)) == [
        (
            f"{PATH}.cached.rates.edge_ttl_seconds: is 300; allowed: at least {minimum} on {plan}; fix: raise it, "
            "change to business, or leave it out and let the origin send Cache-Control: public, max-age=300, which "
            "every plan obeys"
        )
    ]
    assert problems(plan, cached=cached(minimum)) == []
    assert len(problems(plan, cached=cached(minimum - 1))) == 1
    assert problems(plan, cached=cached(None)) == []


def test_an_hour_on_free_names_pro() -> None:
    assert "change to pro" in problems("free", cached=cached(3600))[0]


def numbered(count: int, entry: dict[str, object]) -> dict[str, object]:
    return {f"n{number}": entry for number in range(count)}


REFUSED = [
    ("free", "rate_limits", {"a": {**LIMIT, "period_seconds": 60, "blocked_seconds": 10}},
     "rate_limits.a.period_seconds: is 60; allowed: 10 on free; fix: choose what free has, or change to pro"),
    ("pro", "rate_limits", {"a": {**LIMIT, "period_seconds": 120}},
     ("rate_limits.a.period_seconds: is 120; allowed: one of 10, 60 on pro; fix: choose what pro has, or change"
     " to business")),
    ("business", "rate_limits", {"a": {**LIMIT, "period_seconds": 3600}},
     ("rate_limits.a.period_seconds: is 3600; allowed: one of 10, 60, 120, 300, 600 on business; fix: choose what"
     " business has, or change to enterprise")),
    ("enterprise", "rate_limits", {"a": {**LIMIT, "period_seconds": 61}},
     ("rate_limits.a.period_seconds: is 61; allowed: one of 10, 60, 120, 300, 600, 3600 on enterprise; fix: choose what"
     " enterprise has")),
    ("free", "rate_limits", {"a": {**LIMIT, "period_seconds": 10, "blocked_seconds": 60}},
     "rate_limits.a.blocked_seconds: is 60; allowed: 10 on free; fix: choose what free has, or change to pro"),
    ("pro", "rate_limits", {"a": {**LIMIT, "blocked_seconds": 86400}},
     ("rate_limits.a.blocked_seconds: is 86400; allowed: one of 10, 60, 120, 300, 600, 3600 on pro; fix: choose what"
     " pro has, or change to business")),
    ("pro", "rate_limits", {"a": {**LIMIT, "by": "client-address-nat"}},
     ("rate_limits.a.by: is 'client-address-nat'; allowed: client-address on pro; fix: choose what pro has, or change"
     " to business")),
    ("enterprise", "rate_limits", {"a": {**LIMIT, "by": "header", "header": "x-client-id"}},
     ("rate_limits.a.by: is 'header'; allowed: one of client-address, client-address-nat on enterprise; fix: choose"
     " what enterprise has, or change to enterprise with the Advanced Rate Limiting add-on")),
    ("pro", "rate_limits", numbered(3, LIMIT),
     "rate_limits: is 3; allowed: at most 2 on pro; fix: choose what pro has, or change to business"),
    ("business", "rate_limits", numbered(6, LIMIT),
     ("rate_limits: is 6; allowed: at most 5 on business; fix: choose what business has, or change to enterprise with"
     " the Advanced Rate Limiting add-on")),
    ("free", "custom_errors", True,
     "custom_errors: is True; allowed: false on free; fix: choose what free has, or change to pro"),
    ("free", "waf", "managed", "waf: is 'managed'; allowed: free on free; fix: choose what free has, or change to pro"),
    ("pro", "waf", "free",
     "waf: is 'free'; allowed: managed on pro: the plan has the full rule sets; fix: set waf: managed"),
    ("business", "tiered_cache", "regional",
     ("tiered_cache: is 'regional'; allowed: off or smart on business; fix: choose what business has, or change to"
     " enterprise")),
    ("business", "logpush", {"requests": {"dataset": "http_requests", "destination_key": "logs"}},
     "logpush: is ['requests']; allowed: nothing on business; fix: choose what business has, or change to enterprise"),
    ("enterprise", "logpush", {"audit": {"dataset": "audit_logs_v2", "destination_key": "logs"}},
     "account_id: allowed: required by logpush.audit: audit_logs_v2 is a log of the account; fix: add 'account_id'"),
    ("business", "advanced_rate_limiting", True,
     ("advanced_rate_limiting: is True; allowed: false on business: the add-on is sold with enterprise only; fix: set"
     " it to false, or plan: enterprise where the contract has it")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "field", "value", "line"), REFUSED, ids=[f"{plan}-{line.split(':')[0]}" for plan, _, _, line in REFUSED]
)
def test_an_impossible_wish_is_refused_and_the_message_names_a_plan(
    plan: str, field: str, value: object, line: str
) -> None:
    assert problems(plan, **{field: value}) == [f"{PATH}.{line}"]


@pytest.mark.parametrize(("plan", "count"), [("free", 10), ("pro", 25), ("business", 50)])
def test_cache_rules_are_counted_with_the_bypass(plan: str, count: int) -> None:
    routes: Changes = {"edge/routes/docs": {"path": "/docs", "service": "payment-service"}}
    many = {f"n{number}": {"path": f"/docs/n{number}/*"} for number in range(count)}
    [line] = problems_of("prod", {**BASES[plan], **routes, f"{ZONE}/cached": many})
    assert line.startswith(f"{PATH}.cached: is {count}; allowed: at most {count - 1}: one cache rule of {count}")
    many.pop("n0")
    assert problems_of("prod", {**BASES[plan], **routes, f"{ZONE}/cached": many}) == []


def test_the_add_on_counts_by_header_and_has_more_limits() -> None:
    by_header = {**LIMIT, "by": "header", "header": "x-client-id"}
    assert problems("enterprise", advanced_rate_limiting=True, rate_limits=numbered(20, by_header)) == []


@pytest.mark.parametrize("path", ["/api/*", "/api/v1/*", "/api/v1/payments/*", "/api/v1/payments/receipts/*"])
def test_a_cached_path_that_covers_private_ones_is_refused(path: str) -> None:
    lines = problems("business", cached={"all": {"path": path, "edge_ttl_seconds": 60}})
    assert f"{PATH}.cached.all.path: is '{path}'; allowed: a path apart from /api/v1/payments" in lines[0]


@pytest.mark.parametrize("path", ["/*", "/docs", "docs/*", "/docs/../*", '/docs"/*', "/docs/*/x", "/a b/*"])
def test_a_path_that_cannot_be_one_is_refused(path: str) -> None:
    [line] = problems("business", cached={"x": {"path": path}})
    assert line.startswith(f"{PATH}.cached.x.path: is {path!r}")


def test_two_entries_over_the_same_paths_are_refused() -> None:
    [line] = problems("business", cached={"a": {"path": "/docs/*"}, "b": {"path": "/docs/v1/*"}})
    assert "allowed: a path apart from /docs/* of cached.a: the later rule would decide for both" in line


def test_a_cached_path_without_a_route_is_refused() -> None:
    [line] = problems("business", cached={"news": {"path": "/news/*"}})
    assert line == (
        f"{PATH}.cached.news.path: is '/news/*'; allowed: a path below one of edge.routes: nothing answers this one; "
        "fix: add a route for /news, or remove the entry"
    )


def test_all_problems_are_told_at_once() -> None:
    wishes = {"waf": "managed", "custom_errors": True, "cached": cached(1), "tiered_cache": "regional"}
    assert [line.split(":")[0].removeprefix(f"{PATH}.") for line in problems("free", **wishes)] == [
        "cached.rates.edge_ttl_seconds", "custom_errors", "waf", "tiered_cache",
    ]  # fmt: skip


def test_the_gateway_must_know_clients_by_more_than_cloudflares_addresses() -> None:
    changes: Changes = {"edge/client_address": {"source": "connection"}, "edge/tls/client_ca": REMOVED}
    assert [line.split(":")[0] for line in problems_of("prod", changes)] == [
        "edge.client_address.source", "edge.tls.client_ca",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{ZONE}/hsts": {"preload": True}}, "preload needs include_subdomains: true"),
        ({f"{ZONE}/credential_headers": ["x-api-key"]}, "credential_headers without authorization"),
        ({f"{ZONE}/session_cookies": []}, "at least 1 entries"),
        ({f"{ZONE}/session_cookies": ['a" or true']}, "session_cookies[0]"),
        ({f"{ZONE}/rate_limits": {}}, "at least 1 entries"),
        ({f"{ZONE}/rate_limits/api/header": "x-client-id"}, "header and by: header go together"),
        ({f"{ZONE}/zone_id": "payments.com"}, "32 hexadecimal digits"),
        ({f"{ZONE}/plan": "busines"}, "did you mean 'business'?"),
        ({f"{ZONE}/token": "abc"}, "did you mean 'token_key'?"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: Changes, words: str) -> None:
    [line] = problems_of("prod", changes)
    assert line.startswith(PATH)
    assert words in line


@given(plan=st.sampled_from(list(Plan)), seconds=st.integers(1, 100_000))
def test_a_larger_plan_never_allows_less(plan: Plan, seconds: int) -> None:
    plans = list(Plan)
    for larger in plans[plans.index(plan) :]:
        small, large = TIERS[plan], TIERS[larger]
        assert large.minimum_edge_ttl_seconds <= small.minimum_edge_ttl_seconds
        assert set(large.periods_seconds) >= set(small.periods_seconds)
        assert set(large.timeouts_seconds) >= set(small.timeouts_seconds)
        assert large.counted >= small.counted
        for count in ("cache_rules", "rate_limits", "custom_errors", "transform_rules"):
            assert getattr(large, count) >= getattr(small, count)
    named = first_plan(lambda tier: seconds >= tier.minimum_edge_ttl_seconds)
    assert seconds >= TIERS[Plan(named)].minimum_edge_ttl_seconds
