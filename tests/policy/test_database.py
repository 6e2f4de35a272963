"""What the pack says about databases: a shard that breaks no rule, and one row per way to break one."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from policies.evaluate import Resource, evaluate
from tests.policy.samples import DEV, PROD, REMOVED, UNKNOWN_MARK, changed, find, urn_of

VERIFIER = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$c3RvcmVk:c2VydmVy"
OFF = dict.fromkeys(("superuser", "createRole", "createDatabase", "replication", "bypassRowLevelSecurity"), False)


def postgresql(kind: str, name: str, props: Mapping[str, Any], *, protect: bool = False) -> Resource:
    resource_type = f"postgresql:index/{kind[0].lower()}{kind[1:]}:{kind}"
    copied = copy.deepcopy(dict(props))
    return Resource(type=resource_type, name=name, urn=urn_of(resource_type, name), props=copied, protect=protect)


def provider() -> Resource:
    props = {"host": "db.example.com", "port": "5432", "sslmode": "verify-full", "superuser": "false"}
    kind = "pulumi:providers:postgresql"
    return Resource(type=kind, name="provider", urn=urn_of(kind, "provider"), props=props)


def shard() -> list[Resource]:
    owner = {"name": "payments_owner", "login": False, **OFF}
    app = {"name": "payments_app", "login": True, "password": VERIFIER, **OFF}
    migrator = {**app, "name": "payments_migrator", "assumeRole": "payments_owner"}
    everywhere = {"database": "payments", "owner": "payments_owner"}
    tables = {"objectType": "table", "objects": ["events"], "schema": "es"}
    return [
        provider(),
        postgresql("Role", "owner", owner, protect=True),
        postgresql("Role", "app", app, protect=True),
        postgresql("Role", "migrator", migrator, protect=True),
        postgresql("GrantRole", "member", {"role": "payments_migrator", "grantRole": "payments_owner"}),
        postgresql("GrantRole", "monitor", {"role": "payments_exporter", "grantRole": "pg_monitor"}),
        postgresql("Database", "database", {"name": "payments", "owner": "payments_owner"}, protect=True),
        postgresql("Schema", "es", {"name": "es", **everywhere, "dropCascade": False}, protect=True),
        postgresql("Extension", "trgm", {"name": "pg_trgm", "database": "payments"}),
        postgresql("Grant", "nobody", {"role": "public", "objectType": "database", "privileges": []}),
        postgresql("Grant", "connect", {"role": "payments_app", "objectType": "database", "privileges": ["CONNECT"]}),
        postgresql("Grant", "table", {"role": "payments_app", "privileges": ["SELECT"], **tables}),
        postgresql("DefaultPrivileges", "default", {"role": "public", "objectType": "function", "privileges": []}),
        postgresql("Publication", "changes", {"name": "changes", **everywhere}),
    ]


def shard_with(kind: str, name: str, path: str, value: object) -> list[Resource]:
    resources = shard()
    target = next(one for one in resources if one.name == name and one.type.endswith(kind))
    return [changed(one, path, value) if one is target else one for one in resources]


def findings(resources: Sequence[Resource], config: Mapping[str, object] = PROD) -> list[tuple[str, str, str]]:
    return [(one.policy, one.urn.rpartition("::")[2], one.message) for one in evaluate(resources, config)]


def test_a_shard_as_it_should_be_breaks_no_rule() -> None:
    assert findings(shard(), PROD) == []
    assert findings(shard(), DEV) == []


@dataclass(frozen=True, kw_only=True)
class Case:
    """Setting `path` of one resource to `value` breaks `policy`; the message follows the culprit's title."""

    policy: str
    kind: str
    name: str
    path: str
    value: object
    message: str
    unknown_is_passed: bool = True

    def __str__(self) -> str:
        return f"{self.policy}-{self.kind}-{self.path}-{self.value!r:.20}"


def power(name: str) -> Case:
    message = f"{name} is true. Allowed: false. Fix: remove it."
    return Case(policy="database-roles-limited", kind="Role", name="app", path=name, value=True, message=message)


def not_superuser(value: object, shown: str) -> Case:
    return Case(
        policy="database-roles-limited", kind="postgresql", name="provider", path="superuser", value=value,
        message=f"superuser is {shown}. Allowed: false. Fix: connect as a role with CREATEROLE and CREATEDB.",
    )  # fmt: skip


