"""etcd as its pods start it, and the Jobs that set its users and copy its keys, on three real members."""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.postgres_stage import ROOT, database_of
from components.postgres.etcd_plan import ETCD_DATA_PATH, plan_etcd
from components.postgres.model import PASSWORDS_PATH, TLS_PATH, DatabaseContext
from components.postgres.operations_plan import SNAPSHOT_PATH, plan_etcd_operations
from components.postgres.reconfigure.etcd import Etcd, encoded, prefix_range
from components.postgres.reconfigure.etcd_snapshot import verify
from components.postgres.reconfigure.requests import Client, RequestError
from sandbox.certificates import self_signed
from sandbox.program import stop
from sandbox.tools import ensure, progress

pytestmark = [pytest.mark.real, pytest.mark.slow]
_PHRASES = {"etcd-root": "of-root", "etcd-s00": "of-the-first", "etcd-s01": "of-the-second"}
_READY_SECONDS = 60


@dataclass
class Members:
    """Three running members on loopback addresses of their own."""

    folder: Path
    context: DatabaseContext
    network: str

    def mapped(self, text: str, index: int = 0) -> str:
        """A text of the pods for this host: names → addresses, mounts → folders."""
        own = f"postgres-etcd-{index}"
        text = text.replace("$(POD_NAME)", own)
        for number, host in enumerate(self.context.etcd_hosts()):
            text = text.replace(host, f"{self.network}.{number + 1}")
        text = text.replace("0.0.0.0", f"{self.network}.{index + 1}")  # noqa: S104 # what is replaced
        for path, place in (
            (ETCD_DATA_PATH, f"data-{index}"), (TLS_PATH, "tls"), (PASSWORDS_PATH, "passwords"),
            (SNAPSHOT_PATH, "snapshots"),
        ):  # fmt: skip
            text = re.sub(rf"(?<![\w/]){path}(?![\w-])", str(self.folder / place), text)
        return text

    @property
    def etcd(self) -> Etcd:
        """A client without a user."""
        urls = [f"https://{self.network}.{number + 1}:2379" for number in range(3)]
        return Etcd(Client.of(ca_file=str(self.folder / "tls" / "ca.crt")), urls)

    def run(self, manifest: dict[str, Any]) -> str:
        """The command of a Job's or a CronJob's pod with its own environment; what it prints."""
        spec = manifest["spec"]
        pod = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]
        [container] = pod["containers"]
        environment = {one["name"]: self.mapped(one["value"]) for one in container["env"]}
        environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "components" / "postgres")}
        answer = subprocess.run(
            [sys.executable, *container["command"][1:]],
            env=environment, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert not any(phrase in answer.stdout + answer.stderr for phrase in _PHRASES.values())
        return answer.stdout

    def set_phrase(self, file: str, phrase: str) -> None:
        """A password in the Secret."""
        (self.folder / "passwords" / file).write_text(phrase + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    program = ensure(["etcd"], progress())["etcd"]
    network = f"127.{random.randint(64, 250)}.{random.randint(0, 250)}"  # noqa: S311 # an address, no secret
    found = Members(tmp_path_factory.mktemp("etcd"), database_of("prod"), network)
    pair = self_signed("etcd", [f"{network}.{number + 1}" for number in range(3)])
    for name in ("tls", "passwords", "snapshots", "data-0", "data-1", "data-2"):
        (found.folder / name).mkdir()
    for name, text in (("tls.crt", pair.certificate), ("ca.crt", pair.certificate), ("tls.key", pair.key)):
        (found.folder / "tls" / name).write_text(text, encoding="utf-8")
    for file, phrase in _PHRASES.items():
        found.set_phrase(file, phrase)
    [container] = plan_etcd(found.context)["etcd-statefulset"]["spec"]["template"]["spec"]["containers"]
    processes = []
    try:
        for index in range(3):
            arguments = [found.mapped(argument, index) for argument in container["args"]]
            # The stack says that its cluster stands; this one is founded now.
            arguments = [argument.replace("state=existing", "state=new") for argument in arguments]
            with (found.folder / f"etcd-{index}.log").open("wb") as log:
                command = [str(program), *arguments, "--unsafe-no-fsync"]
                processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(found.etcd):
            assert time.monotonic() < deadline, (found.folder / "etcd-0.log").read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)
        yield found
    finally:
        for process in processes:
            stop(process)


def _answers(etcd: Etcd) -> bool:
    try:
        etcd.call("auth/status")
    except RequestError:
        return False
    return True


def _put(etcd: Etcd, key: str) -> None:
    etcd.call("kv/put", {"key": encoded(key.encode()), "value": encoded(b"here")})


def test_users_see_their_own_prefix_only_and_the_jobs_may_run_again(members: Members) -> None:
    jobs = plan_etcd_operations(members.context)
    for _ in range(2):
        assert "payments-s00, payments-s01 as desired" in members.run(jobs["etcd-users-job"])

    first = members.etcd.logged_in("payments-s00", _PHRASES["etcd-s00"])
    own, other = "/payments/payments-s00/leader", "/payments/payments-s01/leader"
    _put(first, own)
    assert first.call("kv/range", prefix_range("/payments/payments-s00/"))["count"] == "1"
    for key in (other, "/payments/payments-s000", "/elsewhere"):
        with pytest.raises(RequestError, match="permission denied"):
            _put(first, key)
    with pytest.raises(RequestError, match="permission denied"):
        first.call("kv/range", prefix_range("/payments/"))
    with pytest.raises(RequestError, match="user name is empty"):
        _put(members.etcd, own)
    with pytest.raises(RequestError, match="permission denied"):
        first.call("auth/user/list")

    members.set_phrase("etcd-s01", "another-one")
    members.run(jobs["etcd-users-job"])
    members.etcd.logged_in("payments-s01", "another-one")
    with pytest.raises(RequestError, match="invalid"):
        members.etcd.logged_in("payments-s01", _PHRASES["etcd-s01"])

    members.run(jobs["etcd-snapshot-cronjob"])
    [snapshot] = (members.folder / "snapshots").glob("snapshot-*.db")
    verify(snapshot)
    assert own.encode() in snapshot.read_bytes()
