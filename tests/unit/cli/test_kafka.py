"""``payctl kafka``: what it says about topics, what it writes, and that a ledger is never half written."""

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import pytest
import yaml
from click.testing import CliRunner, Result

from cli import kafka_command, recording
from cli.kafka_growth import moved_keys
from cli.main import cli
from cli.recording import ROOT
from settings import ledger_file
from settings.ledger_file import ledger_path, read_ledger, write_ledger
from settings.topic_ledger import Ledger, LedgerRow
from tests.unit import stacks
from tests.unit.stacks import Changes, platform_of

TOPIC = "payment-events"
GROWTH: dict[str, Any] = {
    "topic": TOPIC, "from_partitions": 24, "to_partitions": 48, "reason": "drained at night", "date": "2026-11-24",
}  # fmt: skip
GROWN: Changes = {f"topics/{TOPIC}/partitions": 48}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of prod's ledger in a place where it may be written."""
    monkeypatch.setattr(kafka_command, "ROOT", tmp_path)
    write_ledger(ledger_path(tmp_path, "prod"), read_ledger(ROOT, "prod"))
    return tmp_path


def run(folder: Path, command: str, changes: Changes, *arguments: str) -> Result:
    path = folder / "Pulumi.prod.yaml"
    path.write_text(yaml.safe_dump({"config": {"payments:platform": platform_of("prod", changes)}}), encoding="utf-8")
    return CliRunner().invoke(
        cli, ["kafka", command, "--stack", "prod", "--config-file", str(path), *arguments], env={"COLUMNS": "300"}
    )


def rows(folder: Path) -> dict[str, LedgerRow]:
    return read_ledger(folder, "prod").topics


def test_the_committed_stack_asks_for_nothing_new(folder: Path) -> None:
    result = run(folder, "plan", {}, "--json")
    assert result.exit_code == 0, result.output
    assert {row["change"] for row in json.loads(result.stdout)} == {"none"}
    before = ledger_path(folder, "prod").read_bytes()
    result = run(folder, "ledger", {})
    assert (result.exit_code, "nothing to record" in result.output) == (0, True)
    assert ledger_path(folder, "prod").read_bytes() == before


def test_t9_growth_without_a_word_is_refused_with_its_migration_and_nothing_is_written(folder: Path) -> None:
    result = run(folder, "plan", GROWN, "--json")
    assert result.exit_code == 1, result.output
    [row] = [row for row in json.loads(result.stdout) if row["topic"] == TOPIC]
    assert (row["change"], row["ledger_partitions"], row["settings_partitions"]) == ("unacknowledged growth", 24, 48)
    assert 0.45 < row["moved_share"] < 0.55, "a doubling moves half of the keys"
    assert {way.split(" ")[0] for way in row["migration"]} == {"Drain", "New"}
    assert "kafka.acknowledged_growth" in result.stderr
    before = ledger_path(folder, "prod").read_bytes()
    assert run(folder, "ledger", GROWN).exit_code == 2
    assert ledger_path(folder, "prod").read_bytes() == before


def test_t9_acknowledged_growth_is_recorded_with_who_answers_for_it(folder: Path) -> None:
    changes = {**GROWN, "kafka/acknowledged_growth": [GROWTH]}
    result = run(folder, "ledger", changes, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"file": "topics.prod.json", "recorded": [TOPIC]}
    row = rows(folder)[TOPIC]
    assert (row.partitions, [step.model_dump() for step in row.growth]) == (48, [GROWTH])


def test_fewer_partitions_are_refused(folder: Path) -> None:
    result = run(folder, "ledger", {"kafka/dead_letter": {"partitions": 2, "retention_hours": 336}})
    assert result.exit_code == 2
    assert "kafka.dead_letter.partitions: is 2" in result.stderr
    assert "partitions cannot be taken away" in result.stderr
    assert rows(folder)["payment-service-group-dead-letter"].partitions == 3


def test_a_new_topic_gets_its_row_and_the_others_keep_theirs(folder: Path) -> None:
    before = rows(folder)
    topic = {**platform_of("prod")["topics"][TOPIC], "partitions": 6}
    assert run(folder, "ledger", {"topics/audit-events": topic}).exit_code == 0
    assert rows(folder) == {**before, "audit-events": LedgerRow(partitions=6, key="user_id")}


