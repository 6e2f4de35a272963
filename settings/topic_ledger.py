"""The ledger of a stack: the partitions and the key that each topic was created with, which cannot be taken back.

A row is added when a topic is declared first, and raised when a growth is acknowledged. It is never lowered and never
removed, so that a topic that is left out and comes back meets its own past.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from settings.base import Environment, Strict
from settings.kafka import GrowthAcknowledgement
from settings.kafka_names import PlannedTopic
from settings.problems import Problem, SettingsError
from settings.topics import TopicName

Partitions = Annotated[int, Field(ge=1, le=1000)]


class LedgerRow(Strict):
    """One topic as it is on the brokers."""

    partitions: Partitions
    key: str | None
    growth: list[GrowthAcknowledgement] = []
    """Acknowledged steps that led to ``partitions``, oldest first."""


class Ledger(Strict):
    """All topics of a stack, those that it no longer declares included."""

    schema_version: Literal[1] = 1
    topics: dict[TopicName, LedgerRow] = {}

    def to_json(self) -> str:
        """The file's text: topics sorted, the same bytes for the same rows."""
        rows = {name: row.model_dump() for name, row in sorted(self.topics.items())}
        return json.dumps({"schema_version": self.schema_version, "topics": rows}, indent=2) + "\n"


def parse_ledger(text: str, *, source: str) -> Ledger:
    """Read a ledger's text. Raises ``SettingsError`` with every mistake."""
    try:
        return Ledger.model_validate_json(text)
    except ValidationError as error:
        problems = [
            Problem(
                path=".".join(map(str, details["loc"])) or source,
                has_value=False,
                allowed=details["msg"],
                fix="restore the file from version control: rows are only written by payctl kafka ledger",
            )
            for details in error.errors()
        ]
        raise SettingsError(source, problems) from None


