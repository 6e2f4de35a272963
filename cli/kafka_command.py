"""``payctl kafka``: what a stack's topics ask for, and the ledger that keeps them from being taken back."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.kafka_growth import Moved, moved_keys, sample_keys
from cli.kafka_migration import Growth, migration_steps
from cli.options import EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from cli.recording import ROOT
from settings import Settings, SettingsError
from settings.kafka_names import plan_all_users
from settings.ledger_file import ledger_path, read_ledger, topic_changes, write_ledger
from settings.topic_ledger import Change, TopicChange, check, record

_GROWS = frozenset({Change.ACKNOWLEDGED_GROWTH, Change.UNACKNOWLEDGED_GROWTH})


@click.group()
def kafka() -> None:
    """Plan changes of topics, and keep their ledger."""


@kafka.command("plan")
@stack_option
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with real keys, one a line, instead of made-up ones.",
)
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
@says_problems
def plan_command(stack: str, config_file: Path | None, keys: Path | None, as_json: bool) -> None:
    """Compare a stack's topics with its ledger; for a keyed topic that grows, print the migration.

    Exit code 0: nothing is refused. 1: something is. 2: the settings are invalid.
    """
    settings, changes = _changes(stack, config_file)
    given = None if keys is None else keys.read_text(encoding="utf-8").splitlines()
    moved = {change.name: _moved(change, given) for change in changes if change.change in _GROWS}
    result = check(changes, environment=settings.environment, stack=stack)
    steps = {change.name: migration_steps(growth) for change in changes if (growth := _growth(change, settings, stack))}
    if as_json:
        print_json([_as_row(change, moved.get(change.name), steps.get(change.name)) for change in changes])
    else:
        console.print(_table(changes, moved))
        for change in changes:
            if change.name in steps:
                _print_migration(change, moved[change.name], steps[change.name])
    for problem in result.problems:
        print_problem(str(problem))
    if result.refused:
        raise click.exceptions.Exit(EXIT_VIOLATION)


@kafka.command("ledger")
@stack_option
@click.option("--json", "as_json", is_flag=True, help="What was recorded, as JSON.")
@says_problems
def ledger_command(stack: str, config_file: Path | None, as_json: bool) -> None:
    """Record new topics and acknowledged growth in topics.<stack>.json; refuse everything else.

    Nothing is written when one topic is refused.
    """
    settings, changes = _changes(stack, config_file)
    result = check(changes, environment=settings.environment, stack=stack)
    if result.refused:
        raise SettingsError(f"Pulumi.{stack}.yaml", result.refused)
    path = ledger_path(ROOT, stack)
    before = read_ledger(ROOT, stack)
    after = record(before, changes)
    recorded = sorted(name for name, row in after.topics.items() if before.topics.get(name) != row)
    if recorded or (changes and not path.exists()):
        write_ledger(path, after)
    if as_json:
        print_json({"file": path.name, "recorded": recorded})
    elif recorded:
        console.print(f"{path.name}: recorded {', '.join(recorded)}; commit it with the change", soft_wrap=True)
    else:
        console.print(f"{path.name}: {len(after.topics)} topics, nothing to record", soft_wrap=True)


def _changes(stack: str, config_file: Path | None) -> tuple[Settings, list[TopicChange]]:
    _, settings = load_stack(stack, config_file)
    return settings, topic_changes(settings, read_ledger(ROOT, stack))


def _growth(change: TopicChange, settings: Settings, stack: str) -> Growth | None:
    """What the migration is about; ``None`` where nothing grows."""
    row, topic = change.row, change.topic
    if change.change not in _GROWS or row is None or topic is None or settings.kafka is None:
        return None
    users = plan_all_users(settings.kafka, settings.services)
    consumers = [user.consumer for user in users.values() if user.consumer is not None]
    own = (topic.group,) if topic.group is not None else ()  # a retry topic's readers are its group's members
    return Growth(
        stack=stack,
        topic=change.name,
        path=topic.path,
        from_partitions=row.partitions,
        to_partitions=topic.partitions,
        groups=own or tuple(consumer.group for consumer in consumers if consumer.topic == change.name),
        writers=tuple(name for name, user in users.items() if change.name in user.produces),
    )


def _moved(change: TopicChange, keys: Iterable[str] | None) -> Moved:
    row, topic = change.row, change.topic
    if row is None or topic is None:  # a topic that grows has both
        return Moved(keys=0, moved=0)
    sample = keys if keys is not None else sample_keys(row.key or "key")
    return moved_keys(sample, from_partitions=row.partitions, to_partitions=topic.partitions)


def _table(changes: list[TopicChange], moved: dict[str, Moved]) -> Table:
    table = Table(title=None)
    for heading in ("topic", "key", "ledger", "settings", "change", "keys that move"):
        table.add_column(heading, justify="right" if heading in ("ledger", "settings", "keys that move") else "left")
    for change in changes:
        row, topic = change.row, change.topic
        table.add_row(
            change.name,
            (topic.key if topic is not None else row.key if row is not None else None) or "none",
            str(row.partitions) if row is not None else "–",
            str(topic.partitions) if topic is not None else "–",
            str(change.change),
            f"{moved[change.name].share:.1%}" if change.name in moved else "",
        )
    return table


def _print_migration(change: TopicChange, moved: Moved, steps: Mapping[str, list[str]]) -> None:
    if change.row is None or change.topic is None:
        return
    console.print(
        f"\n{change.name}: {change.row.partitions} → {change.topic.partitions} partitions move {moved.moved} of "
        f"{moved.keys} keys ({moved.share:.1%}) to another partition. Messages of such a key that are not processed "
        "yet could be overtaken by later ones. Two ways that keep the order:",
        soft_wrap=True,
    )
    for way, its_steps in steps.items():
        console.print(f"  {way}", soft_wrap=True)
        for number, step in enumerate(its_steps, start=1):
            console.print(f"    {number}. {step}", soft_wrap=True, markup=False)


def _as_row(change: TopicChange, moved: Moved | None, steps: Mapping[str, list[str]] | None) -> dict[str, Any]:
    row, topic = change.row, change.topic
    result: dict[str, Any] = {
        "topic": change.name,
        "change": str(change.change),
        "key": topic.key if topic is not None else row.key if row is not None else None,
        "ledger_partitions": row.partitions if row is not None else None,
        "settings_partitions": topic.partitions if topic is not None else None,
    }
    if moved is not None and row is not None and topic is not None:
        result["sampled_keys"], result["moved_keys"], result["moved_share"] = moved.keys, moved.moved, moved.share
        result["migration"] = steps
    return result
