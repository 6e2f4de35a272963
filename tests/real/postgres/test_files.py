"""The rendered files of both stacks on the real programs, and what becomes of them on one host."""

import dataclasses
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from bench.postgres_stage import database_of, render
from sandbox.certificates import self_signed
from sandbox.postgres_binaries import PostgresBinaries, hand_over, postgres_binaries, reachable, unprivileged
from sandbox.postgres_mapping import (
    ETCD_PORT,
    MEMBERS,
    TOO_NEW,
    OneHost,
    Rendered,
    etcd_arguments,
    map_to_one_host,
    pooler_files,
)

pytestmark = pytest.mark.real
STACKS = ("dev", "prod")
_SECRET = "phrase-of-a-test"


@pytest.fixture(scope="module")
def binaries() -> PostgresBinaries:
    return postgres_binaries()


@pytest.fixture
def host(binaries: PostgresBinaries) -> Iterator[OneHost]:
    # Not below pytest's own folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory(prefix="payments-postgres-files-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        names = ("superuser", "replication", "rewind", "restapi", "etcd", "pooler", "monitoring")
        made = OneHost(
            folder=Path(folder), members=tuple(f"postgres-cluster-{n}" for n in range(3)), binaries=binaries.postgres,
            major=binaries.major, passwords=dict.fromkeys(names, _SECRET),
        )  # fmt: skip
        pair = self_signed("files", made.addresses)
        made.certificate.parent.mkdir()
        made.certificate.write_text(pair.certificate, encoding="utf-8")
        (made.certificate.parent / "ca.crt").write_text(pair.certificate, encoding="utf-8")
        made.key.write_text(pair.key, encoding="utf-8")
        yield made


def written(rendered: Rendered, host: OneHost, mode: str) -> Path:
    """The folder of one PgBouncer pod."""
    folder = host.folder / f"pgbouncer-{mode}-0"
    folder.mkdir()
    for name, text in pooler_files(map_to_one_host(rendered, host), host, mode, 0).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "users.txt").write_text(f'"{rendered.users["pooler"]}" "{_SECRET}"\n', encoding="utf-8")
    hand_over(host.folder)
    return folder


@pytest.mark.parametrize("stack", STACKS)
def test_patroni_accepts_its_file(stack: str, host: OneHost, binaries: PostgresBinaries) -> None:
    """It also asks whether somebody listens where etcd should be."""
    programs = reachable(binaries, host.folder / "programs")
    host = dataclasses.replace(host, binaries=programs.postgres)
    name = host.members[0]
    home = host.folder / name
    for part in ("config", "passwords", "run", "data"):
        (home / part).mkdir(parents=True)
    for file, text in map_to_one_host(render(database_of(stack)), host).patroni[name].items():
        (home / "config" / file).write_text(text, encoding="utf-8")
    for file, password in host.passwords.items():
        (home / "passwords" / file).write_text(password, encoding="utf-8")
    (home / "data").rmdir()
    hand_over(host.folder)
    with ExitStack() as listening:
        for index in range(MEMBERS):
            listening.enter_context(socket.create_server((host.etcd(index), ETCD_PORT)))
        answer = subprocess.run(
            unprivileged(["patroni", "--validate-config", "--ignore-listen-port", home / "config" / "patroni.yml"]),
            env=programs.environment, cwd=home, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not answer.stdout.strip(), answer.stdout


@pytest.mark.parametrize("stack", STACKS)
def test_etcd_in_the_trials_is_started_as_in_its_pod(stack: str, host: OneHost) -> None:
    rendered = render(database_of(stack))
    before = dict(argument.split("=", 1) for argument in rendered.etcd)
    after = dict(argument.partition("=")[::2] for argument in etcd_arguments(rendered, host, 1))
    assert set(after) == {*before, "--unsafe-no-fsync", "--log-level"}
    assert after["--name"] == "postgres-etcd-1"
    assert after["--listen-client-urls"] == f"https://{host.etcd(1)}:{ETCD_PORT}"
    assert after["--initial-cluster"].split(",")[2] == f"postgres-etcd-2=https://{host.etcd(2)}:2380"
    assert after["--cert-file"] == str(host.certificate)
    assert after["--data-dir"].startswith(str(host.folder / "etcd-1"))
    for same in ("auto-compaction-mode", "auto-compaction-retention", "quota-backend-bytes", "peer-client-cert-auth"):
        assert after[f"--{same}"] == before[f"--{same}"]


@pytest.mark.parametrize("mode", ["rw", "ro"])
@pytest.mark.parametrize("stack", STACKS)
def test_haproxy_accepts_its_file(stack: str, mode: str, host: OneHost, binaries: PostgresBinaries) -> None:
    folder = written(render(database_of(stack)), host, mode)
    answer = subprocess.run(
        [binaries.program("haproxy"), "-c", "-f", folder / "haproxy.cfg"],
        env=binaries.environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "WARNING" not in answer.stderr, answer.stderr


@pytest.mark.parametrize("mode", ["rw", "ro"])
@pytest.mark.parametrize("stack", STACKS)
def test_pgbouncer_starts_with_its_files(stack: str, mode: str, host: OneHost, binaries: PostgresBinaries) -> None:
    folder = written(render(database_of(stack)), host, mode)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            unprivileged([binaries.program("pgbouncer"), folder / "pgbouncer.ini"]),
            env=binaries.environment, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        text = ""
        while "process up" not in text and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            text = (folder / "log").read_text(encoding="utf-8")
        assert "process up" in text, text
        for word in ("WARNING", "ERROR", "FATAL"):
            assert word not in text, text
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


@pytest.mark.parametrize("stack", STACKS)
def test_one_host_changes_no_timer_and_no_rule_of_safety(stack: str, host: OneHost) -> None:
    rendered = render(database_of(stack))
    mapped = map_to_one_host(rendered, host)
    for name in host.members:
        before, after = (yaml.safe_load(files[name]["patroni.yml"]) for files in (rendered.patroni, mapped.patroni))
        old, new = (dict(one["bootstrap"]["dcs"]) for one in (before, after))
        for one in (old, new):
            del one["postgresql"]
        assert new == old
        was, now = (one["bootstrap"]["dcs"]["postgresql"]["parameters"] for one in (before, after))
        for parameter in ("synchronous_commit", "wal_level", "wal_log_hints", "max_connections", "archive_mode"):
            assert now.get(parameter) == was.get(parameter)
        dropped = set(was) - set(now)
        allowed = {option for release in TOO_NEW["postgres"].values() for option in release}  # type: ignore[attr-defined]
        assert dropped <= allowed
        rules = [one["bootstrap"]["dcs"]["postgresql"]["pg_hba"] for one in (before, after)]
        assert [rule.split()[:3] for rule in rules[0]] == [rule.split()[:3] for rule in rules[1]]


def test_the_rivals_timers_are_the_only_change_that_a_caller_makes(host: OneHost) -> None:
    rendered = render(database_of("dev"))
    ours = map_to_one_host(rendered, host)
    theirs = map_to_one_host(rendered, dataclasses.replace(host, dcs={"ttl": 30, "loop_wait": 10}))
    name = host.members[0]
    first, second = (yaml.safe_load(one.patroni[name]["patroni.yml"]) for one in (ours, theirs))
    assert second["bootstrap"]["dcs"] == first["bootstrap"]["dcs"] | {"ttl": 30, "loop_wait": 10}
