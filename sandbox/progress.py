"""Steps with an estimate, a live clock on a terminal, and one line per step elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sandbox.errors import SandboxError
from sandbox.files import read_json, write_json

REFERENCE_CPUS = 2
# Seconds on two cores with nothing cached; where the work is parallel (compilers), more cores shorten it.
REFERENCE_SECONDS: dict[str, float] = {
    "build:pulumi": 170.0,
    "build:etcd": 21.0,
    "build:kubernetes": 220.0,
    "build:kwok": 60.0,
    "control-plane": 8.0,
    "crds": 10.0,
}
# Below this a number says more about noise than about the step.
SHORTEST_ESTIMATE_SECONDS = 5.0
_CLOCK_INTERVAL_SECONDS = 0.5


class Step:
    """One running step. ``note`` adds what has become known and is shown with the result."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Shown behind the step's name when it ends."""
        self.notes.append(text)


class Progress:
    """Reports steps to one stream. ``timings`` names the file that keeps measured seconds between runs."""

    def __init__(self, stream: TextIO | None = None, *, tty: bool | None = None, timings: Path | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._tty = self._stream.isatty() if tty is None else tty
        self._timings = timings
        self._depth = 0

    def say(self, text: str) -> None:
        """A line of its own."""
        self._write(f"{self._indent()}{text}\n")

    @contextmanager
    def step(self, name: str, *, key: str | None = None, once: bool = False) -> Iterator[Step]:
        """Run a block as a step.

        ``key`` finds the step's estimate and records its time; ``once`` adds that a second run has nothing
        to do. The block's exception passes through; a failed step shows its log's last lines and the next
        thing to try when the exception is a ``SandboxError``.
        """
        step = Step(name)
        outer = self._indent()
        estimate = describe_estimate(self.estimate_seconds(key), once=once)
        started = time.monotonic()
        stop_clock = self._start_clock(f"{outer}… {name}" + (f" ({estimate})" if estimate else ""), started)
        self._depth += 1
        try:
            yield step
        except BaseException as error:
            stop_clock()
            self._finish(f"{outer}✗", step, time.monotonic() - started)
            if isinstance(error, SandboxError) and not error.shown:
                error.shown = True  # an outer step, or the command line, must not print it again
                self.say(str(error).replace("\n", f"\n{self._indent()}"))
            raise
        finally:
            self._depth -= 1
        elapsed = time.monotonic() - started
        stop_clock()
        self._finish(f"{outer}✓", step, elapsed)
        if key is not None:
            self._record(key, elapsed)

    def estimate_seconds(self, key: str | None) -> float | None:
        """The longest measured time of this step on this machine, else the reference scaled to its cores.

        The longest, because a run that finds most work done says nothing about one that does not.
        """
        if key is None:
            return None
        measured = (read_json(self._timings) or {}).get(key) if self._timings else None
        if isinstance(measured, int | float):
            return float(measured)
        reference = REFERENCE_SECONDS.get(key)
        if reference is None:
            return None
        cpus = os.cpu_count() or REFERENCE_CPUS
        return reference * REFERENCE_CPUS / cpus if key.startswith("build:") else reference

    def _record(self, key: str, seconds: float) -> None:
        if self._timings is None:
            return
        known = read_json(self._timings) or {}
        write_json(self._timings, {**known, key: max(round(seconds, 1), known.get(key, 0.0))})

    def _start_clock(self, headline: str, started: float) -> Callable[[], None]:
        """Show the step; returns how to stop its clock."""
        if not self._tty:
            self._write(f"{headline}\n")
            return lambda: None
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(_CLOCK_INTERVAL_SECONDS):
                self._write(f"\r\x1b[2K{headline} {describe_elapsed(time.monotonic() - started)}")

        def end() -> None:
            stop.set()
            clock.join()  # a last tick must not land behind the result

        self._write(headline)
        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        return end

    def _finish(self, mark: str, step: Step, elapsed: float) -> None:
        notes = f": {'; '.join(step.notes)}" if step.notes else ""
        start = "\r\x1b[2K" if self._tty else ""
        self._write(f"{start}{mark} {step.name}{notes} [{describe_elapsed(elapsed)}]\n")

    def _indent(self) -> str:
        return "  " * self._depth

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def describe_elapsed(seconds: float) -> str:
    """Seconds as a person says them: ``3.2 s``, ``2 min 05 s``."""
    if seconds < 60:  # noqa: PLR2004 # a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def describe_estimate(seconds: float | None, *, once: bool = False) -> str:
    """An estimate in words; empty for what is unknown or too short to announce."""
    if seconds is None or seconds < SHORTEST_ESTIMATE_SECONDS:
        return ""
    cpus = os.cpu_count() or REFERENCE_CPUS
    amount = f"{round(seconds)} s" if seconds < 90 else f"{round(seconds / 60)} min"  # noqa: PLR2004
    suffix = f" on {cpus} cores, once; nothing when cached" if once else ""
    return f"about {amount}{suffix}"
