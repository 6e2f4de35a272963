"""The Job and CronJob of a shard as manifests."""

from typing import Any

import pytest

from components.base.manifests import Manifest
from components.database.migration_plan import (
    CODE_PATH,
    NAME,
    MigrationContext,
    migration_amounts,
    plan_migrations,
    runner_files,
    sql_files,
)
from components.database.primaries import migrating_pods, reached
from settings.base import Environment
from settings.cluster import Cluster, Peer
from settings.data import Data
from settings.data_migration_rules import migration_problems
from tests.unit.stacks import of_kind, settings_of

PEERS = {"postgres": Peer(ports=[5432], pod_labels={"app": "postgres-cluster"})}
_HALVES = {"s00": {"buckets": ["0-511"]}, "s01": {"buckets": ["512-1023"]}}


def data(*primaries: str, **migrations: Any) -> Data:
    shards = {
        name: {**shard, **({"primary": {"host": f"{name}-primary", "peer": "postgres"}} if name in primaries else {})}
        for name, shard in _HALVES.items()
    }
    given = {"image": "payments/migrations:1.0.0", "password": {"existing_secret": "payments-migrator"}, **migrations}
    return Data.model_validate({"shards": shards, "migrations": given})


def plan(settings: Data) -> dict[str, Manifest]:
    context = MigrationContext(namespace="payments", environment=Environment.DEV, peers=PEERS)
    return plan_migrations(settings, context)


def container(manifest: Manifest) -> dict[str, Any]:
    spec = manifest["spec"]
    template = spec.get("jobTemplate", {}).get("spec", spec)["template"]
    found: dict[str, Any] = template["spec"]["containers"][0]
    return found


def variables(manifest: Manifest) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(manifest)["env"]}


def test_each_shard_has_a_job_and_a_cron_job_of_its_own() -> None:
    manifests = plan(data("s00", "s01"))
    assert list(manifests) == [
        "account", "network", "sql", "code", "s00-job", "s00-cronjob", "s01-job", "s01-cronjob",
    ]  # fmt: skip
    assert variables(manifests["s01-job"])["DATABASE_HOST"] == "s01-primary"
    assert container(manifests["s01-job"])["command"][-1] == "apply"
    assert container(manifests["s01-cronjob"])["command"][-1] == "care"
    assert manifests["s01-cronjob"]["spec"]["concurrencyPolicy"] == "Forbid"
    assert "pulumi.com/skipAwait" not in manifests["s01-job"]["metadata"]["annotations"]
    assert "ttlSecondsAfterFinished" not in manifests["s01-job"]["spec"]


def test_without_a_primary_nothing_is_declared_and_nothing_is_counted() -> None:
    assert plan(data()) == {}
    assert migration_amounts(data())["pods"] == 0
    assert migration_amounts(None) == {}


