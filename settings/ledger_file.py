"""The file ``topics.<stack>.json`` beside the program: read, compared with the settings, written by one command."""

import os
import tempfile
from pathlib import Path

from settings.kafka_names import plan_all_topics
from settings.platform import Settings
from settings.problems import SettingsError
from settings.topic_ledger import Ledger, TopicChange, check, compare, parse_ledger

_MODE = 0o644


def ledger_path(folder: Path, stack: str) -> Path:
    """Where the ledger of a stack is kept."""
    return folder / f"topics.{stack}.json"


def read_ledger(folder: Path, stack: str) -> Ledger:
    """The ledger of a stack; empty where there is no file. Raises ``SettingsError`` for one that cannot be read."""
    path = ledger_path(folder, stack)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Ledger()
    return parse_ledger(text, source=path.name)


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Replace the file in one step: whoever interrupts it finds the old ledger or the new one, and nothing beside it.

    Raises ``OSError`` where the folder cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(ledger.to_json())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else _MODE)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def topic_changes(settings: Settings, ledger: Ledger) -> list[TopicChange]:
    """What the settings ask of every topic; nothing where the brokers are somebody else's."""
    if settings.kafka is None:
        return []
    topics = plan_all_topics(settings.kafka, settings.topics, settings.services)
    return compare(ledger, topics, settings.kafka.acknowledged_growth)


def require_agreement(settings: Settings, *, folder: Path, stack: str, source: str) -> None:
    """Raise ``SettingsError`` unless every topic is exactly as the ledger states it."""
    changes = topic_changes(settings, read_ledger(folder, stack))
    problems = check(changes, environment=settings.environment, stack=stack).problems
    if problems:
        raise SettingsError(source, problems)
