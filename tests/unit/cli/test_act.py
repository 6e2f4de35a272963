"""``payctl act`` without an engine: what is proposed, refused, asked, recorded, judged and undone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from cli import act, act_apply, act_settle
from cli.main import cli
from cli.recording import ROOT
from planning.actions.windows import WINDOW_SECONDS
from planning.bottlenecks.findings import Values
from tests.unit.cli.test_detect import LAG, samples_file

COMMITTED = ROOT / "Pulumi.dev.yaml"
# 300 requests/s, then 2,000: the twin's consumers lag behind for minutes when they start from three.
BURST: tuple[Values, ...] = ({}, LAG, LAG)


class Stage:
    """A copy of the dev stack, samples, and a record; the engine is replaced by a list of what it was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stack_file = folder / "Pulumi.dev.yaml"
        self.stack_file.write_text(COMMITTED.read_text(encoding="utf-8"), encoding="utf-8")
        self.samples = samples_file(folder / "s.csv", *BURST, seconds=900)
        self.audit = folder / "audit.jsonl"
        self.asked: list[str] = []
        self.engine_agrees = True
        self.on_preview: Callable[[], object] = lambda: None
        self.undeployed: str | None = None
        monkeypatch.setattr(act, "preview", self._preview)
        monkeypatch.setattr(act, "undeployed", lambda *_: self.undeployed)
        monkeypatch.setattr(act_settle, "undeployed", lambda *_: self.undeployed)
        monkeypatch.setattr(act_apply, "record_stack", lambda *_: None)
        monkeypatch.setattr(act_apply, "opened", self._opened)
        monkeypatch.setattr(act_apply, "run_engine", lambda *_: None)

    def _preview(self, _stack: str, _path: Path, _text: str) -> bool:
        self.asked.append("preview")
        self.on_preview()
        return self.engine_agrees

    def _opened(self, _stack: str, path: Path, *, start: bool) -> Any:
        assert start
        self.asked.append("up")
        assert path == self.stack_file
        return _Open()

    def run(self, *arguments: str, answer: str | None = None) -> Result:
        common = ["--config-file", str(self.stack_file), "--samples", str(self.samples), "--audit", str(self.audit)]
        return CliRunner().invoke(cli, ["act", "--stack", "dev", *common, *arguments], input=answer)

    @property
    def text(self) -> str:
        return self.stack_file.read_text(encoding="utf-8")

    def record(self) -> list[dict[str, Any]]:
        if not self.audit.exists():
            return []
        return [json.loads(line) for line in self.audit.read_text(encoding="utf-8").splitlines()]

    def backdate(self, seconds: float) -> None:
        """Let the record be older."""
        rows = [{**row, "time_seconds": row["time_seconds"] - seconds} for row in self.record()]
        self.audit.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class _Open:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def decisions(stage: Stage) -> list[str]:
    return [row["decision"] for row in stage.record()]


def test_without_a_finding_nothing_is_done(stage: Stage) -> None:
    samples_file(stage.samples)
    found = stage.run("--yes")
    assert (found.exit_code, found.output) == (0, "stack dev: no findings, nothing to do\n")
    assert (stage.asked, stage.record()) == ([], [])


def test_a_proposal_shows_everything_and_touches_nothing(stage: Stage) -> None:
    before = stage.text
    found = stage.run("--propose")
    assert found.exit_code == 0, found.output
    for text in (
        "payment-processors: at least 10 instead of 3 (runs 7",
        "min_replicas: 10",
        "within 24 partitions of payment-events",
        "from now on the twin expects",
        "assumed: one consumer handles",
        "cost in a month: +117.53 at the fewest pods",
        "policies: no mandatory violation",
    ):
        assert text in found.output, text
    assert (stage.text, stage.asked, stage.record()) == (before, [], [])