class Change(StrEnum):
    """What the settings ask of a topic, compared with its row."""

    NONE = "none"
    NEW = "new"
    """It has no row yet."""
    GROWTH = "growth"
    """More partitions; messages have no key, so no order breaks."""
    ACKNOWLEDGED_GROWTH = "acknowledged growth"
    """More partitions of a keyed topic, and somebody answers for it."""
    UNACKNOWLEDGED_GROWTH = "unacknowledged growth"
    DECREASE = "decrease"
    NEW_KEY = "new key"
    MISSING = "missing"
    """It has a row, and the stack declares it no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicChange:
    """One topic, its row, and what the settings ask."""

    name: str
    change: Change
    row: LedgerRow | None = None
    topic: PlannedTopic | None = None
    acknowledgement: GrowthAcknowledgement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerCheck:
    """Which topics stand in the way of a deployment, and which only have to be recorded."""

    refused: list[Problem] = field(default_factory=list)
    unrecorded: list[Problem] = field(default_factory=list)

    @property
    def problems(self) -> list[Problem]:
        """Everything that keeps the stack from being deployed."""
        return [*self.refused, *self.unrecorded]


def compare(
    ledger: Ledger, topics: Mapping[str, PlannedTopic], acknowledgements: Sequence[GrowthAcknowledgement]
) -> list[TopicChange]:
    """What the settings ask of every topic, declared or recorded."""
    changes = [_change(topic, ledger.topics.get(name), acknowledgements) for name, topic in topics.items()]
    missing = [
        TopicChange(name=name, change=Change.MISSING, row=row)
        for name, row in ledger.topics.items()
        if name not in topics
    ]
    return [*changes, *missing]


def _change(
    topic: PlannedTopic, row: LedgerRow | None, acknowledgements: Sequence[GrowthAcknowledgement]
) -> TopicChange:
    change, entry = Change.NONE, None
    if row is None:
        change = Change.NEW
    elif topic.key != row.key:
        change = Change.NEW_KEY
    elif topic.partitions < row.partitions:
        change = Change.DECREASE
    elif topic.partitions > row.partitions:
        entry = _acknowledgement(topic, row, acknowledgements)
        keyed = Change.ACKNOWLEDGED_GROWTH if entry is not None else Change.UNACKNOWLEDGED_GROWTH
        change = Change.GROWTH if row.key is None else keyed
    return TopicChange(name=topic.name, change=change, row=row, topic=topic, acknowledgement=entry)


def _acknowledgement(
    topic: PlannedTopic, row: LedgerRow, acknowledgements: Sequence[GrowthAcknowledgement]
) -> GrowthAcknowledgement | None:
    """The entry for exactly this step: one for another step says nothing about it."""
    step = (topic.name, row.partitions, topic.partitions)
    for entry in acknowledgements:
        if (entry.topic, entry.from_partitions, entry.to_partitions) == step:
            return entry
    return None


def check(changes: Sequence[TopicChange], *, environment: Environment, stack: str) -> LedgerCheck:
    """What of it is refused, and what has to be recorded before it is deployed."""
    record = f"run payctl kafka ledger --stack {stack}, and commit the file with the change"
    return LedgerCheck(
        refused=[problem for change in changes for problem in _refused(change, environment, stack)],
        unrecorded=[problem for change in changes for problem in _unrecorded(change, record)],
    )


def record(ledger: Ledger, changes: Sequence[TopicChange]) -> Ledger:
    """The ledger with new topics and with the growth that may happen; everything else keeps its row."""
    rows = dict(ledger.topics)
    for change in changes:
        topic, row = change.topic, change.row
        if topic is None:
            continue
        if change.change is Change.NEW:
            rows[change.name] = LedgerRow(partitions=topic.partitions, key=topic.key)
        elif row is not None and change.change in (Change.GROWTH, Change.ACKNOWLEDGED_GROWTH):
            steps = [change.acknowledgement] if change.acknowledgement is not None else []
            rows[change.name] = LedgerRow(partitions=topic.partitions, key=row.key, growth=[*row.growth, *steps])
    return Ledger(topics=rows)


def _refused(change: TopicChange, environment: Environment, stack: str) -> Iterator[Problem]:
    topic, row = change.topic, change.row
    if row is None:
        return
    if change.change is Change.MISSING and environment is Environment.PROD:
        yield Problem(
            path=f"topics.{change.name}",
            has_value=False,
            allowed=f"every topic of the ledger in prod: {change.name} holds messages, and leaving it out (or "
            "renaming it) would end in their loss",
            fix="declare it again; to move to another name, declare both and see payctl kafka plan "
            f"--stack {stack}; docs/runbooks/kafka-topics.md says how a topic is given up",
        )
    if topic is None:
        return
    if change.change is Change.NEW_KEY:
        yield Problem(
            path=topic.path.replace(".partitions", ".key"),
            value=topic.key,
            allowed=f"{row.key}, the key that {change.name} was created with: another one puts messages of the same "
            "entity into other partitions",
            fix="set it back; messages with another key belong to a new topic",
        )
    elif change.change is Change.DECREASE:
        yield Problem(
            path=topic.path,
            value=topic.partitions,
            allowed=f"at least {row.partitions}, what {change.name} has: partitions cannot be taken away",
            fix=f"set it to {row.partitions}; fewer partitions are a new topic",
        )
    elif change.change is Change.UNACKNOWLEDGED_GROWTH:
        yield Problem(
            path=topic.path,
            value=topic.partitions,
            allowed=f"{row.partitions}, what {change.name} has: more partitions move keys ({row.key}) to other "
            "partitions, and the order of their messages breaks",
            fix=f"see payctl kafka plan --stack {stack}; then add to kafka.acknowledged_growth: "
            f"{{topic: {change.name}, from_partitions: {row.partitions}, to_partitions: {topic.partitions}, "
            "reason: …, date: …}",
        )


def _unrecorded(change: TopicChange, record_step: str) -> Iterator[Problem]:
    topic, row = change.topic, change.row
    if topic is None:
        return
    if change.change is Change.NEW:
        yield Problem(
            path=topic.path,
            value=topic.partitions,
            allowed=f"what the ledger states, and it does not know {change.name} yet",
            fix=record_step,
        )
    elif row is not None and change.change in (Change.GROWTH, Change.ACKNOWLEDGED_GROWTH):
        yield Problem(
            path=topic.path,
            value=topic.partitions,
            allowed=f"{row.partitions}, what the ledger still states for {change.name}",
            fix=record_step,
        )
