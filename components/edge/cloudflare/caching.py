"""What may be stored at the edge: rules on requests decide what is eligible, rules on responses take back.

Of the request rules the last one that matches wins (cache/how-to/cache-rules/order), so the bypass stands last: what
is not public, not a read, or carries credentials cannot be cached by any rule before it. The response rules win
over all of them and see what a request cannot tell: errors, and answers that set a cookie, which a fixed edge TTL
would otherwise strip and store (cache/concepts/cache-behavior).
"""

from collections.abc import Iterable

from components.edge.cloudflare import expressions as ex
from components.edge.cloudflare.ruleset import Rule, Ruleset
from settings.cloudflare import CachedPath, Cloudflare

READS = ("GET", "HEAD")
# Proxies and applications disagree on what these mean in a path; "/docs/..%2fapi/…" must not pass for documentation.
_AMBIGUOUS_IN_PATHS = ("%", "..", ";", "\\", "//")
_FIRST_ERROR = 400


def plan_request_caching(host: str, wanted: Cloudflare) -> Ruleset:
    """One rule per public path, and the bypass last."""
    return Ruleset(
        phase="http_request_cache_settings",
        name="payments cache",
        rules=(
            *(_cached(host, name, wanted.cached[name]) for name in sorted(wanted.cached)),
            _bypass(host, wanted),
        ),
    )


def plan_response_caching(wanted: Cloudflare) -> Ruleset:
    """Answers of the API, errors and answers with cookies are stored by nobody, the client's browser included."""
    no_store = {"no_store": {"operation": "set"}}
    reasons = (
        ("no-store-api", "Answers of the API belong to one customer", _private_api(wanted)),
        ("no-store-errors", "An error is over before its time to live", ex.status_at_least(_FIRST_ERROR)),
        ("no-store-cookies", "A cookie belongs to one customer", ex.has_response_header("set-cookie")),
    )
    return Ruleset(
        phase="http_response_cache_settings",
        name="payments cache responses",
        rules=tuple(
            Rule(ref=ref, description=why, expression=when, action="set_cache_control", parameters=no_store)
            for ref, why, when in reasons
        ),
    )


def _private_api(wanted: Cloudflare) -> str:
    """Of any host: a request that spells the host differently must not find a gap."""
    return ex.both(ex.below(wanted.api_path), *(ex.negated(one) for one in _public(wanted)))


def _cached(host: str, name: str, cached: CachedPath) -> Rule:
    ttl = cached.edge_ttl_seconds
    edge_ttl = {"mode": "bypass_by_default"} if ttl is None else {"mode": "override_origin", "default": ttl}
    expression = ex.both(ex.equals(ex.HOST, host), ex.one_of(ex.METHOD, READS), _tree(cached))
    return Rule(
        ref=f"cache-{name}",
        description=f"Public content below {cached.path.removesuffix('/*')}",
        expression=expression,
        action="set_cache_settings",
        parameters={
            "cache": True,
            "edge_ttl": edge_ttl,
            "browser_ttl": {"mode": "respect_origin"},
            # A path that ends like a picture and is answered with a page is not stored.
            "cache_key": {"cache_deception_armor": True, "ignore_query_strings_order": True},
            # Answers past their time are not given out while a new one is fetched: rates would be wrong.
            "serve_stale": {"disable_stale_while_updating": True},
        },
    )


def _bypass(host: str, wanted: Cloudflare) -> Rule:
    reasons = [
        ex.negated(ex.one_of(ex.METHOD, READS)),
        *(ex.has_request_header(name) for name in wanted.credential_headers),
        # Not every cookie: Cloudflare itself sets some on all visitors. A longer name that ends alike bypasses, too.
        *(ex.contains(ex.COOKIE, f"{name}=") for name in wanted.session_cookies),
        *(ex.contains(ex.RAW_PATH, part) for part in _AMBIGUOUS_IN_PATHS),
        _private_api(wanted),
        ex.both(ex.equals(ex.HOST, host), *(ex.negated(one) for one in _public(wanted))),
    ]
    return Rule(
        ref="bypass",
        description="Never cached: writes, credentials, sessions, ambiguous paths, and all that is not listed",
        expression=ex.either(*reasons),
        action="set_cache_settings",
        parameters={"cache": False},
    )


def _public(wanted: Cloudflare) -> Iterable[str]:
    return (_tree(wanted.cached[name]) for name in sorted(wanted.cached))


def _tree(cached: CachedPath) -> str:
    return ex.below(cached.path.removesuffix("/*"))
