"""What a newcomer is told who asks for the state of a sandbox that was never made."""

from pathlib import Path

import pytest
import yaml

from sandbox.controlplane import require_ready
from sandbox.errors import SandboxError
from sandbox.layout import Layout


def test_a_sandbox_that_was_never_made_is_not_called_lost(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no sandbox in this checkout yet") as missing:
        require_ready(Layout(tmp_path))
    assert "makes one" in str(missing.value.next_step)
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_ran_and_does_not_answer_is_brought_up_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": str(tmp_path / "ca.crt")}
    document = {"clusters": [{"cluster": cluster}], "users": [{"user": {"token": "canary"}}]}
    layout.kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(SandboxError, match="does not answer"):
        require_ready(layout)
