"""``payctl detect``: what is a bottleneck now, and since when."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.options import EXIT_INVALID_SETTINGS, EXIT_VIOLATION, load_stack, says_problems, stack_option
from cli.output import console, print_json, print_problem
from cli.simulate import MISTAKES, chosen_scenario, stack_to_simulate
from planning.bottlenecks.findings import Detector, Event, Finding, Severity, longest_duration_seconds
from planning.bottlenecks.prometheus import STEP_SECONDS, Prometheus
from planning.bottlenecks.rules import RULES_FILE, Rule, RulesError, Watch, read_rules, watches
from planning.bottlenecks.sources import Detection, Look, SourceError, detect, looks_of, read_samples
from planning.twin.simulation import simulate
from settings import Settings

SOURCE_MISTAKES = (*MISTAKES, SourceError, RulesError)
_EPOCH_SECONDS = 1e9
"""Times beyond this are dates, below it seconds since the start of a recording."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """Which source the person named; exactly one."""

    samples: Path | None
    prometheus: str | None
    token_file: Path | None
    twin: str | None
    rules: Path

    def require_one(self) -> None:
        """Raises ``SourceError`` when none or several sources are named."""
        given = [self.samples, self.prometheus, self.twin]
        if sum(each is not None for each in given) != 1:
            message = "name one source: --samples FILE.csv, --prometheus URL or --twin SCENARIO"
            raise SourceError(message)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--samples``, ``--prometheus``, ``--token-file``, ``--twin`` and ``--rules``."""
    path = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option("--rules", type=path, default=RULES_FILE, help="Rules instead of the platform's own."),
        click.option("--twin", metavar="SCENARIO|FILE.csv", help="Simulate a scenario and judge its end."),
        click.option("--token-file", type=path, help="File with a bearer token for --prometheus."),
        click.option("--prometheus", metavar="URL", help="Address of a Prometheus server."),
        click.option("--samples", type=path, help="CSV file with time_seconds,metric,subject,value."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, kw_only=True, slots=True)
class Watching:
    """A stack's watches with the source that feeds them."""

    rules: tuple[Rule, ...]
    watched: list[Watch]
    look: Callable[[], list[Look]]
    """Everything that the source tells, long enough back for every duration."""

    def detect(self) -> Detection:
        """Judge all of it with a fresh detector. Raises ``SourceError``."""
        return detect(Detector(self.watched), self.look())


def open_source(options: SourceOptions, stack: str, config_file: Path | None, settings: Settings) -> Watching:
    """Raises ``SourceError``, ``RulesError`` and the twin's mistakes."""
    options.require_one()
    rules = read_rules(options.rules)
    watched = watches(rules, settings)
    if options.samples is not None:
        samples = options.samples
        look = lambda: read_samples(_lines(samples, "--samples"), source=samples.name)  # noqa: E731 # as its siblings
    elif options.prometheus is not None:
        look = _of_prometheus(options.prometheus, options.token_file, rules, watched, settings)
    else:
        look = _of_twin(str(options.twin), stack, config_file)
    return Watching(rules=rules, watched=watched, look=look)


def _of_prometheus(
    url: str, token_file: Path | None, rules: tuple[Rule, ...], watched: list[Watch], settings: Settings
) -> Callable[[], list[Look]]:
    token = None if token_file is None else "".join(_lines(token_file, "--token-file")).strip()
    server = Prometheus(url=url, token=token)
    # Twice: a condition must be seen to begin, and a finding to be held by its hysteresis.
    back = 2 * longest_duration_seconds(rules)
    entry = settings.capacity.entry_service
    return lambda: server.looks(watched, entry, end_seconds=time.time(), back_seconds=back)


def _of_twin(name: str, stack: str, config_file: Path | None) -> Callable[[], list[Look]]:
    twin = stack_to_simulate(stack, config_file)
    looks = looks_of(simulate(twin, chosen_scenario(name, seed=1, promised=twin.promised_requests_per_second)))
    return lambda: looks


