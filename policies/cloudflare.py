"""Caching at the edge: nothing that belongs to one customer is stored, and no cookie is lost on the way."""

import re
from collections.abc import Iterator, Sequence

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies import cloudflare_zone
from policies.cloudflare_objects import CloudflareObject, Zones, parse_cloudflare
from policies.cloudflare_requests import Request, decide, eligible, literals
from policies.rules import About, Config, Violation, indexed_policy, subject_policy
from policies.rules_language import ExpressionError
from policies.values import elements, read, show, text

REQUEST_PHASE = "http_request_cache_settings"
RESPONSE_PHASE = "http_response_cache_settings"
_HOST = re.compile(r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
# Each of these would be stored under the same key as another customer's request.
_CREDENTIALS = ("authorization", "x-api-key")
_UNREADABLE = "Allowed: expressions that this pack can evaluate. Fix: rewrite the expression, or extend the pack."


def no_private_caching() -> ResourceValidationPolicy:
    """One customer's balance in the cache is shown to the next one who asks."""
    about = About(
        name="edge-caches-public-reads-only",
        display_name="The edge caches public reads only",
        description="Cache rules never store writes, requests with credentials or a session, or private paths.",
        severity=Severity.CRITICAL,
        remediation="Put a bypass rule last that matches writes, credentials, sessions and private paths.",
        tags=("edge", "cache"),
        pci="3.5.1",
        pci_text="Stored account data is unreadable anywhere it is stored",
        schema=PolicyConfigSchema(
            properties={
                "privatePaths": {
                    "type": "array",
                    "items": {"type": "string"},
                    "default": ["/api/v1/payments", "/api/v1/wallets"],
                },
                "sessionCookies": {"type": "array", "items": {"type": "string"}, "default": ["session"]},
            }
        ),
    )
    return subject_policy(about, _check_caching, frozenset({"Ruleset"}), parse_cloudflare)


def _check_caching(subject: CloudflareObject, config: Config) -> Iterator[str]:
    rules = subject.rules
    if subject.phase != REQUEST_PHASE or rules is None:
        return
    try:
        for reason, requests in _unsafe_requests(rules, config):
            stored = next(((one, found) for one in requests if (found := eligible(rules, one)).stored), None)
            if stored is not None:
                request, decision = stored
                yield (
                    f"stores {reason}: '{request}' by rule {show(decision.rule)}. Allowed: public reads only. Fix: put"
                    " a rule with cache false last that matches them."
                )
    except ExpressionError as error:
        yield f"cannot be checked ({error}). {_UNREADABLE}"


def _unsafe_requests(rules: Sequence[object], config: Config) -> Iterator[tuple[str, list[Request]]]:
    """Yield each reason with requests that try it on every host and path that the rules name."""
    places = _places(rules)
    private = [
        Request(host=host, path=path)
        for host in dict.fromkeys(host for host, _ in places)
        for path in _texts(read(config, "privatePaths"))
    ]
    yield "writes", [Request(method=method, host=host, path=path) for method in _WRITES for host, path in places]
    yield (
        "requests with credentials",
        [Request(host=host, path=path, headers={name: "x"}) for name in _CREDENTIALS for host, path in places],
    )
    yield (
        "requests of a session",
        [
            Request(host=host, path=path, cookie=f"{name}=x")
            for name in _texts(read(config, "sessionCookies"))
            for host, path in places
        ],
    )
    yield "private paths", [*private, *(Request(host=one.host, path=f"{one.path}/1") for one in private)]


def _places(rules: Sequence[object]) -> list[tuple[str, str]]:
    """Return the hosts and paths to try: those in the expressions, and one of each that stands in none."""
    known = literals(rules)
    hosts = [literal for literal in known if _HOST.match(literal)] or ["host.invalid"]
    paths = [literal for literal in known if literal.startswith("/")]
    tried = [path for literal in paths for path in (literal, f"{literal.rstrip('/')}/x", f"{literal}.css")]
    return [(host, path) for host in hosts for path in dict.fromkeys([*tried, "/", "/x.css"])]


def _texts(values: object) -> list[str]:
    return [value for one in elements(values) if (value := text(one)) is not None]


def cookies_survive() -> StackValidationPolicy:
    """A fixed edge TTL strips Set-Cookie and stores the rest of the answer."""
    about = About(
        name="edge-keeps-cookies-out-of-cache",
        display_name="The edge keeps cookies out of the cache",
        description="Where a rule fixes the edge TTL, answers that set a cookie are not stored.",
        severity=Severity.HIGH,
        remediation="Add a cache response rule with no-store for answers with Set-Cookie, or let the origin decide.",
        tags=("edge", "cache"),
    )
    return indexed_policy(about, _check_cookies, Zones.of)


def _check_cookies(index: Zones, _config: Config) -> Iterator[Violation]:
    for zone in index.zones:
        answers = zone.rules(RESPONSE_PHASE)
        # Rules that are not known yet, or a ruleset in a zone that is not, may do what is asked for.
        if answers is None or not index.complete:
            continue
        for ruleset in zone.rulesets(REQUEST_PHASE):
            try:
                yield from _stripped(ruleset, answers)
            except ExpressionError as error:
                yield Violation(ruleset, f"cannot be checked ({error}). {_UNREADABLE}")


def _stripped(ruleset: CloudflareObject, answers: Sequence[object]) -> Iterator[Violation]:
    rules = ruleset.rules
    if rules is None or ruleset.phase != REQUEST_PHASE:
        return
    found: dict[str | None, Request] = {}
    for host, path in _places(rules):
        request = Request(host=host, path=path, response_headers={"set-cookie": "x"})
        decision = decide(rules, answers, request)
        if decision.stored and decision.edge_ttl_seconds is not None:
            found.setdefault(decision.rule, request)
    for ref, request in found.items():
        yield Violation(
            ruleset,
            f"rule {show(ref)} fixes the edge TTL, so that the answer to '{request}' is stored without its Set-Cookie."
            " Allowed: a cache response rule that sets no-store for such answers. Fix: add it, or leave the TTL to the"
            " origin.",
        )


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [no_private_caching(), cookies_survive(), *cloudflare_zone.policies()]
