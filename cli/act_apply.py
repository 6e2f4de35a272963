"""Carrying out a change: preview, the stack file, the engine."""

import re
import stat
from pathlib import Path

import click

from cli.lifecycle import engine_command, opened, policy_arguments, run_engine
from cli.options import record_stack
from cli.output import print_problem
from sandbox.files import write_text

# The engine's own words for a preview that finds something to do although nothing was expected.
_SOMETHING_TO_DO = "no changes were expected"
_STEP = re.compile(r"^\s*(?:\+-|-\+|\+\+|--|[-+~])\s+\S+:\S+:(?P<kind>\S+)\s+(?P<name>\S+)", re.MULTILINE)
_SHOWN_STEPS = 5


class ChangedMeanwhileError(ValueError):
    """The stack file is not what the change was weighed against."""


def undeployed(stack: str, path: Path) -> str | None:
    """Why nothing may be deployed now: what the file as it stands would change by itself. ``None``: nothing.

    The engine deploys the whole file. What somebody wrote and has not deployed was weighed by nobody here, has no
    consent and is in no budget.
    """
    record_stack(stack, path)
    with opened(stack, path, start=True) as target:
        arguments = ["--expect-no-changes", "--color", "never"]
        answer = target.engine.run(engine_command(target, "preview", arguments))
    if answer.exit_code == 0:
        return None
    if _SOMETHING_TO_DO not in answer.output:
        print_problem(answer.output.strip())
        return "the engine cannot say whether the stack is up to date; what it says stands above"
    steps = list(dict.fromkeys(f"{step['kind']} {step['name']}" for step in _STEP.finditer(answer.output)))
    more = f" and {len(steps) - _SHOWN_STEPS} more" if len(steps) > _SHOWN_STEPS else ""
    shown = f"{', '.join(steps[:_SHOWN_STEPS])}{more}" if steps else "what `payctl preview` shows"
    return (
        f"the stack is not up to date with {path.name}, and the change would deploy the rest with it: {shown}; "
        f"fix: `payctl up --stack {stack}` first, or take the other edits back"
    )


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


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