def test_a_proposal_as_json_has_the_forecast_and_the_cost(stage: Stage) -> None:
    [row] = json.loads(stage.run("--propose", "--json").output)
    assert row["refused"] is None
    assert row["forecast"]["helps"]
    assert row["cost"]["minimum"] == pytest.approx(7 * 14.6 * 1.15)
    assert "min_replicas: 10" in row["diff"]


def test_consent_is_asked_after_the_preview_and_given_by_a_yes(stage: Stage) -> None:
    found = stage.run(answer="y\n")
    assert found.exit_code == 0, found.output
    assert stage.asked == ["preview", "up"]
    assert "min_replicas: 10" in stage.text
    applying, entry = stage.record()
    assert (entry["decision"], entry["reason"]) == ("applied", "with consent")
    assert (applying["decision"], applying["id"], applying["edits"]) == ("applying", entry["id"], entry["edits"])
    assert entry["finding"]["evidence"]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_consent_nothing_changes_and_the_no_is_recorded(stage: Stage, answer: str) -> None:
    before = stage.text
    found = stage.run(answer=answer)
    assert found.exit_code == 1
    assert (stage.text, stage.asked, decisions(stage)) == (before, ["preview"], ["declined"])


def test_unattended_needs_a_budget_and_stays_within_it(stage: Stage) -> None:
    assert stage.run("--unattended").exit_code == 2
    found = stage.run("--unattended", "--budget", "100")
    assert found.exit_code == 1
    assert "it costs up to 117.53 USD more in a month, and the budget is 100.00" in found.output
    assert (stage.asked, decisions(stage)) == ([], ["refused"])
    found = stage.run("--unattended", "--budget", "150")
    assert found.exit_code == 0, found.output
    assert stage.record()[-1]["actor"] == "unattended"


def test_an_unattended_budget_is_one_for_all_changes_of_thirty_days(stage: Stage) -> None:
    assert stage.run("--unattended", "--budget", "150").exit_code == 0
    samples_file(stage.samples, *BURST, {}, {}, seconds=1800)
    stage.backdate(1000)
    assert stage.run("--verify", "--unattended", "--budget", "150").exit_code == 0
    stage.stack_file.write_text(COMMITTED.read_text(encoding="utf-8"), encoding="utf-8")
    samples_file(stage.samples, *BURST, seconds=900)
    again = stage.run("--unattended", "--budget", "150")
    assert again.exit_code == 1
    assert "117.53 were decided unattended in the last 30 days, and the budget is 150.00" in again.output
    stage.backdate(30 * 86_400)
    assert stage.run("--unattended", "--budget", "150").exit_code == 0


def test_a_preview_that_fails_changes_nothing(stage: Stage) -> None:
    before = stage.text
    stage.engine_agrees = False
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert (stage.text, stage.asked, decisions(stage)) == (before, ["preview"], ["failed"])


def test_a_change_takes_no_other_undeployed_edit_along(stage: Stage) -> None:
    before = stage.text
    stage.undeployed = "the stack is not up to date"
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert "refused: the stack is not up to date" in found.output
    assert (stage.text, stage.asked, decisions(stage)) == (before, [], ["refused"])


def test_undoing_takes_no_other_undeployed_edit_along_either(stage: Stage) -> None:
    _applied(stage)
    changed, asked = stage.text, list(stage.asked)
    samples_file(stage.samples, *BURST, seconds=1800)
    stage.backdate(61)
    stage.undeployed = "the stack is not up to date"
    found = stage.run("--verify", "--yes")
    assert found.exit_code == 1
    assert "cannot be undone: the stack is not up to date" in found.output
    assert (stage.text, stage.asked, decisions(stage)) == (changed, asked, ["applying", "applied"])


def test_an_engine_that_refuses_leaves_the_stack_file_as_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise click.exceptions.Exit(1)

    monkeypatch.setattr(act_apply, "run_engine", refuse)
    before = stage.text
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert (stage.text, decisions(stage)) == (before, ["applying", "failed"])


