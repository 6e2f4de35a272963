"""payctl as a person types it: up, status, a fault, down twice."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.recording import ROOT
from sandbox import controlplane, daemons, session, tools
from sandbox.layout import Layout
from tests.sandbox.conftest import STACK

_TIMEOUT_SECONDS = 600


@pytest.fixture
def config_file(tmp_path: Path) -> Iterator[Path]:
    """The dev stack in a sandbox of its own."""
    folder = tmp_path.resolve() / "sandbox"
    text = (ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(text.replace(".sandbox/kubeconfig", str(folder / "kubeconfig")), encoding="utf-8")
    yield path
    session.tear_down(Layout(folder), tools.progress(), purge=True)


def _layout(config_file: Path) -> Layout:
    return Layout(config_file.parent.resolve() / "sandbox")


def _payctl(config_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "payctl"), *arguments, "--stack", STACK, "--config-file", str(config_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)


def _committed_stack_files() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("Pulumi*.yaml"))}


def test_from_nothing_to_up_status_and_down_twice(config_file: Path) -> None:
    before = _committed_stack_files()
    up = _payctl(config_file, "up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "payment-processors" in up.stdout
    status = _payctl(config_file, "status", "--json")
    document = json.loads(status.stdout)
    rows = {row["name"]: row for row in document["workloads"]}
    assert (rows["payment-service"]["minimum"], rows["payment-service"]["maximum"]) == (3, 20)
    assert rows["payment-service"]["ready"] == rows["payment-service"]["desired"] == 3
    assert set(document["about"]) >= {
        "plugin pulumi-resource-kubernetes",
        "plugin pulumi-language-python",
        "control plane",
    }
    assert "up, schema version 00" in document["about"]["database s00"]
    down = _payctl(config_file, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert not any(controlplane.running(_layout(config_file)).values())
    again = _payctl(config_file, "down")
    assert again.returncode == 0, again.stdout + again.stderr
    assert _committed_stack_files() == before  # the engine's salt and state stay out of the checkout


def test_a_lost_api_server_is_named_and_the_state_stays_intact(config_file: Path) -> None:
    assert _payctl(config_file, "up").returncode == 0
    layout = _layout(config_file)
    server = daemons.find("kube-apiserver", layout)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    state = next((layout.root / "backend").glob("**/stacks/**/dev.json")).read_text(encoding="utf-8")
    status = _payctl(config_file, "status")
    assert status.returncode == 1
    assert "API server does not answer" in status.stderr
    assert "Traceback" not in status.stderr
    assert next((layout.root / "backend").glob("**/stacks/**/dev.json")).read_text(encoding="utf-8") == state
    again = _payctl(config_file, "up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "unchanged" in again.stdout


def test_a_second_up_waits_and_says_for_whom(config_file: Path) -> None:
    command = [str(ROOT / "payctl"), "up", "--stack", STACK, "--config-file", str(config_file)]
    # Into a file: a pipe that nobody reads meanwhile would stop it.
    output = config_file.parent / "first.log"
    with output.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as first:
        try:
            deadline = time.monotonic() + 60
            while not (_layout(config_file).root / "lock-holder.json").exists():
                assert time.monotonic() < deadline
                assert first.poll() is None
                time.sleep(0.02)
            second = _payctl(config_file, "up")
            first.wait(_TIMEOUT_SECONDS)
        except BaseException:
            first.send_signal(signal.SIGINT)  # payctl ends the engine, and lets go of the sandbox
            raise
    assert first.returncode == 0, output.read_text(encoding="utf-8")
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"another command uses the sandbox (process {first.pid}" in second.stderr
