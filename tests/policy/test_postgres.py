"""What the pack says about the database: the program's own objects pass, and one change of them is found."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from cli.check import _as_resource
from policies.evaluate import Resource, evaluate
from tests.policy.samples import PROD, container, kubernetes, pod_spec
from tests.unit.stacks import recording_of

_DATABASE = ("ConfigMap", "CronJob", "Deployment", "PersistentVolumeClaim", "StatefulSet")


def database() -> list[Resource]:
    resources = [_as_resource(found) for found in recording_of("prod").resources]
    return [one for one in resources if one.type.endswith(_DATABASE) and metadata(one)["namespace"] == "database"]


def metadata(one: Resource) -> Any:
    return one.props["metadata"]


def messages(resources: list[Resource], policy: str) -> list[str]:
    return [finding.message for finding in evaluate(resources, PROD) if finding.policy == policy]


def replaced(old: str, new: str, file: str) -> list[Resource]:
    """The database with a text changed in every ConfigMap's file of this name; it must be there."""
    found: list[Resource] = []
    count = 0
    for one in database():
        data: Any = one.props.get("data")
        if isinstance(data, dict) and old in str(data.get(file, "")):
            data = {**data, file: data[file].replace(old, new)}
            found.append(dataclasses.replace(one, props={**one.props, "data": data}))
            count += 1
        else:
            found.append(one)
    assert count, f"no {file} holds {old!r}"
    return found


def with_spec(kind: str, name: str, change: Callable[[Any], Any]) -> list[Resource]:
    return [
        dataclasses.replace(one, props={**one.props, "spec": change(one.props["spec"])})
        if one.type.endswith(f":{kind}") and metadata(one)["name"] == name
        else one
        for one in database()
    ]


POLICIES = (
    "database-failover-settings", "database-access-rules", "database-pooler", "database-application-users",
    "database-quorum", "database-connection-budget", "database-backup", "database-protected", "retired-images",
)  # fmt: skip


FAILOVER, ACCESS, POOLER, BUDGET = POLICIES[0], POLICIES[1], POLICIES[2], POLICIES[5]
BOOT, INI = "bootstrap.yml", "pgbouncer.ini"


def test_the_declared_database_breaks_none_of_them() -> None:
    found = evaluate(database(), PROD)
    assert [finding for finding in found if finding.policy in POLICIES] == []


@pytest.mark.parametrize(
    ("policy", "file", "old", "new", "words"),
    [
        (FAILOVER, BOOT, "synchronous_mode: quorum", "synchronous_mode: false", "loses"),
        (FAILOVER, BOOT, "mode_strict: true", "mode_strict: false", "one disk"),
        (FAILOVER, BOOT, "failsafe_mode: true", "failsafe_mode: false", "stops the"),
        (FAILOVER, "desired.json", '"loop_wait": 5', '"loop_wait": 10', "+ 5 is more than ttl 20"),
        (ACCESS, BOOT, "hostssl all all 10", "host all all 10", "without TLS"),
        (ACCESS, BOOT, "local all monitoring scram-sha-256", "local all all trust", "trust"),
        (ACCESS, BOOT, "hostssl all postgres all reject", "hostssl all x all reject", "superuser"),
        (ACCESS, BOOT, "replication replicator 10", "replication all 10", "every user"),
        (POOLER, INI, "pool_mode = transaction", "query_timeout = 5\npool_mode = transaction", "query_timeout"),
        (POOLER, INI, "sslmode = verify-full", "sslmode = prefer", "server_tls_sslmode is 'prefer'"),
        (POOLER, INI, "max_db_connections=", "min_pool_size=", "no max_db_connections"),
        (BUDGET, INI, "max_db_connections=20", "max_db_connections=30", "= 200 connections"),
        ("database-backup", "member.yml", "--stanza=payments-s00 archive-push", "archive-push", "keeps no log"),
    ],
)  # fmt: skip
def test_a_changed_file_is_found(policy: str, file: str, old: str, new: str, words: str) -> None:
    found = messages(replaced(old, new, file), policy)
    assert found
    assert all(words in message for message in found), found


def _with_replicas(members: int) -> Callable[[Any], Any]:
    return lambda spec: {**spec, "replicas": members}


def test_an_even_or_small_quorum_is_found() -> None:
    for name, members in (("postgres-etcd", 4), ("postgres-cluster", 2)):
        resources = with_spec("StatefulSet", name, _with_replicas(members))
        assert any(f"has {members} members" in message for message in messages(resources, "database-quorum"))


def test_a_rolling_update_of_members_is_found() -> None:
    rolling = {"updateStrategy": {"type": "RollingUpdate"}}
    [message] = messages(
        with_spec("StatefulSet", "postgres-cluster", lambda spec: {**spec, **rolling}), "database-quorum"
    )
    assert "updateStrategy.type is 'RollingUpdate'" in message


def test_poolers_that_roll_faster_than_their_clients_leave_are_found() -> None:
    resources = with_spec("Deployment", "postgres-cluster-pooler-rw", lambda spec: {**spec, "minReadySeconds": 10})
    [message] = messages(resources, BUDGET)
    assert "6 * 22 (" in message
    assert "4 * 18 (" in message
    assert "= 204 connections" in message


def test_a_cluster_without_backups_is_found() -> None:
    resources = [one for one in database() if not one.type.endswith(":CronJob")]
    found = messages(resources, "database-backup")
    assert [text.partition(": ")[2].partition(". ")[0] for text in found] == [
        "no scheduled backup of payments-s00",
        "no scheduled restore test of payments-s00",
        "no scheduled backup of payments-s01",
        "no scheduled restore test of payments-s01",
    ]


def test_state_that_an_update_may_delete_is_found() -> None:
    resources = [dataclasses.replace(one, protect=False) for one in database()]
    found = messages(resources, "database-protected")
    assert len(found) == 4, "etcd, a StatefulSet for each of two shards, and the claim of etcd's snapshots"


def test_an_application_as_superuser_and_a_retired_image_are_found() -> None:
    one = container(image="docker.io/bitnami/postgresql:17", env=[{"name": "DB_USER", "value": "postgres"}])
    old = container(name="old", image="registry.example.com/etcd:3.5.1")
    body = {"spec": {"template": {"spec": pod_spec("wallet-service", [one, old])}}}
    resources = [kubernetes("apps/v1:Deployment", "wallet-service", body)]
    assert "DB_USER is 'postgres'" in messages(resources, "database-application-users")[0]
    retired = "\n".join(messages(resources, "retired-images"))
    assert "catalogue 'bitnami'" in retired
    assert "older than etcd 3.6.9" in retired
