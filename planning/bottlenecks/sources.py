"""Where samples come from: a file, the twin, or (in ``prometheus.py``) a Prometheus server."""

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from planning.bottlenecks.findings import Detector, Event, Finding, Series, Values
from planning.twin.plant_api import ApiSpec
from planning.twin.simulation import Run, Track

COLUMNS = ("time_seconds", "metric", "subject", "value")
ENTRY_RATE = "requests_per_second"
"""Metric of the load at the entry service; not watched, it feeds the forecast of an action."""
_SHOWN_PROBLEMS = 10


class SourceError(ValueError):
    """A source that cannot be read; the message says what, where and how to mend it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """All samples of one moment."""

    time_seconds: float
    values: Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """What a whole recording amounts to."""

    findings: tuple[Finding, ...]
    """What holds at its end."""
    events: tuple[Event, ...]
    end_seconds: float
    latest: Values
    """Newest sample of each series."""
    load: tuple[tuple[float, float], ...]
    """Seconds and requests/s at the entry service; empty when the source does not tell."""


def detect(detector: Detector, looks: Iterable[Look]) -> Detection:
    """Feed every look to the detector."""
    events: list[Event] = []
    latest: dict[Series, float] = {}
    load: list[tuple[float, float]] = []
    end = 0.0
    for look in looks:
        events += detector.observe(look.time_seconds, look.values)
        end = look.time_seconds
        latest |= look.values
        load += [(end, value) for (metric, _), value in look.values.items() if metric == ENTRY_RATE]
    return Detection(
        findings=tuple(detector.findings), events=tuple(events), end_seconds=end, latest=latest, load=tuple(load)
    )


def read_samples(lines: Iterable[str], *, source: str) -> list[Look]:
    """Looks of a CSV file with ``time_seconds,metric,subject,value``; rows of one time belong together.

    Raises ``SourceError`` with everything that is wrong with it, at most ten lines.
    """
    reader = csv.reader(lines)
    header = next(reader, [])
    if tuple(name.strip() for name in header) != COLUMNS:
        message = f"{source} line 1: the header is '{','.join(header)}'; allowed: {','.join(COLUMNS)}; fix: write that"
        raise SourceError(message)
    rows: list[tuple[float, Series, float]] = []
    problems: list[str] = []
    for line, fields in enumerate(reader, start=2):
        row = _row(fields)
        if row is None:
            problems.append(
                f"{source} line {line}: '{','.join(fields)}'; allowed: a time, two names and a number; fix: correct it"
            )
        elif rows and row[0] < rows[-1][0]:
            problems.append(
                f"{source} line {line}: time_seconds {row[0]:g} is before {rows[-1][0]:g}; allowed: times that do not "
                "fall; fix: sort the rows by time"
            )
        else:
            rows.append(row)
    if not rows and not problems:
        problems.append(f"{source}: no samples; allowed: at least one; fix: record longer")
    if problems:
        hidden = len(problems) - _SHOWN_PROBLEMS
        raise SourceError("\n".join(problems[:_SHOWN_PROBLEMS] + ([f"… and {hidden} more"] if hidden > 0 else [])))
    by_time = itertools.groupby(rows, key=lambda row: row[0])
    return [Look(time_seconds=time, values={series: value for _, series, value in group}) for time, group in by_time]


def _row(fields: Sequence[str]) -> tuple[float, Series, float] | None:
    if len(fields) != len(COLUMNS):
        return None
    time, value = _number(fields[0]), _number(fields[3])
    metric, subject = fields[1].strip(), fields[2].strip()
    if time is None or value is None or not metric or not subject:
        return None
    return time, (metric, subject), value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def write_samples(looks: Iterable[Look]) -> Iterator[str]:
    """The lines of a file that ``read_samples`` reads."""
    yield ",".join(COLUMNS)
    for look in looks:
        for (metric, subject), value in sorted(look.values.items()):
            yield f"{look.time_seconds:g},{metric},{subject},{value:.6g}"


LOOK_SECONDS = 15
"""Distance of the twin's looks; as often as Prometheus evaluates the autoscalers' inputs."""


def looks_of(run: Run, *, every_seconds: int = LOOK_SECONDS) -> list[Look]:
    """What a Prometheus would have shown during a run of the twin."""
    step = run.scenario.load.step_seconds
    stride = max(1, every_seconds // step)
    rates = run.scenario.load.requests_per_second
    looks = []
    for index in range(0, len(rates), stride):
        values: dict[Series, float] = {(ENTRY_RATE, run.stack.entry_service): rates[index]}
        for track in run.tracks:
            values |= dict(_values(track, index))
        looks.append(Look(time_seconds=float(index * step), values=values))
    return looks


def _values(track: Track, index: int) -> Iterator[tuple[Series, float]]:
    name, workload = track.workload.name, track.workload
    yield ("replicas_of_maximum", name), track.replicas[index] / workload.max_replicas
    if isinstance(workload.spec, ApiSpec):
        yield ("api_p99_seconds", name), track.p99_seconds[index]
        # The twin has one pool for each service, and every payment writes: it fills as that of the writes does.
        yield ("database_pool_use", name), track.pool_use[index]
        yield ("database_write_pool_use", name), track.pool_use[index]
        yield ("memory_use_of_limit", name), track.memory_share[index]
        yield ("breaker_refused_share", name), track.refused_share[index]
    elif track.ready[index]:
        yield ("lag_per_consumer", name), track.lag[index] / track.ready[index]
