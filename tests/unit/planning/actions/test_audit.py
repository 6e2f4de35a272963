"""The record: what is written is read again, and what it holds back."""

from pathlib import Path

import pytest

from planning.actions.audit import AuditError, Decision, Entry, append, held_back, pending, read
from planning.actions.edit import Edit


def _entry(decision: Decision, *, id: str = "a1", time: float = 100.0, service: str = "payment-service") -> Entry:  # noqa: A002 # as the field
    return Entry(
        id=id, time_seconds=time, stack="dev", actor="ann", decision=decision,
        finding={"service": service, "kind": "CONSUMER_LAG"}, edits=(Edit(path=("a", "b"), before=3, after=6),),
        reason="because", details={"diff": "+ ü"},
    )  # fmt: skip


def test_entries_are_appended_and_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.jsonl"
    written = [_entry(Decision.APPLIED), _entry(Decision.VERIFIED, time=200.0)]
    for entry in written:
        append(path, entry)
    assert read(path) == written
    assert path.read_text(encoding="utf-8").count("\n") == 2


def test_no_record_is_an_empty_one_and_a_broken_one_is_said(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    assert read(path) == []
    append(path, _entry(Decision.APPLIED))
    path.write_text(path.read_text(encoding="utf-8") + '{"id": 1}\n', encoding="utf-8")
    with pytest.raises(AuditError, match=r"audit\.jsonl line 2"):
        read(path)


def test_an_applied_change_waits_until_it_is_judged() -> None:
    applied = _entry(Decision.APPLIED)
    assert pending([applied]) == [applied]
    assert pending([applied, _entry(Decision.VERIFIED, time=200.0)]) == []
    assert pending([applied, _entry(Decision.REVERTED, time=200.0)]) == []
    assert pending([_entry(Decision.FAILED), _entry(Decision.REFUSED)]) == []


def test_a_service_rests_after_a_change_and_others_do_not() -> None:
    judged = [_entry(Decision.APPLIED), _entry(Decision.VERIFIED, time=200.0)]
    assert "600 s of the cooldown are left" in str(held_back(judged, "payment-service", 400.0, 900))
    assert held_back(judged, "payment-service", 1000.0, 900) is None
    assert held_back(judged, "wallet-service", 400.0, 900) is None


def test_a_service_with_an_unjudged_change_is_left_alone_however_old_it_is() -> None:
    assert "waits for its verification" in str(held_back([_entry(Decision.APPLIED)], "payment-service", 1e9, 0))


def test_an_undone_change_starts_the_cooldown_too() -> None:
    undone = [_entry(Decision.APPLIED), _entry(Decision.REVERTED, time=1000.0)]
    assert held_back(undone, "payment-service", 1100.0, 900) is not None
