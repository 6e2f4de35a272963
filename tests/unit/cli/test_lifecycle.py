"""What payctl decides before the engine starts: whose backend, and whether a person has agreed."""

import io
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.lifecycle import in_sandbox, layout_for
from cli.main import cli
from cli.options import load_stack
from cli.recording import ROOT
from sandbox import session
from sandbox.engine import Engine
from sandbox.layout import Layout
from sandbox.progress import Progress


@pytest.mark.parametrize("command", ["up", "down"])
def test_another_cluster_than_the_sandbox_is_changed_only_with_consent(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--stack", "prod"])
    assert result.exit_code == 1
    assert "stack prod goes to the cluster of context payments-prod" in result.stderr
    assert "--yes" in result.stderr


def test_dev_goes_to_the_sandbox_beside_its_kubeconfig_and_prod_does_not() -> None:
    dev, prod = (load_stack(stack, None)[1] for stack in ("dev", "prod"))
    assert in_sandbox(dev)
    assert layout_for(dev).kubeconfig == (ROOT / ".sandbox" / "kubeconfig").resolve()
    assert not in_sandbox(prod)


def test_an_engine_of_ones_own_keeps_ones_own_backend_and_stack_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://state")
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    engine = Engine(pulumi=tmp_path / "pulumi", project=tmp_path, state=tmp_path / "state", isolated=False)
    environment = engine.environment()
    assert environment["PULUMI_BACKEND_URL"] == "s3://state"
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment
    assert environment["PATH"].split(os.pathsep)[0] == str(tmp_path)
    assert engine.config_file("prod") == tmp_path / "Pulumi.prod.yaml"
    assert not (tmp_path / "state").exists()


def test_an_isolated_engine_never_uses_ones_own_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://state")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    engine = Engine(pulumi=tmp_path / "pulumi", project=tmp_path, state=tmp_path / "state")
    environment = engine.environment()
    assert environment["PULUMI_BACKEND_URL"] == f"file://{tmp_path / 'state' / 'backend'}?metadata=skip"
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment


def _sandbox_stack(folder: Path, kubeconfig: str | None) -> Path:
    text = (ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    line = f"      kubeconfig: {kubeconfig}\n" if kubeconfig else ""
    path = folder / "Pulumi.dev.yaml"
    path.write_text(text.replace("      kubeconfig: .sandbox/kubeconfig\n", line), encoding="utf-8")
    return path


@pytest.mark.parametrize("kubeconfig", [None, "kubeconfig", "~/.kube/config"])
def test_the_sandbox_context_with_a_foreign_kubeconfig_is_refused(tmp_path: Path, kubeconfig: str | None) -> None:
    """Else the program would deploy with one file while payctl shows another cluster, and consent would be bypassed."""
    path = _sandbox_stack(tmp_path, kubeconfig)
    result = CliRunner().invoke(cli, ["up", "--config-file", str(path)])
    assert result.exit_code == 1
    assert "cluster.kube_context is payments-sandbox, but cluster.kubeconfig is" in result.stderr


def test_purge_removes_a_sandbox_that_cannot_be_destroyed_properly(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "sandbox"
    path = _sandbox_stack(tmp_path, str(folder / "kubeconfig"))
    state = folder / "backend" / ".pulumi" / "stacks" / "payments" / "dev.json"
    state.parent.mkdir(parents=True)
    state.write_text("broken", encoding="utf-8")
    result = CliRunner().invoke(cli, ["down", "--purge", "--config-file", str(path)])
    assert result.exit_code == 0, result.stderr
    assert not state.exists()


def test_down_without_an_api_server_says_that_the_stack_is_kept(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "sandbox"
    path = _sandbox_stack(tmp_path, str(folder / "kubeconfig"))
    (folder / "control-plane" / "etcd").mkdir(parents=True)
    result = CliRunner().invoke(cli, ["down", "--config-file", str(path)])
    assert result.exit_code == 0
    assert "stack dev is not destroyed, it is kept" in result.stderr


def test_a_stand_in_never_serves_an_engine_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS_PLUGINS", "stand-in")
    monkeypatch.setattr(session, "ensure", lambda *_args, **_more: {"pulumi": tmp_path / "pulumi"})
    engine, _ = session.open_engine(ROOT, Layout(tmp_path), Progress(io.StringIO()), isolated=False)
    assert list(engine.path_entries) == []
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in engine.variables


def test_a_picture_that_cannot_be_written_ends_in_one_message(tmp_path: Path) -> None:
    for arguments in (
        ["graph", "--out", str(tmp_path / "absent" / "x.svg")],
        ["render", "--out", str(Path("/proc") / "absent")],
    ):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 1
        assert "name another path" in result.stderr
        assert "Traceback" not in result.stderr
