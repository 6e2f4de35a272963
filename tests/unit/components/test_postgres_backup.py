"""Who needs the store's passphrase has it from a Secret, and who serves a member's files neither has it nor asks."""

import configparser
from typing import Any

import pytest

from components.postgres.backup_files import CONFIG_FILE, SECRET_VARIABLES, SERVER_CONFIG_FILE
from components.postgres.backup_plan import plan_backup
from components.postgres.model import DatabaseContext, context_of
from components.postgres.patroni_plan import plan_members
from components.postgres.restore_plan import plan_restore_in_place
from tests.unit.stacks import settings_of


@pytest.fixture
def context() -> DatabaseContext:
    found = context_of(settings_of("prod"))
    assert found is not None
    return found


def parsed(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(text)
    return found


def containers(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
    return {one["name"]: one for one in spec["template"]["spec"]["containers"]}


def secret_variables(container: dict[str, Any]) -> dict[str, str]:
    return {
        one["name"]: one["valueFrom"]["secretKeyRef"]["key"]
        for one in container.get("env", [])
        if "secretKeyRef" in one.get("valueFrom", {})
    }


def test_the_server_beside_a_member_reads_a_file_without_a_repository(context: DatabaseContext) -> None:
    members = plan_members(context, "s00")
    server = containers(members["statefulset"])["backup"]
    assert server["command"] == ["pgbackrest", f"--config={SERVER_CONFIG_FILE}", "server"]
    assert server["readinessProbe"]["exec"]["command"] == [
        "pgbackrest", f"--config={SERVER_CONFIG_FILE}", "server-ping", "localhost"
    ]  # fmt: skip
    assert secret_variables(server) == {}
    found = parsed(members["config"]["data"]["pgbackrest-server.conf"])
    assert found.sections() == ["global", "payments-s00"]
    assert not [option for section in found.sections() for option in found[section] if option.startswith("repo")]
    assert found["global"]["tls-server-auth"] == "postgres-operations=payments-s00"
    assert found["payments-s00"]["pg1-path"] == "/var/lib/postgresql/pgdata"


def test_whoever_reads_of_an_encrypted_repository_has_its_passphrase(context: DatabaseContext) -> None:
    members, jobs = plan_members(context, "s00"), plan_backup(context, "s00")
    assert parsed(members["config"]["data"]["pgbackrest.conf"])["global"]["repo1-cipher-type"] == "aes-256-cbc"
    readers = [containers(members["statefulset"])["postgres"]]
    for role, manifest in jobs.items():
        if manifest["kind"] in {"Job", "CronJob"}:
            [container] = containers(manifest).values()
            assert container["command"][1].startswith(f"--config={CONFIG_FILE}") or role == "restore-test-cronjob"
            readers.append(container)
    assert len(readers) == 5
    assert all(secret_variables(one) == SECRET_VARIABLES for one in readers)


def test_the_jobs_ask_each_member_for_the_servers_own_file(context: DatabaseContext) -> None:
    stanza = parsed(plan_backup(context, "s00")["backup-config"]["data"]["pgbackrest.conf"])["payments-s00"]
    hosts = [stanza[f"pg{number}-host"].partition(".")[0] for number in (1, 2, 3)]
    assert hosts == ["postgres-cluster-0", "postgres-cluster-1", "postgres-cluster-2"]
    assert {stanza[f"pg{number}-host-config"] for number in (1, 2, 3)} == {SERVER_CONFIG_FILE}


def test_a_restore_in_place_is_started_by_a_person_who_names_the_moment(context: DatabaseContext) -> None:
    found = plan_restore_in_place(context, "s01")["restore-in-place-cronjob"]
    name = "postgres-cluster-s01-restore-in-place"
    assert found["metadata"]["name"] == name
    assert found["spec"]["suspend"] is True
    assert found["spec"]["schedule"] == "0 0 31 2 *", "the 31st of February: suspended or not, it never comes"
    pod = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [forget], [restore] = pod["initContainers"], pod["containers"]
    assert forget["command"][-1] == "etcd-forget", "nobody leads before the data is another one"
    environment = {one["name"]: one.get("value") for one in forget["env"]}
    assert environment["PG_ETCD_PREFIX"] == "/payments/payments-s01/"
    assert environment["PG_ETCD_USER"] == "payments-s01"
    [target] = [one for one in restore["env"] if one["name"] == "RESTORE_TARGET"]
    # Not optional: the kubelet starts no container without it.
    assert target["valueFrom"] == {"configMapKeyRef": {"name": f"{name}-target", "key": "target"}}
    claims = [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert claims == ["data-postgres-cluster-s01-0"]


def test_the_recovery_is_over_and_its_timeline_is_stored_before_patroni_sees_the_folder(
    context: DatabaseContext,
) -> None:
    script = plan_backup(context, "s00")["backup-config"]["data"]["restore_in_place.sh"]
    order = [
        "--target-action=promote restore",
        "pg_is_in_recovery",
        "pg_switch_wal",
        "last_archived_wal",
        "--mode=fast",
    ]
    places = [script.index(word) for word in order]
    assert places == sorted(places)
    assert "--archive-mode=off" not in script
    assert "-c archive_mode=on" in script


def test_a_stack_without_a_backup_has_nothing_to_restore() -> None:
    found = context_of(settings_of("dev"))
    assert found is not None
    assert plan_restore_in_place(found, "s00") == {}
