"""Wishes that the zone's plan cannot fulfil, found before any call; each message names a plan that can."""

from collections.abc import Callable, Iterator, Sequence

from settings.cloudflare import CachedPath, ClientLimit, Cloudflare, LogDataset, TieredCaching, Waf
from settings.cloudflare_tiers import Plan, Tier, first_plan, tier_of
from settings.edge import AddressSource, Edge
from settings.problems import Problem

_PATH = "edge.cloudflare"
BYPASS_RULES = 1
ERROR_RULES = 2


def cloudflare_problems(edge: Edge) -> Iterator[Problem]:
    """Everything wrong with ``edge.cloudflare``; nothing when it is absent."""
    wanted = edge.cloudflare
    if wanted is None:
        return
    tier = tier_of(wanted.plan, advanced_rate_limiting=wanted.advanced_rate_limiting)
    yield from _add_on(wanted)
    yield from _caching(wanted, tier)
    for name, limit in wanted.rate_limits.items():
        yield from _rate_limit(f"{_PATH}.rate_limits.{name}", limit, wanted, tier)
    yield from _counts(wanted, tier)
    yield from _features(wanted, tier)
    yield from _fits_the_gateway(edge, wanted)


def _add_on(wanted: Cloudflare) -> Iterator[Problem]:
    if wanted.advanced_rate_limiting and wanted.plan is not Plan.ENTERPRISE:
        yield Problem(
            path=f"{_PATH}.advanced_rate_limiting",
            value=True,
            allowed=f"false on {wanted.plan}: the add-on is sold with {Plan.ENTERPRISE} only",
            fix="set it to false, or plan: enterprise where the contract has it",
        )


def _caching(wanted: Cloudflare, tier: Tier) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, cached in wanted.cached.items():
        path = f"{_PATH}.cached.{name}"
        yield from _ttl(path, cached, wanted.plan, tier)
        for private in wanted.never_cached:
            if _overlap(cached.path, private):
                yield Problem(
                    path=f"{path}.path",
                    value=cached.path,
                    allowed=f"a path apart from {private}, whose answers belong to one customer",
                    fix="name the public paths one by one",
                )
        for other, owner in seen.items():
            if _overlap(cached.path, _base(other)):
                yield Problem(
                    path=f"{path}.path",
                    value=cached.path,
                    allowed=f"a path apart from {other} of cached.{owner}: the later rule would decide for both",
                    fix="keep one of them",
                )
        seen[cached.path] = name


def _ttl(path: str, cached: CachedPath, plan: Plan, tier: Tier) -> Iterator[Problem]:
    ttl = cached.edge_ttl_seconds
    if ttl is not None and ttl < tier.minimum_edge_ttl_seconds:
        yield Problem(
            path=f"{path}.edge_ttl_seconds",
            value=ttl,
            allowed=f"at least {tier.minimum_edge_ttl_seconds} on {plan}",
            fix=f"raise it, change to {first_plan(lambda other: ttl >= other.minimum_edge_ttl_seconds)}, or leave it "
            f"out and let the origin send Cache-Control: public, max-age={ttl}, which every plan obeys",
        )


def _rate_limit(path: str, limit: ClientLimit, wanted: Cloudflare, tier: Tier) -> Iterator[Problem]:
    plan, period, blocked = wanted.plan, limit.period_seconds, limit.blocked_seconds
    if period not in tier.periods_seconds:
        allowed = _choice(tier.periods_seconds)
        yield _not_on(f"{path}.period_seconds", period, allowed, plan, lambda other: period in other.periods_seconds)
    if blocked not in tier.timeouts_seconds:
        allowed = _choice(tier.timeouts_seconds)
        yield _not_on(f"{path}.blocked_seconds", blocked, allowed, plan, lambda t: blocked in t.timeouts_seconds)
    if limit.by not in tier.counted:
        allowed = _choice(sorted(map(str, tier.counted)))
        yield _not_on(f"{path}.by", str(limit.by), allowed, plan, lambda other: limit.by in other.counted)


