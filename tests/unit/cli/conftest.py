"""Commands under test declare the same few stacks again and again: each is declared once in a process."""

import functools
import json
from collections.abc import Callable, Sequence

import pytest

from cli import act_weigh, recording
from cli.check import find_violations
from cli.stack_file import StackFile
from policies.evaluate import Finding

_kept: dict[str, recording.Recording] = {}


@pytest.fixture(autouse=True)
def _recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own declarations are kept by the whole stack file; the command's code runs as it is."""
    original = recording.record

    @functools.wraps(original)
    def record(declare: Callable[[], object], stack_file: StackFile) -> recording.Recording:
        if "record_program" not in declare.__qualname__:
            return original(declare, stack_file)
        key = json.dumps([stack_file.stack, stack_file.source, stack_file.config], sort_keys=True)
        if key not in _kept:
            _kept[key] = original(declare, stack_file)
        return _kept[key]

    monkeypatch.setattr(recording, "record", record)


_judged: dict[tuple[int, str], tuple[Sequence[recording.Recorded], list[Finding]]] = {}


@pytest.fixture(autouse=True)
def _judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was declared once is judged once: the pack is a function of it."""

    def find(resources: Sequence[recording.Recorded], stack: str) -> list[Finding]:
        key = (id(resources), stack)
        if key not in _judged:
            _judged[key] = (resources, find_violations(resources, stack))  # the resources stay, so their id does
        return _judged[key][1]

    monkeypatch.setattr(act_weigh, "find_violations", find)
