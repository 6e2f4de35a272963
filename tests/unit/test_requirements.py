"""The requirement files hold what their sources ask for: pinned, hashed, without any index's address."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("requirements.in", "policies/requirements.in", "requirements-dev.in")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)( ;.*)? \\$")
_ADDRESS = re.compile(r"://|--index-url|--extra-index-url|--find-links|--trusted-host")
_HINT = "run 'make lock' and commit the result"


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def asked_for(source: Path) -> Iterator[tuple[Path, Requirement]]:
    """Each requirement with the file that states it; ``-r`` is followed."""
    for line in lines_of(source):
        text = line.split(" #")[0].strip()
        if text.startswith("-r "):
            yield from asked_for(source.parent / text.removeprefix("-r ").strip())
        elif text and not text.startswith("#"):
            yield source, Requirement(text)


def locked(path: Path) -> dict[str, str]:
    """Name → version; an entry for other platforms counts like any other."""
    return {canonicalize_name(found[1]): found[2] for line in lines_of(path) if (found := _PIN.match(line))}


@pytest.mark.parametrize("name", SOURCES)
def test_lock_answers_every_requirement(name: str) -> None:
    source = ROOT / name
    pins = locked(source.with_suffix(".txt"))
    for stated_in, requirement in asked_for(source):
        version = pins.get(canonicalize_name(requirement.name))
        where = f"{source.with_suffix('.txt').name}: {requirement} of {stated_in.name}"
        assert version is not None, f"{where} is missing; {_HINT}"
        assert requirement.specifier.contains(version), f"{where} is pinned to {version}; {_HINT}"


@pytest.mark.parametrize("name", SOURCES)
def test_lock_holds_nothing_that_is_no_longer_asked_for(name: str) -> None:
    source = ROOT / name
    wanted = {canonicalize_name(requirement.name) for _, requirement in asked_for(source)}
    stated: set[str] = set()
    current = ""
    for line in lines_of(source.with_suffix(".txt")):
        if found := _PIN.match(line):
            current = canonicalize_name(found[1])
        elif line.lstrip().startswith("#") and re.search(r"-r \S+\.in\b", line):
            stated.add(current)
    assert stated == wanted, f"{source.with_suffix('.txt').name} was made from other requirements; {_HINT}"


@pytest.mark.parametrize("name", SOURCES)
def test_every_entry_is_pinned_and_hashed(name: str) -> None:
    text = (ROOT / name).with_suffix(".txt").read_text(encoding="utf-8")
    entries = re.findall(r"^[^\s#].*?(?=^[^\s#]|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert entries, f"{name} locks nothing"
    for entry in entries:
        first = entry.splitlines()[0]
        assert _PIN.match(first), f"'{first}' is not pinned to one version; {_HINT}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), f"'{first}' has no hash; {_HINT}"


@pytest.mark.parametrize("name", SOURCES)
def test_no_index_is_written_down(name: str) -> None:
    for path in (ROOT / name, (ROOT / name).with_suffix(".txt")):
        found = [line for line in lines_of(path) if _ADDRESS.search(line)]
        assert not found, f"{path.name} names an index: {found}; {_HINT}"


def test_files_agree_on_every_version() -> None:
    everything = locked(ROOT / "requirements-dev.txt")
    for name in SOURCES[:2]:
        part = locked((ROOT / name).with_suffix(".txt"))
        differing = {key: (value, everything.get(key)) for key, value in part.items() if everything.get(key) != value}
        assert not differing, f"{name} and requirements-dev.in disagree: {differing}; {_HINT}"
