"""What a shard's database consists of, in which order, and what is protected."""

from typing import Any

import pytest

from cli.recording import Recorded, record_program
from components.contract import platform_contract
from components.database.component import database_secret_keys, waiting_line
from components.database.names import VERIFIER_KEYS
from components.database.shard_plan import plan_shard
from tests.unit.stacks import REMOVED, platform_of, settings_of, short_urn, stack_file_for

PLACE = {"host": "127.0.0.1", "port": 5433, "password_key": "databaseAdminPassword"}
SECRETS: dict[str, object] = {
    f"payments:{key}": {"secure": "x"} for key in ("databaseAdminPassword", *VERIFIER_KEYS.values())
}


def declared(stack: str) -> list[Recorded]:
    platform = platform_of(stack, {"data/shards/s00/endpoint": PLACE})
    recording = record_program(stack_file_for(stack, platform, SECRETS))
    return [one for one in recording.resources if "postgresql" in one.type or ":database:ShardDatabase" in one.type]


def by_name(resources: list[Recorded]) -> dict[str, Recorded]:
    return {one.name.removeprefix("database-s00-"): one for one in resources}


def plain(inputs: Any) -> Any:
    return {key: value for key, value in inputs.items() if key != "password"}


def test_without_an_endpoint_nothing_is_declared_and_one_line_says_so() -> None:
    data = settings_of("prod").data
    assert data is not None
    assert waiting_line(data) == (
        "roles, schemas and grants of s00, s01 wait until data.shards.s00.endpoint, data.shards.s01.endpoint names a "
        "server that can be reached"
    )
    assert database_secret_keys(data) == []


def test_secrets_are_needed_only_where_a_server_is_named() -> None:
    data = settings_of("dev", {"data/shards/s00/endpoint": PLACE}).data
    assert waiting_line(data) is None if data else False
    assert database_secret_keys(data) == ["databaseAdminPassword", *VERIFIER_KEYS.values()]


def test_a_shard_has_exactly_these_resources() -> None:
    roles = ("owner", "app", "readonly", "exporter", "migrator")
    schemas = ("es", "ledger", "ops", "archive", "extensions")
    names = [
        "provider", "database", "publication", "extension-pg-trgm",
        *(f"role-{role}" for role in roles), *(f"schema-{schema}" for schema in schemas),
        "member-migrator", "member-exporter", "grant-public-database", "grant-public-schema",
        *(f"grant-{role}-database" for role in roles if role != "owner"),
        *(f"grant-app-{schema}" for schema in ("es", "ledger", "ops", "extensions")),
        *(f"grant-readonly-{schema}" for schema in schemas), "grant-exporter-ops",
        "default-public-functions", *(f"default-readonly-{schema}" for schema in ("es", "ledger", "archive")),
    ]  # fmt: skip
    found = [one for one in declared("dev") if one.custom]
    assert sorted(by_name(found)) == sorted(names)


def test_everything_is_one_chain_so_that_no_two_statements_meet() -> None:
    data = settings_of("dev").data
    assert data is not None
    found, before = by_name(declared("dev")), None
    for piece in plan_shard(data):
        one = found[piece.name]
        assert [short_urn(urn).partition("::")[2] for urn in one.dependencies] == ([before] if before else [])
        assert "database-s00-provider" in one.provider
        before = one.name


def test_the_provider_connects_as_somebody_who_is_no_superuser() -> None:
    provider = by_name(declared("dev"))["provider"]
    assert plain(provider.inputs) == {
        "connectTimeout": "10", "database": "postgres", "expectedVersion": "17.0.0", "host": "127.0.0.1",
        "maxConnections": "2", "port": "5433", "sslmode": "verify-full", "superuser": "false",
        "username": "payments_admin",
    }  # fmt: skip


def test_passwords_are_secrets_on_the_wire() -> None:
    found = by_name(declared("dev"))
    for name in ("provider", "role-app", "role-readonly", "role-exporter", "role-migrator"):
        assert "4dabf18193072939515e22adb298388d" in found[name].inputs["password"], "the engine's mark of a secret"
    assert "password" not in found["role-owner"].inputs


@pytest.mark.parametrize(("stack", "kept"), [("dev", False), ("prod", True)])
def test_in_prod_what_holds_data_or_rights_is_protected_and_kept(stack: str, *, kept: bool) -> None:
    for one in declared(stack):
        if not one.custom:
            continue
        lasting = kept and one.type.rpartition(":")[2] in ("Database", "Role", "Schema")
        assert (one.protect, bool(one.retain_on_delete)) == (lasting, lasting), one.name


def test_no_grant_names_all_a_table_or_everybody() -> None:
    for one in declared("prod"):
        if one.type.endswith((":Grant", ":DefaultPrivileges")):
            assert one.inputs["role"] != "public" or one.inputs["privileges"] == []
            assert "ALL" not in one.inputs["privileges"]
            assert one.inputs["withGrantOption"] is False
        if one.type.endswith(":Grant"):
            assert one.inputs["objectType"] in ("database", "schema")


def test_only_the_tables_of_the_publication_are_left_to_migrations() -> None:
    ignored = {one.name: one.ignore_changes for one in declared("dev") if one.ignore_changes}
    assert ignored == {"database-s00-publication": ("tables",)}


def test_the_contract_says_where_users_live_and_leaves_out_a_shard_that_is_prepared() -> None:
    shards = platform_contract(settings_of("prod")).shards
    assert shards is not None
    assert [(s.name, [(r.first, r.last) for r in s.buckets]) for s in shards.shards] == [
        ("s00", [(0, 511)]),
        ("s01", [(512, 1023)]),
    ]
    two = {"s00": {"buckets": ["0-1023"]}, "s01": {"buckets": []}}
    prepared = platform_contract(
        settings_of("dev", {"data/shards": two, "data/migrations": REMOVED, "postgres": None})
    ).shards
    assert prepared is not None
    assert [shard.name for shard in prepared.shards] == ["s00"]
