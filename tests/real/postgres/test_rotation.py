"""Passwords and certificates change under a running database, and nobody has to be restarted for it."""

import functools
import os
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml

from sandbox.certificates import signed_by
from sandbox.postgres_binaries import hand_over, unprivileged
from sandbox.postgres_mapping import POSTGRES_PORT, REST_PORT
from sandbox.postgres_rig import Rig

pytestmark = [pytest.mark.real, pytest.mark.slow]
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_SECONDS = 60


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_a_new_password_of_a_service_reaches_the_poolers_by_themselves(healthy: Rig) -> None:
    rig, old, new = healthy, healthy.host.passwords["app"], "another-one-of-a-test"
    address = rig.host.pooler("rw", 0)
    primary = rig.primary()
    assert primary is not None
    with (
        rig.superuser(primary) as connection,
        psycopg.connect(rig.conninfo(address), autocommit=True) as before,
    ):
        connection.execute(f"ALTER ROLE app PASSWORD '{new}'")
        try:
            until(lambda: logs_in(rig, address, new), "the pooler does not take the new password")
            assert not logs_in(rig, address, old)
            assert before.execute("SELECT 1").fetchone() == (1,), "who is in stays in"
        finally:
            connection.execute(f"ALTER ROLE app PASSWORD '{old}'")
    until(lambda: logs_in(rig, address, old), "the pooler does not take the password that was there before")


def logs_in(rig: Rig, address: str, password: str) -> bool:
    try:
        with psycopg.connect(rig.conninfo(address, password=password)) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def shown(rig: Rig, address: str, port: int, *, postgres: bool) -> bytes:
    """The certificate that a server shows, as DER; PostgreSQL's protocol asks for TLS first."""
    context = ssl.create_default_context(cafile=str(rig.host.certificate))
    with socket.create_connection((address, port), timeout=5) as plain:
        if postgres:
            plain.sendall(_SSL_REQUEST)
            assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname=address) as secured:
            found = secured.getpeercert(binary_form=True)
            assert found is not None
            return found


def shows(rig: Rig, end: tuple[str, int, bool], wanted: bytes) -> bool:
    """Whether a server shows this certificate; one that is just reading it may not answer."""
    try:
        return shown(rig, end[0], end[1], postgres=end[2]) == wanted
    except OSError:
        return False


@contextmanager
def watched(rig: Rig, script: Path, pid: int) -> Iterator[None]:
    """The rendered script beside a server, as its pod runs it, looking every second."""
    process = subprocess.Popen(
        unprivileged(["sh", script, str(pid), "1"]),
        stdin=subprocess.DEVNULL, cwd=rig.host.folder, start_new_session=True,
    )  # fmt: skip
    try:
        yield
        assert process.poll() is None, "the script has ended by itself"
    finally:
        os.killpg(process.pid, 15)
        process.wait(10)


@contextmanager
def replaced_certificate(rig: Rig) -> Iterator[bytes]:
    """A new certificate of the same authority in place of the old one; yields it as DER."""
    folder = rig.host.certificate.parent
    files = {name: (folder / name).read_text(encoding="utf-8") for name in ("tls.crt", "tls.key")}
    pair = signed_by(files["tls.crt"], files["tls.key"], rig.host.addresses)
    # The rig trusts what stands in the same file.
    for name, text in (("tls.key", pair.key), ("tls.crt", pair.certificate + files["tls.crt"])):
        exchange(folder / name, text)
    try:
        yield ssl.PEM_cert_to_DER_cert(pair.certificate)
    finally:
        for name, text in files.items():
            exchange(folder / name, text)


def exchange(path: Path, text: str) -> None:
    """Whole at every moment, as the kubelet does it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o600)
    hand_over(fresh)
    fresh.replace(path)


def test_a_renewed_certificate_is_shown_without_a_restart(healthy: Rig) -> None:
    rig, member = healthy, healthy.host.members[0]
    address, pooler = rig.host.member(member), rig.host.pooler("rw", 0)
    endpoints = [(address, REST_PORT, False), (address, POSTGRES_PORT, True), (pooler, rig.pooler_port, True)]
    before = {end: shown(rig, end[0], end[1], postgres=end[2]) for end in endpoints}
    postmaster = rig.postmaster(member)
    scripts = [
        (rig.host.folder / member / "config" / "certificates.sh", rig.processes[member].pid),
        (rig.host.folder / "pgbouncer-rw-0" / "certificates.sh", rig.processes["pgbouncer-rw-0"].pid),
    ]
    with watched(rig, *scripts[0]), watched(rig, *scripts[1]):
        time.sleep(2)
        with replaced_certificate(rig) as new:
            for end in endpoints:
                until(functools.partial(shows, rig, end, new), f"{end} shows the old one")
        for end in endpoints:
            until(functools.partial(shows, rig, end, before[end]), f"{end} keeps the new one")
    assert rig.postmaster(member) == postmaster, "it was restarted"
    rig.wait_healthy()


def test_patronictl_has_the_passwords_that_its_requests_need(healthy: Rig) -> None:
    rig = healthy
    primary = rig.primary()
    assert primary is not None
    home = rig.host.folder / primary / "config"
    document = yaml.safe_load((home / "patroni.yml").read_text(encoding="utf-8"))
    # As in a pod: no file of Patroni holds a password.
    del document["restapi"]["authentication"]["password"], document["etcd3"]["password"]
    (home / "patroni").mkdir(exist_ok=True)
    (home / "patroni" / "member.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    hand_over(home / "patroni")

    def ctl(*words: str) -> str:
        answer = subprocess.run(
            unprivileged(["sh", home / "patronictl.sh", *words]),
            env=rig.environment, cwd=rig.host.folder, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    assert all(name in ctl("list") for name in rig.host.members)
    replica = next(name for name in rig.host.members if name != primary)
    ctl("reload", rig.scope, replica, "--force")
    ctl("switchover", rig.scope, "--leader", primary, "--force")
    rig.wait_healthy()
    assert rig.primary() != primary
