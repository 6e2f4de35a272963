"""One call of ``payctl act``: what it was asked, the record that it keeps, and the person whom it asks."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli.detect import Watching
from cli.output import console
from planning.actions.audit import Decision, Entry, append, ended, is_repeated, read
from planning.actions.propose import Action, Refusal
from planning.bottlenecks.sources import Detection


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One call of the command."""

    stack: str
    path: Path
    audit: Path
    source: Watching
    actor: str
    yes: bool
    budget: float | None
    """Highest sum of increases of the month's cost that unattended runs may decide; ``None``: a person decides."""
    propose_only: bool
    quiet: bool
    """Only JSON on standard output."""
    verify_seconds: int | None
    """How long a change has to end its finding; ``None``: each action's own window."""
    cooldown_seconds: int

    def entries(self) -> list[Entry]:
        """The record of this stack, oldest first."""
        return [entry for entry in read(self.audit) if entry.stack == self.stack]

    def record(
        self,
        decision: Decision,
        answer: Action | Refusal,
        reason: str,
        details: Mapping[str, Any],
        *,
        of: Entry | None = None,
    ) -> Entry:
        """Write one line of the record, the outcome ``of`` an earlier one with its id; a mere proposal leaves none.

        What is refused in every round stands there once while it lasts.
        """
        entry = Entry(
            id=of.id if of is not None else secrets.token_hex(4),
            time_seconds=time.time(),
            stack=self.stack,
            actor=self.actor,
            decision=decision,
            finding=answer.finding.as_json(),
            edits=answer.edits if isinstance(answer, Action) else (),
            reason=reason,
            details=details,
        )
        says_no = decision in (Decision.REFUSED, Decision.FAILED)
        if not self.propose_only and not (says_no and is_repeated(self.entries(), entry)):
            append(self.audit, entry)
        return entry

    def note_ended(self, detection: Detection) -> None:
        """Write that refused findings have ended: the next refusal of the same is news again."""
        if self.propose_only:
            return
        for entry in ended(self.entries(), [finding.key for finding in detection.findings]):
            append(
                self.audit,
                replace(
                    entry,
                    time_seconds=time.time(),
                    actor=self.actor,
                    decision=Decision.ENDED,
                    edits=(),
                    reason="the finding does not hold any more",
                    details={},
                ),
            )


def agrees(question: str, *, default: bool) -> bool:
    """A person's answer; the end of the input is a no."""
    try:
        return click.confirm(question, default=default)
    except click.Abort:
        console.print()
        return False
