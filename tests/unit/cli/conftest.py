"""Commands under test declare the same few stacks again and again: each is declared once in a process."""

import functools
import json
from collections.abc import Callable

import pytest

from cli import recording
from cli.stack_file import StackFile

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