def test_other_sql_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Job cannot be changed, so its name changes with what it runs; the CronJob keeps its name."""
    before = plan(data("s00"))
    monkeypatch.setattr("components.database.migration_plan.sql_files", lambda: {"0001_other.sql": "SELECT 1;"})
    after = plan(data("s00"))
    assert before["s00-job"]["metadata"]["name"] != after["s00-job"]["metadata"]["name"]
    assert before["s00-cronjob"]["metadata"]["name"] == after["s00-cronjob"]["metadata"]["name"]
    assert plan(data("s00", contract_through=7))["s00-job"]["metadata"]["name"] != after["s00-job"]["metadata"]["name"]


def test_the_mounted_files_are_all_of_them_and_fit_a_config_map() -> None:
    manifests = plan(data("s00"))
    assert manifests["sql"]["data"] == sql_files()
    assert manifests["code"]["data"] == runner_files()
    volumes = {v["name"]: v for v in manifests["s00-job"]["spec"]["template"]["spec"]["volumes"]}
    paths = {item["key"]: item["path"] for item in volumes["code"]["configMap"]["items"]}
    assert set(paths) == set(runner_files())
    assert paths["around.py"] == "payments_client/__init__.py"
    assert paths["runner.py"] == "payments_client/migrations/runner.py"
    assert variables(manifests["s00-job"])["PYTHONPATH"] == CODE_PATH
    for role in ("sql", "code"):
        assert manifests[role]["immutable"] is True
        assert sum(len(text.encode()) for text in manifests[role]["data"].values()) < 800 * 1024


def test_passwords_are_files_and_the_connection_is_protected_where_an_authority_is_named() -> None:
    plain, protected = (
        plan(data("s00", **more))["s00-job"] for more in ({}, {"authority": {"existing_secret": "authority"}})
    )
    assert variables(plain)["DATABASE_SSLMODE"] == "disable"
    assert variables(protected)["DATABASE_SSLMODE"] == "verify-full"
    assert not any("PASSWORD" in name and not name.endswith("_FILE") for name in variables(protected))
    secrets = protected["spec"]["template"]["spec"]["volumes"][-1]["projected"]["sources"]
    assert [source["secret"]["name"] for source in secrets] == ["payments-migrator", "authority"]


def test_the_jobs_reach_the_primaries_and_nobody_reaches_them() -> None:
    policy = plan(data("s00", "s01"))["network"]["spec"]
    assert policy["ingress"] == []
    assert policy["podSelector"] == {"matchLabels": {"app": "database-migrations"}}
    assert policy["egress"] == [
        {
            "to": [{"podSelector": {"matchLabels": {"app": "postgres-cluster"}}}],
            "ports": [{"port": 5432, "protocol": "TCP"}],
        }
    ]


def problems(settings: Data, environment: Environment = Environment.DEV) -> list[str]:
    cluster = Cluster(kube_context="dev", zones=["a"], peers=PEERS)
    return [str(problem) for problem in migration_problems(settings, cluster, environment)]


def test_no_shard_lags_unseen() -> None:
    assert problems(data("s00", "s01")) == []
    assert problems(data()) == []
    (lagging,) = problems(data("s00"))
    assert "data.shards.s01.primary" in lagging
    assert "s00 would run ahead of s01" in lagging
    without = data("s00", "s01").model_copy(update={"migrations": None})
    assert any("data.migrations: allowed: the image" in line for line in problems(without))


def test_an_unknown_peer_a_pooler_without_one_and_plain_text_in_prod_are_refused() -> None:
    shards = {"s00": {"buckets": ["0-1023"], "primary": {"host": "p", "peer": "postgre", "poolers": ["p:6432"]}}}
    settings = Data.model_validate(
        {"shards": shards, "migrations": {"image": "i:1", "password": {"existing_secret": "p"}}}
    )
    found = problems(settings, Environment.PROD)
    assert len(found) == 3
    assert "did you mean 'postgres'?" in found[0]
    assert "poolers_peer" in found[1]
    assert "data.migrations.authority" in found[2]


def test_the_stacks_own_clusters_are_the_primaries_of_their_shards() -> None:
    settings = settings_of("prod")
    found = reached(settings)
    assert found is not None
    assert found.waiting == {"s00", "s01"}
    primary = found.data.shards["s01"].primary
    assert primary is not None
    assert primary.host.split(",") == [
        f"postgres-cluster-s01-{n}.postgres-cluster-s01-pods.database.svc.cluster.local" for n in range(3)
    ]
    assert primary.poolers == [
        f"*.postgres-cluster-s01-pooler-{end}-peers.database.svc.cluster.local:5432" for end in ("rw", "ro")
    ]
    members = found.peers[primary.peer]
    assert (members.namespace, members.pod_labels) == ("database", {"app": "postgres-cluster-s01"})
    pods = migrating_pods(settings)
    assert pods is not None
    assert (pods.namespace, pods.pod_labels) == ("payments", {"app": NAME})


def test_a_primary_that_is_named_is_used_and_roles_that_are_declared_are_waited_for() -> None:
    named = {"host": "elsewhere", "peer": "postgres"}
    place = {"host": "10.0.0.5", "password_key": "databaseAdminPassword"}
    found = reached(settings_of("prod", {"data/shards/s00/primary": named, "data/shards/s01/endpoint": place}))
    assert found is not None
    assert found.data.shards["s00"].primary is not None
    assert found.data.shards["s00"].primary.host == "elsewhere"
    assert found.waiting == frozenset()


def test_nobody_waits_for_a_job_that_cannot_log_in_yet_and_the_first_that_can_is_another_one() -> None:
    def job(waiting: frozenset[str]) -> Manifest:
        context = MigrationContext(namespace="payments", environment=Environment.DEV, peers=PEERS, waiting=waiting)
        return plan_migrations(data("s00"), context)["s00-job"]

    early, later = job(frozenset({"s00"})), job(frozenset())
    assert early["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"
    assert "pulumi.com/skipAwait" not in later["metadata"]["annotations"]
    assert early["metadata"]["name"] != later["metadata"]["name"]


def test_balances_are_kept_fresh_as_the_application_never_twice_at_once_and_for_a_bounded_time() -> None:
    balances = {"password": {"existing_secret": "payments-app"}, "interval_seconds": 7}
    settings = data("s00", "s01", balances=balances, authority={"existing_secret": "authority"})
    manifests = plan(settings)
    job = manifests["s01-balances"]
    assert container(job)["command"][-1] == "balances"
    assert {key: variables(job)[key] for key in ("DATABASE_USER", "DATABASE_HOST", "BALANCES_INTERVAL_SECONDS")} == {
        "DATABASE_USER": "payments_app", "DATABASE_HOST": "s01-primary", "BALANCES_INTERVAL_SECONDS": "7",
    }  # fmt: skip
    assert int(variables(job)["BALANCES_RUN_SECONDS"]) < 60
    spec = job["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("* * * * *", "Forbid")
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 1800
    care = manifests["s01-cronjob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    for field in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy"):
        assert pod[field] == care[field]
    assert pod["containers"][0]["securityContext"] == care["containers"][0]["securityContext"]
    sources = pod["volumes"][-1]["projected"]["sources"]
    assert [source["secret"]["name"] for source in sources] == ["payments-app", "authority"]
    assert migration_amounts(settings)["pods"] == 6


def test_one_pod_a_shard_serves_its_figures_as_the_exporter_and_reaches_that_shard_only() -> None:
    settings = data(
        "s00", "s01", metrics={"password": {"existing_secret": "exporter"}}, authority={"existing_secret": "authority"}
    )
    manifests = plan(settings)
    deployment = manifests["s01-metrics"]
    spec, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert container(deployment)["command"][-1] == "metrics"
    given = variables(deployment)
    assert (given["DATABASE_USER"], given["DATABASE_HOST"], given["METRICS_SHARD"], given["DATABASE_SSLMODE"]) == (
        "payments_exporter", "s01-primary", "s01", "verify-full",
    )  # fmt: skip
    assert not any(name.startswith(("MIGRATIONS_", "PARTITIONS_")) for name in given)
    assert [volume["name"] for volume in pod["volumes"]] == ["code", "secrets"]
    secrets = pod["volumes"][-1]["projected"]["sources"]
    assert [source["secret"]["name"] for source in secrets] == ["exporter", "authority"]
    job = manifests["s01-job"]["spec"]["template"]["spec"]
    for field in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "serviceAccountName"):
        assert pod[field] == job[field]
    assert pod["containers"][0]["securityContext"] == job["containers"][0]["securityContext"]
    (port,) = container(deployment)["ports"]
    assert (port["name"], str(port["containerPort"])) == ("metrics", given["METRICS_PORT"])
    policy = manifests["s01-metrics-network"]["spec"]
    assert policy["podSelector"] == spec["selector"] == {"matchLabels": {"app": "database-metrics-s01"}}
    assert (policy["ingress"], policy["egress"]) == ([], manifests["network"]["spec"]["egress"])
    assert migration_amounts(settings)["pods"] == 6


def test_nobody_waits_for_figures_of_a_shard_whose_roles_are_not_declared() -> None:
    settings = data("s00", metrics={"password": {"existing_secret": "exporter"}})
    context = MigrationContext(
        namespace="payments", environment=Environment.DEV, peers=PEERS, waiting=frozenset({"s00"})
    )
    waiting = plan_migrations(settings, context)["s00-metrics"]
    assert waiting["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert "annotations" not in plan(settings)["s00-metrics"]["metadata"]


def test_a_shards_members_admit_the_pod_that_asks_that_shard_and_the_poolers_do_not() -> None:
    flows = of_kind("prod", "NetworkPolicy", namespace="database")
    for shard, cluster in (("s00", "postgres-cluster"), ("s01", "postgres-cluster-s01")):
        named = {
            name: str(policy["spec"].get("ingress", [])).count(f"database-metrics-{shard}")
            for name, policy in flows.items()
        }
        assert {name: times for name, times in named.items() if times} == {f"{cluster}-flows": 1}
