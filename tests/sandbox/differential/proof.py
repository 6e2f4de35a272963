"""All traces, many at a time, and what came of them."""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.sandbox.differential import traces_metrics, traces_pace, traces_pods, traces_random
from tests.sandbox.differential.compare import Sync, difference, follows, late, syncs, unclear
from tests.sandbox.differential.lockstep import Record, run
from tests.sandbox.differential.scenario import Branch, Trace
from tests.sandbox.differential.stage import Stage

AT_ONCE = 16
"""Traces at the same time: the gate keeps their clocks apart from each other, the machine's two cores do not."""
_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One trace."""

    trace: Trace
    records: tuple[Record, ...] = ()
    compared: tuple[Sync, ...] = ()
    repeated: tuple[str, ...] = ()
    """Why it was replayed again: a stall of the machine put a change on the edge of a window, or beyond it."""
    difference: str | None = None
    problem: str | None = None
    """Why there is nothing to compare."""


def all_traces() -> list[Trace]:
    """Every trace; the ones that take longest come first."""
    found = [*traces_metrics.traces(), *traces_pace.traces(), *traces_pods.traces(), *traces_random.traces()]
    names = Counter(trace.name for trace in found)
    assert set(names.values()) == {1}, f"names given twice: {[name for name, number in names.items() if number > 1]}"
    return sorted(found, key=lambda trace: -trace.syncs * trace.grid_seconds)


def prove(stage: Stage, traces: Sequence[Trace]) -> list[Outcome]:
    """Replay and compare all of them."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda pair: _outcome(stage, pair[1], pair[0]), enumerate(traces)))


def _outcome(stage: Stage, trace: Trace, number: int) -> Outcome:
    repeated: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            records = run(stage, trace, f"trace-{number}-{attempt}")
            compared = syncs(trace, records)
        except Exception as error:  # noqa: BLE001 # told as this trace's outcome, the others go on
            return Outcome(trace=trace, repeated=tuple(repeated), problem=f"{type(error).__name__}: {error}")
        stalled = unclear(trace, records)
        if stalled is None and not follows(trace, [record.replicas for record in records]):
            stalled = late(trace, records)
        if stalled is None:
            return Outcome(
                trace=trace,
                records=tuple(records),
                compared=tuple(compared),
                repeated=tuple(repeated),
                difference=difference(trace, compared, records),
            )
        repeated.append(stalled)
    return Outcome(trace=trace, repeated=tuple(repeated), problem=f"the machine stalled {_ATTEMPTS} times: {repeated}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The figures."""

    traces: int
    syncs: int
    disagreements: int
    changes: int
    """Syncs at which the real controller changed the scale."""
    repeated: int
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
        repeated=sum(len(outcome.repeated) for outcome in outcomes),
        seconds=round(time.monotonic() - started, 1),
        branches={
            branch.name: sum(branch in outcome.trace.branches for outcome in outcomes if outcome.problem is None)
            for branch in Branch
        },
    )
