"""Findings, and the detector that opens, raises, holds and ends them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from planning.bottlenecks.rules import Rule, Watch

MISSING_DATA = "MISSING_DATA"
Series = tuple[str, str]
"""Metric and subject."""
Values = Mapping[Series, float]
"""What one look at a source returned; a series that is not there has no sample."""
_EVIDENCE_SAMPLES = 12


class Severity(StrEnum):
    """How bad a finding is."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One value at one time."""

    time_seconds: float
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A condition that held for its rule's duration."""

    kind: str
    severity: Severity
    subject: str
    service: str
    metric: str
    unit: str
    value: float | None
    """The newest sample; ``None`` for missing data."""
    threshold: float | None
    """The threshold of the severity, in the metric's unit."""
    duration_seconds: int
    since_seconds: float
    """When the condition began, in the source's time."""
    found_seconds: float
    """When it had held for its duration."""
    evidence: tuple[Sample, ...]
    """The newest samples, oldest first."""
    recommendation: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two findings the same one; two rules may miss the same series, once each metric."""
        return self.kind, self.subject, self.metric

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "severity": str(self.severity)}


class EventKind(StrEnum):
    """What happened to a finding."""

    OPENED = "opened"
    RAISED = "raised"
    LOWERED = "lowered"
    CLEARED = "cleared"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A change of the list of findings."""

    kind: EventKind
    time_seconds: float
    finding: Finding


@dataclass(slots=True)
class _State:
    """What is remembered of one watch."""

    watch: Watch
    samples: list[Sample] = field(default_factory=list)
    over_since: dict[Severity, float] = field(default_factory=dict)
    below_since: float | None = None
    last_seen: float | None = None
    active: Finding | None = None
    missing: Finding | None = None


class Detector:
    """Feed it looks at a source in the order of time; it keeps one finding for each rule, subject and metric."""

    def __init__(self, watched: Iterable[Watch]) -> None:
        self._states = [_State(watch=watch) for watch in watched]
        self._started: float | None = None
        self._now = float("-inf")

    @property
    def findings(self) -> list[Finding]:
        """What holds now, critical ones first, then the oldest."""
        found = [finding for state in self._states for finding in (state.active, state.missing) if finding is not None]
        return sorted(found, key=lambda each: (each.severity is Severity.WARNING, each.since_seconds, each.key))

    def observe(self, time_seconds: float, values: Values) -> list[Event]:
        """Take one look; returns what changed. A look that is not newer than the last one changes nothing."""
        if time_seconds <= self._now:
            return []
        self._now = time_seconds
        if self._started is None:
            self._started = time_seconds
        events: list[Event] = []
        for state in self._states:
            value = values.get(state.watch.series)
            if value is None or value != value:  # noqa: PLR0124 # NaN: a quantile of nothing is no sample
                events += self._silent(state, time_seconds)
            else:
                events += _heard(state, Sample(time_seconds=time_seconds, value=value))
        return events

    def _silent(self, state: _State, now: float) -> list[Event]:
        """No sample: an open finding stays as it is, a condition that was building up has a hole and starts anew."""
        state.over_since.clear()
        state.below_since = None
        since = state.last_seen if state.last_seen is not None else self._started
        assert since is not None  # noqa: S101 # set by observe
        rule = state.watch.rule
        if state.missing is not None or now - since < rule.missing_seconds:
            return []
        state.missing = _missing(state, since, now)
        return [Event(kind=EventKind.OPENED, time_seconds=now, finding=state.missing)]


def _heard(state: _State, sample: Sample) -> list[Event]:
    now = sample.time_seconds
    state.last_seen = now
    state.samples = [*state.samples, sample][-_EVIDENCE_SAMPLES:]
    events = []
    if state.missing is not None:
        events.append(Event(kind=EventKind.CLEARED, time_seconds=now, finding=state.missing))
        state.missing = None
    _note(state, sample)
    wanted = _severity(state, now)
    if state.active is None:
        if wanted is not None:
            state.active = _found(state, wanted, now)
            events.append(Event(kind=EventKind.OPENED, time_seconds=now, finding=state.active))
        return events
    return [*events, *_go_on(state, wanted, sample)]


