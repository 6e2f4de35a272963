"""The Kubernetes provider and the language plugin in use, through the real engine and the real API server."""

import base64
import json
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import Engine, Result
from tests.sandbox.conftest import Cluster

STACK = "dev"
TIMEOUT_SECONDS = 120
PASSWORD = "canary-9f31-password"
HEADER = """
import pulumi
import pulumi_kubernetes as k8s

NAMESPACE = {namespace!r}
cluster = k8s.Provider("cluster", kubeconfig={kubeconfig!r}, namespace=NAMESPACE)


def on(**options):
    return pulumi.ResourceOptions(provider=cluster, **options)


def pods(image="registry.test/app:1", labels=None, **pod):
    return {{
        "metadata": {{"labels": labels or {{"app": "web"}}}},
        "spec": {{"containers": [{{"name": "app", "image": image}}], **pod}},
    }}
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A small program of its own on the test's API server, in a namespace of its own."""

    engine: Engine
    cluster: Cluster
    kubeconfig: str
    namespace: str

    def write(self, body: str) -> "Program":
        header = HEADER.format(namespace=self.namespace, kubeconfig=self.kubeconfig)
        (self.engine.project / "__main__.py").write_text(header + textwrap.dedent(body), encoding="utf-8")
        return self

    def run(self, command: str, *arguments: str, success: bool = True) -> Result:
        config = self.engine.config_file(STACK)
        result = self.engine.run(
            [command, "--stack", STACK, "--config-file", str(config), "--color", "never", *arguments],
            timeout_seconds=TIMEOUT_SECONDS,
        )
        assert (result.exit_code == 0) is success, result.output
        return result

    def up(self, *arguments: str, success: bool = True) -> str:
        return self.run("up", "--yes", "--skip-preview", *arguments, success=success).output

    def get(self, kind: str, name: str) -> Any:
        return self.cluster.get(kind, name, "--namespace", self.namespace)

    def exported(self) -> str:
        return self.engine.run(["stack", "export", "--stack", STACK], timeout_seconds=TIMEOUT_SECONDS).output

    def resources(self) -> dict[str, Any]:
        text = self.exported()
        found = json.loads(text[text.index("{") :])["deployment"].get("resources", [])
        return {item["urn"].rpartition("::")[2]: item for item in found}


