"""A deadline for everything, and waiting for a condition within it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

PAUSE_SECONDS = 1.0


class DeadlineError(Exception):
    """What was waited for did not come about in time."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a run."""

    seconds: float
    _started: float = field(default_factory=time.monotonic)

    @property
    def left_seconds(self) -> float:
        """Time that is left; negative afterwards."""
        return self._started + self.seconds - time.monotonic()

    def wait_for(self, what: str, done: Callable[[], bool], *, at_most_seconds: float | None = None) -> None:
        """Ask again until ``done``; raise ``DeadlineError`` with ``what`` when time is over."""
        limit = self.left_seconds if at_most_seconds is None else min(at_most_seconds, self.left_seconds)
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() >= end:
                message = f"waited {limit:.0f} s for {what}"
                raise DeadlineError(message)
            time.sleep(PAUSE_SECONDS)
