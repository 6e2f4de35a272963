"""``payctl act --verify``: a change that did not end its finding in time is undone."""

import time

from cli.act_apply import ChangedMeanwhileError, apply, undeployed
from cli.act_run import Run, agrees
from cli.detect import sentence
from cli.output import console, print_problem
from planning.actions.audit import Decision, Entry, append, pending
from planning.actions.edit import EditError, apply_edits, reversed_edits
from planning.bottlenecks.findings import MISSING_DATA
from planning.bottlenecks.sources import Detection

_EVERY_SECONDS = 15


def settle(run: Run, *, wait: bool) -> bool:
    """Judge every change that waits for it; whether all are verified. ``wait`` looks again until all are judged."""
    verdicts: dict[str, bool | None] = {}
    while True:
        # One that could not be undone is a person's to look at: it is tried once a run.
        entries = [entry for entry in pending(run.entries()) if verdicts.get(entry.id) is None]
        if not entries:
            return False not in verdicts.values()
        detection = run.source.detect()
        verdicts |= {entry.id: _judge(run, entry, detection) for entry in entries}
        if None not in verdicts.values():
            return False not in verdicts.values()
        last = max(entry.time_seconds + 2 * float(entry.details["verify_seconds"]) for entry in entries)
        if not wait or time.time() > last:
            return False  # a source that stays silent for so long is a person's to look at
        time.sleep(_EVERY_SECONDS)


def _judge(run: Run, entry: Entry, detection: Detection) -> bool | None:
    """Verified, undone, or ``None`` for not yet."""
    finding = entry.finding
    same = [
        each for each in detection.findings if each.subject == finding["subject"] and each.metric == finding["metric"]
    ]
    now, due = time.time(), entry.time_seconds + float(entry.details["verify_seconds"])
    stale = detection.end_seconds <= float(entry.details["source_end_seconds"])
    if stale or any(each.kind == MISSING_DATA for each in same):
        console.print(f"{entry.id}: no sample since the change; it cannot be judged", markup=False)
        return None
    if now < due:
        # Also when it is quiet: a finding that comes back within the window has not ended.
        state = sentence(same[0]) if same else f"{finding['kind']} of {finding['subject']} does not hold now"
        console.print(f"{entry.id}: {state}; {due - now:.0f} s of its time are left", markup=False)
        return None
    if not same:
        _append(run, entry, Decision.VERIFIED, "the finding has ended", detection)
        console.print(f"{entry.id}: verified, {finding['kind']} of {finding['subject']} has ended", markup=False)
        return True
    return _undo(run, entry, detection)


def _undo(run: Run, entry: Entry, detection: Detection) -> bool | None:
    finding = entry.finding
    why = f"{finding['kind']} of {finding['subject']} still holds after {entry.details['verify_seconds']} s"
    if not run.yes and not agrees(f"{entry.id}: {why}. Undo it?", default=True):
        return None
    before = run.path.read_text(encoding="utf-8")
    try:
        after = apply_edits(before, reversed_edits(entry.edits))
    except EditError as error:
        # What a person has set since then stays.
        _append(run, entry, Decision.SUPERSEDED, f"{why}, and it is not ours any more: {error}", detection)
        print_problem(f"{entry.id}: {why}, and it is not ours any more: {error}")
        return False
    refused = undeployed(run.stack, run.path)
    if refused is None and _take_back(run, entry, detection, before=before, after=after):
        _append(run, entry, Decision.REVERTED, f"{why}: the forecast was wrong", detection)
        console.print(f"{entry.id}: undone, {why}", markup=False)
    else:
        said = refused or "the engine refused it; what it says stands above"
        print_problem(f"{entry.id}: {why}, and it cannot be undone: {said}")
    return False


def _take_back(run: Run, entry: Entry, detection: Detection, *, before: str, after: str) -> bool:
    """Deploy the file without the change; the record says so before anything is touched, and when it failed."""
    _append(run, entry, Decision.REVERTING, "it is taken back", detection)
    try:
        deployed = apply(run.stack, run.path, before=before, after=after)
    except ChangedMeanwhileError as error:
        _append(run, entry, Decision.FAILED, str(error), detection)
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}; the stack file still holds the change, `payctl up` deploys it"
        _append(run, entry, Decision.FAILED, reason, detection)
        raise
    if not deployed:
        _append(
            run, entry, Decision.FAILED, "the engine refused to take it back; the stack file still holds it", detection
        )
    return deployed


def _append(run: Run, applied: Entry, decision: Decision, reason: str, detection: Detection) -> None:
    append(
        run.audit,
        Entry(
            id=applied.id,
            time_seconds=time.time(),
            stack=run.stack,
            actor=run.actor,
            decision=decision,
            finding=applied.finding,
            edits=applied.edits,
            reason=reason,
            details={"findings": [sentence(each) for each in detection.findings]},
        ),
    )
