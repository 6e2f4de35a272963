"""All traces, many at a time, and what came of them."""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.sandbox.differential import traces_metrics, traces_pace, traces_pods, traces_random, traces_status
from tests.sandbox.differential.compare import Sync, difference, follows, late, syncs, unclear
from tests.sandbox.differential.lockstep import Record, run
from tests.sandbox.differential.scenario import Branch, Trace
from tests.sandbox.differential.stage import Stage

AT_ONCE = 16
"""Traces at the same time: the gate keeps their clocks apart from each other, the machine's two cores do not."""
_REPETITIONS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One trace."""

    trace: Trace
    records: tuple[Record, ...] = ()
    compared: tuple[Sync, ...] = ()
    repeated: tuple[str, ...] = ()
    """Why it was replayed again, for each time."""
    difference: str | None = None
    problem: str | None = None
    """Why there is nothing to compare."""


def all_traces() -> list[Trace]:
    """Every trace; the ones that take longest come first."""
    groups = (traces_metrics, traces_pace, traces_pods, traces_status)
    found = [trace for group in groups for trace in group.traces()] + traces_random.traces()
    names = Counter(trace.name for trace in found)
    assert set(names.values()) == {1}, f"names given twice: {[name for name, number in names.items() if number > 1]}"
    return sorted(found, key=lambda trace: -trace.syncs * trace.grid_seconds)


def prove(stage: Stage, traces: Sequence[Trace]) -> list[Outcome]:
    """Replay and compare all of them."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda pair: _outcome(stage, pair[1], pair[0]), enumerate(traces)))


def _outcome(stage: Stage, trace: Trace, number: int) -> Outcome:
    repeated: list[str] = []
    while True:
        try:
            records = run(stage, trace, f"trace-{number}-{len(repeated)}")
            compared = syncs(trace, records)
        except Exception as error:  # noqa: BLE001 # told as this trace's outcome, the others go on
            return Outcome(trace=trace, repeated=tuple(repeated), problem=f"{type(error).__name__}: {error}")
        stalled = _stalled(trace, records, compared)
        if stalled is None or len(repeated) == _REPETITIONS:
            return Outcome(
                trace=trace,
                records=tuple(records),
                compared=tuple(compared),
                repeated=tuple(repeated),
                difference=difference(trace, compared, records),
            )
        repeated.append(stalled)


def _stalled(trace: Trace, records: Sequence[Record], compared: Sequence[Sync]) -> str | None:
    """Why a result says nothing: the twin differs where a change is as old as a window, or a late sync left the path.

    A twin that is wrong is wrong again when the same trace is replayed.
    """
    if difference(trace, compared, records) is not None:
        return unclear(trace, records)
    return None if follows(trace, [record.replicas for record in records]) else late(trace, records)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The figures."""

    traces: int
    syncs: int
    disagreements: int
    changes: int
    """Syncs at which the real controller changed the scale."""
    repeated: tuple[str, ...]
    """Trace and reason, for each time that one was replayed again."""
    seconds: float
    branches: dict[str, int]
    """Branch → traces."""


def summary(outcomes: Sequence[Outcome], started: float) -> Summary:
    """``started``: ``time.monotonic()`` before the first trace."""
    return Summary(
        traces=sum(outcome.problem is None for outcome in outcomes),
        syncs=sum(len(outcome.compared) for outcome in outcomes),
        disagreements=sum(not sync.agrees for outcome in outcomes for sync in outcome.compared),
        changes=sum(
            record.replicas != record.inputs.spec_replicas for outcome in outcomes for record in outcome.records
        ),
        repeated=tuple(f"{outcome.trace.name}: {why}" for outcome in outcomes for why in outcome.repeated),
        seconds=round(time.monotonic() - started, 1),
        branches={
            branch.name: sum(branch in outcome.trace.branches for outcome in outcomes if outcome.problem is None)
            for branch in Branch
        },
    )
