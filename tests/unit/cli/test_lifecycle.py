"""What payctl decides before the engine starts: whose backend, and whether a person has agreed."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.lifecycle import in_sandbox, layout_for
from cli.main import cli
from cli.options import load_stack
from cli.recording import ROOT
from sandbox.engine import Engine


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
    assert environment["PULUMI_BACKEND_URL"] == f"file://{tmp_path / 'state' / 'backend'}"
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment
