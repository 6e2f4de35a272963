"""``python -m bench.failover``: every fault several times on the real daemons, under load, beside Patroni's defaults.

Each trial is written down when it ends: the command may be interrupted, bounded by ``--minutes``, and run again; it
goes on where it stopped. With all trials there it prints the table and draws the picture.
"""

import json
import signal
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from bench.postgres_stage import ROOT, database_of, render
from sandbox.errors import SandboxError
from sandbox.postgres_load import make_table
from sandbox.postgres_rig import Rig
from sandbox.postgres_trials import FAULTS, Trial, run_trial
from sandbox.tools import ensure, progress

PAGE, PICTURE = ROOT / "docs" / "failover.md", ROOT / "docs" / "failover.svg"
_BEGIN, _END = "<!-- figures: make failover -->", "<!-- end of figures -->"
OURS, DEFAULTS = "20/5/5", "30/10/10"
TIMERS: Mapping[str, Mapping[str, int]] = {
    OURS: {"ttl": 20, "loop_wait": 5, "retry_timeout": 5, "primary_start_timeout": 20},
    DEFAULTS: {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "primary_start_timeout": 300},
}
"""ttl, loop_wait and retry_timeout in seconds: the preset ``fast``, and what Patroni does unless told otherwise."""
RIVAL_FAULTS = ("graceful stop", "switchover", "postmaster crash", "primary killed", "primary frozen")
GOALS_SECONDS: Mapping[str, float] = {
    "graceful stop": 6, "switchover": 6, "postmaster crash": 15, "primary killed": 30, "primary frozen": 30,
}  # fmt: skip
"""What is promised of the preset ``fast``: seconds without writes stay below this. The other faults have no goal."""
_TRIALS_OF_ONE_RIG = 25
_FAILURES = 3

Record = dict[str, Any]


@click.command()
@click.option(
    "--trials", default=5, type=click.IntRange(min=1), show_default=True, help="how often each fault is tried"
)
@click.option("--minutes", default=120.0, show_default=True, help="begin no trial after so many minutes")
@click.option("--stack", default="dev", show_default=True, type=click.Choice(["dev", "prod"]))
@click.option("--timers", "chosen", multiple=True, type=click.Choice(list(TIMERS)), help="only these; default: both")
@click.option("--fault", "faults", multiple=True, type=click.Choice(list(FAULTS)), help="only these; default: all")
@click.option("--log", default=ROOT / "build" / "failover.jsonl", type=click.Path(path_type=Path), help="trials so far")
@click.option("--page/--no-page", default=True, help="write table and picture into docs/")
def main(  # noqa: PLR0917 # click passes options by name
    trials: int, minutes: float, stack: str, chosen: tuple[str, ...], faults: tuple[str, ...], log: Path, page: bool  # noqa: FBT001 # likewise
) -> None:  # fmt: skip
    """Measure failovers and write docs/failover.md. Ctrl-C keeps the trials that have ended, and writes them."""
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log.parent.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        stack=stack, trials=trials, log=log, end=time.monotonic() + minutes * 60,
        wanted={timers: _faults(timers, faults) for timers in chosen or tuple(TIMERS)},
    )  # fmt: skip
    code = 0
    try:
        plan.run()
    except KeyboardInterrupt:
        click.echo("interrupted: the trials that have ended are kept", err=True)
        code = 130
    except SandboxError as error:
        click.echo(str(error), err=True)
        code = 1
    records = _read(log)
    table = summary(records)
    click.echo(table)
    if page:
        _write_page(table, records)
    if left := plan.left():
        click.echo(f"{left} of the trials asked for are left: run the same command again", err=True)
    if any(record["lost"] or record["wrong_reads"] for record in records):
        click.echo("an acknowledged row was lost, or a read was wrong: see the log", err=True)
        code = 1
    for sentence in missed_goals(records):
        click.echo(sentence, err=True)
        code = 1
    sys.exit(code)


def _faults(timers: str, asked: tuple[str, ...]) -> list[str]:
    """Faults to try with these timers: those where a lease matters, beside Patroni's defaults."""
    return [fault for fault in asked or FAULTS if timers != DEFAULTS or fault in RIVAL_FAULTS]


