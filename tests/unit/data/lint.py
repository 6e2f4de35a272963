"""What a migration may not say: squawk's rules about locks, and ours about partitions and what squawk lets pass."""

import json
import re
import subprocess
import sys
from pathlib import Path

from payments_client.migrations import Migration, Phase

# IF NOT EXISTS hides that something else has the name; the runner sets timeouts; small counters stay small.
_NOT_OURS = ("prefer-robust-stmts", "require-timeout-settings", "prefer-bigint-over-int", "prefer-bigint-over-smallint")
# What breaks code of the release before is the purpose of a contract migration.
_CONTRACT = ("ban-drop-table", "ban-drop-column", "ban-drop-not-null", "renaming-table", "renaming-column")
_LOCKING = {
    "a DEFAULT partition": r"\bPARTITION\s+(?:OF\s+)?\S+\s+DEFAULT\b",
    "VACUUM FULL": r"\bVACUUM\s+(?:\(.*\bFULL\b|FULL\b)",
    "CLUSTER": r"^\s*CLUSTER\b",
    "LOCK": r"^\s*LOCK\b",
    "TRUNCATE": r"^\s*TRUNCATE\b",
    "REFRESH MATERIALIZED VIEW without CONCURRENTLY": r"\bREFRESH\s+MATERIALIZED\s+VIEW\s+(?!CONCURRENTLY)",
}
_COMMENT = re.compile(r"--.*$", re.MULTILINE)
_CREATED = re.compile(r"\bCREATE\s+TABLE\s+([\w.]+)\s*\(", re.IGNORECASE)
_PARTITION_OF = re.compile(r"\bPARTITION\s+OF\s+([\w.]+)", re.IGNORECASE)
_NEW_INDEX = re.compile(r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(\w+)", re.IGNORECASE)


def findings(migration: Migration, folder: Path) -> list[str]:
    """Everything that is wrong with one migration; ``folder`` takes its file for squawk."""
    return [*_squawk(migration, folder), *_ours(migration)]


def _squawk(migration: Migration, folder: Path) -> list[str]:
    program = Path(sys.executable).parent / "squawk"
    assert program.is_file(), "squawk is missing: the wheel squawk-cli brings it (make venv)"
    path = folder / f"{migration.label}.sql"
    path.write_text(migration.sql, encoding="utf-8")
    excluded = (*_NOT_OURS, *(_CONTRACT if migration.phase is Phase.CONTRACT else ()))
    command = [str(program), "--pg-version", "17", "--reporter", "json"]
    command += [word for rule in excluded for word in ("--exclude", rule)]
    command += ["--assume-in-transaction"] if migration.transactional else []
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return [f"{migration.label}:{found['line'] + 1}: {found['rule_name']}" for found in json.loads(done.stdout)]


def _ours(migration: Migration) -> list[str]:
    code = _COMMENT.sub("", migration.sql)
    found = [
        f"{migration.label}: {what}"
        for what, pattern in _LOCKING.items()
        if re.search(pattern, code, re.IGNORECASE | re.MULTILINE)
    ]
    made = set(_CREATED.findall(code))
    found += [
        f"{migration.label}: PARTITION OF {parent}, which is in use: LIKE and ATTACH do not wait for readers"
        for parent in sorted(set(_PARTITION_OF.findall(code)) - made)
    ]
    if migration.transactional and re.search(r"\bCONCURRENTLY\b", code, re.IGNORECASE):
        found.append(f"{migration.label}: CONCURRENTLY cannot run in a transaction: '-- transaction: none'")
    for index in _NEW_INDEX.findall(code):
        # An interrupted build leaves an invalid index, which IF NOT EXISTS would take for the finished one.
        if not re.search(rf"DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s+[\w.]*\b{index}\b", code, re.IGNORECASE):
            found.append(f"{migration.label}: {index} is not dropped first, so an interrupted build cannot be repeated")
    return found
