"""What an earlier ``payctl act`` began and did not end, because it was killed."""

import time
from dataclasses import replace

from cli.act_run import Run
from cli.output import print_problem
from planning.actions.audit import Decision, Entry, append, unfinished
from planning.actions.edit import Edit, EditError, apply_edits


def recover(run: Run) -> None:
    """Say which changes were cut off, and record what became of each as far as the stack file tells.

    A change that the file holds is judged like any other. What the engine did not finish is `payctl up`'s to do: until
    then the stack is not up to date, and nothing else is applied.
    """
    for entry in unfinished(run.entries()):
        held = _holds(run, entry)
        outcome = Decision.APPLIED if held else Decision.FAILED
        reason = f"the run was cut off; the stack file {'holds the change' if held else 'does not hold the change'}"
        print_problem(
            f"{entry.id}: an earlier run was cut off while it applied {'; '.join(map(str, entry.edits))}; the stack "
            f"file {'holds' if held else 'does not hold'} it; fix: `payctl up --stack {run.stack}` deploys the file"
        )
        if not run.propose_only:
            written = replace(entry, time_seconds=time.time(), decision=outcome, reason=reason)
            append(run.audit, written)


def _holds(run: Run, entry: Entry) -> bool:
    back = [Edit(path=edit.path, before=edit.after, after=edit.before) for edit in entry.edits]
    try:
        apply_edits(run.path.read_text(encoding="utf-8"), back)
    except EditError:
        return False
    return True
