"""Files are whole or absent, and private where they must be."""

from pathlib import Path

import pytest

from sandbox.errors import SandboxError, tail
from sandbox.files import read_json, write_json, write_text


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_text(path, "old", mode=0o600)
    write_text(path, "new", mode=0o600)
    assert path.read_text(encoding="utf-8") == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_what_is_no_secret_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "public")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \udc80")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '"text"'])
def test_what_is_no_json_object_reads_as_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert read_json(path) is None


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"b": 1, "a": [2]})
    assert read_json(tmp_path / "file.json") == {"a": [2], "b": 1}


def test_an_error_shows_the_last_twenty_lines_of_the_log_and_the_next_step(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text("".join(f"line {number}\n" for number in range(1, 31)), encoding="utf-8")
    message = str(SandboxError("etcd ended", next_step="run it again", log=log))
    assert message.splitlines()[0] == "etcd ended"
    assert "line 10\n" not in message
    assert [line for line in message.splitlines() if line.startswith("  | ")] == [
        f"  | line {number}" for number in range(11, 31)
    ]
    assert message.endswith("Next: run it again")


def test_a_log_that_was_never_written_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "missing.log") == []
