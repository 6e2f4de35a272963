"""The overview of payctl: it loads nothing, and says what each command says of itself."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, cli
from cli.recording import ROOT


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_overview_says_what_the_command_says_of_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=1000) == COMMANDS[name].summary


def _loaded(code: str, heavy: set[str]) -> tuple[str, set[str]]:
    """What the code prints, and which of the heavy modules it has loaded."""
    program = f"import sys, click; from cli.main import cli; {code}; print(*sys.modules, file=sys.stderr)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return found.stdout, heavy & set(found.stderr.split())


def test_the_help_lists_every_command_and_loads_none() -> None:
    rooms = {"settings", "planning", "components", "policies", "sandbox"}
    said, loaded = _loaded("cli(['--help'], standalone_mode=False)", {"pulumi", "pydantic", "rich", *rooms})
    assert loaded == set()
    _, _, listed = said.partition("Commands:")
    assert {line.split()[0] for line in listed.splitlines() if line[2:3].isalpha()} == set(COMMANDS)


@pytest.mark.parametrize("name", ["check", "render"])
def test_what_only_renders_loads_neither_the_twin_nor_what_deploys(name: str) -> None:
    heavy = {"cli.lifecycle", "planning.twin.simulation", "cli.act", "matplotlib"}
    assert _loaded(f"cli.get_command(click.Context(cli), {name!r})", heavy)[1] == set()


def test_a_mistyped_command_is_one_message() -> None:
    found = CliRunner().invoke(cli, ["chek"])
    assert found.exit_code == 2
    assert "No such command 'chek'; did you mean 'check'?" in found.output
    found = CliRunner().invoke(cli, ["moonwalk"])
    assert found.exit_code == 2
    assert "No such command 'moonwalk'" in found.output
    assert "did you mean" not in found.output
