"""What the pack says about Cloudflare: a zone that breaks no rule, and one row per way to break one."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import DEV, PROD, REMOVED, UNKNOWN_MARK, changed, find, leaves, urn_of

ZONE = "a" * 32
HOST = "api.example.com"
DOCS = 'starts_with(http.request.uri.path, "/docs/")'
READS = 'http.request.method in {"GET" "HEAD"}'
BYPASS = " or ".join(
    (
        f"(not {READS})",
        'any(lower(http.request.headers.names[*])[*] eq "authorization")',
        'len(http.request.headers["x-api-key"]) gt 0',
        'http.cookie contains "session="',
        f"(not {DOCS})",
    )
)
NO_STORE = {"noStore": {"operation": "set"}}


def cloudflare(kind: str, name: str, props: Mapping[str, Any]) -> Resource:
    resource_type = f"cloudflare:index/{kind[0].lower()}{kind[1:]}:{kind}"
    copied = {"zoneId": ZONE, **copy.deepcopy(dict(props))}
    return Resource(type=resource_type, name=name, urn=urn_of(resource_type, name), props=copied)


def rule(ref: str, expression: str, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"ref": ref, "expression": expression, "action": action, "enabled": True, "actionParameters": parameters}


def ruleset(name: str, phase: str, rules: Sequence[Mapping[str, Any]]) -> Resource:
    return cloudflare("Ruleset", name, {"kind": "zone", "name": name, "phase": phase, "rules": list(rules)})


def setting(setting_id: str, value: object) -> Resource:
    return cloudflare("ZoneSetting", setting_id, {"settingId": setting_id, "value": value})


def zone() -> list[Resource]:
    edge_ttl = {"cache": True, "edgeTtl": {"mode": "override_origin", "default": 86400}}
    cookies = 'any(lower(http.response.headers.names[*])[*] eq "set-cookie")'
    return [
        ruleset(
            "cache",
            "http_request_cache_settings",
            [
                rule("docs", f'http.host eq "{HOST}" and {DOCS}', "set_cache_settings", edge_ttl),
                rule("bypass", BYPASS, "set_cache_settings", {"cache": False}),
            ],
        ),
        ruleset("answers", "http_response_cache_settings", [rule("cookies", cookies, "set_cache_control", NO_STORE)]),
        ruleset("limits", "http_ratelimit", [rule("api", "true", "block", {})]),
        ruleset("managed", "http_request_firewall_managed", [rule("managed", "true", "execute", {"id": "e" * 32})]),
        cloudflare("DnsRecord", "edge", {"name": HOST, "type": "CNAME", "content": "lb.example.net", "proxied": True}),
        setting("ssl", "strict"),
        setting("min_tls_version", "1.2"),
        setting("0rtt", "off"),
        setting("always_use_https", "on"),
        setting("tls_client_auth", "on"),
        setting("security_header", {"strict_transport_security": {"enabled": True, "max_age": 31536000}}),
    ]


def zone_with(kind: str, name: str, path: str, value: object) -> list[Resource]:
    resources = zone()
    target = find(resources, kind, name)
    return [changed(one, path, value) if one is target else one for one in resources]


def findings(resources: Sequence[Resource]) -> list[tuple[str, str, str]]:
    return [(one.policy, one.urn.rpartition("::")[2], one.message) for one in evaluate(resources, DEV)]


def test_a_zone_as_it_should_be_breaks_no_rule() -> None:
    assert evaluate(zone(), DEV) == []
    assert evaluate(zone(), PROD) == []


CACHE_RULE = "rules>0>expression"
BYPASS_RULE = "rules>1>expression"
FIX = "Allowed: public reads only. Fix: put a rule with cache false last that matches them."


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            BYPASS_RULE,
            BYPASS.replace(f"(not {READS}) or ", ""),
            f"Ruleset cache: stores writes: 'POST /docs/' by rule 'docs'. {FIX}",
        ),
        (
            BYPASS_RULE,
            BYPASS.replace('any(lower(http.request.headers.names[*])[*] eq "authorization") or ', ""),
            f"Ruleset cache: stores requests with credentials: 'GET /docs/ with authorization' by rule 'docs'. {FIX}",
        ),
        (
            BYPASS_RULE,
            BYPASS.replace('len(http.request.headers["x-api-key"]) gt 0 or ', ""),
            f"Ruleset cache: stores requests with credentials: 'GET /docs/ with x-api-key' by rule 'docs'. {FIX}",
        ),
        (
            BYPASS_RULE,
            BYPASS.replace('http.cookie contains "session=" or ', ""),
            f"Ruleset cache: stores requests of a session: 'GET /docs/ with a session cookie' by rule 'docs'. {FIX}",
        ),
        (
            CACHE_RULE + "!both",
            "true",
            f"Ruleset cache: stores private paths: 'GET /api/v1/payments' by rule 'docs'. {FIX}",
        ),
        (
            "rules>1>actionParameters>cache",
            True,
            f"Ruleset cache: stores writes: 'POST /docs/' by rule 'bypass'. {FIX}",
        ),
    ],
)
def test_what_belongs_to_one_customer_is_never_stored(path: str, value: object, message: str) -> None:
    resources = zone_with("Ruleset", "cache", path.removesuffix("!both"), value)
    if path.endswith("!both"):
        without = BYPASS.removesuffix(f" or (not {DOCS})")
        resources = [changed(one, BYPASS_RULE, without) if one.name == "cache" else one for one in resources]
    found = findings(resources)
    assert ("edge-caches-public-reads-only", "cache", message) in found
    assert {policy for policy, _, _ in found} == {"edge-caches-public-reads-only"}


def test_the_bypass_must_stand_last() -> None:
    resources = zone()
    cache = find(resources, "Ruleset", "cache")
    rules = list(reversed(cache.props["rules"]))  # type: ignore[call-overload]
    found = findings([changed(one, "rules", rules) if one is cache else one for one in resources])
    reasons = [message.split(": ")[1] for _, _, message in found]
    assert reasons == ["stores requests of a session", "stores requests with credentials", "stores writes"]


def test_a_bypass_that_is_switched_off_does_not_count() -> None:
    assert findings(zone_with("Ruleset", "cache", "rules>1>enabled", False))  # noqa: FBT003


@pytest.mark.parametrize("expression", ["geo.country eq", 'wildcard(http.host, "*")', "cf.bot_management.score gt 1"])
def test_a_cache_rule_that_cannot_be_read_is_refused(expression: str) -> None:
    found = findings(zone_with("Ruleset", "cache", CACHE_RULE, expression))
    assert {policy for policy, _, _ in found} >= {"edge-caches-public-reads-only"}
    assert all("Allowed: expressions that this pack can evaluate." in message for _, _, message in found)


def test_a_fixed_ttl_without_a_rule_for_cookies_is_refused() -> None:
    missing = [one for one in zone() if one.name != "answers"]
    assert findings(missing) == [
        (
            "edge-keeps-cookies-out-of-cache",
            "cache",
            (
                "Ruleset cache: rule 'docs' fixes the edge TTL, so that the answer to 'GET /docs/' is stored without "
                "its Set-Cookie. Allowed: a cache response rule that sets no-store for such answers. Fix: add it, or "
                "leave the TTL to the origin."
            ),
        )
    ]
    from_origin = {"cache": True, "edgeTtl": {"mode": "bypass_by_default"}}
    changes = [changed(one, "rules>0>actionParameters", from_origin) if one.name == "cache" else one for one in missing]
    assert findings(changes) == []


RECORD = "edge-records-proxied"
TLS = "edge-tls-settings"
NO_LIMIT = "has no rate limit. Allowed: a rule that blocks in the phase http_ratelimit. Fix: add it."
NO_WAF = (
    "runs no managed rules. Allowed: a rule that executes a managed ruleset in the phase http_request_firewall_managed."
    " Fix: add it."
)
PLAIN = "which publishes the address of the origin. Allowed: true. Fix: set proxied to true."
NO_REF = "rule 1 has no ref. Allowed: a ref of its own. Fix: add one."
SAME_REF = "rules 1 and 2 have the same ref 'docs'. Allowed: a ref of its own. Fix: rename one."


@dataclass(frozen=True, kw_only=True)
class Case:
    """Setting `path` of one resource to `value` breaks `policy`; the message begins with the culprit's title."""

    policy: str
    kind: str
    name: str
    path: str
    value: object
    culprit: str | None = None
    message: str


