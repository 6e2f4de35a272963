"""The zone itself: its settings, its record, its cache topology and its logs, as data."""

from dataclasses import dataclass
from typing import Any

from components.edge.cloudflare.caching import plan_request_caching, plan_response_caching
from components.edge.cloudflare.protection import (
    plan_custom_errors,
    plan_managed_rules,
    plan_rate_limits,
    plan_response_headers,
)
from components.edge.cloudflare.ruleset import Ruleset
from settings.cloudflare import Cloudflare, LogDataset, OriginPulls, TieredCaching

AUTOMATIC_TTL = 1
"""The only TTL that a proxied record has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One resource of the provider: the name of its class, and its arguments in Python's spelling."""

    kind: str
    arguments: dict[str, Any]


def plan_rulesets(host: str, wanted: Cloudflare) -> dict[str, Ruleset]:
    """Role → the entry point of one phase."""
    planned = {
        "cache": plan_request_caching(host, wanted),
        "cache-responses": plan_response_caching(wanted),
        "rate-limits": plan_rate_limits(wanted),
        "managed-rules": plan_managed_rules(wanted),
        "errors": plan_custom_errors(wanted),
        "response-headers": plan_response_headers(host, wanted),
    }
    return {role: ruleset for role, ruleset in planned.items() if ruleset is not None}


def plan_settings(wanted: Cloudflare) -> dict[str, Any]:
    """Setting id → value. Destroying a stack leaves them: Cloudflare's API cannot unset one."""
    hsts = wanted.hsts
    return {
        # The origin's certificate is checked; anything less and Cloudflare would call whoever answers.
        "ssl": "strict",
        "min_tls_version": "1.2",
        "tls_1_3": "on",
        # Early data can be sent again by whoever recorded it: a payment, too (RFC 8470).
        "0rtt": "off",
        "always_use_https": "on",
        "security_header": {
            "strict_transport_security": {
                "enabled": hsts.max_age_seconds > 0,
                "max_age": hsts.max_age_seconds,
                "include_subdomains": hsts.include_subdomains,
                "preload": hsts.preload,
            }
        },
        # An archived page instead of an error would show balances of another day.
        "always_online": "off",
        # 0 keeps what the origin and the response rules say.
        "browser_cache_ttl": 0,
        "tls_client_auth": "on",
    }


def plan_topology(wanted: Cloudflare) -> dict[str, Piece]:
    """Role → resource: the tiers of the cache, and the zone's own client certificate."""
    tiered = "off" if wanted.tiered_cache is TieredCaching.OFF else "on"
    pieces = {
        "tiered-cache": Piece(kind="ArgoTieredCaching", arguments={"value": tiered}),
        "smart-tiered-cache": Piece(kind="TieredCache", arguments={"value": tiered}),
    }
    if wanted.tiered_cache is TieredCaching.REGIONAL:
        pieces["regional-tiered-cache"] = Piece(kind="RegionalTieredCache", arguments={"value": "on"})
    if wanted.origin_pulls is OriginPulls.ZONE:
        pieces["origin-pulls"] = Piece(kind="AuthenticatedOriginPullsSettings", arguments={"enabled": True})
    return pieces


def plan_logs(wanted: Cloudflare) -> dict[str, Piece]:
    """Name → Logpush job without its destination, which is a secret."""
    pieces = {}
    for name, job in sorted(wanted.logpush.items()):
        owner = {"account_id": wanted.account_id} if job.dataset is LogDataset.AUDIT else {"zone_id": wanted.zone_id}
        pieces[name] = Piece(
            kind="LogpushJob", arguments={"name": name, "dataset": str(job.dataset), "enabled": True, **owner}
        )
    return pieces


def plan_record(host: str, wanted: Cloudflare) -> Piece:
    """The edge's name. Always proxied: a plain record would publish the origin's address."""
    return Piece(
        kind="DnsRecord",
        arguments={
            "name": host,
            "type": wanted.record.type,
            "content": wanted.record.content,
            "ttl": AUTOMATIC_TTL,
            "proxied": True,
        },
    )
