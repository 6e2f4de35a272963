"""The commands that bring etcd back, run by a shell: what they declare has the rendered names and restrictions."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from components.postgres.etcd_plan import ETCD_DATA_PATH, plan_etcd
from components.postgres.model import context_of
from components.postgres.operations_plan import SNAPSHOT_PATH, plan_etcd_operations
from tests.unit.stacks import STACKS, settings_of

_RUNBOOK = Path(__file__).resolve().parents[3] / "docs" / "runbooks" / "etcd-member.md"
_KUBECTL = """\
#!/bin/sh
echo "$@" >> calls
case "$1" in
  get) printf "registry.example.com/%s:1" "$4" ;;
  apply) cat >> applied; echo --- >> applied ;;
esac
"""


@pytest.mark.parametrize("stack", STACKS)
def test_a_snapshot_is_restored_into_the_members_as_they_are_declared(stack: str, tmp_path: Path) -> None:
    context = context_of(settings_of(stack))
    assert context is not None
    [commands] = [
        block for block in re.findall(r"(?s)```bash\n(.*?)```", _RUNBOOK.read_text("utf-8")) if "<<END" in block
    ]
    (tmp_path / "kubectl").write_text(_KUBECTL, encoding="utf-8")
    (tmp_path / "kubectl").chmod(0o755)
    answer = subprocess.run(
        ["bash", "-euc", commands],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    documents = list(yaml.safe_load_all((tmp_path / "applied").read_text("utf-8")))
    snapshots, *members = [one for one in documents if one]
    plan, jobs = plan_etcd(context), plan_etcd_operations(context)
    declared = plan["etcd-statefulset"]
    own = declared["spec"]["template"]["spec"]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in own["containers"][0]["args"])

    claim = jobs["etcd-snapshots-claim"]["metadata"]["name"]
    assert snapshots["spec"]["volumes"] == [{"name": "s", "persistentVolumeClaim": {"claimName": claim}}]
    assert snapshots["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == SNAPSHOT_PATH
    assert len(members) == declared["spec"]["replicas"]
    for number, pod in enumerate(members):
        name = f"{declared['metadata']['name']}-{number}"
        [restore] = pod["spec"]["containers"]
        given = dict(word.removeprefix("--").split("=", 1) for word in restore["command"] if word.startswith("--"))
        assert given == {
            option: options[option].replace("$(POD_NAME)", name)
            for option in ("name", "initial-cluster", "initial-advertise-peer-urls", "data-dir")
        }
        assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}]
        for container in (restore, *pod["spec"]["initContainers"]):
            assert container["volumeMounts"] == [{"name": "data", "mountPath": ETCD_DATA_PATH}]
    for pod in (snapshots, *members):
        assert pod["metadata"]["namespace"] == context.namespace
        assert pod["spec"]["securityContext"].items() <= own["securityContext"].items()
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            assert container["securityContext"] == own["containers"][0]["securityContext"]
    calls = (tmp_path / "calls").read_text("utf-8")
    assert f"scale -n {context.namespace} statefulset/{declared['metadata']['name']} --replicas=0" in calls
    assert f"cronjob/{jobs['etcd-snapshot-cronjob']['metadata']['name']}" in calls
