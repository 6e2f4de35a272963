"""Options that several commands share, and how problems become exit codes."""

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import pulumi

from cli.output import print_problem
from cli.recording import ROOT, Recording, record_program
from cli.stack_file import StackFile, read_stack_file
from policies.configuration import PolicyConfigError
from sandbox.errors import SandboxError
from settings import Settings, SettingsError, load

EXIT_VIOLATION = 1
EXIT_INVALID_SETTINGS = 2

P = ParamSpec("P")
R = TypeVar("R")


def stack_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--stack`` and ``--config-file``."""
    stack = click.option("--stack", "-s", default="dev", show_default=True, help="Name of the stack.")
    config_file = click.option(
        "--config-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Stack file to use instead of Pulumi.<stack>.yaml.",
    )
    return stack(config_file(command))


def says_problems(command: Callable[P, R]) -> Callable[P, R]:
    """Mistakes of a person end with one message and an exit code, never with a traceback."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (SettingsError, PolicyConfigError, pulumi.RunError) as error:
            print_problem(str(error))
            raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
        except subprocess.TimeoutExpired as error:
            program = Path(str(error.cmd[0])).name
            print_problem(
                f"{program} gave no answer within {error.timeout:.0f} s; "
                "check that the cluster of the stack's context can be reached"
            )
            raise click.exceptions.Exit(EXIT_VIOLATION) from None
        except OSError as error:
            where = error.filename or "a file"
            print_problem(f"{where}: {error.strerror}; name another path, or change its permissions")
            raise click.exceptions.Exit(EXIT_VIOLATION) from None
        except SandboxError as error:
            if not error.shown:  # a failed step has printed it already
                print_problem(str(error))
            raise click.exceptions.Exit(EXIT_VIOLATION) from None

    return wrapper


def stack_path(stack: str, config_file: Path | None) -> Path:
    """The stack file that the options name."""
    return config_file if config_file is not None else ROOT / f"Pulumi.{stack}.yaml"


def load_stack(stack: str, config_file: Path | None) -> tuple[StackFile, Settings]:
    """The stack file and its validated settings. Raises ``SettingsError``."""
    stack_file = read_stack_file(stack_path(stack, config_file), stack)
    settings = load(stack_file.platform, source=stack_file.source)
    return stack_file, settings


def record_stack(stack: str, config_file: Path | None) -> Recording:
    """What the program declares for a stack. Raises ``SettingsError``."""
    stack_file, _ = load_stack(stack, config_file)
    return record_program(stack_file)
