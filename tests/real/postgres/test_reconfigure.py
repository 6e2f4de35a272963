"""The Job that brings changed settings to a running cluster, run on a real one."""

import copy
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from bench.postgres_stage import ROOT
from sandbox.postgres_mapping import REST_PORT
from sandbox.postgres_rig import Rig

pytestmark = [pytest.mark.real, pytest.mark.slow]


def configure(rig: Rig, desired: dict[str, Any]) -> list[str]:
    """Run the Job's command; the members that it restarted, in order."""
    answer = run(rig, "configure", desired)
    found = re.search(r"restarted: (.*)", answer)
    assert found is not None, answer
    return [] if found[1] == "nobody" else found[1].split(", ")


def run(rig: Rig, command: str, desired: dict[str, Any]) -> str:
    """Run a command of the package as its pods do; what it says."""
    answer = attempt(rig, command, desired)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def attempt(rig: Rig, command: str, desired: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """The same, and it may fail."""
    file = rig.host.folder / "desired.json"
    file.write_text(json.dumps(desired), encoding="utf-8")
    password = rig.host.folder / rig.host.members[0] / "passwords" / "restapi"
    user = yaml.safe_load(rig.files.patroni[rig.host.members[0]]["patroni.yml"])["restapi"]["authentication"][
        "username"
    ]
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "components" / "postgres"),
        "PG_CA_FILE": str(rig.host.certificate), "PG_CERT_FILE": str(rig.host.certificate),
        "PG_KEY_FILE": str(rig.host.key), "PG_REST_USER": user, "PG_PASSWORD_FILE": str(password),
        "PG_MEMBERS": ",".join(f"https://{rig.host.member(name)}:{REST_PORT}" for name in rig.host.members),
        "PG_DESIRED_FILE": str(file), "PG_DEADLINE_SECONDS": "240",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "reconfigure", command],
        env=environment, cwd=rig.host.folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def shown(rig: Rig, parameter: str) -> list[str]:
    values = []
    for name in rig.host.members:
        with rig.superuser(name) as connection:
            row = connection.execute(f"SHOW {parameter}").fetchone()
            assert row is not None
            values.append(str(row[0]))
    return values


def test_changed_settings_reach_every_member_and_shared_memory_in_the_safe_order(healthy: Rig) -> None:
    rig = healthy
    name = rig.host.members[0]
    before: dict[str, Any] = yaml.safe_load(rig.files.patroni[name]["patroni.yml"])["bootstrap"]["dcs"]
    parameters = before["postgresql"]["parameters"]
    connections = int(parameters["max_connections"])
    configure(rig, before)
    assert configure(rig, before) == []

    more = copy.deepcopy(before)
    more["postgresql"]["parameters"] |= {"max_connections": connections + 10, "log_min_duration_statement": "3s"}
    primary = rig.primary()
    restarted = configure(rig, more)
    assert sorted(restarted) == sorted(rig.host.members)
    assert restarted[-1] == primary
    assert shown(rig, "max_connections") == [str(connections + 10)] * 3
    assert shown(rig, "log_min_duration_statement") == ["3s"] * 3

    rig.wait_healthy()
    primary = rig.primary()
    restarted = configure(rig, before)
    assert restarted[0] == primary
    assert shown(rig, "max_connections") == [str(connections)] * 3
    rig.wait_healthy()


def test_a_value_that_no_server_starts_with_takes_one_replica_and_the_next_run_corrects_it(healthy: Rig) -> None:
    rig = healthy
    name = rig.host.members[0]
    good: dict[str, Any] = yaml.safe_load(rig.files.patroni[name]["patroni.yml"])["bootstrap"]["dcs"]
    configure(rig, good)
    primary, before = rig.primary(), shown(rig, "shared_preload_libraries")
    assert primary is not None
    bad = copy.deepcopy(good)
    bad["postgresql"]["parameters"]["shared_preload_libraries"] = "there_is_none"
    assert attempt(rig, "configure", bad).returncode != 0
    # The first that was restarted is down; the others still run with what they had.
    assert rig.primary() == primary
    cluster = rig.rest(primary, "/cluster")[1]["members"]
    assert sorted(member["state"] in ("running", "streaming") for member in cluster) == [False, True, True]

    assert "the primary does not run this yet" in run(rig, "configure", good)
    assert shown(rig, "shared_preload_libraries") == before
    rig.wait_healthy()


def test_strict_replication_switched_off_by_hand_comes_back_without_a_restart(healthy: Rig) -> None:
    rig = healthy
    name = rig.host.members[0]
    desired: dict[str, Any] = yaml.safe_load(rig.files.patroni[name]["patroni.yml"])["bootstrap"]["dcs"]
    configure(rig, desired)
    by_hand = desired | {"synchronous_mode_strict": False}
    assert '"synchronous_mode_strict": false' in run(rig, "keep", by_hand)
    assert 'patch {"synchronous_mode_strict": true}' in run(rig, "keep", desired)
    assert "patch" not in run(rig, "keep", desired)
    assert configure(rig, desired) == []
