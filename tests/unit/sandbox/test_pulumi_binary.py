"""Which Pulumi is used: a suitable installed one, a named one, or our own build."""

import os
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.pulumi_binary import pulumi_version, suitable_pulumi
from tests.unit.sandbox.fakes import executable, fake_pulumi


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYMENTS_PULUMI", raising=False)


def _path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"]))


def _find(tmp_path: Path) -> Path | None:
    return suitable_pulumi(tmp_path / "project", tmp_path / "cache")


def test_a_suitable_installation_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = fake_pulumi(tmp_path / "installed" / "pulumi", "v3.251.0")
    _path(monkeypatch, installed.parent)
    assert _find(tmp_path) == installed


@pytest.mark.parametrize("version", ["v3.249.9", "v2.300.0", "v4.0.0", "3.260.0", "nonsense", ""])
def test_an_unsuitable_one_is_passed_over_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    other = fake_pulumi(tmp_path / "other" / "pulumi", version)
    good = fake_pulumi(tmp_path / "good" / "pulumi", "v3.260.0")
    _path(monkeypatch, other.parent)
    assert _find(tmp_path) is None
    _path(monkeypatch, other.parent, good.parent)
    assert _find(tmp_path) == good


def test_a_program_that_fails_is_no_engine(tmp_path: Path) -> None:
    assert pulumi_version(executable(tmp_path / "pulumi", "#!/bin/sh\necho v3.260.0; exit 1\n")) is None
    assert pulumi_version(tmp_path / "missing") is None


@pytest.mark.parametrize("folder", ["project/.venv/bin", "project/sandbox/plugins/bin", "cache/tools/pulumi"])
def test_programs_of_our_own_never_count_as_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    own = fake_pulumi(tmp_path / folder / "pulumi", "v3.260.0")
    link = tmp_path / "links" / "pulumi"
    link.parent.mkdir()
    link.symlink_to(own)
    _path(monkeypatch, own.parent, link.parent)
    assert _find(tmp_path) is None


def test_build_forces_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _path(monkeypatch, fake_pulumi(tmp_path / "installed" / "pulumi", "v3.260.0").parent)
    monkeypatch.setenv("PAYMENTS_PULUMI", "build")
    assert _find(tmp_path) is None


def test_a_named_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _path(monkeypatch, fake_pulumi(tmp_path / "installed" / "pulumi", "v3.260.0").parent)
    named = fake_pulumi(tmp_path / "named" / "my-pulumi", "v3.270.1")
    monkeypatch.setenv("PAYMENTS_PULUMI", str(named))
    assert _find(tmp_path) == named


@pytest.mark.parametrize(("version", "word"), [("v3.100.0", "is 3.100.0"), ("hello", "is no Pulumi engine")])
def test_a_named_one_that_does_not_suit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, word: str
) -> None:
    named = fake_pulumi(tmp_path / "named" / "pulumi", version)
    monkeypatch.setenv("PAYMENTS_PULUMI", str(named))
    with pytest.raises(SandboxError) as failure:
        _find(tmp_path)
    assert f"PAYMENTS_PULUMI={named}: the program there {word}" in str(failure.value)
    assert "3.250 or newer" in str(failure.value)
    assert "PAYMENTS_PULUMI=build" in str(failure.value)
