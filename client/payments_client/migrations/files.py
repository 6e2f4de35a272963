"""A folder of plain SQL: ``0001_name.sql``, ``0002_name.sql``, … with what the runner must know in comments on top.

``-- phase: expand`` (old code works before and after) or ``-- phase: contract`` (old code must be gone).
``-- transaction: none`` for statements that cannot run in one, such as ``CREATE INDEX CONCURRENTLY``; they are parted
by lines ``-- next`` and must bear being run again from the first one.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from payments_client.migrations.errors import MigrationError

_NAME = re.compile(r"^(\d{4})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql$")
_HEADER = re.compile(r"^-- (phase|transaction): *(\S+) *$")
_NEXT = re.compile(r"^-- next *$", re.MULTILINE)


class Phase(StrEnum):
    """Whether code of the previous release may still run."""

    EXPAND = "expand"
    CONTRACT = "contract"


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    phase: Phase
    transactional: bool
    sql: str
    checksum: str
    """SHA-256 of the text with Unix line ends, in hexadecimal."""

    @property
    def label(self) -> str:
        """How messages name it: ``0003_outbox``."""
        return f"{self.version:04d}_{self.name}"

    @property
    def statements(self) -> list[str]:
        """What is sent at once: the whole file, or the parts of one without a transaction."""
        if self.transactional:
            return [self.sql]
        return [part.strip() for part in _NEXT.split(self.sql) if part.strip()]


def load(folder: Path) -> list[Migration]:
    """All migrations of a folder, by version. Raises ``MigrationError`` with every mistake at once."""
    if not folder.is_dir():
        raise MigrationError(f"{folder} is no folder; name the folder with the migrations")
    found: list[Migration] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.sql")):
        try:
            found.append(parse(path.name, path.read_bytes()))
        except MigrationError as error:
            problems.append(str(error))
    for expected, migration in enumerate(sorted(found, key=lambda m: m.version), start=1):
        if migration.version != expected:
            problems.append(
                f"{migration.label}: expected version {expected:04d}; versions count from 0001 without holes"
            )
            break
    if not found and not problems:
        problems.append(f"{folder} holds no file like 0001_name.sql")
    if problems:
        raise MigrationError("\n".join(problems))
    return found


def parse(file_name: str, content: bytes) -> Migration:
    """One file. Raises ``MigrationError``."""
    matched = _NAME.match(file_name)
    if matched is None:
        raise MigrationError(f"{file_name}: a migration is named like 0001_what_it_does.sql")
    text = content.decode("utf-8").replace("\r\n", "\n")
    headers = _headers(text)
    phase, transaction = headers.get("phase", ""), headers.get("transaction", "one")
    if phase not in set(Phase):
        raise MigrationError(f"{file_name}: the first line must be '-- phase: expand' or '-- phase: contract'")
    if transaction not in ("one", "none"):
        raise MigrationError(f"{file_name}: '-- transaction: {transaction}' is not known; write none or leave it out")
    return Migration(
        version=int(matched[1]),
        name=matched[2],
        phase=Phase(phase),
        transactional=transaction == "one",
        sql=text,
        checksum=hashlib.sha256(text.encode()).hexdigest(),
    )


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        matched = _HEADER.match(line)
        if matched:
            headers[matched[1]] = matched[2]
    return headers
