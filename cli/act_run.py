"""One call of ``payctl act``: what it was asked, the record that it keeps, and the person whom it asks."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.detect import Watching
from cli.output import console
from planning.actions.audit import Decision, Entry, append, read
from planning.actions.propose import Action, Refusal


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
    """Highest increase in a month that an unattended run may decide; ``None``: a person decides."""
    propose_only: bool
    quiet: bool
    """Only JSON on standard output."""
    verify_seconds: int
    cooldown_seconds: int

    def entries(self) -> list[Entry]:
        """The record of this stack, oldest first."""
        return [entry for entry in read(self.audit) if entry.stack == self.stack]

    def record(self, decision: Decision, answer: Action | Refusal, reason: str, details: Mapping[str, Any]) -> Entry:
        """Write one line of the record; a mere proposal leaves none."""
        entry = Entry(
            id=secrets.token_hex(4),
            time_seconds=time.time(),
            stack=self.stack,
            actor=self.actor,
            decision=decision,
            finding=answer.finding.as_json(),
            edits=answer.edits if isinstance(answer, Action) else (),
            reason=reason,
            details=details,
        )
        if not self.propose_only:
            append(self.audit, entry)
        return entry


def agrees(question: str, *, default: bool) -> bool:
    """A person's answer; the end of the input is a no."""
    try:
        return click.confirm(question, default=default)
    except click.Abort:
        console.print()
        return False
