"""A server that runs as nobody finds programs that nobody may read."""

import os
from pathlib import Path

import pytest

from sandbox import embedded_postgres as embedded


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """An installation below a folder that only its owner may enter, as in root's home."""
    install = tmp_path / "home" / "wheel"
    (install / "bin").mkdir(parents=True)
    (install / "share").mkdir()
    (tmp_path / "home" / "wheel.libs").mkdir()
    (install / "bin" / "postgres").write_text("#!/bin/sh\n", encoding="utf-8")
    (install / "bin" / "postgres").chmod(0o700)
    (install / "share" / "postgres.bki").write_text("x", encoding="utf-8")
    (install / "share" / "postgres.bki").chmod(0o600)
    (tmp_path / "home").chmod(0o700)
    return install


def test_a_closed_folder_anywhere_above_is_seen(closed: Path) -> None:
    assert not embedded._open_to_all(closed / "bin")
    assert embedded._open_to_all(Path("/usr/bin"))


def test_the_copy_can_be_read_and_run_by_all_and_is_made_once(closed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    copy = embedded._readable_copy(closed, cache)
    assert (copy.parent / "wheel.libs").is_dir()
    assert {str(path.relative_to(copy)): oct(path.stat().st_mode & 0o777) for path in [copy, *copy.rglob("*")]} == {
        ".": "0o755",
        "bin": "0o755",
        "bin/postgres": "0o755",
        "share": "0o755",
        "share/postgres.bki": "0o644",
    }
    made = copy.stat().st_ino
    assert embedded._readable_copy(closed, cache) == copy
    assert copy.stat().st_ino == made
    assert list(cache.iterdir()) == [copy.parent]


def test_another_installation_in_its_place_is_another_copy(closed: Path, tmp_path: Path) -> None:
    before = embedded._readable_copy(closed, tmp_path / "cache")
    os.utime(closed, (1, 1))
    assert embedded._readable_copy(closed, tmp_path / "cache") != before