def test_a_file_that_somebody_changes_meanwhile_is_not_overwritten(stage: Stage) -> None:
    stage.on_preview = lambda: stage.stack_file.write_text(stage.text + "# mine\n", encoding="utf-8")
    found = stage.run("--yes")
    assert found.exit_code == 2
    assert "was changed by somebody else meanwhile" in found.output
    assert stage.text.endswith("# mine\n")
    assert "up" not in stage.asked


def test_an_engine_that_is_interrupted_leaves_the_file_and_a_record(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(act_apply, "run_engine", interrupt)
    before = stage.text
    assert stage.run("--yes").exit_code != 0
    assert (stage.text, decisions(stage)) == (before, ["applying", "failed"])
    assert stage.record()[-1]["reason"].startswith("KeyboardInterrupt")


def test_two_runs_at_once_are_not_possible(stage: Stage) -> None:
    """Whatever records they keep: it is the stack file that both would write."""
    with FileLock(act.lock_of(stage.stack_file)):
        found = stage.run("--yes")
    assert found.exit_code == 2
    assert "another payctl act uses Pulumi.dev.yaml" in found.output
    assert stage.asked == []


def _killed(stage: Stage, *, file_written: bool) -> None:
    """A run that ended between the record's `applying` and its outcome."""
    before = stage.text
    assert stage.run("--yes").exit_code == 0
    first, *_ = stage.record()
    stage.audit.write_text(json.dumps(first) + "\n", encoding="utf-8")
    if not file_written:
        stage.stack_file.write_text(before, encoding="utf-8")
    assert decisions(stage) == ["applying"]


def test_the_record_says_applying_before_anything_is_touched(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bool]] = []
    monkeypatch.setattr(act_apply, "run_engine", lambda *_: seen.append((decisions(stage), "10" in stage.text)))
    assert stage.run("--yes").exit_code == 0
    assert seen == [(["applying"], True)]
    assert decisions(stage) == ["applying", "applied"]


def test_a_run_that_was_killed_after_the_file_was_written_is_said_and_judged(stage: Stage) -> None:
    _killed(stage, file_written=True)
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert "an earlier run was cut off while it applied services.payment-service.consumer" in found.output
    assert "`payctl up --stack dev` deploys the file" in found.output
    assert decisions(stage) == ["applying", "applied", "refused"]
    assert "waits for its verification" in stage.record()[-1]["reason"]


def test_a_run_that_was_killed_before_the_file_was_written_is_said_and_closed(stage: Stage) -> None:
    _killed(stage, file_written=False)
    said = stage.run("--propose")
    assert "the stack file does not hold it" in said.output
    assert decisions(stage) == ["applying"]
    found = stage.run("--verify")
    assert found.exit_code == 0, found.output
    assert decisions(stage) == ["applying", "failed"]
    assert "an earlier run" not in stage.run("--verify").output


def test_a_refusal_in_every_round_is_recorded_once_while_it_lasts(stage: Stage) -> None:
    for budget in ("100", "100", "101"):
        assert stage.run("--unattended", "--budget", budget).exit_code == 1
    assert decisions(stage) == ["refused"]
    lagging = stage.samples.read_text(encoding="utf-8")
    samples_file(stage.samples)
    for _ in range(2):
        assert stage.run("--unattended", "--budget", "100").exit_code == 0
    assert decisions(stage) == ["refused", "ended"]
    stage.samples.write_text(lagging, encoding="utf-8")
    stage.run("--unattended", "--budget", "100")
    assert decisions(stage) == ["refused", "ended", "refused"]


def test_another_reason_for_the_same_refusal_is_recorded(stage: Stage) -> None:
    stage.run("--unattended", "--budget", "100")
    stage.undeployed = "the stack is not up to date"
    for _ in range(2):
        assert stage.run("--yes").exit_code == 1
    assert decisions(stage) == ["refused", "refused"]


