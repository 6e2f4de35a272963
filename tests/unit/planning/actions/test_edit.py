"""Edits of stack files: comments, order and shared parts stay; only what was meant is different."""

import difflib

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.recording import ROOT
from planning.actions.edit import Edit, EditError, apply_edits, diff

API = ("services", "payment-service", "api")


def _text(stack: str) -> str:
    return (ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")


def _changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("---", "+++")]


def _platform(text: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(text)["config"]["payments:platform"]
    return found


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_one_number_is_one_line_and_every_comment_stays(stack: str) -> None:
    text = _text(stack)
    edit = Edit(path=(*API, "scaling", "min_replicas"), before=3, after=5)
    assert [line.split() for line in _changed_lines(text, apply_edits(text, [edit]))] == [
        ["-", "min_replicas:", "3"],
        ["+", "min_replicas:", "5"],
    ]


@pytest.mark.parametrize("stack", ["dev", "prod"])
@example(count=1)
@example(count=1000)
@settings(max_examples=4)  # each reads and writes a whole stack file twice
@given(count=st.integers(1, 1000))
def test_a_change_taken_back_gives_the_same_bytes(stack: str, count: int) -> None:
    text = _text(stack)
    path = ("services", "wallet-service", "consumer", "scaling", "min_replicas")
    there = apply_edits(text, [Edit(path=path, before=3, after=count)])
    assert apply_edits(there, [Edit(path=path, before=count, after=3)]) == text


@pytest.mark.parametrize("service", ["payment-service", "wallet-service"])
def test_what_others_share_through_an_anchor_stays_theirs(service: str) -> None:
    """``resources: &resources`` stands at the first service, ``*resources`` at all others."""
    text = _text("prod")
    path = ("services", service, "api", "resources")
    edits = [
        Edit(path=(*path, "requests", "memory"), before="1Gi", after="2Gi"),
        Edit(path=(*path, "limits", "memory"), before="2Gi", after="4Gi"),
    ]
    before, after = _platform(text), _platform(apply_edits(text, edits))
    changed = {
        (name, part)
        for name, entry in after["services"].items()  # type: ignore[attr-defined]
        for part in ("api", "consumer")
        if entry[part]["resources"] != before["services"][name][part]["resources"]  # type: ignore[index]
    }
    assert changed == {(service, "api")}
    resources = after["services"][service]["api"]["resources"]  # type: ignore[index]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("2Gi", "4Gi")
    assert resources["requests"]["cpu"] == "500m"


def test_a_value_that_somebody_has_changed_is_not_overwritten() -> None:
    edit = Edit(path=(*API, "scaling", "min_replicas"), before=4, after=6)
    with pytest.raises(EditError, match="is 3, and the change starts from 4"):
        apply_edits(_text("dev"), [edit])


def test_a_path_that_is_not_there_is_named() -> None:
    with pytest.raises(EditError, match=r"loadtest\.vus: the stack file has no 'loadtest'"):
        apply_edits(_text("prod"), [Edit(path=("loadtest", "vus"), before=3, after=4)])


def test_a_diff_shows_no_encrypted_value() -> None:
    before = "config:\n  payments:token:\n    secure: v1:abc\n  a: 1\n"
    shown = diff(before, before.replace("a: 1", "a: 2"), "Pulumi.x.yaml")
    assert "+  a: 2" in shown
    assert "v1:abc" not in shown
