"""The zone apart from its cache: limits, firewall, errors, headers, settings, record, logs, and its absence."""

import json
import subprocess
import sys
from typing import Any

import pytest

from cli.recording import ROOT, record_program
from policies.cloudflare_requests import Request, matching
from tests.unit.components.cloudflare_stacks import HOST, ZONE, pieces, rule, rules
from tests.unit.stacks import Changes, platform_of, recording_of, short_urn, stack_file_for

ENTERPRISE: Changes = {f"{ZONE}/plan": "enterprise"}


def test_exactly_these_resources_are_declared_under_the_zone() -> None:
    settings = (
        "0rtt", "always-online", "always-use-https", "browser-cache-ttl", "min-tls-version", "security-header", "ssl",
        "tls-1-3", "tls-client-auth",
    )  # fmt: skip
    rulesets = ("cache", "cache-responses", "errors", "managed-rules", "rate-limits", "response-headers")
    others = ("record", "smart-tiered-cache", "tiered-cache")
    names = [*rulesets, *(f"setting-{one}" for one in settings), *others]
    assert sorted(pieces()) == sorted(f"cloudflare-{name}" for name in names)
    for piece in pieces().values():
        assert short_urn(piece.parent) == "payments:edge:CloudflareEdge::cloudflare"
        assert "cloudflare-provider" in piece.provider
        assert piece.inputs["zoneId"] == "023e105f4ecef8ad9ca31a8372d0c353"


def test_each_phase_has_one_entry_point_and_each_rule_a_ref_of_its_own() -> None:
    rulesets = [one for one in pieces().values() if one.type.endswith(":Ruleset")]
    phases = [one.inputs["phase"] for one in rulesets]
    assert len(set(phases)) == len(phases)
    assert {one.inputs["kind"] for one in rulesets} == {"zone"}
    for ruleset in rulesets:
        refs = [one["ref"] for one in ruleset.inputs["rules"]]
        assert len(set(refs)) == len(refs)


def test_the_limit_answers_429_in_json_and_keeps_answering_it_without_the_origin() -> None:
    limit = rule("rate-limits", "limit-api")
    assert limit["ratelimit"] == {
        "characteristics": ["cf.colo.id", "ip.src"],
        "period": 60,
        "requestsPerPeriod": 1000,
        "mitigationTimeout": 60,
    }
    response = limit["actionParameters"]["response"]
    assert (limit["action"], response["statusCode"], response["contentType"]) == ("block", 429, "application/json")
    assert json.loads(response["content"])["status"] == 429


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", "other.payments.com"])
@pytest.mark.parametrize(("path", "limited"), [("/api/v1/payments", True), ("/api/", True), ("/docs/x", False)])
def test_the_limit_counts_the_api_however_the_host_is_spelt(host: str, path: str, *, limited: bool) -> None:
    assert bool(matching(rules("rate-limits"), Request(host=host, path=path))) is limited


def test_a_limit_by_header_names_it_in_lower_case() -> None:
    limit = {"path": "/api/*", "requests": 100, "by": "header", "header": "x-client-id"}
    changes = {**ENTERPRISE, f"{ZONE}/advanced_rate_limiting": True, f"{ZONE}/rate_limits/client": limit}
    found = rule("rate-limits", "limit-client", changes)["ratelimit"]["characteristics"]
    assert found == ["cf.colo.id", 'http.request.headers["x-client-id"]']


def test_both_rule_sets_of_cloudflare_look_at_every_request() -> None:
    found = [(one["action"], one["expression"], one["actionParameters"]["id"]) for one in rules("managed-rules")]
    assert found == [
        ("execute", "true", "efb7b8c949ac4650a09736fc376e9aee"),
        ("execute", "true", "4814384a9e5d4991b9815dcfc25d2f1f"),
    ]


@pytest.mark.parametrize(
    ("path", "status", "content_type", "ref"),
    [
        ("/api/v1/payments", 502, "text/html", "errors-api"),
        ("/api/v1/payments", 500, "", "errors-api"),
        ("/api/v1/payments", 503, "application/problem+json", None),
        ("/api/v1/payments", 503, "application/json; charset=utf-8", None),
        ("/api/v1/payments", 404, "text/html", None),
        ("/docs/index.html", 502, "text/html", "errors-site"),
        ("/", 520, "application/json", "errors-site"),
        ("/docs/index.html", 404, "text/html", None),
        ("/docs/index.html", 200, "text/html", None),
    ],
)
def test_server_errors_are_json_for_the_api_and_a_page_for_the_site(
    path: str, status: int, content_type: str, ref: str | None
) -> None:
    one = Request(path=path, status=status, response_headers={"content-type": content_type} if content_type else {})
    assert next((found["ref"] for found in matching(rules("errors"), one)), None) == ref  # type: ignore[index]


