"""What an earlier ``payctl act`` began and did not end, because it was killed: a change, or taking one back."""

import time
from collections.abc import Sequence
from dataclasses import replace

from cli.act_run import Run
from cli.output import print_problem
from planning.actions.audit import Decision, Entry, append, half_undone, unfinished
from planning.actions.edit import Edit, EditError, apply_edits, reversed_edits


def recover(run: Run) -> None:
    """Say which changes were cut off, and record what became of each as far as the stack file tells.

    A change that the file holds is judged like any other. What the engine did not finish is `payctl up`'s to do: until
    then the stack is not up to date, and nothing else is applied.
    """
    for entry in unfinished(run.entries()):
        held = _holds(run, entry.edits)
        outcome = Decision.APPLIED if held else Decision.FAILED
        reason = f"the run was cut off; the stack file {'holds the change' if held else 'does not hold the change'}"
        print_problem(
            f"{entry.id}: an earlier run was cut off while it applied {'; '.join(map(str, entry.edits))}; the stack "
            f"file {'holds' if held else 'does not hold'} it; fix: `payctl up --stack {run.stack}` deploys the file"
        )
        _record(run, entry, outcome, reason)
    for entry in half_undone(run.entries()):
        outcome, state = _taken_back(run, entry)
        print_problem(
            f"{entry.id}: an earlier run was cut off while it took {'; '.join(map(str, entry.edits))} back; the stack "
            f"file {state}; fix: `payctl up --stack {run.stack}` deploys the file"
        )
        _record(run, entry, outcome, f"the run was cut off; the stack file {state}")


def _taken_back(run: Run, entry: Entry) -> tuple[Decision, str]:
    if _holds(run, entry.edits):
        # It still waits to be judged, and is taken back then.
        return Decision.FAILED, "still holds the change"
    if _holds(run, reversed_edits(entry.edits)):
        return Decision.REVERTED, "holds the values from before"
    return Decision.SUPERSEDED, "holds what somebody has set since then"


def _record(run: Run, entry: Entry, outcome: Decision, reason: str) -> None:
    if not run.propose_only:
        append(run.audit, replace(entry, time_seconds=time.time(), decision=outcome, reason=reason))


def _holds(run: Run, edits: Sequence[Edit]) -> bool:
    """Whether the stack file has the values that the edits lead to."""
    try:
        apply_edits(run.path.read_text(encoding="utf-8"), reversed_edits(edits))
    except EditError:
        return False
    return True
