"""The members' scripts: with what they export, Patroni itself reads every password; and the API is asked verified."""

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.postgres.model import CONFIG_PATH, PASSWORDS_PATH, context_of
from components.postgres.patroni_files import MEMBER_SECRETS, member_files, render_bootstrap
from components.postgres.reconfigure.requests import Client
from components.postgres.reconfigure.rollout import api_address
from sandbox.certificates import self_signed
from tests.unit.stacks import STACKS, settings_of

_SHOW = """\
import json, sys
from patroni.config import Config
found = Config(sys.argv[-1])
sections = ("name", "etcd3", "restapi", "postgresql", "bootstrap", "ctl")
print(json.dumps({key: found.get(key) for key in sections}, default=dict))
"""


@pytest.fixture(params=STACKS)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A member's folders as its pod has them, with programs that show what Patroni makes of them."""
    context = context_of(settings_of(request.param))
    assert context is not None
    for part in ("config/patroni", "passwords", "bin"):
        (tmp_path / part).mkdir(parents=True)
    for name, text in member_files(context, "s00").items():
        mapped = text.replace(CONFIG_PATH, str(tmp_path / "config")).replace(
            PASSWORDS_PATH, str(tmp_path / "passwords")
        )
        mapped = "\n".join(line for line in mapped.splitlines() if "certificates.sh $$" not in line) + "\n"
        place = tmp_path / "config" / ("patroni" if name.endswith(".yml") else "") / name
        place.write_text(mapped, encoding="utf-8")
    (tmp_path / "config" / "patroni" / "bootstrap.yml").write_text(render_bootstrap(context), encoding="utf-8")
    for file in MEMBER_SECRETS.values():
        (tmp_path / "passwords" / file).write_text(f"phrase-of-{file}\n", encoding="utf-8")
    (tmp_path / "show.py").write_text(_SHOW, encoding="utf-8")
    for program in ("patroni", "patronictl"):
        (tmp_path / "bin" / program).write_text(
            f'#!/bin/sh\n[ "$1" = -c ] && shift\nexec {sys.executable} {tmp_path}/show.py "$1"\n', encoding="utf-8"
        )
        (tmp_path / "bin" / program).chmod(0o755)
    return tmp_path


def run(pod: Path, script: str) -> Any:
    environment = {"PATH": f"{pod}/bin:{os.environ['PATH']}", "POD_NAME": "postgres-cluster-2"}
    answer = subprocess.run(
        ["sh", pod / "config" / script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_patroni_reads_every_password_and_the_members_own_name(pod: Path) -> None:
    found = run(pod, "start.sh")
    assert found["name"] == "postgres-cluster-2"
    assert (found["etcd3"]["username"], found["etcd3"]["password"]) == ("payments-s00", "phrase-of-etcd")
    assert found["etcd3"]["protocol"] == "https"
    assert len(found["etcd3"]["hosts"]) == 3
    assert found["restapi"]["authentication"] == {"username": "patroni", "password": "phrase-of-restapi"}
    host = "postgres-cluster-2.postgres-cluster-pods.database.svc.cluster.local"
    assert found["restapi"]["connect_address"] == f"{host}:8008"
    assert found["restapi"]["verify_client"] == "optional"
    assert found["postgresql"]["connect_address"] == f"{host}:5432"
    for user in ("superuser", "replication", "rewind"):
        login = found["postgresql"]["authentication"][user]
        assert (login["password"], login["sslmode"]) == (f"phrase-of-{user}", "verify-full")
    assert found["bootstrap"]["dcs"]["synchronous_mode"] == "quorum"
    assert "initdb" in found["bootstrap"], "both files of the folder are read"


def test_patronictl_can_speak_to_etcd_and_to_the_members(pod: Path) -> None:
    found = run(pod, "patronictl.sh")
    assert found["etcd3"]["password"] == "phrase-of-etcd"
    assert found["restapi"]["authentication"] == {"username": "patroni", "password": "phrase-of-restapi"}
    assert {"cacert", "certfile", "keyfile"} <= found["ctl"].keys()


@pytest.mark.parametrize(
    ("host", "address"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_the_rollout_asks_the_api_server_whose_certificate_names_the_address(host: str, address: str) -> None:
    assert api_address({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}) == address


def test_a_job_trusts_the_given_authority_alone_and_compares_names(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(self_signed("authority").certificate, encoding="utf-8")
    context = Client.of(ca_file=str(authority)).context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
