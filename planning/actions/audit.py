"""The record of what was proposed, refused, applied and undone: one JSON object a line, only ever appended to."""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    ENDED = "ended"
    """A refused finding does not hold any more."""
    DECLINED = "declined"
    """A person said no."""
    APPLYING = "applying"
    """Written before anything is touched: without an outcome after it the run was cut off."""
    APPLIED = "applied"
    FAILED = "failed"
    """The engine said no, to a change or to taking it back; the stack file is as before."""
    VERIFIED = "verified"
    REVERTING = "reverting"
    """As ``applying``, for taking a change back."""
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

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, subject and metric: what makes two findings the same one."""
        return str(self.finding["kind"]), str(self.finding["subject"]), str(self.finding["metric"])

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
    """Add one line and wait until it is on the disk; writers on the same machine wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        path.touch(mode=_PRIVATE_MODE)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry.as_json(), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


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


def unfinished(entries: Sequence[Entry]) -> list[Entry]:
    """Actions that a run began and whose outcome nobody wrote: the run was cut off. Oldest first."""
    ended = {entry.id for entry in entries if entry.decision in (Decision.APPLIED, Decision.FAILED)}
    return [entry for entry in entries if entry.decision is Decision.APPLYING and entry.id not in ended]


def half_undone(entries: Sequence[Entry]) -> list[Entry]:
    """Changes that a run began to take back, and nobody wrote how that ended: the run was cut off. Oldest first."""
    newest = {entry.id: entry for entry in entries}
    return [entry for entry in newest.values() if entry.decision is Decision.REVERTING]


def held_back(
    entries: Sequence[Entry],
    service: str,
    paths: Collection[tuple[str, ...]],
    *,
    now_seconds: float,
    cooldown_seconds: int,
) -> str | None:
    """Why a service, or any of the settings' paths, must not be changed now. ``None``: they may.

    A path holds too, because findings of different services may be answered by the same setting.
    """
    about = [entry for entry in entries if entry.service == service or any(edit.path in paths for edit in entry.edits)]
    open_ones = [*pending(about), *unfinished(about)]
    if open_ones:
        last = open_ones[-1]
        return f"action {last.id} of {_what(last, service)} waits for its verification (payctl act --verify)"
    changes = [entry for entry in about if entry.decision in _CHANGES]
    if not changes:
        return None
    last = max(changes, key=lambda entry: entry.time_seconds)
    left = cooldown_seconds - (now_seconds - last.time_seconds)
    if left > 0:
        what = _what(last, service)
        return f"{what} was changed less than {cooldown_seconds} s ago; {left:.0f} s of the cooldown are left"
    return None


# An attempt counts: an engine that refuses a change would otherwise be asked again in every round.
_CHANGES = (Decision.APPLYING, Decision.APPLIED, Decision.REVERTING, Decision.REVERTED)


def _what(entry: Entry, service: str) -> str:
    return service if entry.service == service else ", ".join(edit.dotted for edit in entry.edits)


UNATTENDED = "unattended"
"""Actor of what nobody agreed to."""
BUDGET_DAYS = 30
"""Time over which an unattended budget is added up: as long as the month whose cost it bounds."""


def decided_unattended(entries: Sequence[Entry], now_seconds: float) -> float:
    """Increase of the month's cost that unattended runs have decided in the last ``BUDGET_DAYS``, in the prices' money.

    What was undone costs nothing any more; what was cut off may cost. A change that saves gives nothing to spend.
    """
    counted = [entry for entry in entries if entry.decision is Decision.APPLIED] + unfinished(entries)
    undone = {entry.id for entry in entries if entry.decision is Decision.REVERTED}
    since = now_seconds - BUDGET_DAYS * 86_400
    return sum(
        _largest_increase(entry)
        for entry in counted
        if entry.actor == UNATTENDED and entry.id not in undone and entry.time_seconds > since
    )


def _largest_increase(entry: Entry) -> float:
    cost = entry.details.get("cost") or {}
    return max(0.0, *(float(cost.get(which, 0.0)) for which in ("minimum", "typical", "maximum")))


_NUMBER = re.compile(r"\d[\d.,]*")


def is_repeated(entries: Sequence[Entry], new: Entry) -> bool:
    """Whether the record says a refusal already, with other figures at most, since something else became of it."""
    for entry in reversed(entries):
        if entry.key != new.key:
            continue
        if entry.decision not in _REFUSALS:
            return False
        if entry.decision is new.decision and _NUMBER.sub("#", entry.reason) == _NUMBER.sub("#", new.reason):
            return True
    return False


def ended(entries: Sequence[Entry], holding: Iterable[tuple[str, str, str]]) -> list[Entry]:
    """The newest entry of each finding that was refused and is not among those that hold now."""
    newest = {entry.key: entry for entry in entries}
    held = set(holding)
    return [entry for key, entry in newest.items() if entry.decision in _REFUSALS and key not in held]


_REFUSALS = (Decision.REFUSED, Decision.FAILED)
