"""Reports of the twin as tables for people, as Markdown for pages, and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from cli.output import console
from planning.twin.report import Report, WorkloadReport
from planning.twin.report_limits import BrokenLimit

_COLUMNS = (
    "workload", "replicas", "changes", "reversals", "max lag", "mean lag", "drain min", "p99 s", "objective",
    "lost min", "at max min", "pod-h", "× oracle",
)  # fmt: skip


def print_report(found: Report) -> None:
    """Every workload on its own row, what went wrong, and the verdict."""
    console.print(f"\n[bold]{found.scenario} on stack {found.stack}[/bold]: {found.summary}", soft_wrap=True)
    table = Table(*_COLUMNS, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for workload in found.workloads:
        table.add_row(*_row(workload))
    table.add_row(
        "all", *[""] * 8, f"{found.slo_minutes_lost:.1f}", "", f"{found.pod_hours:.1f}", f"{found.oracle_ratio:.2f}"
    )
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


def print_limits(stack: str, limits: Sequence[BrokenLimit]) -> None:
    """The load at which each limit of a stack breaks."""
    console.print(
        f"[bold]first load at which each limit breaks[/bold] (stack {stack}, a ramp of 100 requests/s each minute)"
    )
    table = Table("workload", "limit", "requests/s", "meaning", box=None, pad_edge=False, header_style="bold")
    table.columns[2].justify = "right"
    for limit in limits:
        load = limit.requests_per_second
        table.add_row(limit.workload, limit.limit, "not reached" if load is None else f"{load:,.0f}", limit.meaning)
    console.print(table)


def print_comparison(first: Report, second: Report) -> None:
    """Two reports of the same load, all workloads together."""
    table = Table("", first.stack, second.stack, box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, left, right in zip(_TOTALS, _totals(first), _totals(second), strict=True):
        table.add_row(name, left, right)
    console.print("\n[bold]side by side[/bold], all workloads together")
    console.print(table)


_TOTALS = ("changes", "reversals", "max lag", "SLO minutes lost", "pod-hours", "pod-hours / oracle")


def _totals(found: Report) -> list[str]:
    workloads = found.workloads
    return [
        str(sum(workload.changes for workload in workloads)),
        str(sum(workload.reversals for workload in workloads)),
        f"{max(workload.highest_lag or 0.0 for workload in workloads):,.0f}",
        f"{found.slo_minutes_lost:.1f}",
        f"{found.pod_hours:.1f}",
        f"{found.oracle_ratio:.2f}",
    ]


def markdown(reports: Sequence[Report]) -> str:
    """One row for each scenario and stack, for a page."""
    lines = ["| scenario | stack | " + " | ".join(_TOTALS) + " |", "| --- | --- |" + " ---: |" * len(_TOTALS)]
    lines += [f"| {each.scenario} | {each.stack} | " + " | ".join(_totals(each)) + " |" for each in reports]
    return "\n".join(lines) + "\n"


def as_json(found: Report, limits: Sequence[BrokenLimit]) -> dict[str, Any]:
    """A report with the limits of its stack, as plain values."""
    return {**found.as_json(), "limits": [asdict(limit) for limit in limits]}
