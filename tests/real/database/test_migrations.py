"""The runner on real servers: nothing twice, nothing edited, nobody kept waiting."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from payments_client.migrations import Migration, MigrationError, Options, apply, load, read_status
from payments_client.migrations.files import parse
from sandbox.embedded_postgres import VERSIONS
from tests.real.database import roles
from tests.real.database.conftest import MIGRATIONS, Database
from tests.real.database.together import together
from tests.real.postgres_server import running, server_folder

ROOT = Path(__file__).parents[3]
SHIPPED = load(MIGRATIONS)
LAST = len(SHIPPED)


def more(version: int, name: str, text: str) -> Migration:
    return parse(f"{version:04d}_{name}.sql", text.encode())


def extended(*texts: str) -> list[Migration]:
    first = len(SHIPPED) + 1
    return [*SHIPPED, *(more(first + n, f"more_{n}", text) for n, text in enumerate(texts))]


def migrate(database: Database, migrations: list[Migration] | None = None, **options: Any) -> list[str]:
    lines: list[str] = []
    with database.connect(roles.MIGRATOR) as connection:
        apply(connection, migrations or SHIPPED, Options(**options), lines.append)
    return lines


def applied(database: Database) -> list[int]:
    rows = database.all("SELECT version FROM ops.schema_migrations WHERE finished_at IS NOT NULL ORDER BY 1")
    return [row[0] for row in rows]


def test_from_nothing_and_again_and_by_four_runners_at_once(empty_database: Database) -> None:
    def run(_: int) -> tuple[str, ...]:
        with empty_database.connect(roles.MIGRATOR) as connection:
            return apply(connection, SHIPPED).applied

    done = together(run, 4)
    assert sorted(map(len, done)) == [0, 0, 0, len(SHIPPED)]
    assert applied(empty_database) == [m.version for m in SHIPPED]
    with empty_database.connect(roles.MIGRATOR) as connection:
        assert read_status(connection, SHIPPED).current
    owners = empty_database.all(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class "
        "WHERE relnamespace::regnamespace::text IN ('es', 'ledger', 'ops')"
    )
    assert owners == [(roles.OWNER,)]
    assert empty_database.one("SELECT count(*) FROM pg_partitioned_table WHERE partdefid <> 0") == 0


def test_an_edited_or_missing_migration_is_refused(database: Database) -> None:
    edited = more(SHIPPED[1].version, SHIPPED[1].name, SHIPPED[1].sql + "\n-- a comment")
    with pytest.raises(MigrationError, match="0002_partition_care was edited"):
        migrate(database, [SHIPPED[0], edited, *SHIPPED[2:]])
    with pytest.raises(MigrationError, match="0002_partition_care was applied but is missing"):
        migrate(database, [SHIPPED[0], *SHIPPED[2:]])


def test_a_newer_database_is_left_as_it_is(database: Database) -> None:
    lines = migrate(database, SHIPPED[:-1])
    assert any(f"ahead of this folder: {SHIPPED[-1].label}" in line for line in lines)
    assert applied(database) == [m.version for m in SHIPPED]


def test_a_step_that_fails_leaves_nothing_and_is_run_again(database: Database) -> None:
    broken = extended("-- phase: expand\nCREATE TABLE es.half (n bigint);\nSELECT 1 / 0;")
    with pytest.raises(
        MigrationError, match=rf"{LAST + 1:04d}_more_0 failed: division by zero \(22012\), it left nothing"
    ):
        migrate(database, broken)
    assert database.one("SELECT to_regclass('es.half')") is None
    migrate(database, extended("-- phase: expand\nCREATE TABLE es.half (n bigint);"))
    assert applied(database)[-1] == LAST + 1


def test_a_locked_table_makes_the_step_stand_back_and_try_again(database: Database) -> None:
    """While the step waits everybody queues behind it; it gives way each time, so readers get through."""
    step = extended("-- phase: expand\nALTER TABLE es.streams ADD COLUMN note text;")
    lines: list[str] = []
    with database.connect(roles.MIGRATOR, autocommit=False) as reader, database.connect(roles.MIGRATOR) as runner:
        reader.execute("SELECT count(*) FROM es.streams")
        thread = threading.Thread(
            target=apply, args=(runner, step, Options(lock_timeout_seconds=0.2, attempts=200), lines.append)
        )
        thread.start()
        deadline = time.monotonic() + 60
        while len(lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert database.one("SELECT count(*) FROM es.streams", user=roles.APP) == 0
        reader.rollback()
        thread.join(120)
        assert not thread.is_alive()
    assert "lock timeout" in lines[0]
    assert applied(database)[-1] == LAST + 1


def test_a_lock_that_is_never_free_ends_with_what_to_do(database: Database) -> None:
    step = extended("-- phase: expand\nALTER TABLE es.streams ADD COLUMN note text;")
    with database.connect(roles.MIGRATOR, autocommit=False) as reader:
        reader.execute("SELECT count(*) FROM es.streams")
        with pytest.raises(MigrationError, match="did not get its locks in 2 attempts; end the long transactions"):
            migrate(database, step, lock_timeout_seconds=0.1, attempts=2)
    assert applied(database)[-1] == LAST


def test_a_contract_step_waits_for_its_release_and_so_does_what_follows(database: Database) -> None:
    steps = extended(
        "-- phase: expand\nALTER TABLE es.streams ADD COLUMN note text;",
        "-- phase: contract\nALTER TABLE es.streams DROP COLUMN note;",
        "-- phase: expand\nCREATE TABLE es.later (n bigint);",
    )
    waiting = f"waiting for its release (contract): {LAST + 2:04d}_more_1, {LAST + 3:04d}_more_2"
    assert any(waiting in line for line in migrate(database, steps))
    assert applied(database)[-1] == LAST + 1
    migrate(database, steps, contract_through=LAST + 2)
    assert applied(database)[-1] == LAST + 3


def test_an_index_is_built_beside_a_writer_and_taken_up_after_an_interruption(database: Database) -> None:
    steps = extended(
        "-- phase: expand\n-- transaction: none\n"
        "DROP INDEX CONCURRENTLY IF EXISTS es.streams_created;\n"
        "-- next\n"
        "CREATE INDEX CONCURRENTLY streams_created ON es.streams (created_at);"
    )
    failures: list[BaseException] = []

    def run() -> None:
        try:
            migrate(database, steps)
        except MigrationError as error:
            failures.append(error)

    with database.connect(autocommit=False) as writer:
        writer.execute('SELECT es.append(\'s\', 0, \'[{"type": "A", "data": {}}]\')')
        thread = threading.Thread(target=run)
        thread.start()
        # It waits for the open transaction; then it is ended, and an invalid index stays.
        pid = _wait(
            database,
            "SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
            "AND datname = current_database() AND wait_event IS NOT NULL",
        )
        with database.server.connect() as admin:
            admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
        thread.join(60)
        writer.rollback()
    assert "interrupted" in str(failures[0])
    assert database.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'es.streams_created'::regclass") is False
    with database.connect(roles.MIGRATOR) as connection:
        assert read_status(connection, steps).unfinished == (f"{LAST + 1:04d}_more_0",)

    migrate(database, steps)
    assert database.one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'es.streams_created'::regclass") is True
    assert applied(database)[-1] == LAST + 1


def test_without_roles_or_schemas_it_says_what_to_apply_first(database: Database) -> None:
    with pytest.raises(MigrationError, match="cannot act as 'nobody_here'; apply the stack's database resources first"):
        migrate(database, owner="nobody_here")
    with (
        psycopg.connect(database.server.dsn("postgres"), autocommit=True) as connection,
        pytest.raises(MigrationError, match="schemas are missing: es, ledger, ops, archive"),
    ):
        apply(connection, SHIPPED, Options(owner=None))


@pytest.mark.slow
def test_a_standby_is_refused() -> None:
    with running(max(VERSIONS)) as primary, server_folder() as folder:
        standby = primary.standby(folder)
        try:
            standby.start()
            with (
                psycopg.connect(standby.dsn(), autocommit=True) as connection,
                pytest.raises(MigrationError, match="the server is a standby"),
            ):
                apply(connection, SHIPPED)
        finally:
            standby.abandon()


def run_module(database: Database, command: str, folder: Path = MIGRATIONS, **more: str) -> "subprocess.Popen[str]":
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "client"),
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(database.server.port),
        "DATABASE_NAME": database.name,
        "DATABASE_SSLMODE": "disable",
        "MIGRATIONS_FOLDER": str(folder),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "payments_client.migrations", command],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_jobs_command_applies_cares_and_tells(empty_database: Database) -> None:
    process = run_module(empty_database, "status")
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output.splitlines()[0]) == (1, "version 0000")

    process = run_module(empty_database, "apply", PARTITIONS_MONTHS_AHEAD="5")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "applied 0001_foundation" in output
    assert f"version {LAST:04d}; applied {LAST}, waiting 0" in output
    assert output.count("made es.events_p") == 2  # the migration made three months, the care two more

    process = run_module(empty_database, "status")
    assert process.communicate(timeout=120)[0] == f"version {LAST:04d}\n"
    assert process.returncode == 0
    process = run_module(
        empty_database, "care", PARTITIONS_MONTHS_AHEAD="5", PARTITIONS_KEEP_MONTHS="12", IDEMPOTENCY_KEEP_DAYS="30"
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "forgot 0 idempotency keys" in output


@pytest.mark.slow
def test_a_killed_runner_leaves_no_lock_and_the_next_one_goes_on(empty_database: Database, tmp_path: Path) -> None:
    for path in MIGRATIONS.glob("*.sql"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    slow = tmp_path / f"{LAST + 1:04d}_slow.sql"
    slow.write_text("-- phase: expand\nCREATE TABLE es.slow (n bigint);\nSELECT pg_sleep(30);\n")
    process = run_module(empty_database, "apply", tmp_path)
    _wait(
        empty_database,
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' "
        "AND datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'",
    )
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    slow.write_text("-- phase: expand\nCREATE TABLE es.slow (n bigint);\n")
    # The server notices the dead client when the statement ends, or is told to.
    empty_database.all(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()",
        user="postgres",
    )
    process = run_module(empty_database, "apply", tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"applied {LAST + 1:04d}_slow" in output


def test_the_password_is_in_no_message(database: Database, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("canary-secret\n")
    process = run_module(
        database,
        "apply",
        DATABASE_PASSWORD_FILE=str(secret),
        MIGRATIONS_OWNER="nobody_here",
        DATABASE_USER="payments_app",
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "canary" not in output
    assert "Traceback" not in output


def _wait(database: Database, query: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = database.all(query, user="postgres")
        if rows:
            return rows[0][0]
        time.sleep(0.05)
    raise AssertionError(f"nothing came of: {query}")