@pytest.fixture
def program(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    name = "t-" + request.node.name.removeprefix("test_").replace("_", "-")[:50].rstrip("-")
    project = tmp_path / "program"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: provider-test\nruntime: python\n", encoding="utf-8")
    (project / f"Pulumi.{STACK}.yaml").write_text("config: {}\n", encoding="utf-8")
    ours = cluster.sandbox.engine
    engine = Engine(
        pulumi=ours.pulumi,
        project=project,
        state=tmp_path / "state",
        path_entries=ours.path_entries,
        variables={**ours.variables, "PAYMENTS_PLUGINS": "stand-in"},
    )
    cluster.kubectl("create", "namespace", name)
    yield Program(engine=engine, cluster=cluster, kubeconfig=str(cluster.sandbox.layout.kubeconfig), namespace=name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


DEPLOYMENT = """
k8s.apps.v1.Deployment(
    "web",
    metadata={{"name": "web"}},
    spec={{"replicas": {replicas}, "selector": {{"match_labels": {labels}}}, "template": pods({image!r}, {labels})}},
    opts=on({options}),
)
"""


def deployment(image: str = "registry.test/app:1", labels: str = '{"app": "web"}', options: str = "") -> str:
    return DEPLOYMENT.format(replicas=2, image=image, labels=labels, options=options)


def test_a_life_from_create_to_destroy(program: Program) -> None:
    body = 'config = k8s.core.v1.ConfigMap("settings", data={"a": "1"}, opts=on())\n'
    program.write(body + 'pulumi.export("name", config.metadata.name)\n' + deployment())

    assert "4 to create" in program.run("preview").output
    program.up()
    live = program.get("deployment", "web")
    assert live["status"]["availableReplicas"] == 2, "up returned before the pods were available"
    name = program.resources()["settings"]["outputs"]["metadata"]["name"]
    assert name.startswith("settings-")
    assert program.get("configmap", name)["data"] == {"a": "1"}

    again = program.up()
    assert "4 unchanged" in again
    assert program.get("deployment", "web")["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]

    program.write(body + 'pulumi.export("name", config.metadata.name)\n' + deployment(image="registry.test/app:2"))
    preview = program.run("preview", "--diff").output
    assert "registry.test/app:1" in preview
    assert "registry.test/app:2" in preview
    changed = program.up()
    assert "~ 1 updated" in changed
    after = program.get("deployment", "web")
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/app:2"
    assert after["metadata"]["uid"] == live["metadata"]["uid"]
    assert after["status"]["updatedReplicas"] == after["status"]["replicas"] == 2

    program.run("destroy", "--yes", "--skip-preview")
    left = program.cluster.get("deployments,replicasets,pods,configmaps", "--namespace", program.namespace)
    assert [item["metadata"]["name"] for item in left["items"]] == ["kube-root-ca.crt"]


def test_an_immutable_selector_replaces_the_deployment(program: Program) -> None:
    program.write(deployment()).up()
    before = program.get("deployment", "web")["metadata"]["uid"]
    program.write(deployment(labels='{"app": "other"}'))
    assert "spec.selector" in program.run("preview", "--diff", "--json").output
    assert "1 replaced" in program.up()
    after = program.get("deployment", "web")
    assert after["metadata"]["uid"] != before
    assert after["spec"]["selector"]["matchLabels"] == {"app": "other"}


def test_a_generated_name_changes_with_a_replacement_and_the_old_object_goes(program: Program) -> None:
    program.write('k8s.core.v1.ConfigMap("settings", data={"a": "1"}, opts=on())').up()
    first = program.resources()["settings"]["id"]
    program.write('k8s.core.v1.ConfigMap("settings", data={"a": "2"}, opts=on())')
    preview = json.loads(_json(program.run("preview", "--json").output))
    assert preview["changeSummary"] == {"replace": 1, "same": 2}
    program.up()
    second = program.resources()["settings"]["id"]
    assert second != first
    left = program.cluster.get("configmaps", "--namespace", program.namespace)["items"]
    assert {item["metadata"]["name"] for item in left} == {"kube-root-ca.crt", second.partition("/")[2]}


def _json(output: str) -> str:
    return output[output.index("{\n") :]


def test_what_the_autoscaler_scaled_is_not_reset(program: Program) -> None:
    ignoring = 'ignore_changes=["spec.replicas"]'
    program.write(deployment(options=ignoring)).up()
    # Before any scaler: the replicas are ours, and another change must not drop them to the default of one.
    program.write(deployment(image="registry.test/app:2", options=ignoring)).up()
    assert program.get("deployment", "web")["spec"]["replicas"] == 2

    program.cluster.kubectl("scale", "deployment", "web", "--replicas=5", "--namespace", program.namespace)
    assert "3 unchanged" in program.up()
    program.write(deployment(image="registry.test/app:3", options=ignoring)).up()
    live = program.get("deployment", "web")
    assert live["spec"]["replicas"] == 5
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.test/app:3"


def test_a_conflict_names_the_other_manager_and_the_way_out(program: Program) -> None:
    program.write(deployment()).up()
    program.cluster.kubectl("scale", "deployment", "web", "--replicas=5", "--namespace", program.namespace)
    program.write(DEPLOYMENT.format(replicas=3, image="registry.test/app:1", labels='{"app": "web"}', options=""))
    output = program.up(success=False)
    assert "kubectl" in output
    assert ".spec.replicas" in output
    assert "pulumi.com/patchForce" in output
    assert program.get("deployment", "web")["spec"]["replicas"] == 5
    body = DEPLOYMENT.format(replicas=3, image="registry.test/app:1", labels='{"app": "web"}', options="")
    named, forced = '{"name": "web"}', '{"name": "web", "annotations": {"pulumi.com/patchForce": "true"}}'
    program.write(body.replace(named, forced)).up()
    assert program.get("deployment", "web")["spec"]["replicas"] == 3


def test_refresh_finds_a_manual_deletion_and_drift_but_no_phantoms(program: Program) -> None:
    program.write(
        deployment()
        + """
k8s.core.v1.ConfigMap("gone", metadata={"name": "gone"}, data={"a": "1"}, opts=on())
k8s.core.v1.ConfigMap("drift", metadata={"name": "drift"}, data={"a": "1"}, opts=on())
k8s.core.v1.Pod("sized", metadata={"name": "sized"}, spec={"containers": [{
    "name": "app", "image": "registry.test/app:1",
    "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
}]}, opts=on())
"""
    ).up()
    unchanged = program.run("refresh", "--yes", "--skip-preview").output
    assert "6 unchanged" in unchanged

    program.cluster.kubectl("delete", "configmap", "gone", "--namespace", program.namespace)
    patch = json.dumps({"data": {"a": "2"}})
    program.cluster.kubectl("patch", "configmap", "drift", "--patch", patch, "--namespace", program.namespace)
    refreshed = program.run("refresh", "--yes", "--skip-preview").output
    assert "- 1 deleted" in refreshed
    assert program.resources()["drift"]["inputs"]["data"] == {"a": "2"}
    assert "gone" not in program.resources()


def test_an_existing_object_is_not_taken_over_unless_asked(program: Program) -> None:
    program.cluster.kubectl("create", "configmap", "theirs", "--from-literal=a=9", "--namespace", program.namespace)
    body = 'k8s.core.v1.ConfigMap("ours", metadata={"name": "theirs"}, data={"a": "1"}, opts=on())'
    program.write(body)
    for refused in (program.run("preview", success=False).output, program.up(success=False)):
        assert 'configmaps "theirs" already exists' in refused
    assert program.get("configmap", "theirs")["data"] == {"a": "9"}

    program.write(body.replace("opts=on()", f'opts=on(import_="{program.namespace}/theirs")').replace('"1"', '"9"'))
    program.up()
    program.write(body.replace('"1"', '"9"'))
    assert "3 unchanged" in program.up()


def test_a_create_that_was_not_recorded_is_recognised_as_ours(program: Program) -> None:
    program.write('k8s.core.v1.ConfigMap("ours", metadata={"name": "ours"}, data={"a": "1"}, opts=on())').up()
    uid = program.get("configmap", "ours")["metadata"]["uid"]
    program.engine.run(["state", "delete", program.resources()["ours"]["urn"], "--stack", STACK, "--yes"])
    assert "ours" not in program.resources()
    program.up()
    assert program.get("configmap", "ours")["metadata"]["uid"] == uid


def test_an_unreachable_api_server_is_named_and_nothing_changes(program: Program, tmp_path: Path) -> None:
    program.write('k8s.core.v1.ConfigMap("ours", metadata={"name": "ours"}, data={"a": "1"}, opts=on())').up()
    before = program.resources()
    nowhere = tmp_path / "nowhere.yaml"
    text = Path(program.kubeconfig).read_text(encoding="utf-8")
    port = text.split("127.0.0.1:", 1)[1].split()[0].strip("\"'")
    nowhere.write_text(text.replace(f":{port}", ":9"), encoding="utf-8")
    main = program.engine.project / "__main__.py"
    main.write_text(
        main.read_text(encoding="utf-8").replace(program.kubeconfig, str(nowhere)).replace('"1"', '"2"'), "utf-8"
    )
    output = program.up(success=False)
    assert "Kubernetes API server at https://127.0.0.1:9 cannot be reached" in output
    assert "state is unchanged" in output
    assert program.resources()["ours"] == before["ours"]


def test_secrets_stay_secret_in_the_state_and_in_messages(program: Program) -> None:
    body = f"""
plain = k8s.core.v1.Secret("plain", metadata={{"name": "plain"}}, string_data={{"password": {PASSWORD!r}}}, opts=on())
k8s.core.v1.ConfigMap("leaky", metadata={{"name": "leaky"}}, data={{"dsn": pulumi.Output.secret({PASSWORD!r})}},
    opts=on())
pulumi.export("data", plain.data)
"""
    program.write(body)
    preview = program.run("preview", "--diff").output
    up = program.run("up", "--yes", "--diff", "--skip-preview").output
    program.run("refresh", "--yes", "--skip-preview")
    assert "4 unchanged" in program.up()
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    for text in (preview, up, program.exported()):
        assert PASSWORD not in text
        assert encoded not in text
    assert program.get("secret", "plain")["data"]["password"] == encoded

    invalid = body.replace(
        '"leaky"}, data', '"leaky", "labels": {"x": pulumi.Output.secret("' + PASSWORD + ' !")}}, data'
    )
    refused = program.write(invalid).up(success=False)
    assert "[secret]" in refused
    assert PASSWORD not in refused


def test_a_deployment_that_never_becomes_ready_fails_with_the_reason_and_recovers(program: Program) -> None:
    patient = 'custom_timeouts=pulumi.CustomTimeouts(create="4s")'
    body = deployment(options=patient)
    stuck = body.replace(', {"app": "web"})}', ', {"app": "web"}, node_selector={"no": "such-node"})}')
    assert stuck != body
    output = program.write(stuck).up(success=False)
    assert "Deployment web is not ready after 4 s: 0 of 2 replicas are available" in output
    assert "Unschedulable" in output
    assert program.resources()["web"]["initErrors"]
    program.write(deployment()).up()
    assert "initErrors" not in program.resources()["web"]


def test_pods_that_pod_security_refuses_are_the_reason(program: Program) -> None:
    program.cluster.kubectl("label", "namespace", program.namespace, "pod-security.kubernetes.io/enforce=restricted")
    body = deployment(options='custom_timeouts=pulumi.CustomTimeouts(create="5s")')
    output = program.write(body).up(success=False)
    assert "pods cannot be created" in output
    assert "PodSecurity" in output


def test_a_job_is_awaited_and_its_failure_told(program: Program) -> None:
    done = """
k8s.batch.v1.Job("work", metadata={"name": "work"}, spec={"template": {
    "metadata": {"labels": {"app": "work"}},
    "spec": {"restart_policy": "Never", "containers": [{"name": "app", "image": "registry.test/app:1"}]},
}, "backoff_limit": 0 ACTIVE}, opts=on(custom_timeouts=pulumi.CustomTimeouts(create="30s")))
"""
    program.write(done.replace("ACTIVE", "")).up()
    assert program.get("job", "work")["status"]["succeeded"] == 1
    late = done.replace('"work"', '"late"').replace('"Never",', '"Never", "node_selector": {"no": "such"},')
    output = program.write(late.replace("ACTIVE", ', "active_deadline_seconds": 2')).up(success=False)
    assert "the Job failed: DeadlineExceeded" in output


def test_awaiting_can_be_skipped_and_directed(program: Program) -> None:
    skipping = '{"name": "web", "annotations": {"pulumi.com/skipAwait": "true"}}'
    program.write(STUCK.replace('{"name": "web"}', skipping, 1)).up()
    waiting = """
k8s.core.v1.ConfigMap("c", metadata={"name": "c", "annotations": {
    "pulumi.com/waitFor": "jsonpath={.data.ready}=yes", "pulumi.com/timeoutSeconds": "2",
}}, data={"ready": "READY"}, opts=on())
"""
    output = program.write(waiting.replace("READY", "no")).up(success=False)
    assert "data.ready is no, awaited is yes" in output
    program.write(waiting.replace("READY", "yes")).up()


def test_a_namespace_a_definition_and_their_objects_are_previewed_and_created_together(program: Program) -> None:
    other = f"{program.namespace[:40]}-inner"
    program.write(
        f"""
inner = k8s.core.v1.Namespace("inner", metadata={{"name": {other!r}}}, opts=on())
crd = k8s.apiextensions.v1.CustomResourceDefinition("crd", metadata={{"name": "widgets.{other}.test"}}, spec={{
    "group": "{other}.test", "scope": "Namespaced", "names": {{"kind": "Widget", "plural": "widgets"}},
    "versions": [{{"name": "v1", "served": True, "storage": True, "schema": {{"openAPIV3Schema": {{
        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}}],
}}, opts=on())
k8s.apiextensions.CustomResource("widget", api_version="{other}.test/v1", kind="Widget",
    metadata={{"name": "w", "namespace": inner.metadata["name"]}}, spec={{"size": 3}}, opts=on(depends_on=[crd]))
"""
    )
    assert "5 to create" in program.run("preview").output
    program.up()
    widget = program.cluster.get(f"widgets.{other}.test", "w", "--namespace", other)
    assert widget["spec"] == {"size": 3}
    assert "5 unchanged" in program.up()
    program.run("destroy", "--yes", "--skip-preview")
    assert "NotFound" in program.cluster.kubectl("get", "namespace", other, check=False)


def test_an_unknown_kind_says_what_to_install(program: Program) -> None:
    program.write(
        'k8s.apiextensions.CustomResource("x", api_version="nobody.test/v1", kind="Nothing", metadata={}, opts=on())'
    )
    for output in (program.run("preview", success=False).output, program.up(success=False)):
        assert "knows no kind Nothing in nobody.test/v1" in output
        assert "CustomResourceDefinition" in output


def test_a_failing_program_shows_its_own_traceback_or_only_its_message(program: Program) -> None:
    output = program.write('raise pulumi.RunError("a sentence for a person")').run("preview", success=False).output
    assert "error: a sentence for a person" in output
    assert "Traceback" not in output
    output = program.write('raise ValueError("a defect")').run("preview", success=False).output
    assert "ValueError: a defect" in output
    assert "__main__.py" in output
    assert "runpy" not in output


STUCK = deployment().replace(', {"app": "web"})}', ', {"app": "web"}, node_selector={"no": "such-node"})}')


def start_up(program: Program) -> "subprocess.Popen[bytes]":
    """An update that waits for a Deployment that cannot become ready."""
    program.write(STUCK)
    config = program.engine.config_file(STACK)
    process = subprocess.Popen(
        [str(program.engine.pulumi), "up", "--yes", "--skip-preview", "--stack", STACK, "--config-file", str(config)],
        cwd=program.engine.project,
        env=program.engine.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while "web" not in program.cluster.kubectl("get", "deployments", "--namespace", program.namespace):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return process


def children(pid: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(encoding="utf-8")
        except OSError:
            continue  # it has ended meanwhile
        if f"\nPPid:\t{pid}\n" in text:
            found.add(int(status.parent.name))
    return found


def wait_until_ended(pids: set[int]) -> None:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a plugin outlived its engine"
        time.sleep(0.1)


def test_the_plugins_end_with_a_killed_engine_and_the_next_update_converges(program: Program) -> None:
    process = start_up(program)
    plugins = children(process.pid)
    assert len(plugins) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until_ended(plugins)

    # The state knows nothing of the Deployment; the next update recognises it as its own.
    program.engine.recover(STACK)
    program.write(deployment()).up()
    assert program.get("deployment", "web")["status"]["availableReplicas"] == 2


def test_an_interrupted_update_ends_soon_and_records_what_it_created(program: Program) -> None:
    process = start_up(program)
    plugins = children(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    wait_until_ended(plugins)
    assert "cancelled" in program.resources()["web"]["initErrors"][0]
    program.write(deployment()).up()
    assert "initErrors" not in program.resources()["web"]
