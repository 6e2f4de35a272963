"""The record of what was proposed, refused, applied and undone: one JSON object a line, only ever appended to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock

from planning.actions.edit import Edit

_PRIVATE_MODE = 0o640


class Decision(StrEnum):
    """What became of an action."""

    REFUSED = "refused"
    DECLINED = "declined"
    """A person said no."""
    APPLIED = "applied"
    FAILED = "failed"
    """The engine said no; the stack file is as before."""
    VERIFIED = "verified"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
    """A person has set another value since: there is nothing left to judge or to undo."""


class AuditError(ValueError):
    """A record that cannot be read; the message names file and line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the record."""

    id: str
    """Names the action; its verification has the same one."""
    time_seconds: float
    stack: str
    actor: str
    decision: Decision
    finding: Mapping[str, Any]
    edits: tuple[Edit, ...]
    reason: str
    details: Mapping[str, Any]
    """Diff, policies, forecast, cost."""

    @property
    def service(self) -> str:
        """Service whose settings it is about."""
        return str(self.finding["service"])

    def as_json(self) -> dict[str, Any]:
        """Plain values, the time once more as a date."""
        return {
            "id": self.id,
            "time": datetime.fromtimestamp(self.time_seconds, tz=UTC).isoformat(timespec="seconds"),
            "time_seconds": self.time_seconds,
            "stack": self.stack,
            "actor": self.actor,
            "decision": str(self.decision),
            "finding": dict(self.finding),
            "edits": [{"path": list(edit.path), "before": edit.before, "after": edit.after} for edit in self.edits],
            "reason": self.reason,
            "details": dict(self.details),
        }


def append(path: Path, entry: Entry) -> None:
    """Add one line; writers on the same machine wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        path.touch(mode=_PRIVATE_MODE)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry.as_json(), ensure_ascii=False) + "\n")
            file.flush()


def read(path: Path) -> list[Entry]:
    """Every entry, oldest first; none when there is no file. Raises ``AuditError``."""
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entries.append(_entry(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            message = (
                f"{path.name} line {number}: no entry of the record ({type(error).__name__}); fix: restore the file"
            )
            raise AuditError(message) from None
    return entries


def _entry(document: Mapping[str, Any]) -> Entry:
    return Entry(
        id=document["id"],
        time_seconds=float(document["time_seconds"]),
        stack=document["stack"],
        actor=document["actor"],
        decision=Decision(document["decision"]),
        finding=document["finding"],
        edits=tuple(
            Edit(path=tuple(edit["path"]), before=edit["before"], after=edit["after"]) for edit in document["edits"]
        ),
        reason=document["reason"],
        details=document["details"],
    )


_SETTLED = (Decision.VERIFIED, Decision.REVERTED, Decision.SUPERSEDED)


def pending(entries: Sequence[Entry]) -> list[Entry]:
    """Applied actions that nobody has verified or undone yet, oldest first."""
    settled = {entry.id for entry in entries if entry.decision in _SETTLED}
    return [entry for entry in entries if entry.decision is Decision.APPLIED and entry.id not in settled]


def held_back(entries: Sequence[Entry], service: str, now_seconds: float, cooldown_seconds: int) -> str | None:
    """Why a service must not be changed now: an unverified change, or one within the cooldown. ``None``: it may."""
    unverified = [entry for entry in pending(entries) if entry.service == service]
    if unverified:
        return f"action {unverified[-1].id} of {service} waits for its verification (payctl act --verify)"
    moments = [
        entry.time_seconds
        for entry in entries
        if entry.service == service and entry.decision in (Decision.APPLIED, Decision.REVERTED)
    ]
    left = cooldown_seconds - (now_seconds - max(moments)) if moments else 0.0
    if left > 0:
        return f"{service} was changed less than {cooldown_seconds} s ago; {left:.0f} s of the cooldown are left"
    return None
