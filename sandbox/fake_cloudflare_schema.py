"""What the fake of Cloudflare's API accepts: shapes, fields of expressions, and the limits of a zone's plan.

Written from Cloudflare's API reference and plan tables, apart from the program's own catalogue, so that a mistake in
one of them shows. Where the API is laxer than its reference, the fake is strict.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import jsonschema

Json = Mapping[str, Any]
_LONGEST_EXPRESSION: Final = 4096
_REFS = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_WORD = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORDS = frozenset(
    {"and", "or", "not", "xor", "eq", "ne", "lt", "le", "gt", "ge", "contains", "in", "matches", "true", "false"}
)
_FUNCTIONS = frozenset({"any", "all", "lower", "upper", "len", "starts_with", "ends_with", "concat"})
_REQUEST_FIELDS = frozenset(
    {
        "http.host", "http.cookie", "http.user_agent", "http.request.method", "http.request.uri",
        "http.request.uri.path", "http.request.uri.query", "http.request.headers", "http.request.headers.names",
        "raw.http.request.uri.path", "raw.http.request.uri", "ip.src", "ssl",
    }
)  # fmt: skip
_RESPONSE_FIELDS = frozenset({"http.response.code", "http.response.headers", "http.response.headers.names"})
_FIELDS: Final = {
    "http_request_cache_settings": _REQUEST_FIELDS,
    "http_ratelimit": _REQUEST_FIELDS,
    "http_request_firewall_managed": _REQUEST_FIELDS,
    # cache/how-to/cache-response-rules/settings lists these, and no raw ones.
    "http_response_cache_settings": _RESPONSE_FIELDS | {one for one in _REQUEST_FIELDS if not one.startswith("raw.")},
    "http_custom_errors": _REQUEST_FIELDS | _RESPONSE_FIELDS | {"http.response.content_type.media_type"},
    "http_response_headers_transform": _REQUEST_FIELDS | _RESPONSE_FIELDS,
}


def _object(properties: Json, *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _enum(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


_BOOLEAN: Final = {"type": "boolean"}
_TEXT: Final = {"type": "string", "minLength": 1}
_COUNT: Final = {"type": "integer", "minimum": 0}
_DIRECTIVE: Final = _object({"operation": _enum("set", "remove"), "cloudflare_only": _BOOLEAN}, "operation")
_CONTENT_TYPE: Final = _enum("application/json", "text/html", "text/plain", "text/xml")
_ACTIONS: Final[Mapping[str, Mapping[str, Json | None]]] = {
    "http_request_cache_settings": {
        "set_cache_settings": _object(
            {
                "cache": _BOOLEAN,
                "edge_ttl": {
                    "oneOf": [
                        _object({"mode": _enum("respect_origin", "bypass_by_default")}, "mode"),
                        _object({"mode": _enum("override_origin"), "default": _COUNT}, "mode", "default"),
                    ]
                },
                "browser_ttl": {
                    "oneOf": [
                        _object({"mode": _enum("respect_origin", "bypass_by_default", "bypass")}, "mode"),
                        _object({"mode": _enum("override_origin"), "default": _COUNT}, "mode", "default"),
                    ]
                },
                "cache_key": _object({"cache_deception_armor": _BOOLEAN, "ignore_query_strings_order": _BOOLEAN}),
                "serve_stale": _object({"disable_stale_while_updating": _BOOLEAN}),
                "respect_strong_etags": _BOOLEAN,
            }
        )
    },
    "http_response_cache_settings": {
        "set_cache_control": {
            **_object(
                dict.fromkeys(("no-store", "no-transform", "must-revalidate", "public", "immutable"), _DIRECTIVE)
            ),
            "minProperties": 1,
        }
    },
    "http_ratelimit": {
        "block": _object(
            {
                "response": _object(
                    {
                        "status_code": {"type": "integer", "minimum": 400, "maximum": 499},
                        "content_type": _CONTENT_TYPE,
                        "content": {**_TEXT, "maxLength": 30 * 1024},
                    },
                    "status_code",
                    "content_type",
                    "content",
                )
            }
        )
    },
    "http_custom_errors": {
        "serve_error": _object(
            {
                "content": {**_TEXT, "maxLength": 10 * 1024},
                "content_type": _CONTENT_TYPE,
                "status_code": {"type": "integer", "minimum": 400, "maximum": 999},
            },
            "content",
            "content_type",
        )
    },
    "http_response_headers_transform": {
        "rewrite": _object(
            {
                "headers": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {
                        "oneOf": [
                            _object({"operation": _enum("set", "add"), "value": _TEXT}, "operation", "value"),
                            _object({"operation": _enum("remove")}, "operation"),
                        ]
                    },
                }
            },
            "headers",
        )
    },
    "http_request_firewall_managed": {
        "execute": _object(
            {
                "id": _enum(
                    "efb7b8c949ac4650a09736fc376e9aee",
                    "4814384a9e5d4991b9815dcfc25d2f1f",
                    "77454fe2d30c4220b5701f6fdfb893ba",
                )
            },
            "id",
        )
    },
}
_RATELIMIT: Final = _object(
    {
        "characteristics": {"type": "array", "items": _TEXT, "minItems": 2, "uniqueItems": True},
        "period": {"enum": [10, 60, 120, 300, 600, 3600]},
        "requests_per_period": {"type": "integer", "minimum": 1},
        "mitigation_timeout": {"enum": [10, 60, 120, 300, 600, 3600, 86400]},
    },
    "characteristics",
    "period",
    "requests_per_period",
    "mitigation_timeout",
)
# edge TTL floor, rules per cache phase, rate limits, longest period, longest timeout, error rules, header rules
_LIMITS: Final[Mapping[str, tuple[int, int, int, int, int, int, int]]] = {
    "free": (7200, 10, 1, 10, 10, 0, 10),
    "pro": (3600, 25, 2, 60, 3600, 25, 25),
    "business": (1, 50, 5, 600, 86400, 50, 50),
    "enterprise": (1, 300, 100, 65535, 86400, 300, 300),
}
PLANS: Final = tuple(_LIMITS)
_FREE_RULESET: Final = "77454fe2d30c4220b5701f6fdfb893ba"


def ruleset_problems(body: Json, plan: str) -> Iterator[str]:
    """What the API would refuse in a ruleset; nothing when it accepts it."""
    shape = _object(
        {
            "name": _TEXT,
            "description": {"type": "string"},
            "kind": _enum("zone"),
            "phase": _enum(*_ACTIONS),
            "rules": {"type": "array", "items": {"type": "object"}},
        },
        "name",
        "kind",
        "phase",
    )
    wrong = list(_shape(body, shape, "ruleset"))
    yield from wrong
    if wrong:
        return
    phase, rules = body["phase"], body.get("rules", [])
    for position, rule in enumerate(rules):
        yield from _rule(rule, phase, plan, f"rules[{position}]")
    refs = [rule.get("ref") for rule in rules if rule.get("ref") is not None]
    for ref in sorted({one for one in refs if refs.count(one) > 1}):
        yield f"rules: the ref {ref!r} is used twice"
    allowed = _allowed_count(phase, plan)
    if len(rules) > allowed:
        yield f"exceeded maximum number of rules in the phase {phase}: {len(rules)} out of {allowed}"


def _allowed_count(phase: str, plan: str) -> int:
    _, cache, rate, _, _, errors, headers = _LIMITS[plan]
    return {
        "http_request_cache_settings": cache,
        "http_response_cache_settings": cache,
        "http_ratelimit": rate,
        "http_custom_errors": errors,
        "http_response_headers_transform": headers,
    }.get(phase, 10)


def _rule(rule: Json, phase: str, plan: str, where: str) -> Iterator[str]:
    actions = _ACTIONS[phase]
    properties: dict[str, Any] = {
        "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "ref": {"type": "string", "pattern": _REFS.pattern},
        "description": {"type": "string", "maxLength": 500},
        "expression": {"type": "string", "minLength": 1, "maxLength": _LONGEST_EXPRESSION},
        "action": _enum(*actions),
        "action_parameters": {"type": "object"},
        "enabled": _BOOLEAN,
    }
    required = ["expression", "action"]
    if phase == "http_ratelimit":
        properties["ratelimit"] = _RATELIMIT
        required.append("ratelimit")
    wrong = list(_shape(rule, _object(properties, *required), where))
    yield from wrong
    if wrong:
        return
    parameters = rule.get("action_parameters", {})
    yield from _shape(parameters, actions[rule["action"]] or _object({}), f"{where}.action_parameters")
    yield from (f"{where}.expression: {problem}" for problem in _expression(rule["expression"], _FIELDS[phase]))
    yield from _plan_limits(rule, plan, where)


def _plan_limits(rule: Json, plan: str, where: str) -> Iterator[str]:
    floor, _, _, period, timeout, _, _ = _LIMITS[plan]
    parameters, limit = rule.get("action_parameters", {}), rule.get("ratelimit", {})
    edge_ttl = parameters.get("edge_ttl")
    if isinstance(edge_ttl, Mapping) and edge_ttl.get("default", floor) < floor:
        yield f"{where}: edge TTL {edge_ttl['default']} is below the minimum of {floor} on the {plan} plan"
    if limit and limit["period"] > period:
        yield f"{where}: not entitled to use the period {limit['period']} on the {plan} plan"
    if limit and limit["mitigation_timeout"] > timeout:
        yield f"{where}: not entitled to use the mitigation timeout {limit['mitigation_timeout']} on the {plan} plan"
    if limit:
        yield from _characteristics(limit["characteristics"], plan, where)
    if plan == "free" and rule["action"] == "execute" and parameters.get("id") != _FREE_RULESET:
        yield f"{where}: not entitled to execute the ruleset {parameters.get('id')} on the free plan"


def _characteristics(given: Sequence[str], plan: str, where: str) -> Iterator[str]:
    if "cf.colo.id" not in given:
        yield f"{where}: characteristics must contain cf.colo.id"
    allowed = {"cf.colo.id", "ip.src"}
    if plan in ("business", "enterprise"):
        allowed.add("cf.unique_visitor_id")
    for one in given:
        header = re.fullmatch(r'http\.request\.headers\["[a-z0-9-]+"\]', one) is not None
        if one not in allowed and not (header and plan == "enterprise"):
            yield f"{where}: not entitled to use the characteristic {one} on the {plan} plan"


def _shape(value: object, schema: Json, where: str) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        path = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in error.absolute_path)
        yield f"{where}{path}: {error.message}"


def _expression(expression: str, fields: frozenset[str]) -> Iterator[str]:
    rest = _QUOTED.sub(" ", expression)
    if '"' in rest:
        yield "a text is not closed"
    for opening, closing in ("()", "{}", "[]"):
        if rest.count(opening) != rest.count(closing):
            yield f"{opening} and {closing} do not match"
    for word in sorted(set(_WORD.findall(rest)) - _WORDS - _FUNCTIONS - fields):
        yield f"unknown or unavailable identifier {word!r}"


_ON_OFF: Final = ("on", "off")
SETTINGS: Final[Mapping[str, tuple[object, ...] | None]] = {
    "ssl": ("off", "flexible", "full", "strict"),
    "min_tls_version": ("1.0", "1.1", "1.2", "1.3"),
    "tls_1_3": ("on", "off", "zrt"),
    "0rtt": _ON_OFF,
    "always_use_https": _ON_OFF,
    "always_online": _ON_OFF,
    "browser_cache_ttl": (0, 30, 60, 300, 1200, 1800, 3600, 7200, 14400, 86400),
    "tls_client_auth": _ON_OFF,
    "security_header": None,
}
_SECURITY_HEADER: Final = _object(
    {
        "strict_transport_security": _object(
            {
                "enabled": _BOOLEAN,
                "max_age": _COUNT,
                "include_subdomains": _BOOLEAN,
                "preload": _BOOLEAN,
                "nosniff": _BOOLEAN,
            }
        )
    },
    "strict_transport_security",
)


def setting_problems(setting: str, body: Json) -> Iterator[str]:
    """What the API would refuse in the value of a zone's setting."""
    if setting not in SETTINGS:
        yield f"unknown setting {setting!r}"
        return
    yield from _shape(body, _object({"value": {}}, "value"), setting)
    allowed = SETTINGS[setting]
    if allowed is None:
        yield from _shape(body.get("value"), _SECURITY_HEADER, setting)
    elif body.get("value") not in allowed:
        yield f"{setting}: invalid value {body.get('value')!r}; allowed: {', '.join(map(str, allowed))}"