def record_case(value: object, shown: str) -> Case:
    message = f"'CNAME' record '{HOST}' has proxied {shown}, {PLAIN}"
    return Case(policy=RECORD, kind="DnsRecord", name="edge", path="proxied", value=value, message=message)


def missing_case(policy: str, name: str, path: str, value: object, message: str) -> Case:
    return Case(
        policy=policy, kind="Ruleset", name=name, path=path, value=value,
        culprit="DnsRecord edge", message=f"zone '{ZONE}' {message}",
    )  # fmt: skip


def ref_case(name: str, path: str, value: object, message: str) -> Case:
    return Case(policy="edge-rules-have-refs", kind="Ruleset", name=name, path=path, value=value, message=message)


def tls_case(name: str, value: object, shown: str, why: str, allowed: str, *, path: str = "value") -> Case:
    message = (
        f"zone '{ZONE}' has {name} {shown}: {why}. Allowed: {name} {allowed}. Fix: declare the zone setting with it."
    )
    return Case(policy=TLS, kind="ZoneSetting", name=name, path=path, value=value, message=message)


CASES = (
    record_case(False, "false"),  # noqa: FBT003
    record_case(REMOVED, "not set"),
    missing_case("edge-rate-limit-present", "limits", "rules>0>action", "log", NO_LIMIT),
    missing_case("edge-rate-limit-present", "limits", "rules>0>enabled", False, NO_LIMIT),  # noqa: FBT003
    missing_case("edge-waf-present", "managed", "rules>0>action", "log", NO_WAF),
    ref_case("limits", "rules>0>ref", REMOVED, NO_REF),
    ref_case("cache", "rules>1>ref", "docs", SAME_REF),
    tls_case("ssl", "full", "'full'", "anybody could answer in the origin's place", "strict"),
    tls_case("min_tls_version", "1.1", "'1.1'", "older versions are broken", "1.2 or 1.3"),
    tls_case("0rtt", "on", "'on'", "early data can be repeated by whoever recorded it, a payment included", "off"),
    tls_case("always_use_https", "off", "'off'", "a first request would travel in the clear", "on"),
    tls_case("tls_client_auth", "off", "'off'", "the origin cannot tell Cloudflare from anybody else", "on"),
    tls_case(
        "security_header", 86400, "with enabled true and max_age 86400", "browsers would try plain HTTP again",
        "with enabled true and max_age of at least 15768000", path="value>strict_transport_security>max_age",
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.policy}-{case.name}-{case.path}")
def test_one_value_breaks_one_rule_and_may_be_unknown(case: Case) -> None:
    found = findings(zone_with(case.kind, case.name, case.path, case.value))
    title = case.culprit or f"{case.kind} {case.name}"
    assert found == [(case.policy, title.rpartition(" ")[2], f"{title}: {case.message}")]
    assert evaluate(zone_with(case.kind, case.name, case.path, UNKNOWN_MARK), DEV) == []


@pytest.mark.parametrize("name", ["ssl", "min_tls_version", "0rtt", "always_use_https", "tls_client_auth"])
def test_a_setting_that_is_not_declared_is_missing(name: str) -> None:
    found = findings([one for one in zone() if one.name != name])
    assert [(policy, culprit) for policy, culprit, _ in found] == [(TLS, "edge")]
    assert f"has {name} not set" in found[0][2]


@pytest.mark.parametrize(
    ("name", "policy"),
    [("limits", "edge-rate-limit-present"), ("managed", "edge-waf-present"), ("security_header", TLS)],
)
def test_what_is_not_declared_at_all_is_missing(name: str, policy: str) -> None:
    assert [one[0] for one in findings([one for one in zone() if one.name != name])] == [policy]


def test_an_empty_ruleset_is_a_missing_one() -> None:
    assert [one[0] for one in findings(zone_with("Ruleset", "limits", "rules", []))] == ["edge-rate-limit-present"]


def test_two_entry_points_of_a_phase_are_refused() -> None:
    second = ruleset("more-limits", "http_ratelimit", [rule("more", "true", "block", {})])
    assert findings([*zone(), second]) == [
        (
            "edge-one-ruleset-per-phase",
            "more-limits",
            (
                "Ruleset more-limits: phase 'http_ratelimit' has an entry point already, limits. Allowed: one for each "
                "phase. Fix: merge the two."
            ),
        )
    ]


def test_records_that_lead_to_no_address_and_listed_names_may_be_plain() -> None:
    mail = cloudflare("DnsRecord", "mail", {"name": "example.com", "type": "MX", "content": "mx.example.com"})
    plain = cloudflare("DnsRecord", "plain", {"name": "mx.example.com", "type": "A", "content": "192.0.2.1"})
    assert [one[:2] for one in findings([*zone(), mail, plain])] == [(RECORD, "plain")]
    listed = {**DEV, RECORD: {"enforcementLevel": "mandatory", "unproxied": ["mx.example.com"]}}
    assert evaluate([*zone(), mail, plain], listed) == []


def unknown_paths() -> list[tuple[str, str, str]]:
    return [(one.type.rpartition(":")[2], one.name, path) for one in zone() for path in leaves(dict(one.props))]


@pytest.mark.parametrize(("kind", "name", "path"), unknown_paths())
def test_no_rule_breaks_over_a_value_that_is_not_known_yet(kind: str, name: str, path: str) -> None:
    assert evaluate(zone_with(kind, name, path, UNKNOWN_MARK), DEV) == []
