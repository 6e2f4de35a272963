"""``payctl simulate``: what the autoscalers of a stack would do, before it is deployed."""

from pathlib import Path

import click

from cli import simulate_table
from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from cli.recording import ROOT, record_program
from cli.render import manifests
from planning.twin.formula import FormulaError
from planning.twin.hpa import ManifestError
from planning.twin.plant_stack import Stack, StackError, read_stack
from planning.twin.report import Report, report
from planning.twin.report_limits import BrokenLimit, broken_limits
from planning.twin.scenarios import SCENARIOS, Scenario, ScenarioError, recorded, scenario
from planning.twin.signals import SignalError
from planning.twin.simulation import Run, simulate
from planning.twin.workload import WorkloadError, read_csv


class OptionError(ValueError):
    """Options that do not fit together; the message names them and the fix."""


MISTAKES = (OptionError, ScenarioError, WorkloadError, StackError, SignalError, ManifestError, FormulaError)


@click.command("simulate")
@stack_option
@click.option(
    "--scenario",
    "scenario_name",
    required=True,
    metavar="NAME|FILE.csv|all",
    help=f"What happens: {', '.join(SCENARIOS)}; a recording with time_seconds,requests_per_second; or all of them.",
)
@click.option("--compare", metavar="STACK|FILE", help="Another stack or stack file, under the same load.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the load's noise.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Picture to write: .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Figures as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="One row a scenario and stack, as a Markdown table.")
@says_problems
def simulate_command(
    *,
    stack: str,
    config_file: Path | None,
    scenario_name: str,
    compare: str | None,
    seed: int,
    plot: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Predict replicas, lag and latency of a stack under a load.

    The autoscalers and Deployments are those that the program declares; their controllers' arithmetic is exact, the
    pods, consumers and the bank are a model (docs/scaling.md says what it assumes). With --compare the load is the
    one that --stack promises.

    Exit code 0: the objectives hold, or the load is beyond what capacity.horizon promises. 1: a promised load breaks
    an objective (of --stack, not of --compare). 2: the settings, the scenario or the recording are invalid.
    """
    try:
        _require_picture(plot, scenario_name)
        stacks = [stack_to_simulate(stack, config_file)]
        if compare is not None:
            stacks.append(_compared(compare, stack))
        runs = [[simulate(each, chosen) for each in stacks] for chosen in _chosen(scenario_name, stacks[0], seed)]
        limits = [broken_limits(simulate(each, scenario("ramp", seed=seed, promised=0.0))) for each in stacks]
    except MISTAKES as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    reports = [[report(run) for run in of_scenario] for of_scenario in runs]
    if plot is not None:
        _draw(runs[0], plot)
    if as_json:
        print_json([simulate_table.as_json(*row) for found in reports for row in zip(found, limits, strict=True)])
    elif as_markdown:
        click.echo(simulate_table.markdown([each for found in reports for each in found]), nl=False)
    else:
        _print(reports, limits)
        if plot is not None:
            console.print(f"picture: {plot}", soft_wrap=True)
    if any(found[0].breaks_promise for found in reports):
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _print(reports: list[list[Report]], limits: list[list[BrokenLimit]]) -> None:
    for found in reports:
        for each in found:
            simulate_table.print_report(each)
        if len(found) > 1:
            simulate_table.print_comparison(found[0], found[1])
    for each, of_stack in zip(reports[0], limits, strict=True):
        simulate_table.print_limits(each.stack, of_stack)


def _chosen(name: str, first: Stack, seed: int) -> list[Scenario]:
    """The scenarios that a name stands for, at the load that a stack promises."""
    names = [each for each in SCENARIOS if each != "ramp"] if name == "all" else [name]
    return [chosen_scenario(each, seed=seed, promised=first.promised_requests_per_second) for each in names]


def stack_to_simulate(stack: str, config_file: Path | None) -> Stack:
    """The autoscaled workloads that the program declares. Raises ``SettingsError`` and ``StackError``."""
    stack_file, settings = load_stack(stack, config_file)
    rendered = manifests(record_program(stack_file).resources)
    return read_stack(stack if config_file is None else config_file.name, rendered.values(), settings)


def _compared(other: str, stack: str) -> Stack:
    """A stack by name, or by its file."""
    path = Path(other)
    if path.suffix in {".yaml", ".yml"}:
        return stack_to_simulate(stack, path)
    if not (ROOT / f"Pulumi.{other}.yaml").exists():
        message = (
            f"--compare: '{other}' is neither a stack nor a stack file; fix: name a stack with a Pulumi.<stack>.yaml, "
            "or the path of a .yaml file"
        )
        raise OptionError(message)
    return stack_to_simulate(other, None)


def chosen_scenario(name: str, *, seed: int, promised: float) -> Scenario:
    """A named scenario or a recording. Raises ``ScenarioError`` and ``WorkloadError``."""
    path = Path(name)
    if path.suffix != ".csv":
        return scenario(name, seed=seed, promised=promised)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        message = f"--scenario: {name} cannot be read as text ({type(error).__name__}); fix: name an existing CSV file"
        raise WorkloadError(message) from None
    return recorded(path.name, read_csv(lines, source=path.name))


def _require_picture(plot: Path | None, scenario_name: str) -> None:
    """Refuse a picture that cannot be written before anything is simulated: exit code 1 means a broken promise."""
    if plot is not None and not plot.resolve().parent.is_dir():
        message = (
            f"--plot: '{plot}' lies in no folder; allowed: a path in an existing one; fix: make it, or name another"
        )
        raise OptionError(message)
    if plot is not None and scenario_name == "all":
        message = "--plot: a picture shows one scenario, not all; fix: name one with --scenario"
        raise OptionError(message)
    if plot is not None and plot.suffix not in {".png", ".svg"}:
        message = f"--plot: '{plot.name}' is no picture that can be written; allowed: .png or .svg; fix: rename it"
        raise OptionError(message)


def _draw(runs: list[Run], path: Path) -> None:
    from planning.twin.plot import draw

    draw(runs, path)