def test_real_keys_decide_what_moves(folder: Path) -> None:
    keys = folder / "keys.txt"
    keys.write_text("a\nb\nc\n", encoding="utf-8")
    result = run(folder, "plan", GROWN, "--json", "--keys", str(keys))
    [row] = [row for row in json.loads(result.stdout) if row["topic"] == TOPIC]
    moved = moved_keys(["a", "b", "c"], from_partitions=24, to_partitions=48)
    assert (row["sampled_keys"], row["moved_keys"]) == (3, moved.moved)


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_ledger_whose_writing_is_interrupted_stays_as_it_was(tmp_path: Path, at: str) -> None:
    path = ledger_path(tmp_path, "prod")
    old = Ledger(topics={TOPIC: LedgerRow(partitions=24, key="user_id")})
    write_ledger(path, old)
    path.chmod(0o640)
    target = (os, "fsync") if at == "fsync" else (Path, "replace")
    with mock.patch.object(*target, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        write_ledger(path, Ledger())
    assert read_ledger(tmp_path, "prod") == old
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"
    write_ledger(path, Ledger())
    assert (read_ledger(tmp_path, "prod"), path.stat().st_mode & 0o777) == (Ledger(), 0o640)


def test_the_program_is_recorded_against_the_real_ledger_unless_topics_change() -> None:
    unchanged, grown = (json.dumps(platform_of("dev", changes)) for changes in ({}, GROWN))
    anew = mock.patch.object(recording, "record", recording.record.__wrapped__)  # type: ignore[attr-defined]
    with mock.patch.object(ledger_file, "read_ledger", return_value=Ledger()), anew:
        with pytest.raises(pulumi.RunError, match="payctl kafka ledger"):
            stacks._recorded.__wrapped__("dev", unchanged)
        assert stacks._recorded.__wrapped__("dev", grown).resources


def _ways(folder: Path) -> dict[str, list[str]]:
    result = run(folder, "plan", GROWN, "--json")
    [row] = [row for row in json.loads(result.stdout) if row["topic"] == TOPIC]
    return {way.split(" ")[0]: steps for way, steps in row["migration"].items()}


def test_a_drain_prepares_everything_that_can_be_refused_before_it_stops_a_writer(folder: Path) -> None:
    steps = _ways(folder)["Drain"]
    first = [
        next(number for number, step in enumerate(steps) if words in step)
        for words in (
            f"set topics.{TOPIC}.partitions to 48",
            "./payctl kafka ledger --stack prod",
            "policies/config/prod.json, kafka-topics-agreed, set payment-events to 48",
            "reviewed",
            f"stop what writes {TOPIC}: payment-service. ",
            "lag of payment-service-group is 0, and then that of payment-service-group-retry",
            "./payctl up --stack prod",
            "start what was stopped",
        )
    ]
    assert first == list(range(8)), "each is a step of its own, in this order"


def test_the_entry_that_a_drain_prints_is_one_that_the_stack_file_takes(folder: Path) -> None:
    printed = _ways(folder)["Drain"][0].partition("kafka.acknowledged_growth: ")[2]
    entry = yaml.safe_load(printed) | {"reason": GROWTH["reason"], "date": GROWTH["date"]}
    assert entry == GROWTH
    assert run(folder, "ledger", {**GROWN, "kafka/acknowledged_growth": [entry]}).exit_code == 0
    assert rows(folder)[TOPIC].partitions == 48


def test_a_dual_write_is_declared_with_a_second_service_as_its_steps_say(folder: Path) -> None:
    steps = "\n".join(_ways(folder)["New"])
    successor = f"{TOPIC}-48"
    assert f"declare the topic {successor} with 48 partitions and the same key" in steps
    assert "declare a second service for each that reads it" in steps
    assert "retry and dead-letter topics to kafka-topics-agreed" in steps
    platform = platform_of("prod")
    copy = platform["services"]["payment-service"]
    copy["consumer"] |= {"name": "payment-processors-48", "group": "payment-service-group-48", "topic": successor}
    changes: Changes = {
        f"topics/{successor}": {**platform["topics"][TOPIC], "partitions": 48},
        "services/payment-service/api/produces": [TOPIC, successor],
        "services/payment-service-48": copy,
    }
    before = rows(folder)
    result = run(folder, "ledger", changes, "--json")
    assert result.exit_code == 0, result.output
    new = [successor, "payment-service-group-48-dead-letter", "payment-service-group-48-retry"]
    assert json.loads(result.stdout)["recorded"] == new
    assert {name: row for name, row in rows(folder).items() if name not in new} == before
