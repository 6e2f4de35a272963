"""Envoy Gateway's policies: what a neutral route becomes beside its HTTPRoute."""

from typing import Any

from components.edge.model import ANY_ADDRESS, HSTS, EdgeContext, error_bodies
from settings.edge import (
    AddressSource,
    Balancing,
    Edge,
    HashOn,
    LimitBy,
    LimitScope,
    Policy,
    RateLimit,
    Retries,
    Route,
    Timeouts,
)

# Maglev's table: prime, and large beside any number of pods, so that each gets an even share.
_HASH_TABLE_SIZE = 65537
# A pod that just became ready gets its share step by step: caches and connections are cold.
_SLOW_START = "30s"
_HEADERS_RECEIVED_WITHIN = "10s"
_CONNECTION_IDLE = "300s"
# One retry beside so many requests: a service that is down must not get a multiple of its load.
_REQUESTS_PER_RETRY = 20
_BALANCERS = {Policy.ROUND_ROBIN: "RoundRobin", Policy.LEAST_REQUEST: "LeastRequest"}


def backend_traffic(edge: Edge, route: Route) -> dict[str, Any]:
    """``spec`` of a route's BackendTrafficPolicy without its target."""
    spec: dict[str, Any] = {
        "rateLimit": _rate_limit(edge),
        "loadBalancer": _load_balancer(route.balancing),
        "timeout": _timeout(route.timeouts),
        "requestBuffer": {"limit": f"{edge.max_body_kib}Ki"},
        "responseOverride": [_override(status, *answer) for status, answer in error_bodies(edge).items()],
    }
    if route.retries.attempts:
        spec["retry"] = _retry(route.retries, route.timeouts)
    if checks := _health_check(edge):
        spec["healthCheck"] = checks
    if edge.max_parallel_requests is not None:
        # Waiting requests are counted apart in Envoy; the same bound for both keeps one meaning.
        names = ("maxConnections", "maxParallelRequests", "maxPendingRequests")
        spec["circuitBreaker"] = {
            **dict.fromkeys(names, edge.max_parallel_requests),
            "maxParallelRetries": -(-edge.max_parallel_requests // _REQUESTS_PER_RETRY),
        }
    return spec


def client_traffic(context: EdgeContext) -> dict[str, Any]:
    """``spec`` of the Gateway's ClientTrafficPolicy without its target."""
    edge = context.edge
    spec: dict[str, Any] = {
        "tls": _client_tls(context),
        # One spelling of a path: an escaped slash would pass a prefix rule and mean another path upstream.
        "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": False},
        "headers": {"lateResponseHeaders": {"set": [{"name": "Strict-Transport-Security", "value": HSTS}]}},
        "timeout": {
            "http": {"requestReceivedTimeout": _longest_request(edge), "idleTimeout": _CONNECTION_IDLE},
            "tcp": {"tlsHandshakeTimeout": _HEADERS_RECEIVED_WITHIN},
        },
    }
    match edge.client_address.source:
        case AddressSource.FORWARDED_FOR:
            spec["clientIPDetection"] = {"xForwardedFor": {"trustedCIDRs": list(edge.accept_from)}}
        case AddressSource.HEADER:
            header = {"name": edge.client_address.header, "failClosed": True}
            spec["clientIPDetection"] = {"customHeader": header}
        case AddressSource.CONNECTION:
            pass  # Envoy's own default: the peer of the connection
    return spec


def allow_list(route: Route) -> dict[str, Any]:
    """``spec`` of a route's SecurityPolicy without its target."""
    allowed = {"name": "named-addresses", "action": "Allow", "principal": {"clientCIDRs": list(route.allow_from)}}
    return {"authorization": {"defaultAction": "Deny", "rules": [allowed]}}


def _client_tls(context: EdgeContext) -> dict[str, Any]:
    tls = context.edge.tls
    settings: dict[str, Any] = {"minVersion": tls.min_version, "alpnProtocols": ["h2", "http/1.1"]}
    if tls.client_ca is not None:
        settings["clientValidation"] = {"caCertificateRefs": [{"kind": "Secret", "name": tls.client_ca}]}
    return settings


