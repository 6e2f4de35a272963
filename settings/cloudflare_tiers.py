"""What each Cloudflare plan allows, as far as this project asks for it.

Sources, read in November 2026 in Cloudflare's documentation (developers.cloudflare.com): for TTLs
cache/how-to/edge-browser-cache-ttl; the plan tables of Cache Rules, Cache Response Rules, Custom Errors, Transform
Rules, Tiered Cache and Logpush; for limits waf/rate-limiting-rules; for the WAF waf/managed-rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Plan(StrEnum):
    """The plan that a zone is subscribed to, from the smallest to the largest."""

    FREE = "free"
    PRO = "pro"
    BUSINESS = "business"
    ENTERPRISE = "enterprise"


class Counted(StrEnum):
    """What a rate limit tells clients apart by; counters are per data centre in every case."""

    ADDRESS = "client-address"
    ADDRESS_BEHIND_NAT = "client-address-nat"
    """Clients that share one address are told apart by a cookie that Cloudflare sets."""
    HEADER = "header"
    """Needs the Advanced Rate Limiting add-on of Enterprise."""


# The API's values (waf/rate-limiting-rules/parameters). The plans' table lists more, which the API page does not know.
_PERIODS_SECONDS = (10, 60, 120, 300, 600, 3600)
_TIMEOUTS_SECONDS = (10, 60, 120, 300, 600, 3600, 86400)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """Limits of one plan. Counts are rules of one zone and phase."""

    minimum_edge_ttl_seconds: int
    cache_rules: int
    """In each of the two phases: on requests, and on responses."""
    rate_limits: int
    longest_period_seconds: int
    longest_timeout_seconds: int
    counted: frozenset[Counted]
    custom_errors: int
    transform_rules: int
    managed_waf: bool
    """The Cloudflare Managed Ruleset and the OWASP Core Ruleset; Free has the Free Managed Ruleset."""
    regional_tiered_cache: bool
    logpush: bool

    @property
    def periods_seconds(self) -> tuple[int, ...]:
        """Counting periods that may be chosen."""
        return tuple(value for value in _PERIODS_SECONDS if value <= self.longest_period_seconds)

    @property
    def timeouts_seconds(self) -> tuple[int, ...]:
        """Times that a client stays blocked for."""
        return tuple(value for value in _TIMEOUTS_SECONDS if value <= self.longest_timeout_seconds)


_ADDRESS = frozenset({Counted.ADDRESS})
_NAT = _ADDRESS | {Counted.ADDRESS_BEHIND_NAT}

TIERS: dict[Plan, Tier] = {
    Plan.FREE: Tier(
        minimum_edge_ttl_seconds=7200, cache_rules=10, rate_limits=1, longest_period_seconds=10,
        longest_timeout_seconds=10, counted=_ADDRESS, custom_errors=0, transform_rules=10,
        managed_waf=False, regional_tiered_cache=False, logpush=False,
    ),
    Plan.PRO: Tier(
        minimum_edge_ttl_seconds=3600, cache_rules=25, rate_limits=2, longest_period_seconds=60,
        longest_timeout_seconds=3600, counted=_ADDRESS, custom_errors=25, transform_rules=25,
        managed_waf=True, regional_tiered_cache=False, logpush=False,
    ),
    Plan.BUSINESS: Tier(
        minimum_edge_ttl_seconds=1, cache_rules=50, rate_limits=5, longest_period_seconds=600,
        longest_timeout_seconds=86400, counted=_NAT, custom_errors=50, transform_rules=50,
        managed_waf=True, regional_tiered_cache=False, logpush=False,
    ),
    Plan.ENTERPRISE: Tier(
        # Rate limits: up to 100 by contract; 5 is what every contract has.
        minimum_edge_ttl_seconds=1, cache_rules=300, rate_limits=5, longest_period_seconds=65535,
        longest_timeout_seconds=86400, counted=_NAT, custom_errors=300, transform_rules=300,
        managed_waf=True, regional_tiered_cache=True, logpush=True,
    ),
}  # fmt: skip
ADVANCED_RATE_LIMITS = 100
"""Rate limits of an Enterprise zone with the Advanced Rate Limiting add-on, which may also count by header."""


def tier_of(plan: Plan, *, advanced_rate_limiting: bool) -> Tier:
    """A plan's limits with its add-on, which only Enterprise can have."""
    tier = TIERS[plan]
    if not (advanced_rate_limiting and plan is Plan.ENTERPRISE):
        return tier
    values = {name: getattr(tier, name) for name in Tier.__dataclass_fields__}
    return Tier(**{**values, "rate_limits": ADVANCED_RATE_LIMITS, "counted": _NAT | {Counted.HEADER}})


def first_plan(allows: Callable[[Tier], bool]) -> str:
    """The smallest plan that allows something, in words for a message; says so when none does."""
    for plan in Plan:
        if allows(TIERS[plan]):
            return str(plan)
    if allows(tier_of(Plan.ENTERPRISE, advanced_rate_limiting=True)):
        return "enterprise with the Advanced Rate Limiting add-on"
    return "no plan"