def test_an_engine_that_refuses_a_change_is_not_asked_again_in_every_round(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise click.exceptions.Exit(1)

    monkeypatch.setattr(act_apply, "run_engine", refuse)
    assert stage.run("--yes").exit_code == 1
    asked = list(stage.asked)
    found = stage.run("--yes")
    assert "of the cooldown are left" in found.output
    assert stage.asked == asked


def test_nothing_to_do_is_an_empty_list_as_json(stage: Stage) -> None:
    samples_file(stage.samples)
    assert json.loads(stage.run("--propose", "--json").output) == []


def test_the_record_of_another_stack_holds_nothing_back(stage: Stage) -> None:
    assert stage.run("--yes").exit_code == 0
    rows = [{**row, "stack": "prod"} for row in stage.record()]
    stage.audit.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stage.stack_file.write_text(COMMITTED.read_text(encoding="utf-8"), encoding="utf-8")
    assert stage.run("--yes").exit_code == 0


def test_a_second_change_of_the_service_waits_for_the_first(stage: Stage) -> None:
    assert stage.run("--yes").exit_code == 0
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert "waits for its verification" in found.output
    assert decisions(stage) == ["applying", "applied", "refused"]


def _applied(stage: Stage) -> None:
    assert stage.run("--yes", "--verify-seconds", "60").exit_code == 0


def test_each_action_has_a_window_of_its_own(stage: Stage) -> None:
    assert stage.run("--yes").exit_code == 0
    assert stage.record()[-1]["details"]["verify_seconds"] == WINDOW_SECONDS["CONSUMER_LAG"]
    assert WINDOW_SECONDS["DB_CONNECTIONS"] > WINDOW_SECONDS["CONSUMER_LAG"]


def test_a_finding_that_has_ended_verifies_the_change(stage: Stage) -> None:
    _applied(stage)
    samples_file(stage.samples, *BURST, {}, {}, seconds=1800)
    early = stage.run("--verify")
    assert early.exit_code == 1
    assert "does not hold now; " in early.output
    assert decisions(stage) == ["applying", "applied"]
    stage.backdate(61)
    found = stage.run("--verify")
    assert found.exit_code == 0, found.output
    assert decisions(stage) == ["applying", "applied", "verified"]
    assert "min_replicas: 10" in stage.text


def test_a_finding_that_still_holds_in_time_is_waited_for_and_then_undone(stage: Stage) -> None:
    before = stage.text
    _applied(stage)
    samples_file(stage.samples, *BURST, seconds=1800)
    waiting = stage.run("--verify", "--yes")
    assert waiting.exit_code == 1
    assert "of its time are left" in waiting.output
    assert decisions(stage) == ["applying", "applied"]
    stage.backdate(61)
    undone = stage.run("--verify", "--yes")
    assert undone.exit_code == 1
    assert decisions(stage) == ["applying", "applied", "reverting", "reverted"]
    assert stage.record()[-1]["reason"].endswith("the forecast was wrong")
    assert stage.text == before


def _undone(stage: Stage) -> tuple[str, str]:
    """The text with and without a change that is to be taken back."""
    before = stage.text
    _applied(stage)
    samples_file(stage.samples, *BURST, seconds=1800)
    stage.backdate(61)
    return stage.text, before


def test_the_record_says_reverting_before_anything_is_touched(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    changed, _ = _undone(stage)
    monkeypatch.setattr(act_apply, "write_text", lambda *_, **__: seen.append((decisions(stage)[-1], stage.text)))
    stage.run("--verify", "--yes")
    assert seen[0] == ("reverting", changed)


def test_an_engine_that_refuses_to_take_a_change_back_leaves_it_to_be_judged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise click.exceptions.Exit(255)

    changed, before = _undone(stage)
    with monkeypatch.context() as patch:
        patch.setattr(act_apply, "run_engine", refuse)
        found = stage.run("--verify", "--yes")
    assert found.exit_code == 1
    assert "it cannot be undone: the engine refused it" in found.output
    assert (stage.text, decisions(stage)) == (changed, ["applying", "applied", "reverting", "failed"])
    stage.run("--verify", "--yes")
    assert (stage.text, decisions(stage)[-2:]) == (before, ["reverting", "reverted"])


@pytest.mark.parametrize(("holds", "last"), [("before", "reverted"), ("change", "failed"), ("other", "superseded")])
def test_a_run_that_was_killed_while_it_took_a_change_back_is_said(stage: Stage, holds: str, last: str) -> None:
    changed, before = _undone(stage)
    stage.run("--verify", "--yes")
    lines = stage.audit.read_text(encoding="utf-8").splitlines(keepends=True)
    stage.audit.write_text("".join(lines[:-1]), encoding="utf-8")
    other = changed.replace("min_replicas: 10", "min_replicas: 12")
    stage.stack_file.write_text({"before": before, "change": changed, "other": other}[holds], encoding="utf-8")
    assert decisions(stage)[-1] == "reverting"
    found = stage.run("--verify", answer="n\n")
    assert "an earlier run was cut off while it took services.payment-service.consumer" in found.output
    assert decisions(stage) == ["applying", "applied", "reverting", last]
    # What still waits to be judged is asked about once more.
    assert ("Undo it?" in found.output) is (holds == "change")


def test_what_a_person_has_set_since_then_is_not_taken_back(stage: Stage) -> None:
    _applied(stage)
    samples_file(stage.samples, *BURST, seconds=1800)
    stage.stack_file.write_text(stage.text.replace("min_replicas: 10", "min_replicas: 12"), encoding="utf-8")
    stage.backdate(61)
    found = stage.run("--verify", "--yes")
    assert found.exit_code == 1
    assert "is not ours any more" in found.output
    assert "min_replicas: 12" in stage.text
    assert decisions(stage) == ["applying", "applied", "superseded"]


def test_samples_from_before_the_change_judge_nothing(stage: Stage) -> None:
    _applied(stage)
    stage.backdate(10_000)
    found = stage.run("--verify", "--yes")
    assert found.exit_code == 1
    assert "no sample since the change" in found.output
    assert decisions(stage) == ["applying", "applied"]


def test_a_change_beyond_a_policy_limit_is_refused_by_the_pack(stage: Stage) -> None:
    stage.stack_file.write_text(stage.text.replace("max_replicas: 20", "max_replicas: 21"), encoding="utf-8")
    before = stage.text
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert "the policy pack refuses it: " in found.output
    assert "scaling-limits" in found.output
    assert (stage.text, stage.asked, decisions(stage)) == (before, [], ["refused"])


def test_what_the_twin_does_not_model_is_never_done_unattended(stage: Stage) -> None:
    full = {("memory_use_of_limit", "payment-service"): 0.95}
    samples_file(stage.samples, full, seconds=900)
    found = stage.run("--propose")
    assert found.exit_code == 0, found.output
    assert "memory: 4Gi" in found.output
    assert "not foreseen" in found.output
    unattended = stage.run("--unattended", "--budget", "100000")
    assert unattended.exit_code == 1
    assert "unattended changes need a forecast" in unattended.output


def test_a_change_without_help_is_refused(stage: Stage) -> None:
    """20,000 messages/s are more than 24 partitions carry, with 10 consumers or with 7 to start from."""
    flood = {**LAG, ("requests_per_second", "payment-service"): 20_000.0}
    samples_file(stage.samples, {}, flood, flood, seconds=900)
    found = stage.run("--yes")
    assert found.exit_code == 1
    assert "the twin expects no help from it" in found.output
    assert (stage.asked, decisions(stage)) == ([], ["refused"])


def test_a_finding_that_the_twin_does_not_see_is_a_persons_to_decide(stage: Stage) -> None:
    """A lag at a calm load: consumers do less than the settings believe."""
    samples_file(stage.samples, {("lag_per_consumer", "payment-processors"): 9000.0}, seconds=900)
    unattended = stage.run("--unattended", "--budget", "100000")
    assert unattended.exit_code == 1
    assert "not as the settings believe it" in unattended.output
    assert decisions(stage) == ["refused"]
    assert stage.run("--yes").exit_code == 0
