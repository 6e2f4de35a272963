"""One control plane and one engine for all tests that need the real ones; each test gets a clean stack."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.lifecycle import policy_arguments
from cli.recording import ROOT
from sandbox import session, tools
from sandbox.engine import Result
from sandbox.layout import Layout
from sandbox.metric_values import set_external
from sandbox.session import Session

_KUBECTL_TIMEOUT_SECONDS = 120
_ENGINE_TIMEOUT_SECONDS = 300
STACK = "dev"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.sandbox)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The real control plane and the real engine in a folder of their own."""
    report = tools.progress()
    layout = Layout(tmp_path_factory.mktemp("sandbox").resolve())
    try:
        yield session.bring_up(ROOT, layout, report)
    finally:
        session.tear_down(layout, report)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """kubectl against the test's API server."""

    sandbox: Session

    def kubectl(self, *arguments: str, standard_input: str | None = None, check: bool = True) -> str:
        command = [str(self.sandbox.kubectl), "--kubeconfig", str(self.sandbox.layout.kubeconfig), *arguments]
        answer = subprocess.run(
            command, input=standard_input, capture_output=True, text=True, timeout=_KUBECTL_TIMEOUT_SECONDS, check=False
        )
        assert not check or answer.returncode == 0, answer.stderr
        return answer.stdout if answer.returncode == 0 else answer.stderr

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def replicas(self, deployment: str) -> int:
        found = self.get("deployment", deployment, "--namespace", "payments")
        return int(found["spec"]["replicas"])

    def set_metric(self, name: str, value: int) -> None:
        set_external(self.sandbox.layout.metrics, name, value)


@pytest.fixture
def cluster(sandbox: Session) -> Cluster:
    sandbox.layout.metrics.unlink(missing_ok=True)
    return Cluster(sandbox=sandbox)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The dev stack on the test's sandbox, with changes; the engine's own words as results."""

    sandbox: Session
    path: Path
    document: Mapping[str, Any]

    @property
    def platform(self) -> Any:
        return self.document["config"]["payments:platform"]

    def changed(self, **replacements: Any) -> "Stack":
        """A copy in which dotted paths (``services.payment-service.image``) have other values."""
        document = deepcopy(dict(self.document))
        for path, value in replacements.items():
            *parents, last = path.split(".")
            node = document["config"]["payments:platform"]
            for part in parents:
                node = node[part]
            node[last] = value
        self.path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return Stack(sandbox=self.sandbox, path=self.path, document=document)

    def run(self, command: str, *arguments: str, policies: bool = True, success: bool = True) -> Result:
        config = self.sandbox.engine.config_file(STACK, self.path)
        pack = policy_arguments(STACK) if policies and command in ("up", "preview") else []
        result = self.sandbox.engine.run(
            [command, "--stack", STACK, "--config-file", str(config), *pack, *arguments],
            timeout_seconds=_ENGINE_TIMEOUT_SECONDS,
        )
        assert (result.exit_code == 0) is success, result.output
        return result

    def up(self, *arguments: str, success: bool = True) -> Result:
        return self.run("up", "--yes", *arguments, success=success)

    def state(self) -> str:
        path = self.sandbox.engine.state_file(STACK)
        assert path is not None
        return path.read_text(encoding="utf-8")


# Beside the services: what has tests of its own, and would make each of these three times as long.
_BESIDE = ("cache", "data", "kafka", "loadtest", "observability", "postgres")


@contextmanager
def _undeployed(sandbox: Session, cluster: Cluster, folder: Path, without: tuple[str, ...] = ()) -> Iterator[Stack]:
    document = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    platform = document["config"]["payments:platform"]
    platform["cluster"]["kubeconfig"] = str(sandbox.layout.kubeconfig)
    for block in without:
        del platform[block]
    path = folder / "Pulumi.dev.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    fresh = Stack(sandbox=sandbox, path=path, document=document)
    yield fresh
    fresh.run("destroy", "--yes", "--skip-preview")
    assert "NotFound" in cluster.kubectl("get", "namespace", "payments", check=False)


@pytest.fixture
def stack(sandbox: Session, cluster: Cluster, tmp_path: Path) -> Iterator[Stack]:
    """The services and the edge of dev, not deployed yet and destroyed afterwards."""
    with _undeployed(sandbox, cluster, tmp_path, _BESIDE) as fresh:
        yield fresh


@pytest.fixture
def whole_stack(sandbox: Session, cluster: Cluster, tmp_path: Path) -> Iterator[Stack]:
    """All of dev, not deployed yet and destroyed afterwards."""
    with _undeployed(sandbox, cluster, tmp_path) as fresh:
        yield fresh