def _lines(path: Path, option: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{option}: {path} cannot be read as text ({type(error).__name__}); fix: name an existing file"
        raise SourceError(message) from None


@click.command("detect")
@stack_option
@source_options
@click.option("--watch", is_flag=True, help="Go on looking, and print what changes; Ctrl-C ends it.")
@click.option("--every", type=click.IntRange(1, 3600), default=STEP_SECONDS, show_default=True, help="Seconds between.")
@click.option("--events", is_flag=True, help="Also what opened and ended before.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON; with --watch one line each change.")
@says_problems
def detect_command(
    *,
    stack: str,
    config_file: Path | None,
    samples: Path | None,
    prometheus: str | None,
    token_file: Path | None,
    twin: str | None,
    rules: Path,
    watch: bool,
    every: int,
    events: bool,
    as_json: bool,
) -> None:
    """Judge measurements by the rules of planning/bottlenecks/rules.yaml.

    A value above a threshold is a finding when it has stayed there for the rule's duration. Silence is a finding too.

    Exit code 0: no finding. 1: at least one. 2: the settings, the rules or the source cannot be used.
    """
    _, settings = load_stack(stack, config_file)
    options = SourceOptions(samples=samples, prometheus=prometheus, token_file=token_file, twin=twin, rules=rules)
    try:
        source = open_source(options, stack, config_file, settings)
        if watch:
            _watch(source, every, as_json=as_json)
            return
        found = source.detect()
    except SOURCE_MISTAKES as error:
        print_problem(str(error))
        raise click.exceptions.Exit(EXIT_INVALID_SETTINGS) from None
    if as_json:
        print_json(
            {
                "end_seconds": found.end_seconds,
                "findings": [finding.as_json() for finding in found.findings],
                "events": [_event_row(event) for event in found.events],
            }
        )
    else:
        _print(stack, found, with_events=events)
    if found.findings:
        raise click.exceptions.Exit(EXIT_VIOLATION)


def _watch(source: Watching, every: int, *, as_json: bool) -> None:
    """One detector for the whole time: it takes what is newer than what it has seen."""
    detector = Detector(source.watched)
    try:
        while True:
            try:
                changes = [
                    event for look in source.look() for event in detector.observe(look.time_seconds, look.values)
                ]
            except SourceError as error:
                print_problem(str(error))  # a server that restarts is no reason to stop watching
                changes = []
            for event in changes:
                if as_json:
                    click.echo(json.dumps(_event_row(event)))
                else:
                    _print_event(event)
            time.sleep(every)
    except KeyboardInterrupt:
        console.print(f"{len(detector.findings)} findings open")


def _event_row(event: Event) -> dict[str, Any]:
    return {"event": str(event.kind), "time_seconds": event.time_seconds, **event.finding.as_json()}


def _print_event(event: Event) -> None:
    line = f"{shown_time(event.time_seconds)} {event.kind}: {sentence(event.finding)}"
    console.print(line, markup=False, soft_wrap=True)


def _print(stack: str, found: Detection, *, with_events: bool) -> None:
    if with_events:
        for event in found.events:
            _print_event(event)
    if not found.findings:
        console.print(f"stack {stack}: no findings at {shown_time(found.end_seconds)}")
        return
    table = Table("severity", "type", "subject", "value", "threshold", "since", "held", box=None, pad_edge=False)
    for column in table.columns[3:5]:
        column.justify = "right"
    for finding in found.findings:
        colour = "red" if finding.severity is Severity.CRITICAL else "yellow"
        table.add_row(
            f"[{colour}]{finding.severity}[/{colour}]", finding.kind, finding.subject,
            amount(finding.value, finding.unit), amount(finding.threshold, finding.unit),
            shown_time(finding.since_seconds), f"{found.end_seconds - finding.since_seconds:.0f} s",
        )  # fmt: skip
    console.print(table)
    for finding in found.findings:
        console.print(f"  {finding.subject}: {finding.recommendation}", markup=False, soft_wrap=True)
    console.print(f"\nNext: payctl act --stack {stack} with the same source", markup=False)


def amount(value: float | None, unit: str) -> str:
    """A value as people read it: shares in percent, everything else with its unit."""
    if value is None:
        return "–"
    return (
        f"{100 * value:,.0f} %" if unit == "share" else f"{value:,.3g} {unit}" if value < 1 else f"{value:,.0f} {unit}"
    )


def sentence(finding: Finding) -> str:
    """One line for logs."""
    limit = f" ≥ {amount(finding.threshold, finding.unit)}" if finding.threshold is not None else ""
    value = amount(finding.value, finding.unit) if finding.value is not None else "no sample"
    return (
        f"{finding.severity} {finding.kind} {finding.subject}: {finding.metric} {value}{limit} "
        f"since {shown_time(finding.since_seconds)}"
    )


def shown_time(seconds: float) -> str:
    """A date in UTC, or seconds since the start of a recording."""
    if seconds < _EPOCH_SECONDS:
        return f"{seconds:,.0f} s"
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