_RECORD: Final = _object(
    {
        "name": _TEXT,
        "type": _enum("A", "AAAA", "CNAME"),
        "content": _TEXT,
        "ttl": {"type": "integer", "minimum": 1, "maximum": 86400},
        "proxied": _BOOLEAN,
        "comment": {"type": "string", "maxLength": 100},
    },
    "name",
    "type",
    "ttl",
)


def record_problems(body: Json) -> Iterator[str]:
    """What the API would refuse in a DNS record."""
    yield from _shape(body, _RECORD, "record")
    if body.get("proxied") and body.get("ttl") != 1:
        yield "record: ttl must be 1 (automatic) when proxied"


_LOGPUSH: Final = _object(
    {
        "name": _TEXT,
        "dataset": _enum("http_requests", "firewall_events", "audit_logs_v2"),
        "destination_conf": {"type": "string", "pattern": r"^[a-z0-9]+://.+"},
        "enabled": _BOOLEAN,
    },
    "dataset",
    "destination_conf",
)


def logpush_problems(body: Json, plan: str, owner: str) -> Iterator[str]:
    """What the API would refuse in a Logpush job; ``owner`` is zones or accounts."""
    yield from (problem for problem in _shape(body, _LOGPUSH, "job") if "destination_conf" not in problem)
    if plan != "enterprise":
        yield f"job: not entitled to Logpush on the {plan} plan"
    audit = body.get("dataset") == "audit_logs_v2"
    if audit is not (owner == "accounts"):
        yield f"job: the dataset {body.get('dataset')} does not belong to {owner}"


def switch_problems(body: Json, plan: str, *, enterprise_only: bool) -> Iterator[str]:
    """What the API would refuse in the value of a switch that has its own path."""
    yield from _shape(body, _object({"value": _enum(*_ON_OFF)}, "value"), "switch")
    if enterprise_only and plan != "enterprise":
        yield f"switch: not entitled on the {plan} plan"
