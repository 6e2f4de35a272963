"""The stand-in for Pulumi's Cloudflare plugin, and the fake of the API that it speaks to."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime.proto import provider_pb2

from sandbox.fake_cloudflare import FakeCloudflare
from sandbox.fake_cloudflare_schema import PLANS, ruleset_problems, setting_problems
from sandbox.plugins.cloudflare.api import Api, is_local
from sandbox.plugins.cloudflare.kinds import KINDS, seen, with_rule_ids
from sandbox.plugins.cloudflare.server import BASE_URL, TOKEN, Provider
from sandbox.plugins.cloudflare.spelling import from_api, to_api
from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.values import Secret, encode

ZONE, ACCOUNT, SECRET = "a" * 32, "b" * 32, "canary-0123456789"
RULESET = "cloudflare:index/ruleset:Ruleset"


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    with FakeCloudflare(zone_id=ZONE, account_id=ACCOUNT, token=SECRET, plan="business") as server:
        yield server


def ruleset(**changes: Any) -> dict[str, Any]:
    rule = {"ref": "r", "expression": "true", "action": "set_cache_settings", "action_parameters": {"cache": False}}
    return {"name": "n", "kind": "zone", "phase": "http_request_cache_settings", "rules": [rule], **changes}


def with_rule(**changes: Any) -> dict[str, Any]:
    body = ruleset()
    body["rules"][0] |= changes
    return body


def limit(**changes: Any) -> dict[str, Any]:
    counted = {
        "characteristics": ["cf.colo.id", "ip.src"], "period": 60, "requests_per_period": 1, "mitigation_timeout": 60,
    }  # fmt: skip
    rule = {"ref": "r", "expression": "true", "action": "block", "ratelimit": {**counted, **changes}}
    return ruleset(phase="http_ratelimit", rules=[rule])


def ttl(seconds: int) -> dict[str, Any]:
    return with_rule(action_parameters={"cache": True, "edge_ttl": {"mode": "override_origin", "default": seconds}})


@pytest.mark.parametrize("plan", PLANS)
def test_the_fake_accepts_what_every_plan_has(plan: str) -> None:
    assert list(ruleset_problems(ruleset(), plan)) == []
    assert list(ruleset_problems(ttl(7200), plan)) == []
    assert list(ruleset_problems(limit(period=10, mitigation_timeout=10), plan)) == []


@pytest.mark.parametrize(
    ("body", "plan", "problem"),
    [
        (ruleset(phase="http_request_cache"), "business", "is not one of"),
        (ruleset(kind="root"), "business", "is not one of"),
        (ruleset(extra=1), "business", "'extra' was unexpected"),
        (with_rule(extra=1), "business", "'extra' was unexpected"),
        (with_rule(action="block"), "business", "is not one of"),
        (with_rule(action_parameters={"cach": True}), "business", "'cach' was unexpected"),
        (with_rule(action_parameters={"edge_ttl": {"mode": "override_origin"}}), "business", "not valid under any"),
        (with_rule(action_parameters={"edge_ttl": {"mode": "respect_origin", "default": 1}}), "pro", "not valid under"),
        (with_rule(expression='(http.host eq "a"'), "business", "( and ) do not match"),
        (with_rule(expression='http.host eq "a'), "business", "a text is not closed"),
        (with_rule(expression='http.hst eq "a"'), "business", "unknown or unavailable identifier 'http.hst'"),
        (with_rule(expression="http.response.code ge 400"), "business", "unavailable identifier 'http.response.code'"),
        (with_rule(expression="a" * 4097), "business", "is too long"),
        (ruleset(rules=[*ruleset()["rules"], *ruleset()["rules"]]), "business", "the ref 'r' is used twice"),
        (ttl(7199), "free", "edge TTL 7199 is below the minimum of 7200 on the free plan"),
        (ttl(3599), "pro", "edge TTL 3599 is below the minimum of 3600 on the pro plan"),
        (ttl(0), "business", "edge TTL 0 is below the minimum of 1"),
        (limit(), "free", "not entitled to use the period 60 on the free plan"),
        (limit(mitigation_timeout=86400), "pro", "not entitled to use the mitigation timeout 86400"),
        (limit(period=61), "enterprise", "61 is not one of"),
        (limit(characteristics=["ip.src", "http.host"]), "business", "characteristics must contain cf.colo.id"),
        (limit(characteristics=["cf.colo.id", "cf.unique_visitor_id"]), "pro", "not entitled to use the char"),
        (ruleset(phase="http_custom_errors", rules=[{"ref": "e", "expression": "true", "action": "serve_error",
         "action_parameters": {"content": "x", "content_type": "text/html"}}]), "free", "exceeded maximum number"),
    ],
)  # fmt: skip
def test_the_fake_refuses_wrong_shapes_and_what_a_plan_does_not_have(
    body: dict[str, Any], plan: str, problem: str
) -> None:
    assert any(problem in one for one in ruleset_problems(body, plan)), list(ruleset_problems(body, plan))


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("sll", {"value": "strict"}),
        ("ssl", {"value": "strikt"}),
        ("ssl", {"valu": "strict"}),
        ("security_header", {"value": {"strict_transport_security": {"max": 1}}}),
    ],
)
def test_the_fake_refuses_unknown_settings_and_values(setting: str, body: dict[str, Any]) -> None:
    assert list(setting_problems(setting, body))


def test_the_fake_has_one_entry_point_per_phase_and_keeps_ids_that_a_call_names(fake: FakeCloudflare) -> None:
    api = Api(fake.url, SECRET)
    created = api.call("POST", f"zones/{ZONE}/rulesets", ruleset())
    with pytest.raises(ProviderError, match="similar configuration with rules already exists"):
        api.call("POST", f"zones/{ZONE}/rulesets", ruleset())
    path = f"zones/{ZONE}/rulesets/{created['id']}"
    assert api.call("PUT", path, ruleset())["rules"][0]["id"] != created["rules"][0]["id"]
    current = api.call("GET", path)["rules"][0]["id"]
    assert api.call("PUT", path, with_rule(id=current))["rules"][0]["id"] == current
    with pytest.raises(ProviderError, match="no rule"):
        api.call("PUT", path, with_rule(id="c" * 32))
    assert [call.status for call in fake.writes()] == [200, 409, 200, 200, 400]


def test_the_fake_admits_only_its_token_and_the_message_does_not_show_it(fake: FakeCloudflare) -> None:
    with pytest.raises(ProviderError) as found:
        Api(fake.url, "wrong-canary-token").call("GET", f"zones/{ZONE}/rulesets")
    assert "Authentication error" in str(found.value)
    assert "canary" not in str(found.value)
    assert "canary" not in str(fake.calls)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080/client/v4", True),
        ("http://[::1]:8080", True),
        ("https://api.cloudflare.com/client/v4", False),
        ("http://127.0.0.1.example.com", False),
        ("http://example.com@10.0.0.1", False),
        ("", False),
    ],
)
def test_only_this_machine_is_local(url: str, *, local: bool) -> None:
    assert is_local(url) is local


def check_config(monkeypatch: pytest.MonkeyPatch, url: str, inputs: dict[str, Any], token: str = "") -> dict[str, str]:
    monkeypatch.setenv(BASE_URL, url)
    monkeypatch.setenv(TOKEN, token)
    answer = Provider().CheckConfig(provider_pb2.CheckRequest(news=encode(inputs)), None)  # type: ignore[arg-type]
    return {failure.property: failure.reason for failure in answer.failures}


def test_the_stand_in_refuses_a_real_zone_and_a_missing_token(monkeypatch: pytest.MonkeyPatch) -> None:
    local = "http://127.0.0.1:1/client/v4"
    assert check_config(monkeypatch, local, {"apiToken": Secret(SECRET)}) == {}
    assert check_config(monkeypatch, local, {}, token=SECRET) == {}
    assert "only speaks to a fake" in check_config(monkeypatch, "", {"apiToken": Secret(SECRET)})["baseUrl"]
    assert "CLOUDFLARE_API_TOKEN" in check_config(monkeypatch, local, {})["apiToken"]
    real = {"apiToken": Secret(SECRET), "baseUrl": "https://api.cloudflare.com/client/v4"}
    found = check_config(monkeypatch, local, real)
    assert list(found) == ["baseUrl"]
    assert "canary" not in str(found)


def check(type_token: str, inputs: dict[str, Any]) -> dict[str, str]:
    request = provider_pb2.CheckRequest(type=type_token, news=encode(inputs))
    answer = Provider().Check(request, None)  # type: ignore[arg-type]
    return {failure.property: failure.reason for failure in answer.failures}


def test_unknown_types_unknown_properties_and_missing_ones_are_refused() -> None:
    inputs = {"zoneId": ZONE, "kind": "zone", "name": "n", "phase": "http_ratelimit"}
    assert check(RULESET, inputs) == {}
    assert check(RULESET, {**inputs, "rule": []}) == {"rule": "no such property"}
    assert check(RULESET, {"zoneId": ZONE, "kind": "zone", "name": "n"}) == {"phase": "is required"}
    assert "knows ArgoTieredCaching" in check("cloudflare:index/zone:Zone", {})["type"]


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        ({"name": "a"}, {"name": "b"}, []),
        ({"phase": "http_ratelimit"}, {"phase": "http_custom_errors"}, ["phase"]),
        ({"zoneId": ZONE}, {"zoneId": ACCOUNT}, ["zoneId"]),
    ],
)
def test_what_cannot_change_in_place_is_replaced_the_old_one_first(
    old: dict[str, Any], new: dict[str, Any], replaces: list[str]
) -> None:
    request = provider_pb2.DiffRequest(type=RULESET, old_inputs=encode(old), news=encode(new))
    answer = Provider().Diff(request, None)  # type: ignore[arg-type]
    assert list(answer.replaces) == replaces
    assert answer.deleteBeforeReplace is bool(replaces)
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME


def test_keys_are_spelt_as_the_api_does_and_data_is_left_alone() -> None:
    ours = {
        "edgeTtl": {"mode": "override_origin", "default": 1, "statusCodeTtls": [{"value": 0}]},
        "noStore": {"operation": "set", "cloudflareOnly": True},
        "headers": {"Cache-Control": {"operation": "set"}, "noStore": {"operation": "remove"}},
        "value": {"strict_transport_security": {"max_age": 1, "maxAge": 2}},
        "empty": None,
    }
    theirs = {
        "edge_ttl": {"mode": "override_origin", "default": 1, "status_code_ttl": [{"value": 0}]},
        "no-store": {"operation": "set", "cloudflare_only": True},
        "headers": {"Cache-Control": {"operation": "set"}, "noStore": {"operation": "remove"}},
        "value": {"strict_transport_security": {"max_age": 1, "maxAge": 2}},
    }
    assert to_api(ours) == theirs
    assert from_api(theirs) == {key: value for key, value in ours.items() if value is not None}


NAMES = st.from_regex(r"[a-z]{1,5}([A-Z][a-z]{1,5}){0,3}", fullmatch=True).filter(lambda name: name != "headers")


@given(st.dictionaries(NAMES, st.integers(), max_size=5))
def test_spelling_there_and_back_is_the_same(value: dict[str, int]) -> None:
    assert from_api(to_api(value)) == value


def test_rules_keep_their_ids_by_their_refs_wherever_they_stand() -> None:
    old = [{"ref": "a", "id": "1"}, {"ref": "b", "id": "2"}, {"id": "3"}]
    body = {"name": "n", "rules": [{"ref": "new"}, {"ref": "b"}, {"ref": "a"}, {}]}
    assert with_rule_ids(body, old)["rules"] == [{"ref": "new"}, {"ref": "b", "id": "2"}, {"ref": "a", "id": "1"}, {}]


def test_defaults_of_the_api_are_no_change_and_losses_are() -> None:
    asked = {"a": 1, "rules": [{"ref": "x", "cache": False}], "gone": 1}
    live = {"a": 2, "added": True, "rules": [{"ref": "x", "cache": True, "id": "1"}, {"ref": "theirs"}]}
    assert seen(asked, live) == {"a": 2, "rules": [{"ref": "x", "cache": True}, {"ref": "theirs"}]}


def test_every_kind_knows_where_it_lives() -> None:
    inputs = {"zoneId": ZONE, "settingId": "ssl"}
    paths = {
        token.rpartition(":")[2]: kind.path(inputs).removeprefix(f"zones/{ZONE}/") for token, kind in KINDS.items()
    }
    assert paths["ZoneSetting"] == "settings/ssl"
    assert paths["DnsRecord"] == "dns_records"
    assert len(set(paths.values())) == len(KINDS)


class Aborted(Exception):  # noqa: N818
    """The end of a call, as gRPC ends one."""


class Context:
    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


def test_a_refusal_ends_in_words_without_the_secret_that_was_sent(fake: FakeCloudflare) -> None:
    provider = Provider()
    options = encode({"apiToken": Secret(SECRET), "baseUrl": fake.url})
    provider.Configure(provider_pb2.ConfigureRequest(args=options), None)  # type: ignore[arg-type]
    inputs = {"zoneId": ZONE, "name": "l", "dataset": "http_requests", "destinationConf": Secret("r2://canary?key=x")}
    request = provider_pb2.CreateRequest(properties=encode(inputs), type="cloudflare:index/logpushJob:LogpushJob")
    with pytest.raises(Aborted) as found:
        provider.Create(request, Context())
    assert "not entitled to Logpush on the business plan" in str(found.value)
    assert "canary" not in str(found.value)


def test_a_preview_asks_nothing(fake: FakeCloudflare) -> None:
    provider = Provider()
    options = encode({"apiToken": Secret(SECRET), "baseUrl": fake.url})
    provider.Configure(provider_pb2.ConfigureRequest(args=options), None)  # type: ignore[arg-type]
    properties: struct_pb2.Struct = encode({"zoneId": ZONE, "name": "n", "kind": "zone", "phase": "http_ratelimit"})
    request = provider_pb2.CreateRequest(properties=properties, type=RULESET, preview=True)
    assert provider.Create(request, Context()).properties == properties
    assert fake.calls == []


def test_the_fake_speaks_json_only(fake: FakeCloudflare) -> None:
    status, document = fake.answer("POST", f"/client/v4/zones/{ZONE}/rulesets", f"Bearer {SECRET}", "{no")
    assert (status, document["success"]) == (400, False)
    assert json.dumps(document)
