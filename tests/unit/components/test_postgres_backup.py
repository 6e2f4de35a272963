"""Who needs the store's passphrase has it from a Secret, and who serves a member's files neither has it nor asks."""

import configparser
from typing import Any

import pytest

from components.postgres.backup_files import CONFIG_FILE, SECRET_VARIABLES, SERVER_CONFIG_FILE
from components.postgres.backup_plan import plan_backup
from components.postgres.model import DatabaseContext, context_of
from components.postgres.patroni_plan import plan_members
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
