"""What the engine says of the unchanged file: nothing, what it would do, or that it cannot tell."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import act_apply
from sandbox.engine import Result

DIFFERING = """\
Previewing update (dev):
    pulumi:pulumi:Stack payments-dev running
 ~  kubernetes:autoscaling/v2:HorizontalPodAutoscaler wallet-service-hpa update [diff: ~spec]
 +- kubernetes:batch/v1:Job migrate replace [diff: ~spec]
 +  kubernetes:core/v1:ConfigMap later create
 +  kubernetes:core/v1:ConfigMap later create
Resources:
    + 1 to create
    ~ 1 to update
    120 unchanged
error: no changes were expected but changes were proposed
"""


@dataclass
class _Engine:
    answer: Result
    arguments: Sequence[str] = ()

    def run(self, arguments: Sequence[str]) -> Result:
        self.arguments = arguments
        return self.answer


def _asked(monkeypatch: pytest.MonkeyPatch, answer: Result) -> tuple[str | None, _Engine]:
    engine = _Engine(answer)

    @contextmanager
    def opened(stack: str, _path: Path, *, start: bool) -> Iterator[Any]:
        assert start
        yield SimpleNamespace(stack=stack, engine=engine, engine_config=Path("engine.yaml"), servers=())

    monkeypatch.setattr(act_apply, "record_stack", lambda *_: None)
    monkeypatch.setattr(act_apply, "opened", opened)
    return act_apply.undeployed("dev", Path("Pulumi.dev.yaml")), engine


def test_a_stack_that_is_up_to_date_has_nothing_undeployed(monkeypatch: pytest.MonkeyPatch) -> None:
    reason, engine = _asked(monkeypatch, Result(exit_code=0, output="120 unchanged"))
    assert reason is None
    assert engine.arguments[0] == "preview"
    assert "--expect-no-changes" in engine.arguments


def test_what_differs_is_named_once_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reason, _ = _asked(monkeypatch, Result(exit_code=255, output=DIFFERING))
    assert reason is not None
    assert ": HorizontalPodAutoscaler wallet-service-hpa, Job migrate, ConfigMap later; fix: " in reason
    assert "`payctl up --stack dev` first" in reason


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f" +  kubernetes:core/v1:ConfigMap map-{number} create\n" for number in range(8))
    reason, _ = _asked(monkeypatch, Result(exit_code=255, output=f"{lines}error: no changes were expected but …"))
    assert reason is not None
    assert "ConfigMap map-4 and 3 more; " in reason


def test_an_engine_that_fails_is_no_proof_of_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reason, _ = _asked(monkeypatch, Result(exit_code=255, output="error: the backend is locked"))
    assert reason is not None
    assert "cannot say whether the stack is up to date" in reason
    shown = capsys.readouterr()
    assert "the backend is locked" in shown.out + shown.err