@dataclass(kw_only=True)
class Plan:
    """What is to be tried, and how far that is."""

    stack: str
    trials: int
    log: Path
    end: float
    """Moment of the monotonic clock after which no trial begins."""
    wanted: Mapping[str, list[str]]
    """Timers → faults."""
    failures: int = 0

    def run(self) -> None:
        """Try what is missing. A trial that fails by itself is tried again on a new rig; after three, its error is
        raised.
        """
        for timers in self.wanted:
            while time.monotonic() < self.end and (todo := self._missing(timers)):
                try:
                    self._on_one_rig(timers, todo[:_TRIALS_OF_ONE_RIG])
                except SandboxError as error:
                    self.failures += 1
                    if self.failures >= _FAILURES:
                        raise
                    click.echo(f"{error}\ntried again on a new rig", err=True)

    def left(self) -> int:
        """Trials that are still to be made."""
        return sum(len(self._missing(timers)) for timers in self.wanted)

    def _missing(self, timers: str) -> list[str]:
        """Faults still to try, in rounds, so that an interrupted run has some of each."""
        records, faults = _read(self.log), self.wanted[timers]
        done = {fault: sum(r["name"] == fault and r["timers"] == timers for r in records) for fault in faults}
        return [fault for turn in range(self.trials) for fault in faults if done[fault] <= turn]

    def _on_one_rig(self, timers: str, todo: list[str]) -> None:
        context = database_of(self.stack)
        etcd = ensure(["etcd"], progress())["etcd"]
        click.echo(f"{timers}: starting three etcd, three PostgreSQL and the poolers", err=True)
        with Rig.start(render(context), etcd, dbname=context.postgres.database, dcs=TIMERS[timers]) as rig:
            make_table(rig)
            for number, fault in enumerate(todo):
                begun = time.monotonic()
                if begun > self.end:
                    return
                trial = run_trial(rig, fault, number)
                self._write(timers, fault, trial, round(time.monotonic() - begun))

    def _write(self, timers: str, fault: str, trial: Trial, seconds: int) -> None:
        verdict = trial.verdict
        record = {"timers": timers, "name": fault, "promoted": trial.promoted, "took": seconds, **asdict(verdict)}
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
        minutes = max(0, round((self.end - time.monotonic()) / 60))
        click.echo(
            f"{timers} {fault}: {verdict.seconds_without_writes} s without writes, {verdict.lost} of "
            f"{verdict.acknowledged} acknowledged rows lost, {verdict.failed} statements failed, "
            f"{verdict.wrong_reads} of {verdict.reads} reads wrong; the trial took {seconds} s, {self.left()} are "
            f"left, {minutes} minutes too", err=True,
        )  # fmt: skip


def _read(log: Path) -> list[Record]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]


def summary(records: list[Record]) -> str:
    """A Markdown table: seconds without writes for both timers, the goal, the ratio, and what was lost."""
    lines = [
        (
            "| fault | 20/5/5: median (worst), trials | goal | 30/10/10 | ratio | acknowledged rows lost | wrong reads "
            "| failed statements, median |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        ours, theirs = (_seconds(records, fault, timers) for timers in TIMERS)
        if not ours and not theirs:
            continue
        ratio = "—"
        if ours and theirs and statistics.median(ours):
            ratio = f"{statistics.median(theirs) / statistics.median(ours):.1f}"
        some = [record for record in records if record["name"] == fault]
        lost, rows = sum(r["lost"] for r in some), sum(r["acknowledged"] for r in some)
        wrong, reads = sum(r["wrong_reads"] for r in some), sum(r["reads"] for r in some)
        failed = statistics.median(r["failed"] for r in some)
        lines.append(
            f"| {fault} | {_cell(ours)} | {_goal(fault, ours)} | {_cell(theirs)} | {ratio} | {lost} of {rows} "
            f"| {wrong} of {reads} | {failed:g} |"
        )
    return "\n".join(lines)


def missed_goals(records: list[Record]) -> list[str]:
    """A sentence for each fault whose median is not below its goal."""
    found = []
    for fault, goal in GOALS_SECONDS.items():
        seconds = _seconds(records, fault, OURS)
        if seconds and statistics.median(seconds) >= goal:
            found.append(f"{fault}: the median of {statistics.median(seconds):.1f} s misses the goal of {goal:g} s")
    return found


def _goal(fault: str, seconds: list[float]) -> str:
    goal = GOALS_SECONDS.get(fault)
    if goal is None or not seconds:
        return "—"
    median, worst = ("met" if value < goal else "missed" for value in (statistics.median(seconds), max(seconds)))
    return f"< {goal:g} s: median {median}, worst {worst}"


def _seconds(records: list[Record], fault: str, timers: str) -> list[float]:
    return [r["seconds_without_writes"] for r in records if r["name"] == fault and r["timers"] == timers]


def _cell(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s), {len(seconds)}" if seconds else "—"


def _write_page(table: str, records: list[Record]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, foot = rest.partition(_END)
    PAGE.write_text(f"{head}{_BEGIN}\n{table}\n{_END}{foot}", encoding="utf-8")
    _draw(records)


def _draw(records: list[Record]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "failover"
    import matplotlib.pyplot as plt

    faults = [fault for fault in FAULTS if any(record["name"] == fault for record in records)]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(faults) + 1.5), layout="constrained")
    for shift, colour, timers in ((-0.15, "#0b6e4f", OURS), (0.15, "#c1440e", DEFAULTS)):
        points = [
            (value, index + shift) for index, fault in enumerate(faults) for value in _seconds(records, fault, timers)
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), color=colour, alpha=0.7, label=f"ttl/loop/retry {timers}")
    axes.set_yticks(range(len(faults)), faults)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds without an acknowledged write; one point a trial")
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, format="svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
