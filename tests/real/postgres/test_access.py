"""The rendered files are accepted, and the rendered access rules hold."""

import subprocess

import psycopg
import pytest

from sandbox.postgres_binaries import unprivileged
from sandbox.postgres_rig import Rig

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_patroni_accepts_its_file(healthy: Rig) -> None:
    name = healthy.host.members[0]
    file = healthy.host.folder / name / "config" / "patroni.yml"
    answer = subprocess.run(
        unprivileged(["patroni", "--validate-config", "--ignore-listen-port", file]),
        env=healthy.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_a_services_user_comes_in_by_the_lookup(healthy: Rig, mode: str) -> None:
    with psycopg.connect(healthy.conninfo(healthy.service(mode))) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)


def test_reads_go_to_replicas(healthy: Rig) -> None:
    found = set()
    for _ in range(4):
        with psycopg.connect(healthy.conninfo(healthy.service("ro"))) as connection:
            found.add(connection.execute("SELECT pg_is_in_recovery()").fetchone())
    assert found == {(True,)}


@pytest.mark.parametrize(
    ("user", "file"),
    [("postgres", "superuser"), ("replicator", "replication"), ("rewind", "rewind"), ("pgbouncer_auth", "pooler")],
)
def test_the_systems_own_users_do_not_come_in_through_a_pooler(healthy: Rig, user: str, file: str) -> None:
    address = healthy.conninfo(healthy.service("rw"), user, healthy.host.passwords[file])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)


def test_the_lookup_shows_no_superuser_and_nobody_else_may_ask(healthy: Rig) -> None:
    primary = healthy.primary()
    assert primary is not None
    with healthy.superuser(primary, healthy.dbname) as connection:
        for user, rows in (("app", 1), ("postgres", 0), ("replicator", 0), ("pgbouncer_auth", 0)):
            assert len(connection.execute("SELECT * FROM pgbouncer.get_auth(%s)", [user]).fetchall()) == rows, user
    with (
        psycopg.connect(healthy.conninfo(healthy.service("rw"))) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM pgbouncer.get_auth('app')")


def test_a_wrong_password_and_a_connection_without_tls_are_refused(healthy: Rig) -> None:
    for change in ({"password": "wrong"}, {"sslmode": "disable"}):
        address = psycopg.conninfo.make_conninfo(healthy.conninfo(healthy.service("rw")), **change)
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address)


def test_patroni_changes_nothing_without_its_password(healthy: Rig) -> None:
    primary = healthy.primary()
    assert primary is not None
    healthy_password = healthy.host.passwords["restapi"]
    healthy.host.passwords["restapi"] = "wrong"  # type: ignore[index]
    try:
        assert healthy.rest(primary, "/config", {"ttl": 60}, "PATCH")[0] == 401
    finally:
        healthy.host.passwords["restapi"] = healthy_password  # type: ignore[index]
