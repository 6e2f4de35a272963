"""Reading a folder of migrations, and what the runner reads from its environment."""

from pathlib import Path

import pytest

from payments_client.migrations import Migration, MigrationError, Phase, Status, load
from payments_client.migrations.__main__ import describe, main
from payments_client.migrations.environment import read
from payments_client.migrations.files import parse
from payments_client.migrations.history import to_run

EXPAND = b"-- phase: expand\nSELECT 1;\n"


def write(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / f"{name[1:]}.sql").write_bytes(content)


def test_a_folder_is_read_in_order(tmp_path: Path) -> None:
    write(tmp_path, _0002_second=b"-- phase: contract\n-- transaction: none\nSELECT 1;\n-- next\nSELECT 2;\n")
    write(tmp_path, _0001_first=EXPAND)
    first, second = load(tmp_path)
    assert (first.label, first.phase, first.transactional, first.statements) == (
        "0001_first", Phase.EXPAND, True, [EXPAND.decode()],
    )  # fmt: skip
    assert (second.label, second.phase, second.transactional) == ("0002_second", Phase.CONTRACT, False)
    assert [part.splitlines()[-1] for part in second.statements] == ["SELECT 1;", "SELECT 2;"]


def test_line_ends_do_not_count_and_every_other_byte_does() -> None:
    windows = parse("0001_a.sql", EXPAND.replace(b"\n", b"\r\n"))
    assert windows.checksum == parse("0001_a.sql", EXPAND).checksum
    assert windows.checksum != parse("0001_a.sql", EXPAND + b" ").checksum


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, _0001_first=EXPAND, _0003_third=EXPAND, _0004_none=b"SELECT 1;", _Second=EXPAND)
    with pytest.raises(MigrationError) as raised:
        load(tmp_path)
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert "0003_third: expected version 0002" in str(raised.value)
    assert "0004_none.sql: the first line must be '-- phase: expand' or '-- phase: contract'" in str(raised.value)
    assert "Second.sql: a migration is named like 0001_what_it_does.sql" in str(raised.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MigrationError, match="holds no file like"):
        load(tmp_path / "empty")


def steps(*phases: str) -> list[Migration]:
    return [parse(f"{n:04d}_s.sql", f"-- phase: {phase}\n".encode()) for n, phase in enumerate(phases, start=1)]


def test_what_runs_ends_at_the_first_contract_step_that_is_not_released() -> None:
    migrations = steps("expand", "contract", "expand", "contract")
    status = Status(pending=tuple(m.label for m in migrations))
    for released, ran in ((0, 1), (1, 1), (2, 3), (3, 3), (4, 4)):
        todo, waiting = to_run(status, migrations, released)
        assert (len(todo), len(waiting)) == (ran, 4 - ran)


def test_a_status_says_what_is_wrong() -> None:
    status = Status(newest=3, pending=("0004_d",), edited=("0002_b",), unknown=("0001_a",))
    assert not status.current
    assert len(status.problems) == 2
    assert describe(status) == [
        "version 0003", "pending: 0004_d", "edited: 0002_b", "missing in the folder: 0001_a",
    ]  # fmt: skip
    assert Status(newest=3).current
    assert not Status(newest=3, ahead=("0004_d",)).current


def test_the_environment_is_checked_as_a_whole_and_keeps_the_password_to_itself(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary\n")
    good = {"DATABASE_HOST": "db", "DATABASE_PASSWORD_FILE": str(tmp_path / "password"), "MIGRATIONS_POOLERS": "p:6432"}
    environment = read(good)
    assert environment.parameters["password"] == "canary"
    assert environment.parameters["sslmode"] == "verify-full"
    assert [(p.host, p.port) for p in environment.poolers] == [("p", 6432)]
    bad = {
        "DATABASE_NAME": "pay;ments",
        "DATABASE_PORT": "0",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "absent"),
        "PARTITIONS_MONTHS_AHEAD": "2",
        "MIGRATIONS_POOLERS": "p",
    }
    with pytest.raises(MigrationError) as raised:
        read(bad)
    assert len(str(raised.value).splitlines()) == 6
    for name in (*bad, "DATABASE_HOST"):
        assert name in str(raised.value)
    assert "canary" not in repr(environment)


def test_a_wrong_call_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["destroy"], {}) == 2
    assert "apply | care | status" in capsys.readouterr().err
    assert main(["apply"], {}) == 1
    assert capsys.readouterr().err == "DATABASE_HOST is not set\n"
