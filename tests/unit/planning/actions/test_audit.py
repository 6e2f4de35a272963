"""The record: what is written is read again, and what it holds back."""

from dataclasses import replace
from pathlib import Path

import pytest

from planning.actions.audit import (
    AuditError,
    Decision,
    Entry,
    append,
    decided_unattended,
    ended,
    held_back,
    is_repeated,
    pending,
    read,
    unfinished,
)
from planning.actions.edit import Edit


def _entry(decision: Decision, *, id: str = "a1", time: float = 100.0, service: str = "payment-service") -> Entry:  # noqa: A002 # as the field
    return Entry(
        id=id, time_seconds=time, stack="dev", actor="ann", decision=decision,
        finding={"service": service, "kind": "CONSUMER_LAG", "subject": service, "metric": "lag_per_consumer"},
        edits=(Edit(path=("a", "b"), before=3, after=6),),
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


def _held(entries: list[Entry], service: str, now: float, cooldown: int, path: tuple[str, ...] = ("c",)) -> str:
    return str(held_back(entries, service, [path], now_seconds=now, cooldown_seconds=cooldown))


def test_a_service_rests_after_a_change_and_others_do_not() -> None:
    judged = [_entry(Decision.APPLIED), _entry(Decision.VERIFIED, time=200.0)]
    assert "payment-service was changed" in _held(judged, "payment-service", 400.0, 900)
    assert "600 s of the cooldown are left" in _held(judged, "payment-service", 400.0, 900)
    assert _held(judged, "payment-service", 1000.0, 900) == "None"
    assert _held(judged, "wallet-service", 400.0, 900) == "None"


def test_a_path_rests_whichever_service_it_was_changed_for() -> None:
    applied = [_entry(Decision.APPLIED)]
    assert "of a.b waits for its verification" in _held(applied, "wallet-service", 1e9, 0, ("a", "b"))
    judged = [*applied, _entry(Decision.VERIFIED, time=200.0)]
    assert "a.b was changed less than 900 s ago" in _held(judged, "wallet-service", 400.0, 900, ("a", "b"))


def test_a_service_with_an_unjudged_change_is_left_alone_however_old_it_is() -> None:
    assert "waits for its verification" in _held([_entry(Decision.APPLIED)], "payment-service", 1e9, 0)
    assert "waits for its verification" in _held([_entry(Decision.APPLYING)], "payment-service", 1e9, 0)


def test_an_undone_or_refused_change_starts_the_cooldown_too() -> None:
    undone = [_entry(Decision.APPLIED), _entry(Decision.REVERTED, time=1000.0)]
    assert _held(undone, "payment-service", 1100.0, 900) != "None"
    refused = [_entry(Decision.APPLYING), _entry(Decision.FAILED, time=101.0)]
    assert _held(refused, "payment-service", 1100.0, 900) == "None"
    assert "cooldown" in _held(refused, "payment-service", 900.0, 900)


def test_an_action_without_an_outcome_is_unfinished() -> None:
    begun = _entry(Decision.APPLYING)
    assert unfinished([begun]) == [begun]
    assert unfinished([begun, _entry(Decision.APPLIED)]) == []
    assert unfinished([begun, _entry(Decision.FAILED)]) == []
    assert unfinished([begun, _entry(Decision.APPLIED, id="b2")]) == [begun]


def test_a_refusal_is_repeated_until_something_else_becomes_of_its_finding() -> None:
    refused = replace(_entry(Decision.REFUSED), reason="600.5 s are left")
    again = replace(refused, reason="585 s are left")
    assert is_repeated([refused], again)
    assert is_repeated([refused, _entry(Decision.REFUSED, service="wallet-service")], again)
    assert not is_repeated([refused], replace(again, reason="the budget is 3"))
    assert not is_repeated([refused, _entry(Decision.APPLIED)], again)
    assert not is_repeated([refused, _entry(Decision.ENDED)], again)
    assert not is_repeated([], again)


def test_a_refused_finding_that_holds_no_more_has_ended() -> None:
    refused = _entry(Decision.REFUSED)
    assert ended([refused], [refused.key]) == []
    assert ended([refused], []) == [refused]
    assert ended([refused, _entry(Decision.ENDED)], []) == []
    assert ended([_entry(Decision.APPLIED)], []) == []


def _cost(decision: Decision, *, id: str = "a1", time: float = 100.0, actor: str = "unattended", most: float) -> Entry:  # noqa: A002 # as the field
    cost = {"currency": "USD", "minimum": -5.0, "typical": 1.0, "maximum": most}
    return replace(_entry(decision, id=id, time=time), actor=actor, details={"cost": cost})


def test_what_was_decided_unattended_adds_up_until_it_is_undone_or_old() -> None:
    entries = [
        _cost(Decision.APPLYING, most=10.0), _cost(Decision.APPLIED, most=10.0),
        _cost(Decision.APPLYING, id="b", most=20.0), _cost(Decision.APPLIED, id="b", most=20.0),
        _cost(Decision.APPLIED, id="c", actor="ann", most=40.0),
        _cost(Decision.REFUSED, id="d", most=80.0),
        _cost(Decision.APPLYING, id="e", most=160.0),
    ]  # fmt: skip
    assert decided_unattended(entries, 200.0) == 10.0 + 20.0 + 160.0
    assert decided_unattended([*entries, _cost(Decision.REVERTED, id="b", most=0.0)], 200.0) == 10.0 + 160.0
    assert decided_unattended(entries, 100.0 + 31 * 86_400) == 0.0
    assert decided_unattended([_entry(Decision.APPLIED)], 200.0) == 0.0