def test_the_bodies_of_errors_are_what_their_types_say() -> None:
    api = rule("errors", "errors-api")["actionParameters"]
    site = rule("errors", "errors-site")["actionParameters"]
    assert api["contentType"] == "application/json"
    assert "idempotency key" in json.loads(api["content"])["detail"]
    assert site["contentType"] == "text/html"
    assert site["content"].startswith("<!doctype html>")
    assert "referrer" not in site["content"], "it would break Cloudflare's challenges"
    assert max(len(api["content"]), len(site["content"])) < 10_000


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/api/v1/payments", "default-src 'none'; frame-ancestors 'none'"),
        ("/docs/x", "object-src 'none'; base-uri 'self'; frame-ancestors 'none'"),
    ],
)
def test_answers_carry_the_headers_that_browsers_protect_users_by(path: str, policy: str) -> None:
    (found,) = matching(rules("response-headers"), Request(host=HOST, path=path))
    headers: Any = found["actionParameters"]["headers"]  # type: ignore[index]
    given = {name: one.get("value") for name, one in headers.items() if one["operation"] == "set"}
    assert given["Content-Security-Policy"] == policy
    assert (given["X-Content-Type-Options"], given["X-Frame-Options"]) == ("nosniff", "DENY")
    assert headers["X-Powered-By"] == {"operation": "remove"}


def test_the_zone_is_encrypted_and_plays_no_early_data() -> None:
    values = {
        one.inputs["settingId"]: one.inputs["value"] for one in pieces().values() if one.type.endswith(":ZoneSetting")
    }
    hsts = values.pop("security_header")["strict_transport_security"]
    assert hsts == {"enabled": True, "max_age": 31536000, "include_subdomains": False, "preload": False}
    assert values == {
        "ssl": "strict", "min_tls_version": "1.2", "tls_1_3": "on", "0rtt": "off", "always_use_https": "on",
        "always_online": "off", "browser_cache_ttl": 0, "tls_client_auth": "on",
    }  # fmt: skip


def test_the_record_is_proxied_and_comes_after_everything_that_guards_it() -> None:
    record = pieces()["cloudflare-record"]
    assert record.inputs["name"] == HOST
    assert (record.inputs["proxied"], record.inputs["ttl"]) == (True, 1)
    guards = {name for name, one in pieces().items() if one.type.endswith((":Ruleset", ":ZoneSetting"))}
    assert {urn.split("::")[-1] for urn in record.dependencies} >= guards


@pytest.mark.parametrize(("wish", "values"), [("off", {"off"}), ("smart", {"on"}), ("regional", {"on"})])
def test_tiers_of_the_cache_follow_the_wish(wish: str, values: set[str]) -> None:
    found = pieces({**ENTERPRISE, f"{ZONE}/tiered_cache": wish})
    tiers = {name: one for name, one in found.items() if name.endswith("tiered-cache")}
    assert {one.inputs["value"] for one in tiers.values()} == values
    assert ("cloudflare-regional-tiered-cache" in tiers) is (wish == "regional")


def test_the_zones_own_certificate_is_switched_on_when_wished() -> None:
    assert "cloudflare-origin-pulls" not in pieces()
    assert pieces({f"{ZONE}/origin_pulls": "zone"})["cloudflare-origin-pulls"].inputs["enabled"] is True


def test_logs_go_to_secret_destinations_by_zone_or_account() -> None:
    account = "b" * 32
    platform = platform_of(
        "prod",
        {
            **ENTERPRISE,
            f"{ZONE}/account_id": account,
            f"{ZONE}/token_key": "cloudflareToken",
            f"{ZONE}/logpush": {
                "requests": {"dataset": "http_requests", "destination_key": "logDestination"},
                "audit": {"dataset": "audit_logs_v2", "destination_key": "logDestination"},
            },
        },
    )
    secrets = {f"payments:{key}": {"secure": "v1:x"} for key in ("cloudflareToken", "logDestination")}
    recording = record_program(stack_file_for("prod", platform, secrets))
    found = {one.name: one.inputs for one in recording.resources}
    requests, audit = found["cloudflare-logs-requests"], found["cloudflare-logs-audit"]
    assert (requests.get("zoneId"), requests.get("accountId")) == ("023e105f4ecef8ad9ca31a8372d0c353", None)
    assert (audit.get("zoneId"), audit.get("accountId")) == (None, account)
    for secret in (requests["destinationConf"], audit["destinationConf"], found["cloudflare-provider"]["apiToken"]):
        assert secret == {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "[secret]"}


def test_without_a_token_key_the_provider_takes_the_environments() -> None:
    (provider,) = [one for one in recording_of("prod").resources if one.type == "pulumi:providers:cloudflare"]
    assert provider.inputs == {}


def test_without_a_zone_nothing_is_declared_and_the_sdk_is_not_imported() -> None:
    program = (
        "import sys\n"
        "from tests.unit.stacks import recording_of\n"
        "found = [one.type for one in recording_of('dev').resources if 'cloudflare' in one.type.lower()]\n"
        "assert found == [], found\n"
        "assert 'pulumi_cloudflare' not in sys.modules\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
