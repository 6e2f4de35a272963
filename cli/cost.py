"""``payctl cost``: what a stack costs in a month, and what a change of it costs."""

import subprocess
import tempfile
from pathlib import Path

import click
from rich.table import Table

from cli.options import EXIT_INVALID_SETTINGS, says_problems, stack_option, stack_path
from cli.output import console, print_json, print_problem
from cli.recording import ROOT, record_program
from cli.render import manifests
from cli.simulate import MISTAKES
from cli.stack_file import read_stack_file
from planning.cost.amounts import AmountsError
from planning.cost.bill import Bill, CurrencyError, Difference, bill, difference, typical_pods
from planning.twin.plant_stack import read_stack
from settings import load

_GIT_TIMEOUT_SECONDS = 30


class RevisionError(ValueError):
    """A revision whose stack file cannot be read."""


@click.command("cost")
@stack_option
@click.option("--compare", metavar="STACK|FILE", help="Another stack or stack file: what it costs more than this one.")
@click.option("--since", metavar="REVISION", help="What the stack file costs more than at a git revision.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@says_problems
def cost_command(
    *, stack: str, config_file: Path | None, compare: str | None, since: str | None, as_json: bool
) -> None:
    """Price what the program declares: at the fewest pods, on the twin's day, at the most pods.

    The prices are the stack's own (settings, block prices); the budget that refuses a stack is the policy pack's.
    With --since the program is today's: the difference is that of the settings.
    """
    path = stack_path(stack, config_file)
    try:
        first = bill_of(path, stack)
        other = _other(path, stack, compare, since)
        found = None if other is None else (difference(first, other) if since is None else difference(other, first))
    except (*MISTAKES, AmountsError, CurrencyError, RevisionError) as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    if as_json:
        document = first.as_json()
        if found is not None:
            document["difference"] = {
                "minimum": found.minimum,
                "typical": found.typical,
                "maximum": found.maximum,
                "lines": [list(line) for line in found.lines],
            }
        print_json(document)
        return
    _print_bill(first)
    if found is not None:
        _print_difference(found, f"since {since}" if since is not None else f"{compare} instead of {first.stack}")


def bill_of(path: Path, stack: str) -> Bill:
    """The bill of a stack file, with the twin's day. Raises ``SettingsError`` and the twin's mistakes."""
    stack_file = read_stack_file(path, stack)
    settings = load(stack_file.platform, source=stack_file.source)
    rendered = list(manifests(record_program(stack_file).resources).values())
    return bill(path.name, rendered, settings, typical_pods(read_stack(stack, rendered, settings)))


def _other(path: Path, stack: str, compare: str | None, since: str | None) -> Bill | None:
    if compare is not None and since is not None:
        message = "--compare and --since: one difference at a time; fix: leave one away"
        raise RevisionError(message)
    if compare is not None:
        other = Path(compare)
        named = other.suffix in {".yaml", ".yml"}
        return bill_of(other if named else ROOT / f"Pulumi.{compare}.yaml", stack if named else compare)
    if since is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / path.name
        old.write_text(_at_revision(path, since), encoding="utf-8")
        return bill_of(old, stack)


def _at_revision(path: Path, revision: str) -> str:
    """The file's text at a revision."""
    absolute = path.resolve()
    answer = subprocess.run(
        ["git", "show", "--end-of-options", f"{revision}:./{absolute.name}"],  # noqa: S607 # the user's own git
        cwd=absolute.parent, capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT_SECONDS,
    )  # fmt: skip
    if answer.returncode != 0:
        said = answer.stderr.strip().splitlines()[-1:] or ["git says nothing"]
        message = f"--since: {revision}: {said[0]}; fix: name a revision in which {absolute.name} exists"
        raise RevisionError(message)
    return answer.stdout


def _print_bill(found: Bill) -> None:
    table = Table("workload", "service", "component", "pods", "minimum", "typical", "maximum", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for line in found.lines:
        pods = f"{line.fewest_pods} / {line.typical_pods:.1f} / {line.most_pods}" if line.most_pods else "–"
        table.add_row(line.name, line.service, line.component, pods, *_money(line.minimum, line.typical, line.maximum))
    table.add_section()
    for service, amounts in found.by_service().items():
        table.add_row("", service, "all", "", *_money(*amounts))
    table.add_row("all", "", "", "", *_money(found.minimum, found.typical, found.maximum))
    console.print(f"[bold]{found.stack}[/bold]: {found.currency} in a month of 730 h; pods: fewest / typical / most")
    console.print(table)


def _money(*amounts: float) -> list[str]:
    return [f"{amount:,.2f}" for amount in amounts]


def _print_difference(found: Difference, title: str) -> None:
    console.print(f"\n[bold]difference[/bold]: {title}, {found.currency} in a month")
    table = Table("workload", "minimum", "typical", "maximum", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *amounts in found.lines:
        table.add_row(name, *(f"{amount:+,.2f}" for amount in amounts))
    table.add_row("all", *(f"{amount:+,.2f}" for amount in (found.minimum, found.typical, found.maximum)))
    console.print(table)
