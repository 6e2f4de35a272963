"""The prod stack's zone on the real engine, against a strict fake of Cloudflare's API on loopback.

The official plugin is used where it is installed, else the stand-in. Most tests deploy the zone alone, which needs no
cluster; the last one runs the whole program of the dev stack with a zone in front.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.recording import ROOT
from sandbox import tools
from sandbox.engine import Engine, Result
from sandbox.fake_cloudflare import FakeCloudflare
from sandbox.plugins import select
from tests.sandbox.conftest import Stack
from tests.unit.stacks import platform_of

STACK = "dev"
TOKEN = "canary-token-that-must-stay-out-of-everything"
DESTINATION = "r2://bucket?access-key-id=x&secret-access-key=canary-destination"
ACCOUNT = "b" * 32
_TIMEOUT_SECONDS = 300
PROGRAM = """
import pulumi
from components.edge.cloudflare.component import CloudflareEdge, CloudflareEdgeArgs, cloudflare_secret_keys
from settings.cloudflare import Cloudflare

config = pulumi.Config("payments")
wanted = Cloudflare.model_validate_json(config.require("zone"))
secrets = {key: config.require_secret(key) for key in cloudflare_secret_keys(wanted)}
CloudflareEdge("cloudflare", CloudflareEdgeArgs(host="api.payments.com", cloudflare=wanted, secrets=secrets))
"""


@dataclass(kw_only=True)
class ZoneStack:
    engine: Engine
    fake: FakeCloudflare
    folder: Path
    settings: dict[str, Any]

    def run(self, command: str, *arguments: str, success: bool = True) -> Result:
        source = self.folder / f"Pulumi.{STACK}.yaml"
        source.write_text(yaml.safe_dump({"config": {"payments:zone": json.dumps(self.settings)}}), encoding="utf-8")
        config = self.engine.config_file(STACK, source)
        for key, value in (("cloudflareToken", TOKEN), ("logDestination", DESTINATION)):
            secret = ["config", "set", "--secret", f"payments:{key}", value]
            set_secret = self.engine.run([*secret, "--stack", STACK, "--config-file", str(config)], timeout_seconds=60)
            assert set_secret.exit_code == 0, set_secret.output
        self.fake.calls.clear()
        options = ["--stack", STACK, "--config-file", str(config), *arguments]
        result = self.engine.run([command, *options], timeout_seconds=_TIMEOUT_SECONDS)
        assert "canary" not in result.output
        assert (result.exit_code == 0) is success, result.output
        return result

    def up(self, *arguments: str, success: bool = True) -> Result:
        return self.run("up", "--yes", "--skip-preview", *arguments, success=success)

    def written(self) -> list[tuple[str, str]]:
        """Method and path below the zone of each call that changed something."""
        return [(call.method, call.path.partition("/")[2].partition("/")[2]) for call in self.fake.writes()]

    def ruleset(self, phase: str) -> dict[str, Any]:
        (found,) = [one for one in self.fake.zone.rulesets.values() if one["phase"] == phase]
        return found


@pytest.fixture(scope="module")
def pulumi_and_plugins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], dict[str, str]]:
    report = tools.progress()
    folder = tmp_path_factory.mktemp("engine")
    pulumi = tools.ensure(("pulumi",), report, project_root=ROOT)["pulumi"]
    choice = select(pulumi, folder / "pulumi-home", report)
    # Each run would compile the provider's SDK anew, which takes longer than the run.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return pulumi, choice.path_entries, {**choice.env, **bytecode}


@pytest.fixture
def zone(
    pulumi_and_plugins: tuple[Path, list[Path], dict[str, str]], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[ZoneStack]:
    pulumi, path_entries, variables = pulumi_and_plugins
    (tmp_path / "Pulumi.yaml").write_text("name: payments\nruntime: python\n", encoding="utf-8")
    (tmp_path / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    settings = platform_of("prod")["edge"]["cloudflare"]
    settings |= {"token_key": "cloudflareToken", "plan": getattr(request, "param", settings["plan"])}
    with FakeCloudflare(zone_id=settings["zone_id"], account_id=ACCOUNT, token=TOKEN, plan=settings["plan"]) as fake:
        engine = Engine(
            pulumi=pulumi,
            project=tmp_path,
            state=tmp_path / "state",
            path_entries=path_entries,
            variables={**variables, "CLOUDFLARE_BASE_URL": fake.url, "PYTHONPATH": str(ROOT)},
        )
        stack = ZoneStack(engine=engine, fake=fake, folder=tmp_path, settings=settings)
        yield stack
        if engine.state_file(STACK) is not None:
            stack.run("destroy", "--yes", "--skip-preview")


def test_up_makes_the_zone_a_second_up_nothing_a_new_ttl_one_call_and_destroy_takes_it_away(zone: ZoneStack) -> None:
    zone.run("preview")
    assert zone.fake.calls == [], "a preview of resources asks nobody"

    zone.up()
    fake = zone.fake.zone
    assert [call.status for call in zone.fake.writes()] == [200] * len(zone.fake.writes())
    assert zone.written()[-1] == ("POST", "dns_records"), "traffic comes last"
    assert len(fake.rulesets) == 6
    assert (fake.settings["ssl"], fake.settings["0rtt"], fake.settings["min_tls_version"]) == ("strict", "off", "1.2")
    assert [record["proxied"] for record in fake.records.values()] == [True]
    state = zone.engine.state_file(STACK)
    assert state is not None
    assert "canary" not in state.read_text(encoding="utf-8")

    zone.up("--expect-no-changes")
    assert zone.written() == []

    before = zone.ruleset("http_request_cache_settings")
    zone.settings["cached"]["rates"]["edge_ttl_seconds"] = 600
    zone.up()
    assert zone.written() == [("PUT", f"rulesets/{before['id']}")]
    after = zone.ruleset("http_request_cache_settings")
    assert [(rule["ref"], rule["id"]) for rule in after["rules"]] == [
        (rule["ref"], rule["id"]) for rule in before["rules"]
    ]
    rates = next(rule for rule in after["rules"] if rule["ref"] == "cache-rates")
    assert rates["action_parameters"]["edge_ttl"] == {"mode": "override_origin", "default": 600}

    zone.settings["cached"]["about"] = {"path": "/about/*"}
    zone.up()
    grown = {rule["ref"]: rule["id"] for rule in zone.ruleset("http_request_cache_settings")["rules"]}
    assert list(grown) == ["cache-about", "cache-config", "cache-docs", "cache-rates", "bypass"]
    assert {ref: grown[ref] for ref in grown if ref != "cache-about"} == {
        rule["ref"]: rule["id"] for rule in before["rules"]
    }, "a rule that is added before others moves them and changes none"

    zone.run("destroy", "--yes", "--skip-preview")
    assert zone.written()[0][0] == "DELETE"
    assert zone.written()[0][1].startswith("dns_records/"), "traffic ends first"
    assert (fake.rulesets, fake.records) == ({}, {})
    assert fake.settings["ssl"] == "strict", "the API cannot unset a setting"


def test_refresh_finds_what_was_changed_by_hand_and_up_brings_it_back(zone: ZoneStack) -> None:
    zone.up()
    ruleset = zone.ruleset("http_request_cache_settings")
    ruleset["rules"][-1]["action_parameters"]["cache"] = True
    zone.fake.zone.settings["ssl"] = "flexible"
    zone.fake.zone.records.clear()
    result = zone.run("refresh", "--yes", "--skip-preview")
    assert "2 updated" in result.output
    assert "1 deleted" in result.output
    zone.up()
    assert sorted(zone.written()) == [
        ("PATCH", "settings/ssl"), ("POST", "dns_records"), ("PUT", f"rulesets/{ruleset['id']}"),
    ]  # fmt: skip
    assert zone.ruleset("http_request_cache_settings")["rules"][-1]["action_parameters"]["cache"] is False


@pytest.mark.parametrize("zone", ["enterprise"], indirect=True)
def test_logs_are_pushed_where_the_plan_has_them_and_their_destination_stays_secret(zone: ZoneStack) -> None:
    jobs = {"requests": "http_requests", "firewall": "firewall_events", "audit": "audit_logs_v2"}
    zone.settings["account_id"] = ACCOUNT
    zone.settings["tiered_cache"] = "regional"
    zone.settings["logpush"] = {
        name: {"dataset": dataset, "destination_key": "logDestination"} for name, dataset in jobs.items()
    }
    zone.up()
    found = {job["name"]: (job["dataset"], job["destination_conf"]) for job in zone.fake.zone.jobs.values()}
    assert found == {name: (dataset, DESTINATION) for name, dataset in jobs.items()}
    assert zone.fake.zone.switches["cache/regional_tiered_cache"] == "on"
    state = zone.engine.state_file(STACK)
    assert state is not None
    assert "canary" not in state.read_text(encoding="utf-8")


@pytest.mark.parametrize("zone", ["pro"], indirect=True)
def test_t26_what_the_settings_would_refuse_the_api_refuses_too(zone: ZoneStack) -> None:
    result = zone.up(success=False)
    assert "edge TTL 300 is below the minimum of 3600 on the pro plan" in result.output
    assert zone.fake.zone.records == {}, "no traffic comes to a zone without its rules"


def test_a_zone_with_an_entry_point_already_is_not_overwritten(zone: ZoneStack) -> None:
    theirs = {"name": "theirs", "kind": "zone", "phase": "http_ratelimit", "rules": []}
    zone.fake.zone.create_ruleset(theirs)
    result = zone.up(success=False)
    assert "a similar configuration with rules already exists" in result.output
    assert zone.ruleset("http_ratelimit")["name"] == "theirs"


def test_the_whole_program_passes_its_policies_and_brings_the_zone_up(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = platform_of("prod")["edge"]["cloudflare"]
    with FakeCloudflare(zone_id=settings["zone_id"], account_id=ACCOUNT, token=TOKEN, plan=settings["plan"]) as fake:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", fake.url)
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        with_zone = stack.changed(**{"edge.cloudflare": settings, "edge.tls.client_ca": "origin-pull-ca"})
        result = with_zone.up()
        assert "canary" not in result.output + with_zone.state()
        assert [record["name"] for record in fake.zone.records.values()] == ["api.payments.com"]
        assert len(fake.zone.rulesets) == 6
        with_zone.up("--expect-no-changes")
        stack.changed().up()
        assert (fake.zone.rulesets, fake.zone.records) == ({}, {}), "without the block the zone is taken away"
