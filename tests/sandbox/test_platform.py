"""The program on the real engine and the real API server."""

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.recording import ROOT, record_program
from cli.render import manifests, write
from cli.stack_file import read_stack_file
from sandbox.recovery import exists_by_kubectl, settle
from tests.sandbox.conftest import STACK, Cluster, Stack

_MANAGED = "app.kubernetes.io/managed-by=pulumi"
# Made by controllers with the labels of what they are made from.
_NOT_DECLARED = {"endpoints", "events", "events.events.k8s.io"}
_Identity = tuple[str | None, str, str]
"""Namespace, kind, name."""


def _identity(manifest: Mapping[str, Any]) -> _Identity:
    return manifest["metadata"].get("namespace"), manifest["kind"], manifest["metadata"]["name"]


def _declared(stack: Stack) -> set[_Identity]:
    recording = record_program(read_stack_file(stack.path, STACK))
    return {_identity(manifest) for manifest in manifests(recording.resources).values()}


def _deployed(cluster: Cluster) -> set[_Identity]:
    """Whatever carries the program's label, of every kind that this API server knows."""
    known = cluster.kubectl("api-resources", "--verbs=create,list", "--output=name").split()
    kinds = ",".join(kind for kind in known if kind not in _NOT_DECLARED)
    items = cluster.get(kinds, "--all-namespaces", "--selector", _MANAGED)["items"]
    return {_identity(item) for item in items if "ownerReferences" not in item["metadata"]}


def _eventually(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.2)


def test_up_creates_exactly_the_rendered_set_and_a_second_up_changes_nothing(
    whole_stack: Stack, cluster: Cluster
) -> None:
    stack = whole_stack
    stack.up()
    assert _deployed(cluster) == _declared(stack)
    ready = cluster.get("deployments", "--namespace", "payments")["items"]
    assert all(item["status"]["readyReplicas"] == item["spec"]["replicas"] for item in ready)
    stack.up("--expect-no-changes")
    stack.run("preview", "--refresh", "--expect-no-changes")


def test_pods_are_spread_over_all_zones_by_the_real_scheduler(stack: Stack, cluster: Cluster) -> None:
    stack.up()
    nodes = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in cluster.get("nodes")["items"]
    }
    pods = cluster.get("pods", "--namespace", "payments", "--selector", "app=wallet-service")["items"]
    zones = [nodes[pod["spec"]["nodeName"]] for pod in pods]
    counts = sorted(zones.count(zone) for zone in set(nodes.values()))
    assert counts == [1, 2, 2]
    # What Kafka's clients read as their rack: the API server copies it when a pod is bound.
    assert [pod["metadata"]["labels"]["topology.kubernetes.io/zone"] for pod in pods] == zones


def test_an_image_change_rolls_one_deployment(stack: Stack, cluster: Cluster) -> None:
    stack.up()
    before = {item["metadata"]["name"]: item for item in cluster.get("deployments", "--namespace", "payments")["items"]}
    stack.changed(**{"services.payment-service.consumer.image": "payment-service:1.0.1"}).up()
    after = {item["metadata"]["name"]: item for item in cluster.get("deployments", "--namespace", "payments")["items"]}
    rolled = {name for name, item in after.items() if item["spec"]["template"] != before[name]["spec"]["template"]}
    assert rolled == {"payment-processors"}
    assert {
        name for name in after if after[name]["metadata"]["generation"] != before[name]["metadata"]["generation"]
    } == rolled
    assert after["payment-processors"]["status"]["updatedReplicas"] == 3