def _counts(wanted: Cloudflare, tier: Tier) -> Iterator[Problem]:
    cache_rules = len(wanted.cached) + BYPASS_RULES
    if cache_rules > tier.cache_rules:
        yield _not_on(
            f"{_PATH}.cached", len(wanted.cached), f"at most {tier.cache_rules - BYPASS_RULES}: one cache rule of "
            f"{tier.cache_rules} is the bypass", wanted.plan, lambda other: other.cache_rules >= cache_rules,
        )  # fmt: skip
    limits = len(wanted.rate_limits)
    if limits > tier.rate_limits:
        yield _not_on(
            f"{_PATH}.rate_limits", limits, f"at most {tier.rate_limits}", wanted.plan,
            lambda other: other.rate_limits >= limits,
        )  # fmt: skip


def _features(wanted: Cloudflare, tier: Tier) -> Iterator[Problem]:
    plan = wanted.plan
    if wanted.custom_errors and tier.custom_errors < ERROR_RULES:
        yield _not_on(
            f"{_PATH}.custom_errors", wanted.custom_errors, "false", plan, lambda t: t.custom_errors >= ERROR_RULES
        )
    if wanted.waf is Waf.MANAGED and not tier.managed_waf:
        yield _not_on(f"{_PATH}.waf", str(wanted.waf), str(Waf.FREE), plan, lambda other: other.managed_waf)
    if wanted.waf is Waf.FREE and tier.managed_waf:
        yield Problem(
            path=f"{_PATH}.waf",
            value=str(wanted.waf),
            allowed=f"{Waf.MANAGED} on {plan}: the plan has the full rule sets",
            fix=f"set waf: {Waf.MANAGED}",
        )
    if wanted.tiered_cache is TieredCaching.REGIONAL and not tier.regional_tiered_cache:
        yield _not_on(
            f"{_PATH}.tiered_cache", str(wanted.tiered_cache), f"{TieredCaching.OFF} or {TieredCaching.SMART}", plan,
            lambda other: other.regional_tiered_cache,
        )  # fmt: skip
    if wanted.logpush and not tier.logpush:
        yield _not_on(f"{_PATH}.logpush", sorted(wanted.logpush), "nothing", plan, lambda other: other.logpush)
    for name, job in wanted.logpush.items():
        if job.dataset is LogDataset.AUDIT and wanted.account_id is None:
            yield Problem(
                path=f"{_PATH}.account_id",
                has_value=False,
                allowed=f"required by logpush.{name}: {job.dataset} is a log of the account",
                fix="add 'account_id'",
            )


def _fits_the_gateway(edge: Edge, wanted: Cloudflare) -> Iterator[Problem]:
    if edge.client_address.source is AddressSource.CONNECTION:
        yield Problem(
            path="edge.client_address.source",
            value=str(edge.client_address.source),
            allowed="x-forwarded-for or header behind Cloudflare: every connection comes from Cloudflare, and all "
            "customers would share one rate limit",
            fix="use source: header with header: CF-Connecting-IP, or source: x-forwarded-for",
        )
    if edge.tls.client_ca is None:
        yield Problem(
            path="edge.tls.client_ca",
            has_value=False,
            allowed="required with edge.cloudflare: Cloudflare's addresses are shared by all its customers, and any of "
            "them could reach the origin past the zone's rules",
            fix="name the Secret with the CA of the origin pulls' client certificate",
        )
    for name, cached in wanted.cached.items():
        base = _base(cached.path)
        if not any(base == route.path or base.startswith(f"{route.path}/") for route in edge.routes.values()):
            yield Problem(
                path=f"{_PATH}.cached.{name}.path",
                value=cached.path,
                allowed="a path below one of edge.routes: nothing answers this one",
                fix=f"add a route for {base}, or remove the entry",
            )


def _not_on(path: str, value: object, allowed: str, plan: Plan, allows: Callable[[Tier], bool]) -> Problem:
    needed = first_plan(allows)
    change = "" if needed == "no plan" else f", or change to {needed}"
    return Problem(path=path, value=value, allowed=f"{allowed} on {plan}", fix=f"choose what {plan} has{change}")


def _choice(values: Sequence[object]) -> str:
    return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])


def _base(tree: str) -> str:
    return tree.removesuffix("/*")


def _overlap(tree: str, path: str) -> bool:
    """Whether a path and a tree have anything in common: one lies below the other."""
    base = _base(tree)
    return f"{path}/".startswith(f"{base}/") or f"{base}/".startswith(f"{path}/")
