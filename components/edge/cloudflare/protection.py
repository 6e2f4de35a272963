"""Rulesets that refuse and that answer in the origin's place: rate limits, managed rules, errors, headers."""

import json
from typing import Any

from components.edge.cloudflare import expressions as ex
from components.edge.cloudflare.ruleset import Rule, Ruleset
from settings.cloudflare import ClientLimit, Cloudflare, Waf
from settings.cloudflare_tiers import Counted

# Cloudflare's own rule sets have the same ids in every zone (waf/managed-rules).
MANAGED_RULESET = "efb7b8c949ac4650a09736fc376e9aee"
OWASP_RULESET = "4814384a9e5d4991b9815dcfc25d2f1f"
FREE_RULESET = "77454fe2d30c4220b5701f6fdfb893ba"
_EXECUTED = {
    Waf.MANAGED: (("cloudflare-managed", MANAGED_RULESET), ("owasp-core", OWASP_RULESET)),
    Waf.FREE: (("cloudflare-free", FREE_RULESET),),
}
_CHARACTERISTICS = {Counted.ADDRESS: "ip.src", Counted.ADDRESS_BEHIND_NAT: "cf.unique_visitor_id"}
_JSON_TYPES = ("application/json", "application/problem+json")
_FIRST_SERVER_ERROR = 500
TOO_MANY_REQUESTS = json.dumps(
    {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "Slow down and try again later."}
)
UNAVAILABLE = json.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "detail": "The payment service did not answer. Repeat the request with the same idempotency key.",
    }
)
UNAVAILABLE_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Temporarily unavailable</title></head>'
    "<body><h1>Temporarily unavailable</h1><p>Please try again in a few minutes.</p></body></html>"
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# The API's answers load nothing; pages may load what they bring, and are never shown inside another site.
API_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"
SITE_CONTENT_POLICY = "object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
REMOVED_HEADERS = ("Server-Timing", "X-Powered-By")


def plan_rate_limits(wanted: Cloudflare) -> Ruleset:
    """One rule per limit, in the order of names; Cloudflare answers 429 itself, before the cache and the origin.

    By path alone: Free's expressions may not name the host, and a host spelt differently must not escape.
    """
    rules = tuple(_limit(name, wanted.rate_limits[name]) for name in sorted(wanted.rate_limits))
    return Ruleset(phase="http_ratelimit", name="payments rate limits", rules=rules)


def _limit(name: str, limit: ClientLimit) -> Rule:
    counted = f"http.request.headers[{ex.text(limit.header)}]" if limit.header else _CHARACTERISTICS[limit.by]
    return Rule(
        ref=f"limit-{name}",
        description=f"{limit.requests} requests in {limit.period_seconds} s by {limit.header or limit.by}",
        expression=ex.below(limit.path.removesuffix("/*")),
        action="block",
        parameters={"response": {"status_code": 429, "content_type": "application/json", "content": TOO_MANY_REQUESTS}},
        ratelimit={
            # Counters are kept by each data centre; the API demands that this is said.
            "characteristics": ["cf.colo.id", counted],
            "period": limit.period_seconds,
            "requests_per_period": limit.requests,
            "mitigation_timeout": limit.blocked_seconds,
        },
    )


def plan_managed_rules(wanted: Cloudflare) -> Ruleset:
    """Cloudflare's own rule sets over every request of the zone."""
    return Ruleset(
        phase="http_request_firewall_managed",
        name="payments managed rules",
        rules=tuple(
            Rule(ref=ref, description=f"Run {ref}", expression="true", action="execute", parameters={"id": ruleset})
            for ref, ruleset in _EXECUTED[wanted.waf]
        ),
    )


def plan_custom_errors(wanted: Cloudflare) -> Ruleset | None:
    """JSON for the API and a page for the site; ``None`` when not wanted. The first rule that matches wins.

    Only server errors, and only those that are not JSON already: the services' own problem documents pass through.
    """
    if not wanted.custom_errors:
        return None
    failed = ex.status_at_least(_FIRST_SERVER_ERROR)
    foreign = ex.negated(ex.one_of(ex.MEDIA_TYPE, _JSON_TYPES))
    return Ruleset(
        phase="http_custom_errors",
        name="payments errors",
        rules=(
            _error(
                "errors-api",
                ex.both(failed, ex.below(wanted.api_path), foreign),
                {"content": UNAVAILABLE, "content_type": "application/json"},
            ),
            _error(
                "errors-site",
                ex.both(failed, ex.negated(ex.below(wanted.api_path))),
                {"content": UNAVAILABLE_PAGE, "content_type": "text/html"},
            ),
        ),
    )


def _error(ref: str, expression: str, parameters: dict[str, Any]) -> Rule:
    kind = parameters["content_type"]
    return Rule(
        ref=ref,
        description=f"Server errors as {kind}",
        expression=expression,
        action="serve_error",
        parameters=parameters,
    )


def plan_response_headers(host: str, wanted: Cloudflare) -> Ruleset:
    """Headers that browsers protect users by; Strict-Transport-Security is a setting of the zone."""
    ours, api = ex.equals(ex.HOST, host), ex.below(wanted.api_path)
    return Ruleset(
        phase="http_response_headers_transform",
        name="payments response headers",
        rules=(
            _headers("headers-api", ex.both(ours, api), API_CONTENT_POLICY),
            _headers("headers-site", ex.both(ours, ex.negated(api)), SITE_CONTENT_POLICY),
        ),
    )


def _headers(ref: str, expression: str, content_policy: str) -> Rule:
    fixed = {**SECURITY_HEADERS, "Content-Security-Policy": content_policy}
    headers: dict[str, dict[str, str]] = {name: {"operation": "set", "value": value} for name, value in fixed.items()}
    headers |= {name: {"operation": "remove"} for name in REMOVED_HEADERS}
    return Rule(
        ref=ref,
        description="Headers that browsers protect users by",
        expression=expression,
        action="rewrite",
        parameters={"headers": headers},
    )
