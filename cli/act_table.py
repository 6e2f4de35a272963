"""A weighed change as a person reads it."""

from rich.table import Table

from cli.act_weigh import Weighed
from cli.output import console
from planning.actions.forecast import Outcome
from planning.actions.propose import Refusal
from planning.cost.bill import Difference


def print_refusal(refusal: Refusal) -> None:
    """Why nothing is done about a finding, and what to do instead."""
    finding = refusal.finding
    console.print(f"\n[bold]{finding.kind} {finding.subject}[/bold]: refused", soft_wrap=True)
    console.print(f"  because {refusal.reason}", markup=False, soft_wrap=True)
    console.print(f"  instead: {refusal.instead}", markup=False, soft_wrap=True)


def print_weighed(weighed: Weighed) -> None:
    """Diff, policies, forecast and cost."""
    action = weighed.action
    console.print(f"\n[bold]{action.finding.kind} {action.finding.subject}[/bold]: {action.summary}", soft_wrap=True)
    for bound in action.bounds:
        console.print(f"  within {bound}", markup=False, soft_wrap=True)
    console.print(weighed.diff, markup=False, soft_wrap=True, end="")
    if weighed.refusal is not None:
        console.print(f"refused: {weighed.refusal}", markup=False, soft_wrap=True)
    if weighed.forecast is not None:
        _print_forecast(weighed)
    if weighed.cost is not None:
        console.print(f"cost in a month: {_money(weighed.cost)}", markup=False)
        console.print("policies: no mandatory violation", markup=False)


def _print_forecast(weighed: Weighed) -> None:
    found = weighed.forecast
    assert found is not None  # noqa: S101 # the caller's case
    table = Table("from now on the twin expects", "now", "changed", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for (name, left), (_, right) in zip(_rows(found.before), _rows(found.after), strict=True):
        table.add_row(name.format(metric=found.metric, threshold=f"{found.threshold:g}"), left, right)
    console.print(f"under {found.load}:", markup=False, soft_wrap=True)
    console.print(table)
    console.print(f"  assumed: {found.assumed}", markup=False, soft_wrap=True)
    if found.not_modelled is not None:
        console.print(f"  not foreseen: {found.not_modelled}", markup=False, soft_wrap=True)


def _rows(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        ("minutes with {metric} at {threshold} or more", f"{outcome.over_threshold_minutes:.1f}"),
        ("highest {metric}", f"{outcome.highest:,.4g}"),
        ("{metric} at the end", f"{outcome.at_end:,.4g}"),
        ("SLO minutes lost, all workloads", f"{outcome.slo_minutes_lost:.1f}"),
        ("pod-hours, all workloads", f"{outcome.pod_hours:.1f}"),
    ]


def _money(cost: Difference) -> str:
    return (
        f"{cost.minimum:+,.2f} at the fewest pods, {cost.typical:+,.2f} on a typical day, "
        f"{cost.maximum:+,.2f} at the most pods ({cost.currency})"
    )
