"""What can happen to the platform: load, a slow bank, an outage of the metrics, a rollout."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from planning.twin.workload import Load, constant, diurnal, sample, step_for, through

_MINUTE = 60
_HOUR = 3600


class ScenarioError(ValueError):
    """An unknown scenario; the message lists the known ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """From ``start_seconds`` up to, not including, ``end_seconds``."""

    start_seconds: float
    end_seconds: float

    def holds(self, now: float) -> bool:
        """Whether a moment lies inside."""
        return self.start_seconds <= now < self.end_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One run: the load and everything else that happens."""

    name: str
    summary: str
    load: Load
    nominal_peak: float
    """Highest rate of the shape, without noise: what is compared with the stack's promise."""
    slow_bank: Window | None = None
    slow_bank_mean_seconds: float = 0.0
    metrics_outage: Window | None = None
    """Prometheus is gone; what reads Kafka or the metrics server directly still works."""
    rollout_seconds: float | None = None
    """When every Deployment gets a new revision."""


def _run(seconds: int, points: list[tuple[float, float]], seed: int, noise: float) -> Load:
    return sample(through(points), seconds, step_seconds=step_for(seconds), noise=noise, seed=seed)


def _stage(name: str, rate: float, *, minutes: int, before: float, seed: int) -> Scenario:
    """A k6 stage of the plan: its rate for its time, reached over five minutes from the stage before."""
    ramp, stage = 5 * _MINUTE, minutes * _MINUTE
    points = [(0.0, before), (_MINUTE, before), (_MINUTE + ramp, rate), (_MINUTE + ramp + stage, rate)]
    # After the stage the load goes back at once and the scale-down is watched for ten minutes.
    points += [(_MINUTE + ramp + stage + 1, before)]
    load = _run(_MINUTE + ramp + stage + 10 * _MINUTE, points, seed, 0.02)
    summary = f"the plan's k6 stage: {rate:,.0f} requests/s for {minutes} min, reached in 5 min"
    return Scenario(name=name, summary=summary, load=load, nominal_peak=rate)


def _normal(seed: int, _promised: float) -> Scenario:
    return _stage("normal", 1000.0, minutes=10, before=100.0, seed=seed)


def _peak(seed: int, _promised: float) -> Scenario:
    return _stage("peak", 5000.0, minutes=5, before=1000.0, seed=seed)


def _stress(seed: int, _promised: float) -> Scenario:
    return _stage("stress", 10_000.0, minutes=2, before=1000.0, seed=seed)


def _day(seed: int, promised: float) -> Scenario:
    shape = diurnal(0.1 * promised, 0.9 * promised, peak_hour=20)
    load = sample(shape, 24 * _HOUR, step_seconds=15, noise=0.1, hold_seconds=60, seed=seed)
    summary = "a day from a tenth to nine tenths of the promised peak, ±10 % noise"
    return Scenario(name="diurnal", summary=summary, load=load, nominal_peak=0.9 * promised)


def _flash_sale(seed: int, promised: float) -> Scenario:
    low, start = 0.2 * promised, 10 * _MINUTE
    points = [(0.0, low), (start, low), (start + 30, promised), (start + 600, promised), (start + 1200, low)]
    load = _run(50 * _MINUTE, points, seed, 0.05)
    summary = "from a fifth of the promised peak to all of it within 30 s, for 10 min"
    return Scenario(name="flash-sale", summary=summary, load=load, nominal_peak=promised)


def _slow_bank(seed: int, promised: float) -> Scenario:
    load = sample(constant(0.5 * promised), 50 * _MINUTE, step_seconds=5, noise=0.05, seed=seed)
    return Scenario(
        name="slow-bank",
        summary="half the promised peak; for 15 min the bank answers in 6 s and the breaker opens",
        load=load,
        nominal_peak=0.5 * promised,
        slow_bank=Window(start_seconds=10 * _MINUTE, end_seconds=25 * _MINUTE),
        slow_bank_mean_seconds=6.0,
    )


def _metrics_outage(seed: int, promised: float) -> Scenario:
    points = [(0.0, 0.3 * promised), (10 * _MINUTE, 0.3 * promised), (20 * _MINUTE, 0.9 * promised)]
    points += [(40 * _MINUTE, 0.9 * promised), (50 * _MINUTE, 0.3 * promised)]
    return Scenario(
        name="metrics-outage",
        summary="Prometheus is gone for 20 min while the load triples",
        load=_run(70 * _MINUTE, points, seed, 0.05),
        nominal_peak=0.9 * promised,
        metrics_outage=Window(start_seconds=8 * _MINUTE, end_seconds=28 * _MINUTE),
    )


def _rollout(seed: int, promised: float) -> Scenario:
    load = sample(constant(promised), 60 * _MINUTE, step_seconds=5, noise=0.05, seed=seed)
    return Scenario(
        name="rollout-at-peak",
        summary="a new version of everything while the promised peak is served",
        load=load,
        nominal_peak=promised,
        rollout_seconds=20 * _MINUTE,
    )


def _four_hours(seed: int, _promised: float) -> Scenario:
    points = [(0.0, 250.0), (_HOUR, 1050.0), (2 * _HOUR, 1050.0), (2.5 * _HOUR, 620.0), (3.25 * _HOUR, 620.0)]
    points += [(3.5 * _HOUR, 250.0)]
    return Scenario(
        name="four-hours",
        summary="250 → 1,050 → 620 → 250 requests/s within four hours, ±15 % noise",
        load=_run(4 * _HOUR, points, seed, 0.15),
        nominal_peak=1050.0,
    )


RAMP_TOP = 16_000.0
"""Requests/s at the end of the ramp: 1.6 times what the plan expects in a year."""


def _ramp(_seed: int, _promised: float) -> Scenario:
    seconds = int(RAMP_TOP / 100 * _MINUTE)
    return Scenario(
        name="ramp",
        summary="from nothing to 16,000 requests/s, 100 more each minute: which limit breaks first",
        load=sample(through([(0.0, 0.0), (seconds, RAMP_TOP)]), seconds, step_seconds=step_for(seconds)),
        nominal_peak=RAMP_TOP,
    )


SCENARIOS: dict[str, Callable[[int, float], Scenario]] = {
    "normal": _normal,
    "peak": _peak,
    "stress": _stress,
    "diurnal": _day,
    "flash-sale": _flash_sale,
    "slow-bank": _slow_bank,
    "metrics-outage": _metrics_outage,
    "rollout-at-peak": _rollout,
    "four-hours": _four_hours,
    "ramp": _ramp,
}
"""Name → scenario for a seed and the requests/s that the stack promises."""


def scenario(name: str, *, seed: int, promised: float) -> Scenario:
    """One of the named scenarios. Raises ``ScenarioError``."""
    if name not in SCENARIOS:
        close = get_close_matches(name, SCENARIOS, n=1)
        hint = f"did you mean {close[0]}?" if close else "choose one of them, or name a .csv file"
        message = f"--scenario: '{name}' is unknown; allowed: {', '.join(SCENARIOS)}, or a .csv file; fix: {hint}"
        raise ScenarioError(message)
    return SCENARIOS[name](seed, promised)


def recorded(name: str, load: Load) -> Scenario:
    """A recording of one's own."""
    return Scenario(name=name, summary=f"the recording {name}", load=load, nominal_peak=load.peak)