def _longest_request(edge: Edge) -> str:
    return f"{max(route.timeouts.request_seconds for route in edge.routes.values())}s"


def _rate_limit(edge: Edge) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for scope, key in ((LimitScope.LOCAL, "local"), (LimitScope.GLOBAL, "global")):
        limits = [limit for _, limit in sorted(edge.rate_limits.items()) if limit.scope is scope]
        rules = [rule for limit in limits for rule in _limit_rules(limit)]
        if rules:
            found[key] = {"rules": rules}
    return found


def _limit_rules(limit: RateLimit) -> list[dict[str, Any]]:
    """A rule for each kind of address: a request has one of them, so exactly one rule counts it."""
    amount = {"requests": limit.requests, "unit": str(limit.per).capitalize()}
    if limit.by is LimitBy.HEADER:
        return [{"clientSelectors": [{"headers": [{"name": limit.header, "type": "Distinct"}]}], "limit": amount}]
    return [
        {"clientSelectors": [{"sourceCIDR": {"type": "Distinct", "value": block}}], "limit": amount}
        for block in ANY_ADDRESS
    ]


def _load_balancer(balancing: Balancing) -> dict[str, Any]:
    if balancing.policy is not Policy.HASH:
        return {"type": _BALANCERS[balancing.policy], "slowStart": {"window": _SLOW_START}}
    hashed: dict[str, Any] = {"tableSize": _HASH_TABLE_SIZE}
    if balancing.hash_on is HashOn.HEADER:
        hashed |= {"type": "Headers", "headers": [{"name": balancing.header}]}
    else:
        hashed |= {"type": "SourceIP"}
    return {"type": "ConsistentHash", "consistentHash": hashed}


def _timeout(timeouts: Timeouts) -> dict[str, Any]:
    # The request's own times stand in the HTTPRoute and in retry.perRetry, each once.
    return {
        "tcp": {"connectTimeout": f"{timeouts.connect_seconds}s"},
        "http": {"connectionIdleTimeout": f"{timeouts.idle_seconds}s"},
    }


def _retry(retries: Retries, timeouts: Timeouts) -> dict[str, Any]:
    backoff = {"baseInterval": f"{retries.backoff_base_ms}ms", "maxInterval": f"{retries.backoff_max_ms}ms"}
    return {
        "numRetries": retries.attempts,
        "retryOn": {"triggers": [str(reason) for reason in retries.on]},
        "perRetry": {"timeout": f"{timeouts.try_seconds}s", "backOff": backoff},
    }


def _health_check(edge: Edge) -> dict[str, Any]:
    checks: dict[str, Any] = {}
    if (active := edge.active_health_check) is not None:
        checks["active"] = {
            "type": "HTTP",
            "http": {"path": active.path, "method": "GET", "expectedStatuses": [200]},
            "interval": f"{active.interval_seconds}s",
            "timeout": f"{active.timeout_seconds}s",
            "unhealthyThreshold": active.unhealthy_after,
            "healthyThreshold": active.healthy_after,
        }
    if (passive := edge.passive_health_check) is not None:
        checks["passive"] = {
            "consecutive5XxErrors": passive.consecutive_failures,
            "interval": f"{passive.interval_seconds}s",
            "baseEjectionTime": f"{passive.ejection_seconds}s",
            "maxEjectionPercent": passive.max_ejected_percent,
        }
    return checks


def _override(status: int, body: str, headers: dict[str, str]) -> dict[str, Any]:
    """The edge's own answers only: what a service answers is its business."""
    return {
        "source": "Local",
        "match": {"statusCodes": [{"type": "Value", "value": status}]},
        "response": {
            "contentType": "application/json",
            "body": {"type": "Inline", "inline": body},
            "header": {"set": [{"name": name, "value": value} for name, value in headers.items()]},
        },
    }