def test_a_configuration_change_rolls_the_service_and_replaces_its_config_map(stack: Stack, cluster: Cluster) -> None:
    stack.up()
    before = _deployed(cluster)
    config = {**stack.platform["services"]["wallet-service"]["config"], "LOG_LEVEL": "debug"}
    stack.changed(**{"services.wallet-service.config": config}).up()
    removed, added = before - _deployed(cluster), _deployed(cluster) - before
    assert [kind for _, kind, _ in removed] == ["ConfigMap"]
    assert [kind for _, kind, _ in added] == ["ConfigMap"]
    (name,) = (name for _, _, name in added)
    pod = cluster.get("deployment", "wallet-service", "--namespace", "payments")["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [{"configMapRef": {"name": name}}]


@pytest.mark.parametrize("command", ["preview", "up"])
def test_a_maximum_above_the_policy_limit_is_refused_and_nothing_is_deployed(
    stack: Stack, cluster: Cluster, command: str
) -> None:
    broken = stack.changed(**{"services.payment-service.api.scaling.max_replicas": 21})
    arguments = ["--yes"] if command == "up" else []
    result = broken.run(command, *arguments, success=False)
    assert "scaling-limits" in result.output
    assert "21" in result.output
    assert "NotFound" in cluster.kubectl("get", "namespace", "payments", check=False)


def test_refresh_finds_what_was_deleted_by_hand_and_up_brings_it_back(stack: Stack, cluster: Cluster) -> None:
    stack.up()
    cluster.kubectl("delete", "poddisruptionbudget", "payment-service", "--namespace", "payments")
    assert ("payments", "PodDisruptionBudget", "payment-service") not in _deployed(cluster)
    result = stack.run("refresh", "--yes", "--skip-preview")
    assert "1 deleted" in result.output
    stack.up()
    assert _deployed(cluster) == _declared(stack)


def test_t04_the_real_autoscaler_follows_the_lag_between_3_and_20_and_up_does_not_reset_it(
    stack: Stack, cluster: Cluster
) -> None:
    stack.up()
    seen: set[int] = set()

    def reaches(count: int) -> Callable[[], bool]:
        def reached() -> bool:
            seen.add(cluster.replicas("payment-service"))
            return count in seen

        return reached

    _eventually(reaches(3))
    cluster.set_metric("kafka_consumer_lag", 12_500)
    _eventually(reaches(13), seconds=120)
    stack.up("--expect-no-changes")
    assert cluster.replicas("payment-service") == 13
    stack.changed(**{"services.payment-service.image": "payment-service:1.0.1"}).up()
    assert cluster.replicas("payment-service") == 13
    cluster.set_metric("kafka_consumer_lag", 1_000_000)
    _eventually(reaches(20), seconds=120)
    for _ in range(15):  # fifteen of the controller's syncs at an absurd lag: the bound holds
        time.sleep(1)
        seen.add(cluster.replicas("payment-service"))
    assert min(seen) == 3
    assert max(seen) == 20


def test_a_quiet_autoscaler_rests_at_the_minimum(stack: Stack, cluster: Cluster) -> None:
    stack.up()

    def active() -> bool:
        scaler = cluster.get("horizontalpodautoscaler", "payment-service-hpa", "--namespace", "payments")
        conditions = scaler.get("status", {}).get("conditions", [])
        return {"type": "ScalingActive", "status": "True"}.items() <= next(
            (c for c in conditions if c["type"] == "ScalingActive"), {}
        ).items()

    _eventually(active, seconds=90)
    assert cluster.replicas("payment-service") == 3


def test_a_run_killed_in_the_middle_converges_with_the_next_one(stack: Stack, cluster: Cluster) -> None:
    engine = stack.sandbox.engine
    config = engine.config_file(STACK, stack.path)
    command = ["up", "--yes", "--skip-preview", "--non-interactive", "--stack", STACK, "--config-file", str(config)]
    process = subprocess.Popen(
        [str(engine.pulumi), *command],
        cwd=ROOT,
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    early = "networkpolicies,serviceaccounts,services,deployments"  # quick to ask for: the run must still be going on
    _eventually(lambda: len(cluster.get(early, "--all-namespaces", "--selector", _MANAGED)["items"]) > 8)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    said: list[str] = []
    exists = exists_by_kubectl(stack.sandbox.kubectl, stack.sandbox.layout.kubeconfig)
    settle(engine, STACK, config, exists, said.append)
    assert any("engine that is gone" in line for line in said), said
    # A save is one file, renamed into place: nothing else beside it that a kill could leave half written.
    assert not list(engine.state.glob("backend/**/*.attrs"))
    stack.up()
    assert _deployed(cluster) == _declared(stack)
    stack.up("--expect-no-changes")


def test_a_stack_secret_is_deployed_and_never_shown(stack: Stack, cluster: Cluster) -> None:
    canary = "canary-9f3c1d"
    references = [
        {"env": "DB_PASSWORD", "config_key": "payment_db_password"},
        {"env": "BANK_TOKEN", "config_key": "payment_bank_token"},
    ]
    changed = stack.changed(**{"services.payment-service.secrets": references})
    engine = stack.sandbox.engine
    for reference in references:
        config = engine.config_file(STACK, changed.path)
        key = f"payments:{reference['config_key']}"
        subprocess.run(
            [str(engine.pulumi), "config", "set", "--secret", key, "--stack", STACK, "--config-file", str(config)],
            input=canary,
            cwd=ROOT,
            env=engine.environment(),
            check=True,
            text=True,
            capture_output=True,
            timeout=60,
        )
        changed.path.write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    first = changed.up("--diff")
    second = changed.run("preview", "--diff")
    secret = cluster.get("secret", "payment-service-secrets", "--namespace", "payments")
    assert {name: base64.b64decode(value).decode() for name, value in secret["data"].items()} == {
        "DB_PASSWORD": canary,
        "BANK_TOKEN": canary,
    }
    shown = first.output + second.output + changed.state()
    assert canary not in shown
    assert base64.b64encode(canary.encode()).decode() not in shown
    # A removed reference removes the value: a revoked credential must not stay readable.
    text = changed.path.read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    document["config"]["payments:platform"]["services"]["payment-service"]["secrets"].pop()
    changed.path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    changed.up()
    secret = cluster.get("secret", "payment-service-secrets", "--namespace", "payments")
    assert set(secret["data"]) == {"DB_PASSWORD"}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_rendered_objects_of_both_stacks_are_accepted_by_the_real_schemas(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    recording = record_program(read_stack_file(ROOT / f"Pulumi.{name}.yaml", name))
    files = write(recording.resources, tmp_path)
    first = [file for file in files if file.name.startswith("0-")]
    namespaces = [argument for file in first for argument in ("--filename", str(file))]
    cluster.kubectl("apply", "--server-side", *namespaces)
    try:
        strict = ("--server-side", "--dry-run=server", "--validate=strict")
        said = cluster.kubectl("apply", *strict, "--filename", str(tmp_path))
        assert said.count("serverside-applied (server dry run)") == len(files)
        broken = json.loads(cluster.kubectl("apply", *strict, "--filename", str(files[-1]), "--output", "json"))
        broken["metadata"].pop("managedFields", None)
        broken["metadata"]["unknownField"] = True
        refused = cluster.kubectl("apply", *strict, "--filename", "-", standard_input=json.dumps(broken), check=False)
        assert "unknownField" in refused
    finally:
        cluster.kubectl("delete", "--wait", *namespaces)
