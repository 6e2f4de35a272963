"""Carrying out a change: preview, the stack file, the engine; and undoing it."""

import stat
from pathlib import Path

import click

from cli.lifecycle import opened, policy_arguments, run_engine
from cli.options import record_stack
from planning.actions.edit import Edit, apply_edits
from sandbox.files import write_text


class ChangedMeanwhileError(ValueError):
    """The stack file is not what the change was weighed against."""


def preview(stack: str, path: Path, text: str) -> bool:
    """Show what the engine would change with a candidate text; the stack file stays as it is."""
    candidate = path.with_name(f".candidate.{path.name}")
    write_text(candidate, text, mode=_mode(path))
    try:
        recording = record_stack(stack, candidate)
        with opened(stack, candidate, start=True) as target:
            run_engine(target, "preview", ["--diff", *policy_arguments(stack)], recording)
    except click.exceptions.Exit:
        return False
    finally:
        candidate.unlink(missing_ok=True)
    return True


def apply(stack: str, path: Path, *, before: str, after: str) -> bool:
    """Write the stack file and deploy it. When the engine refuses, the file is as before.

    Raises ``ChangedMeanwhileError`` when somebody has written the file since it was read.
    """
    if path.read_text(encoding="utf-8") != before:
        message = f"{path.name} was changed by somebody else meanwhile; nothing was changed; fix: run the command again"
        raise ChangedMeanwhileError(message)
    mode = _mode(path)
    write_text(path, after, mode=mode)
    try:
        recording = record_stack(stack, path)
        with opened(stack, path, start=True) as target:
            run_engine(target, "up", ["--yes", *policy_arguments(stack)], recording)
    except BaseException as reason:
        # Whatever ended it, the file must not promise what was not deployed.
        write_text(path, before, mode=mode)
        if isinstance(reason, click.exceptions.Exit):
            return False
        raise
    return True


def undo(stack: str, path: Path, edits: tuple[Edit, ...]) -> str | None:
    """Take a change back; returns why the engine did not, ``None`` when it is done.

    Raises ``EditError`` where the file does not hold what the change wrote: what a person has set since then stays.
    """
    before = path.read_text(encoding="utf-8")
    back = tuple(Edit(path=edit.path, before=edit.after, after=edit.before) for edit in edits)
    after = apply_edits(before, back)
    if not apply(stack, path, before=before, after=after):
        return "the engine refused it; what it says stands above"
    return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
