"""How the engine is called: its environment, its stack files, and locks that a killed one left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.engine import Engine
from sandbox.errors import SandboxError
from tests.unit.sandbox.fakes import executable

# Writes what the real `stack init` writes: the salt into the stack file of its folder, the state into the backend.
_INIT = """#!/bin/sh
echo "$@" >> "{calls}"
case "$1 $2" in
  "stack init")
    echo "encryptionsalt: v1:new:salt" > "Pulumi.$3.yaml"
    mkdir -p "{backend}/.pulumi/stacks/project"
    echo '{{}}' > "{backend}/.pulumi/stacks/project/$3.json" ;;
  *) echo "in $PWD"; echo "with $PULUMI_BACKEND_URL" >&2; exit 3 ;;
esac
"""
_COMMITTED = "# The plan's numbers.\nconfig:\n    payments:platform:   {}\n"


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    project, state = tmp_path / "project", tmp_path / "state"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: payments\nruntime: python\n", encoding="utf-8")
    (project / "Pulumi.dev.yaml").write_text(_COMMITTED, encoding="utf-8")
    script = _INIT.format(calls=tmp_path / "calls", backend=state / "backend")
    return Engine(
        pulumi=executable(tmp_path / "bin" / "pulumi", script),
        project=project,
        state=state,
        path_entries=[tmp_path / "plugins"],
        variables={"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"},
    )


def test_the_engine_keeps_everything_in_the_state_folder(engine: Engine) -> None:
    environment = engine.environment()
    assert environment["PULUMI_HOME"] == str(engine.state / "pulumi-home")
    assert environment["PULUMI_BACKEND_URL"] == f"file://{engine.state / 'backend'}?metadata=skip"
    assert environment["PATH"].split(os.pathsep)[0] == str(engine.path_entries[0])
    assert environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_the_passphrase_is_generated_once_private_and_only_named_in_the_environment(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of-another-backend")
    environment = engine.environment()
    path = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    passphrase = path.read_text(encoding="utf-8").strip()
    assert len(passphrase) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PULUMI_CONFIG_PASSPHRASE" not in environment
    assert passphrase not in environment.values()
    engine.environment()
    assert path.read_text(encoding="utf-8").strip() == passphrase


def test_a_new_stack_leaves_the_committed_file_alone_and_its_copy_has_the_salt(engine: Engine) -> None:
    copy = engine.config_file("dev")
    assert (engine.project / "Pulumi.dev.yaml").read_text(encoding="utf-8") == _COMMITTED
    assert copy.read_text(encoding="utf-8") == f"{_COMMITTED}encryptionsalt: v1:new:salt\n"
    assert copy.stat().st_mode & 0o077 == 0
    assert not copy.is_relative_to(engine.project)


def test_the_stack_is_created_once_and_the_copy_follows_the_committed_file(engine: Engine, tmp_path: Path) -> None:
    engine.config_file("dev")
    (engine.project / "Pulumi.dev.yaml").write_text("config: {}\n", encoding="utf-8")
    assert engine.config_file("dev").read_text(encoding="utf-8") == "config: {}\nencryptionsalt: v1:new:salt\n"
    assert (tmp_path / "calls").read_text(encoding="utf-8").count("stack init dev") == 1


def test_a_lost_salt_is_named_before_a_secret_is_read_wrongly(engine: Engine) -> None:
    engine.config_file("dev")
    (engine.state / "stacks" / "init" / "Pulumi.dev.yaml").unlink()
    with pytest.raises(SandboxError, match="stack dev exists, but the salt of its secrets is missing"):
        engine.config_file("dev")


def test_an_engine_that_cannot_create_the_stack_is_quoted(engine: Engine) -> None:
    executable(engine.pulumi, "#!/bin/sh\necho 'error: no backend' >&2\nexit 1\n")
    with pytest.raises(SandboxError, match="cannot create stack dev: error: no backend"):
        engine.config_file("dev")


def test_a_run_takes_place_in_the_project_and_returns_code_and_both_streams(engine: Engine) -> None:
    result = engine.run(["preview", "--stack", "dev"])
    assert result.exit_code == 3
    assert f"in {engine.project}" in result.output
    assert f"with {engine.backend_url}" in result.output


def _lock(engine: Engine, stack: str, pid: int) -> Path:
    path = engine.state / "backend" / ".pulumi" / "locks" / "organization" / "payments" / stack / f"{pid}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": pid, "username": "u", "hostname": "h"}), encoding="utf-8")
    return path


def test_only_locks_of_engines_that_are_gone_are_removed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.engine._command_line", lambda _pid: "bash\0")
    gone = 2**22 + 1  # above the highest pid that Linux gives
    stale, other_stack = _lock(engine, "dev", gone), _lock(engine, "prod", gone)
    recycled = _lock(engine, "dev", os.getpid())  # a living process that is no engine
    assert len(engine.recover("dev")) == 2
    assert not stale.exists()
    assert not recycled.exists()
    assert other_stack.exists()
    assert engine.recover("dev") == []


def test_the_lock_of_a_running_engine_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = _lock(engine, "dev", os.getpid())
    monkeypatch.setattr("sandbox.engine._command_line", lambda _pid: "pulumi\0up\0")
    assert engine.recover("dev") == []
    assert lock.exists()


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_takes_too_long_is_asked_to_save_its_state(
    engine: Engine, tmp_path: Path, *, stream: bool
) -> None:
    saved = tmp_path / "saved"
    # Python and not sh: a shell cannot trap a signal that its parent ignored, as a background job's parent does.
    handler = f"lambda *_: (pathlib.Path({str(saved)!r}).touch(), sys.exit(0))"
    program = f"import pathlib, signal, sys, time\nsignal.signal(signal.SIGINT, {handler})\ntime.sleep(60)\n"
    executable(engine.pulumi, f"#!{sys.executable}\n{program}")
    with pytest.raises(subprocess.TimeoutExpired):
        engine.run(["up"], stream=stream, timeout_seconds=1)
    assert saved.exists()
