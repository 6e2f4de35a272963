"""``payctl simulate``: what the autoscalers of a stack would do, before it is deployed."""

from pathlib import Path

import click
from rich.table import Table

from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from cli.recording import ROOT, record_program
from cli.render import manifests
from planning.twin.hpa import ManifestError
from planning.twin.plant_stack import Stack, StackError, read_stack
from planning.twin.report import Report, WorkloadReport, report
from planning.twin.report_limits import BrokenLimit, broken_limits
from planning.twin.scenarios import SCENARIOS, Scenario, ScenarioError, recorded, scenario
from planning.twin.signals import SignalError
from planning.twin.simulation import Run, simulate
from planning.twin.workload import WorkloadError, read_csv

_MISTAKES = (ScenarioError, WorkloadError, StackError, SignalError, ManifestError)


@click.command("simulate")
@stack_option
@click.option(
    "--scenario",
    "scenario_name",
    required=True,
    metavar="NAME|FILE.csv",
    help=f"What happens: {', '.join(SCENARIOS)}; or a recording with time_seconds,requests_per_second.",
)
@click.option("--compare", metavar="STACK|FILE", help="Another stack or stack file, under the same load.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the load's noise.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Picture to write: .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Figures as JSON.")
@says_problems
def simulate_command(
    stack: str,
    config_file: Path | None,
    scenario_name: str,
    compare: str | None,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Predict replicas, lag and latency of a stack under a load.

    The autoscalers and Deployments are those that the program declares; their controllers' arithmetic is exact, the
    pods, consumers and the bank are a model (docs/scaling.md says what it assumes).

    Exit code 0: the objectives hold, or the load is beyond what capacity.horizon promises. 1: a promised load breaks
    an objective (of --stack, not of --compare). 2: the settings, the scenario or the recording are invalid.
    """
    try:
        _require_picture(plot)
        first = stack_to_simulate(stack, config_file)
        stacks = [first] if compare is None else [first, _compared(compare, stack)]
        chosen = chosen_scenario(scenario_name, seed=seed, promised=first.promised_requests_per_second)
        runs = [simulate(each, chosen) for each in stacks]
        limits = [broken_limits(simulate(each, scenario("ramp", seed=seed, promised=0))) for each in stacks]
    except _MISTAKES as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    reports = [report(run) for run in runs]
    if plot is not None:
        _draw(runs, plot)
    if as_json:
        print_json([{**each.as_json(), "limits": list(map(_limit_row, found))} for each, found in _both(reports, limits)])
    else:
        for each, found in _both(reports, limits):
            _print_report(each)
            _print_limits(each.stack, found)
        if len(reports) > 1:
            _print_comparison(reports[0], reports[1])
        if plot is not None:
            console.print(f"picture: {plot}", soft_wrap=True)
    if reports[0].breaks_promise:
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _both(reports: list[Report], limits: list[list[BrokenLimit]]) -> list[tuple[Report, list[BrokenLimit]]]:
    return list(zip(reports, limits, strict=True))


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
        raise StackError(message)
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


def _require_picture(plot: Path | None) -> None:
    if plot is not None and plot.suffix not in {".png", ".svg"}:
        message = f"--plot: '{plot.name}' is no picture that can be written; allowed: .png or .svg; fix: rename it"
        raise StackError(message)


def _draw(runs: list[Run], path: Path) -> None:
    from planning.twin.plot import draw

    draw(runs, path)


def _limit_row(limit: BrokenLimit) -> dict[str, object]:
    return {
        "workload": limit.workload,
        "limit": limit.limit,
        "requests_per_second": limit.requests_per_second,
        "meaning": limit.meaning,
    }


_COLUMNS = (
    "workload", "replicas", "changes", "reversals", "max lag", "mean lag", "drain min", "p99 s", "objective",
    "lost min", "at max min", "pod-h", "× oracle",
)  # fmt: skip


def _print_report(found: Report) -> None:
    console.print(f"\n[bold]{found.scenario} on stack {found.stack}[/bold]: {found.summary}", soft_wrap=True)
    table = Table(*_COLUMNS, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for workload in found.workloads:
        table.add_row(*_row(workload))
    table.add_row("all", *[""] * 8, f"{found.slo_minutes_lost:.1f}", "", f"{found.pod_hours:.1f}", f"{found.oracle_ratio:.2f}")
    console.print(table)
    for workload in found.workloads:
        for note in _notes(workload):
            console.print(f"  {workload.name}: {note}", soft_wrap=True)
    console.print(verdict(found), soft_wrap=True)


def _row(workload: WorkloadReport) -> list[str]:
    def number(value: float | None, digits: int = 0) -> str:
        return "–" if value is None else f"{value:,.{digits}f}"

    return [
        workload.name,
        f"{workload.fewest_replicas}–{workload.most_replicas}",
        str(workload.changes),
        str(workload.reversals),
        number(workload.highest_lag),
        number(workload.mean_lag),
        number(workload.drain_minutes, 1),
        number(workload.highest_p99_seconds, 2),
        workload.objective,
        number(workload.slo_minutes_lost, 1),
        number(workload.minutes_at_maximum, 1),
        number(workload.pod_hours, 1),
        number(workload.oracle_ratio, 2),
    ]


def _notes(workload: WorkloadReport) -> list[str]:
    notes = []
    if workload.binding_limit is not None:
        notes.append(f"objective missed for {workload.slo_minutes_lost:.1f} min; {workload.binding_limit}")
    if workload.breaker_minutes:
        notes.append(f"the breaker refused calls for {workload.breaker_minutes:.1f} min")
    if workload.minutes_over_request:
        notes.append(
            f"more cpu than requested for {workload.minutes_over_request:.1f} min: needs nodes with room to spare"
        )
    return notes


def verdict(found: Report) -> str:
    """One line: does the stack carry what it promises?"""
    promise = f"horizon {found.horizon} promises {found.promised_requests_per_second:,} requests/s"
    missed = (
        f"{found.breaks_first} misses its objective first at {found.breaks_at_requests_per_second:,.0f} requests/s "
        f"({found.breaks_because})"
        if found.breaks_at_requests_per_second is not None
        else "every objective held"
    )
    if found.beyond_promise:
        return f"beyond the promise: {promise}, the scenario asks for {found.peak_requests_per_second:,.0f}; {missed}"
    return f"{'BROKEN' if found.breaks_promise else 'kept'}: {promise}; {missed}"


def _print_limits(stack: str, limits: list[BrokenLimit]) -> None:
    console.print(f"[bold]first load at which each limit breaks[/bold] (stack {stack}, a ramp of 100 requests/s each minute)")
    table = Table("workload", "limit", "requests/s", "meaning", box=None, pad_edge=False, header_style="bold")
    table.columns[2].justify = "right"
    for limit in limits:
        load = limit.requests_per_second
        table.add_row(limit.workload, limit.limit, "not reached" if load is None else f"{load:,.0f}", limit.meaning)
    console.print(table)


def _print_comparison(first: Report, second: Report) -> None:
    table = Table("", first.stack, second.stack, box=None, pad_edge=False, header_style="bold")
    rows = {
        "changes": [sum(w.changes for w in each.workloads) for each in (first, second)],
        "reversals": [sum(w.reversals for w in each.workloads) for each in (first, second)],
        "max lag": [max((w.highest_lag or 0 for w in each.workloads), default=0) for each in (first, second)],
        "SLO minutes lost": [each.slo_minutes_lost for each in (first, second)],
        "pod-hours": [each.pod_hours for each in (first, second)],
        "× oracle": [each.oracle_ratio for each in (first, second)],
    }
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows.items():
        digits = 0 if name in {"changes", "reversals", "max lag"} else 2 if name == "× oracle" else 1
        table.add_row(name, *[f"{value:,.{digits}f}" for value in values])
    console.print("\n[bold]side by side[/bold], all workloads together")
    console.print(table)
