"""What the documents promise exists, and what exists is documented."""

import re
import shlex
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin
from xml.etree import ElementTree as ET

import click
import pytest
from pydantic import BaseModel

from cli.graph import to_svg
from cli.main import cli
from policies.pack import all_policies
from sandbox.__main__ import _parser as sandbox_parser
from settings import Settings
from tests.unit.stacks import recording_of

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## `([^`]+)`", re.MULTILINE)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[tuple[str, list[str]]]:
    """Document and words of each command in a block marked ``sh``, comments dropped."""
    found = []
    for document in documents():
        for block in _BLOCK.finditer(document.read_text(encoding="utf-8")):
            lines = block[2].splitlines()
            found += [(document.name, words) for line in lines if (words := shlex.split(line, comments=True))]
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_documents_have_commands_to_check() -> None:
    programs = {words[0] for _, words in commands()}
    assert {"make", "./payctl", ".venv/bin/python"} <= programs


@pytest.mark.parametrize(("document", "words"), [c for c in commands() if c[1][0] == "make"])
def test_make_targets_of_documents_exist(document: str, words: list[str]) -> None:
    targets = {word for word in words[1:] if "=" not in word}
    assert targets <= make_targets(), f"{document}: {shlex.join(words)}"


@pytest.mark.parametrize(("document", "words"), [c for c in commands() if c[1][0] == "./payctl"])
def test_payctl_commands_of_documents_exist(document: str, words: list[str]) -> None:
    command: click.Command = cli
    rest = words[1:]
    while isinstance(command, click.Group):
        assert rest, f"{document}: {shlex.join(words)} names no command"
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"{document}: {shlex.join(words)}"
        command, rest = found, rest[1:]
    # Parsing alone: options must exist and required ones be there; nothing runs.
    command.make_context(words[0], rest)


@pytest.mark.parametrize(
    ("document", "words"), [c for c in commands() if c[1][:3] == [".venv/bin/python", "-m", "sandbox"]]
)
def test_sandbox_commands_of_documents_exist(document: str, words: list[str]) -> None:
    assert sandbox_parser().parse_args(words[3:]).command in words, document


def test_programs_of_documents_are_ours_or_named_as_needed() -> None:
    own = {"make", "./payctl", ".ci/run", ".venv/bin/python", ".venv/bin/kubectl", ".venv/bin/pre-commit"}
    theirs = {"pulumi", "kubectl"}
    assert {words[0] for _, words in commands()} <= own | theirs


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{document.name}: {target} leads nowhere"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{document.name}: {target} names no heading"


def test_every_page_can_be_found_from_the_index_or_a_list() -> None:
    linked = "".join(document.read_text(encoding="utf-8") for document in documents())
    lost = [page.name for page in documents() if page.name not in ("README.md", "index.md") and page.name not in linked]
    assert not lost


def inner_models(annotation: Any) -> list[type[BaseModel]]:
    """The models behind optionals, lists, mappings, unions and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, list, dict, Union, types.UnionType):
        return [model for part in get_args(annotation) for model in inner_models(part)]
    return []


def kind_of(model: type[BaseModel]) -> str:
    """What an entry's ``kind`` must be for the model to be chosen; empty for a model without kinds."""
    field = model.model_fields.get("kind")
    choices = get_args(field.annotation) if field is not None else ()
    return str(choices[0]) if choices else ""


def reachable_models(model: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in inner_models(field.annotation):
            yield from reachable_models(inner)


def model_at(path: str) -> type[BaseModel]:
    """``services.<name>.api`` → the model of an API's settings."""
    model: type[BaseModel] = Settings
    for part in path.split("."):
        if part not in ("<name>", "payments:platform"):
            key, _, kind = part.removesuffix("]").partition("[")
            inner = inner_models(model.model_fields[key].annotation)
            [model] = [found for found in inner if kind in ("", kind_of(found))]
    return model


def documented_settings() -> dict[type[BaseModel], dict[str, str]]:
    """Model → key → the column ``default``, from the tables of docs/settings.md."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    parts = _HEADING.split(text)[1:]
    tables: dict[type[BaseModel], dict[str, str]] = {}
    for path, body in zip(parts[::2], parts[1::2], strict=True):
        section = body.split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE)
        tables[model_at(path)] = {key: default.strip() for key, default in rows}
    return tables


def test_settings_page_has_every_key_and_no_other() -> None:
    tables = documented_settings()
    assert set(tables) == set(reachable_models())
    for model, rows in tables.items():
        assert set(rows) == set(model.model_fields), model.__name__


def test_settings_page_tells_required_keys_from_optional_ones() -> None:
    for model, rows in documented_settings().items():
        for key, default in rows.items():
            field = model.model_fields[key]
            assert default.startswith("required") == field.is_required(), f"{model.__name__}.{key}: {default}"


def test_settings_page_has_the_defaults_of_plain_values() -> None:
    for model, rows in documented_settings().items():
        for key, text in rows.items():
            default = model.model_fields[key].default
            if isinstance(default, int | str):
                assert f"`{default}`" in text, f"{model.__name__}.{key}: {text}"


def test_policies_page_has_every_policy_as_it_is() -> None:
    text = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    rows = [
        f"| `{policy.name}` | {policy.severity.value if policy.severity else ''} | {policy.description} | "
        f"{policy.framework.reference if policy.framework else '–'} |"
        for policy in all_policies()
    ]
    documented = re.findall(r"^\| `[\w-]+` \| (?:low|medium|high|critical) \|.*$", text, re.MULTILINE)
    assert documented == rows, "the table of docs/policies.md should be:\n" + "\n".join(rows)


def test_picture_is_the_one_of_the_dev_stack() -> None:
    drawn = to_svg(recording_of("dev").resources)
    committed = (ROOT / "docs" / "platform.svg").read_text(encoding="utf-8")
    assert drawn == committed, "draw it anew: ./payctl graph --stack dev --out docs/platform.svg"
    ET.fromstring(committed)  # noqa: S314 # our own file