def grant(name: str, path: str, value: object, policy: str, message: str) -> Case:
    return Case(policy=policy, kind="Grant", name=name, path=path, value=value, message=message)


def plain(value: object, shown: str) -> Case:
    return Case(
        policy="database-connections-encrypted", kind="postgresql", name="provider", path="sslmode", value=value,
        message=f"sslmode to 'db.example.com' is {shown}. Allowed: verify-full. Fix: set it.",
    )  # fmt: skip


def member(kind: str, name: str, path: str, value: object, shown: str = "") -> Case:
    message = f"makes a role a member of '{shown or value}'. Allowed: {GRANTED}. Fix: grant what it needs by name."
    return Case(policy=LIMITED, kind=kind, name=name, path=path, value=value, message=message)


def password(value: object, message: str) -> Case:
    return Case(
        policy="database-passwords-unreadable", kind="Role", name="app", path="password", value=value, message=message
    )


def owned(kind: str, name: str, value: object, message: str) -> Case:
    return Case(policy="database-owner-apart", kind=kind, name=name, path="owner", value=value, message=message)


LIMITED = "database-roles-limited"
GRANTED = "payments_owner, pg_monitor"
EXPLICIT = "database-grants-explicit"
PUBLIC = "database-no-public-grants"
NO_VERIFIER = "password is no SCRAM verifier. Allowed: SCRAM-SHA-256$… Fix: payctl db verifier makes one."
CASCADES = "dropCascade is true, which drops what others made in it. Allowed: false. Fix: remove it."
BECOMES = "lets 'payments_app' become the owner 'payments_owner'. Allowed: payments_migrator. Fix: grant what it needs."
LOGS_IN = "belongs to 'payments_app', which logs in (Role app). Allowed: a role without login. Fix: set another owner."
NO_OWNER = "has no owner of its own. Allowed: a role without login. Fix: set owner."
TRUSTED = "btree_gin, btree_gist, citext, fuzzystrmatch, pg_trgm, pgcrypto, unaccent"
CASES = [
    *(power(name) for name in OFF),
    not_superuser("true", "'true'"),
    not_superuser(value=True, shown="true"),
    not_superuser(REMOVED, "not set"),
    grant("nobody", "privileges", ["CONNECT"], PUBLIC,
          "gives 'CONNECT' to PUBLIC. Allowed: an empty list, which revokes. Fix: name the role that needs it."),
    grant("table", "role", "PUBLIC", PUBLIC,
          "gives 'SELECT' to PUBLIC. Allowed: an empty list, which revokes. Fix: name the role that needs it."),
    Case(policy=PUBLIC, kind="DefaultPrivileges", name="default", path="privileges", value=["EXECUTE"],
         message="gives 'EXECUTE' to PUBLIC. Allowed: an empty list, which revokes. Fix: name the role that needs it."),
    grant("table", "privileges", ["all"], EXPLICIT,
          "gives 'ALL'. Allowed: privileges by name. Fix: list those that are needed."),
    grant("table", "withGrantOption", value=True, policy=EXPLICIT,
          message="withGrantOption is true. Allowed: false. Fix: grant to each role here."),
    grant("table", "objects", REMOVED, EXPLICIT,
          "is on every 'table' of a schema: next month has others. Allowed: named objects. Fix: name them."),
    grant("table", "objects", ["events_p2026_11"], EXPLICIT,
          "is on partition 'events_p2026_11'. Allowed: its parent, which is enough. Fix: grant on the parent."),
    grant("table", "objects", ["wallet_events_h3"], EXPLICIT,
          "is on partition 'wallet_events_h3'. Allowed: its parent, which is enough. Fix: grant on the parent."),
    plain("require", "'require'"),
    plain("disable", "'disable'"),
    plain(REMOVED, "not set"),
    Case(policy="database-extensions-allowed", kind="Extension", name="trgm", path="name", value="plpython3u",
         message=f"installs 'plpython3u'. Allowed: {TRUSTED}. Fix: use one of them."),
    Case(policy="database-extensions-allowed", kind="Extension", name="trgm", path="createCascade", value=True,
         message="createCascade is true. Allowed: false. Fix: declare what it needs by name."),
    member("GrantRole", "monitor", "grantRole", "pg_execute_server_program"),
    member("GrantRole", "monitor", "grantRole", "pg_read_all_data"),
    member("GrantRole", "monitor", "grantRole", "postgres"),
    member("Role", "app", "roles", ["pg_monitor", "pg_write_server_files"], "pg_write_server_files"),
    Case(policy=LIMITED, kind="GrantRole", name="monitor", path="withAdminOption", value=True,
         message="withAdminOption is true. Allowed: false. Fix: grant each membership here."),
    password("hunter2", NO_VERIFIER),
    password("md5d41d8cd98f00b204e9800998ecf8427e", NO_VERIFIER),
    password(REMOVED, "logs in without a password. Allowed: a verifier. Fix: set one, or set login to false."),
    Case(policy="database-objects-protected", kind="Schema", name="es", path="dropCascade", value=True,
         message=CASCADES),
    Case(policy="database-objects-protected", kind="Publication", name="changes", path="dropCascade", value=True,
         message=CASCADES),
    owned("Database", "database", "payments_app", LOGS_IN),
    owned("Schema", "es", "payments_app", LOGS_IN),
    owned("Publication", "changes", REMOVED, NO_OWNER),
    Case(policy="database-owner-apart", kind="GrantRole", name="member", path="role", value="payments_app",
         message=BECOMES),
    Case(policy="database-owner-apart", kind="Role", name="app", path="roles", value=["payments_owner"],
         message=BECOMES),
    Case(policy="database-owner-apart", kind="Role", name="app", path="assumeRole", value="payments_owner",
         message=BECOMES),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_way_to_break_a_rule_is_found_and_named(case: Case) -> None:
    found = findings(shard_with(case.kind, case.name, case.path, case.value))
    title = f"{'Provider' if case.kind == 'postgresql' else case.kind} {case.name}"
    assert found == [(case.policy, case.name, f"{title}: {case.message}")]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_that_is_not_known_yet_breaks_nothing(case: Case) -> None:
    assert findings(shard_with(case.kind, case.name, case.path, UNKNOWN_MARK)) == []


@pytest.mark.parametrize("kind", ["Role", "Database", "Schema"])
def test_in_production_everything_that_holds_data_is_protected(kind: str) -> None:
    resources = shard()
    target = find(resources, kind, {"Role": "owner", "Database": "database", "Schema": "es"}[kind])
    bare = [replace(one, protect=False) if one is target else one for one in resources]
    message = f"{kind} {target.name}: is not protected. Allowed: protected. Fix: set protect and retain_on_delete."
    assert findings(bare) == [("database-objects-protected", target.name, message)]
    assert findings(bare, DEV) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_only_loopback_and_only_where_the_pack_says_so_may_be_plain(host: str) -> None:
    plain_loopback = [
        changed(changed(one, "sslmode", "disable"), "host", host) if one.name == "provider" else one for one in shard()
    ]
    assert findings(plain_loopback, DEV) == []
    assert [policy for policy, _, _ in findings(plain_loopback, PROD)] == ["database-connections-encrypted"]


@pytest.mark.parametrize("kind", ["Function", "ReplicationSlot", "PhysicalReplicationSlot"])
def test_functions_and_slots_have_another_home(kind: str) -> None:
    found = findings([*shard(), postgresql(kind, "other", {"name": "other"})])
    assert [policy for policy, _, _ in found] == ["database-kinds-in-their-place"]


def test_another_role_may_be_granted_where_the_pack_says_so() -> None:
    resources = shard_with("GrantRole", "monitor", "grantRole", "pg_read_all_stats")
    assert [policy for policy, _, _ in findings(resources)] == [LIMITED]
    listed = {
        **PROD,
        LIMITED: {"enforcementLevel": "mandatory", "mayBeGranted": ["payments_owner", "pg_read_all_stats"]},
    }
    assert findings(resources, listed) == []


def test_a_write_only_password_is_fine() -> None:
    without = shard_with("Role", "app", "password", REMOVED)
    assert findings([changed(one, "passwordWo", "x") if one.name == "app" else one for one in without]) == []


def test_a_role_of_kubernetes_is_none_of_a_database() -> None:
    kind = "kubernetes:rbac.authorization.k8s.io/v1:Role"
    role = Resource(type=kind, name="role", urn=urn_of(kind, "role"), props={"superuser": True})
    assert "database-roles-limited" not in {policy for policy, _, _ in findings([role])}
