"""The generated parts of docs/scaling.md: ``python -m cli.simulate_page`` writes them and the pictures anew."""

import re
from collections.abc import Sequence
from pathlib import Path

from cli import simulate_table
from cli.recording import ROOT
from cli.simulate import stack_to_simulate
from planning.twin.plant_stack import Stack
from planning.twin.report import report
from planning.twin.report_limits import BrokenLimit, broken_limits
from planning.twin.scenarios import SCENARIOS, scenario
from planning.twin.simulation import Run, simulate

PAGE = ROOT / "docs" / "scaling.md"
SEED = 1
PICTURES = ("four-hours", "peak", "slow-bank")
_BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def runs(first: Stack, second: Stack) -> list[tuple[Run, Run]]:
    """Every scenario but the ramp on both stacks, at the load that the first one promises."""
    chosen = [
        scenario(name, seed=SEED, promised=first.promised_requests_per_second) for name in SCENARIOS if name != "ramp"
    ]
    return [(simulate(first, each), simulate(second, each)) for each in chosen]


def blocks(first: Stack, second: Stack, compared: Sequence[tuple[Run, Run]]) -> dict[str, str]:
    """Name of a generated part → its Markdown."""
    limits = [
        (stack, broken_limits(simulate(stack, scenario("ramp", seed=SEED, promised=0.0)))) for stack in (first, second)
    ]
    four_hours = next(pair for pair in compared if pair[0].scenario.name == "four-hours")
    return {
        "scenarios": simulate_table.markdown([report(run) for pair in compared for run in pair]),
        "consumers": _consumers(four_hours),
        "limits": _limits(limits),
    }


def _consumers(pair: tuple[Run, Run]) -> str:
    lines = ["| consumers | stack | changes | reversals | mean lag | pod-hours |", "| --- | --- |" + " ---: |" * 4]
    found = [(run.stack.name, workload) for run in pair for workload in report(run).workloads]
    for stack, each in sorted(found, key=lambda row: row[1].name):
        if each.mean_lag is not None:
            figures = f"{each.changes} | {each.reversals} | {each.mean_lag:,.0f} | {each.pod_hours:.1f}"
            lines.append(f"| {each.name} | {stack} | {figures} |")
    return "\n".join(lines) + "\n"


def _limits(limits: Sequence[tuple[Stack, Sequence[BrokenLimit]]]) -> str:
    names = " | ".join(stack.name for stack, _ in limits)
    lines = [f"| workload | limit | {names} |", "| --- | --- |" + " ---: |" * len(limits)]
    for row in zip(*(found for _, found in limits), strict=True):
        loads = [f"{each.requests_per_second:,.0f}" if each.requests_per_second else "not reached" for each in row]
        lines.append(f"| {row[0].workload} | {row[0].limit} | {' | '.join(loads)} |")
    return "\n".join(lines) + "\n"


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with its generated parts replaced."""
    return _BLOCK.sub(lambda found: f"{found[1]}{parts[found[2]]}{found[3]}", page)


def main() -> None:
    """Write the page and its pictures."""
    from planning.twin.plot import draw

    first, second = stack_to_simulate("prod", None), stack_to_simulate("dev", None)
    compared = runs(first, second)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, blocks(first, second, compared)), encoding="utf-8")
    folder = PAGE.parent / PAGE.stem
    folder.mkdir(exist_ok=True)
    for pair in compared:
        if pair[0].scenario.name in PICTURES:
            draw([pair[1], pair[0]], Path(folder / f"{pair[0].scenario.name}.png"))


if __name__ == "__main__":
    main()