def _note(state: _State, sample: Sample) -> None:
    """Since when the value is at or above each threshold, and since when it is low enough to end a finding."""
    watch, now = state.watch, sample.time_seconds
    for severity, threshold in ((Severity.WARNING, watch.warning), (Severity.CRITICAL, watch.critical)):
        if sample.value >= threshold:
            state.over_since.setdefault(severity, now)
        else:
            state.over_since.pop(severity, None)
    if sample.value < watch.clear_below:
        state.below_since = now if state.below_since is None else state.below_since
    else:
        state.below_since = None


def _severity(state: _State, now: float) -> Severity | None:
    duration = state.watch.rule.duration_seconds
    for severity in (Severity.CRITICAL, Severity.WARNING):
        since = state.over_since.get(severity)
        if since is not None and now - since >= duration:
            return severity
    return None


def _go_on(state: _State, wanted: Severity | None, sample: Sample) -> list[Event]:
    """An open finding is raised, lowered, kept up to date or ended."""
    active, now = state.active, sample.time_seconds
    assert active is not None  # noqa: S101 # the caller's case
    if state.below_since is not None and now - state.below_since >= state.watch.rule.clear_seconds:
        state.active = None
        return [Event(kind=EventKind.CLEARED, time_seconds=now, finding=_renewed(state, active, active.severity))]
    severity = active.severity
    if wanted is Severity.CRITICAL:
        severity = Severity.CRITICAL
    elif wanted is Severity.WARNING and sample.value < state.watch.lower_below:
        severity = Severity.WARNING
    state.active = _renewed(state, active, severity)
    if severity is active.severity:
        return []
    kind = EventKind.RAISED if severity is Severity.CRITICAL else EventKind.LOWERED
    return [Event(kind=kind, time_seconds=now, finding=state.active)]


def _found(state: _State, severity: Severity, now: float) -> Finding:
    watch, rule = state.watch, state.watch.rule
    return Finding(
        kind=rule.kind,
        severity=severity,
        subject=watch.subject,
        service=watch.service,
        metric=rule.metric,
        unit=rule.unit,
        value=state.samples[-1].value,
        threshold=_threshold(watch, severity),
        duration_seconds=rule.duration_seconds,
        since_seconds=state.over_since[severity],
        found_seconds=now,
        evidence=tuple(state.samples),
        recommendation=rule.recommendation,
    )


def _renewed(state: _State, finding: Finding, severity: Severity) -> Finding:
    """The same finding with its newest value: ``since`` stays."""
    return replace(
        finding,
        severity=severity,
        value=state.samples[-1].value,
        threshold=_threshold(state.watch, severity),
        evidence=tuple(state.samples),
    )


def _threshold(watch: Watch, severity: Severity) -> float:
    return watch.critical if severity is Severity.CRITICAL else watch.warning


def _missing(state: _State, since: float, now: float) -> Finding:
    watch, rule = state.watch, state.watch.rule
    never = "never seen" if state.last_seen is None else "gone"
    return Finding(
        kind=MISSING_DATA,
        severity=Severity.CRITICAL,
        subject=watch.subject,
        service=watch.service,
        metric=rule.metric,
        unit=rule.unit,
        value=None,
        threshold=None,
        duration_seconds=rule.missing_seconds,
        since_seconds=since,
        found_seconds=now,
        evidence=tuple(state.samples),
        recommendation=f"{rule.metric} of {watch.subject} is {never}: find out why it is silent; {rule.kind} is blind",
    )


def longest_duration_seconds(rules: Iterable[Rule]) -> int:
    """How far back a source must be read so that every condition can have held for its duration."""
    return max(max(rule.duration_seconds, rule.missing_seconds) + rule.clear_seconds for rule in rules)
