"""Load over time at the entry service: shapes, noise, and a recording of one's own."""

import bisect
import csv
import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Shape = Callable[[float], float]
"""Seconds since the start → requests/s."""


class WorkloadError(ValueError):
    """A recorded load that cannot be used; the message names the line, the value and the fix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Requests/s at the entry service, constant within each step."""

    step_seconds: int
    requests_per_second: tuple[float, ...]

    @property
    def duration_seconds(self) -> int:
        """Length of the whole."""
        return self.step_seconds * len(self.requests_per_second)

    @property
    def peak(self) -> float:
        """Highest rate of any step, noise included."""
        return max(self.requests_per_second)


def sample(
    shape: Shape, duration_seconds: int, *, step_seconds: int, noise: float = 0.0, hold_seconds: int = 15, seed: int = 0
) -> Load:
    """A shape with noise: every ``hold_seconds`` another factor, uniform in 1 ± ``noise``. The same for a seed."""
    generator = random.Random(seed)  # noqa: S311 # noise, not a secret
    hold = max(1, hold_seconds // step_seconds)
    rates, factor = [], 1.0
    for index in range(duration_seconds // step_seconds):
        if index % hold == 0:
            factor = 1.0 + generator.uniform(-noise, noise)
        rates.append(shape(index * step_seconds) * factor)
    return Load(step_seconds=step_seconds, requests_per_second=tuple(rates))


def constant(rate: float) -> Shape:
    """The same rate all the time."""
    return lambda _: rate


def through(points: Sequence[tuple[float, float]]) -> Shape:
    """Straight lines through (seconds, requests/s); constant before the first and after the last."""
    times = [time for time, _ in points]

    def rate(now: float) -> float:
        after = bisect.bisect_right(times, now)
        if after == 0:
            return points[0][1]
        if after == len(points):
            return points[-1][1]
        (start, low), (end, high) = points[after - 1], points[after]
        return low + (high - low) * (now - start) / (end - start)

    return rate


def diurnal(low: float, high: float, *, peak_hour: float) -> Shape:
    """One day: a cosine from ``low`` at night to ``high`` at ``peak_hour``, with a smaller second peak at noon."""

    def rate(now: float) -> float:
        hour = now / 3600.0
        day = (1.0 + math.cos((hour - peak_hour) / 24.0 * 2.0 * math.pi)) / 2.0
        noon = math.exp(-(((hour - 12.5) / 1.5) ** 2))
        return low + (high - low) * min(1.0, day + 0.25 * noon * (1.0 - day))

    return rate


_SHOWN_PROBLEMS = 10
COLUMNS = ("time_seconds", "requests_per_second")


def read_csv(lines: Iterable[str], *, source: str) -> Load:
    """A recording with the columns ``time_seconds`` and ``requests_per_second`` at equal distances from 0.

    Raises ``WorkloadError`` with everything that is wrong with it, at most ten lines.
    """
    reader = csv.reader(lines)
    header = next(reader, [])
    if tuple(name.strip() for name in header) != COLUMNS:
        message = f"{source} line 1: the header is '{','.join(header)}'; allowed: {','.join(COLUMNS)}; fix: write that"
        raise WorkloadError(message)
    rows, problems = _rows(reader, source)
    problems += _time_problems(rows, source)
    if not problems and len(rows) < 2:  # noqa: PLR2004 # one row has no distance
        problems.append(f"{source}: {len(rows)} rows; allowed: at least 2; fix: record longer")
    if problems:
        hidden = len(problems) - _SHOWN_PROBLEMS
        more = [f"… and {hidden} more"] if hidden > 0 else []
        raise WorkloadError("\n".join(problems[:_SHOWN_PROBLEMS] + more))
    return _resampled([(time, rate) for _, time, rate in rows])


def _rows(reader: Iterable[list[str]], source: str) -> tuple[list[tuple[int, float, float]], list[str]]:
    """(line, seconds, requests/s) of every readable row, and what is wrong with the others."""
    rows: list[tuple[int, float, float]] = []
    problems: list[str] = []
    for line, fields in enumerate(reader, start=2):
        if not fields:
            continue
        numbers = [_number(text) for text in fields]
        time, rate = numbers if len(numbers) == len(COLUMNS) else (None, None)
        if time is None or rate is None:
            problems.append(f"{source} line {line}: '{','.join(fields)}'; allowed: two numbers; fix: correct the line")
        elif time < 0 or rate < 0:
            what = COLUMNS[0] if time < 0 else COLUMNS[1]
            problems.append(f"{source} line {line}: {what} is {min(time, rate):g}; allowed: 0 or more; fix: correct it")
        else:
            rows.append((line, time, rate))
    return rows, problems


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _time_problems(rows: Sequence[tuple[int, float, float]], source: str) -> list[str]:
    """Disorder and gaps. The distance of the first two rows is the distance of all."""
    if len(rows) < 2:  # noqa: PLR2004 # one row has no distance
        return []
    if rows[1][1] <= rows[0][1]:
        return [_disorder(source, rows[0], rows[1])]
    step = rows[1][1] - rows[0][1]
    problems = []
    for before, after in itertools.pairwise(rows):
        distance = after[1] - before[1]
        if distance <= 0:
            problems.append(_disorder(source, before, after))
        elif abs(distance - step) > 0.01 * step:
            what = "a gap" if distance > step else "too close"
            problems.append(
                f"{source} line {after[0]}: time_seconds jumps from {before[1]:g} to {after[1]:g}, {what}; allowed: "
                f"{step:g} s after the row before, as the first two are; fix: fill in the missing rows or resample"
            )
    return problems


def _disorder(source: str, before: tuple[int, float, float], after: tuple[int, float, float]) -> str:
    return (
        f"{source} line {after[0]}: time_seconds {after[1]:g} is not after {before[1]:g}; allowed: rising times; "
        "fix: sort the rows by time and keep one of each"
    )


_LONGEST_FINE_SECONDS = 4 * 3600


def step_for(duration_seconds: float) -> int:
    """Seconds of a step: 5 up to four hours, 15 (the autoscaler's own pace) beyond."""
    return 5 if duration_seconds <= _LONGEST_FINE_SECONDS else 15


def _resampled(points: Sequence[tuple[float, float]]) -> Load:
    """Each row holds until the next; the last one as long as the one before."""
    first, step = points[0][0], points[1][0] - points[0][0]
    duration = points[-1][0] - first + step
    fine = step_for(duration)
    times = [time - first for time, _ in points]
    rates = [
        points[bisect.bisect_right(times, index * fine) - 1][1] for index in range(max(1, math.ceil(duration / fine)))
    ]
    return Load(step_seconds=fine, requests_per_second=tuple(rates))
