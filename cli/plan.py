"""``payctl plan``: how much a load needs, why, and what breaks first."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from cli.recording import record_program
from cli.render import manifests
from planning.capacity.inputs import Inputs
from planning.capacity.measured import MeasuredCapacities, MeasuredError, read_measured
from planning.capacity.model import CapacityPlan, Demand, Figure, Status
from planning.capacity.plan import horizons, plan_capacity
from planning.capacity.sensitivity import BreakPoint, break_points
from planning.cost.amounts import AmountsError
from planning.cost.bill import bill
from planning.cost.planned import planned_cost
from settings import Settings

_COLOURS = {Status.CARRIED: "green", Status.TIGHT: "yellow", Status.SHORT: "red", Status.OPEN: "default"}
_PAYMENTS_PER_PEAK = 100
"""The plan's own ratio at each horizon: payments a day for each request/s of the peak."""


class DemandError(ValueError):
    """Options that name no load."""


@click.command("plan")
@stack_option
@click.option(
    "--horizon",
    "chosen",
    metavar="NAME|all|own",
    help="now, 6-months, 1-year, all, or own. [default: what capacity.horizon promises; own with --peak]",
)
@click.option("--peak", type=click.FloatRange(min=1, max=100_000), help="Requests/s of a load of one's own.")
@click.option("--payments-per-day", type=click.FloatRange(min=1), help="Payments a day of it. [100 × peak]")
@click.option(
    "--measured",
    "measured_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Capacities that payctl loadtest has measured.",
)
@click.option("--explain", is_flag=True, help="Formula, inputs and note of every figure.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Picture to write: .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@says_problems
def plan_command(
    *,
    stack: str,
    config_file: Path | None,
    chosen: str | None,
    peak: float | None,
    payments_per_day: float | None,
    measured_file: Path | None,
    explain: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Plan the capacity of a stack for a load: pods, consumers, partitions, brokers, connections, disk, cache, cost.

    Every figure says what binds it and stands beside the plan's own. A load that the stack's limits do not carry gets
    the ordered list of changes.

    Exit code 0: every load asked for is carried. 1: one is not. 2: the settings or the options are invalid.
    """
    stack_file, settings = load_stack(stack, config_file)
    try:
        _require_picture(plot)
        demands = _demands(chosen, peak, payments_per_day, settings)
        measured = MeasuredCapacities() if measured_file is None else read_measured(measured_file)
        inputs = Inputs(settings=settings, measured=measured)
        name = stack if config_file is None else config_file.name
        plans = [plan_capacity(name, demand, inputs) for demand in demands]
        points = break_points(name, demands[0], inputs)
        rendered = list(manifests(record_program(stack_file).resources).values())
        costs = [planned_cost(each, bill(name, rendered, settings)) for each in plans]
    except (DemandError, MeasuredError, AmountsError) as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    if plot is not None:
        from planning.capacity.plot import draw

        draw(name, points, [*horizons(), *(each for each in demands if each.name == "own")], plot)
    if as_json:
        print_json(
            {
                "plans": [{**each.as_json(), "cost": cost} for each, cost in zip(plans, costs, strict=True)],
                "currency": settings.prices.currency,
                "break_points": [asdict(point) for point in points],
            }
        )
    else:
        for each, cost in zip(plans, costs, strict=True):
            _print_plan(each, f"{cost:,.0f} {settings.prices.currency}", explain=explain)
        _print_points(points)
        if plot is not None:
            console.print(f"picture: {plot}", soft_wrap=True)
    if not all(each.feasible for each in plans):
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _demands(chosen: str | None, peak: float | None, payments: float | None, settings: Settings) -> list[Demand]:
    known = {demand.name: demand for demand in horizons()}
    if chosen == "all":
        return list(known.values())
    if chosen in known and peak is None and payments is None:
        return [known[chosen]]
    if chosen not in (None, "own"):
        message = f"--horizon: '{chosen}'; allowed: {', '.join(known)}, all, or own with --peak; fix: name one of them"
        raise DemandError(message)
    if peak is None and (chosen == "own" or payments is not None):
        message = (
            "--horizon own: nothing says its peak; fix: give --peak, and --payments-per-day if it is not 100 × that"
        )
        raise DemandError(message)
    if peak is None:
        return [known[str(settings.capacity.horizon)]]
    own = payments if payments is not None else _PAYMENTS_PER_PEAK * peak
    return [Demand(name="own", payments_per_day=own, peak_requests_per_second=peak)]


def _require_picture(plot: Path | None) -> None:
    if plot is not None and (plot.suffix not in {".png", ".svg"} or not plot.resolve().parent.is_dir()):
        message = f"--plot: '{plot}'; allowed: a .png or .svg in an existing folder; fix: name such a file"
        raise DemandError(message)


def _print_plan(found: CapacityPlan, cost: str, *, explain: bool) -> None:
    demand = found.demand
    console.print(
        f"\n[bold]{demand.name}[/bold]: {demand.payments_per_day:,.0f} payments a day, peak "
        f"{demand.peak_requests_per_second:,.0f} requests/s, on stack {found.stack}",
        soft_wrap=True,
    )
    table = Table(
        "figure", "needed", "limit", "plan", "binding", "status", box=None, pad_edge=False, header_style="bold"
    )
    for column in table.columns[1:4]:
        column.justify = "right"
    for figure in found.figures:
        table.add_row(*_row(figure))
    console.print(table)
    for figure in found.figures:
        if explain:
            _explain(figure)
        elif figure.note and figure.status in (Status.TIGHT, Status.SHORT):
            console.print(f"  {figure.key}: {figure.note}", markup=False, soft_wrap=True)
    for warning in found.warnings:
        console.print(f"  note: {warning}", markup=False, soft_wrap=True)
    console.print(f"cost of the peak, held for a month: {cost}")
    if found.changes:
        console.print("[bold]to change, in this order[/bold]" + ("" if found.feasible else " (not carried without)"))
        for number, change in enumerate(found.changes, start=1):
            console.print(f"  {number}. {change}", markup=False, soft_wrap=True)
    console.print("carried" if found.feasible else "NOT CARRIED by the stack's limits")


def _row(figure: Figure) -> list[str]:
    colour = _COLOURS[figure.status]
    return [
        figure.key,
        _number(figure.needed, figure.unit),
        "–" if figure.available is None else _number(figure.available, ""),
        "–" if figure.plan is None else _number(figure.plan, ""),
        figure.binding,
        f"[{colour}]{figure.status}[/{colour}]",
    ]


def _number(value: float, unit: str) -> str:
    shown = f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"  # noqa: PLR2004 # three digits
    return f"{shown} {unit}".strip()


def _explain(figure: Figure) -> None:
    values = ", ".join(f"{key} {value:,.6g}" for key, value in figure.inputs.items())
    console.print(f"  {figure.key} = {figure.formula}", markup=False, soft_wrap=True)
    console.print(f"    with {values}", markup=False, soft_wrap=True)
    if figure.note:
        console.print(f"    {figure.note}", markup=False, soft_wrap=True)


def _print_points(points: Sequence[BreakPoint]) -> None:
    console.print("\n[bold]what breaks first as the load grows[/bold] (payments a day grow with it)")
    table = Table("figure", "headroom until", "carried until", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"

    def shown(value: float | None) -> str:
        return "not reached" if value is None else f"{value:,.0f}"

    for point in points:
        table.add_row(point.key, shown(point.tight_at), shown(point.short_at))
    console.print(table)
