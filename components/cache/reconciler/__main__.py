"""One run: look, decide, act, until the cluster is as declared. See ``docs/cache.md`` for the log's lines.

Exit codes: 0 as declared (or another run is at work), 1 not within the time allowed, 2 a person has to decide.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .cluster import Cluster, Goal
from .decide import decide
from .lock import Lock
from .protocol import Access, ServerError
from .steps import Blocked, Done, Move, Step, Wait
from .view import View, ranges

_LOOK_AGAIN_SECONDS = 0.3
_LOCK_WAIT_SECONDS = 20.0
DONE, NOT_IN_TIME, BLOCKED = 0, 1, 2


def log(line: str) -> None:
    """One line with its time (UTC) on standard output."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")
    sys.stdout.flush()


@dataclass(kw_only=True)
class Run:
    """One run of the reconciler. ``say``, ``sleep`` and ``now`` are the outside world."""

    cluster: Cluster
    lock: Lock
    deadline_seconds: float
    say: Callable[[str], None] = log
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    _said: str = field(default="", init=False)

    def run(self) -> int:
        """The exit code."""
        try:
            return self._until_done()
        finally:
            self.lock.release()
            self.cluster.close()

    def _until_done(self) -> int:
        end = self.now() + self.deadline_seconds
        locked = False
        while True:
            view = self.cluster.look()
            steps = decide(view)
            self._tell(view, steps)
            match steps[0]:
                case Done():
                    return DONE
                case Blocked():
                    return BLOCKED
                case _ if self.now() > end:
                    self.say(f"not as declared after {self.deadline_seconds:.0f} s; the next run goes on from here")
                    return NOT_IN_TIME
                case Wait():
                    self.sleep(_LOOK_AGAIN_SECONDS)
                case _ if self._alone(locked=locked):
                    # What was seen before the lock was taken may be done by now: look once more first.
                    if locked:
                        self._act(steps)
                    locked = True
                case _ if locked:
                    self.say("the lock is lost; looking again")
                    self.lock.release()
                    locked = False
                case _:
                    self.say("another run is at work and will finish this")
                    return DONE

    def _alone(self, *, locked: bool) -> bool:
        nodes = list(self.cluster.connections())
        if locked:
            return self.lock.still_held(nodes)
        return self.lock.acquire(nodes, wait_seconds=_LOCK_WAIT_SECONDS, sleep=self.sleep)

    def _act(self, steps: list[Step]) -> None:
        for step in steps:
            try:
                self.cluster.carry_out(step)
            except (OSError, ServerError) as error:
                self.say(f"  failed: {error or type(error).__name__}; looking again")
                break
        if not isinstance(steps[0], Move):
            self.sleep(_LOOK_AGAIN_SECONDS)

    def _tell(self, view: View, steps: list[Step]) -> None:
        """What was seen and decided, whenever either has changed."""
        seen = "; ".join(_describe(view))
        decided = [str(step) for step in steps]
        if (said := "|".join([seen, *decided])) == self._said:
            return
        if not self._said.startswith(f"{seen}|"):
            self.say(f"seen: {seen}")
        for line in decided:
            self.say(line)
        self._said = said


def _describe(view: View) -> list[str]:
    parts = []
    for member in view.members:
        zone = f" in {member.zone}" if member.zone else ""
        primary = view.by_id.get(member.own.primary or "")
        if member.is_primary:
            parts.append(f"{member.name}{zone} primary of {ranges(view.slots_of(member)) or 'no slots'}")
        else:
            parts.append(f"{member.name}{zone} replica of {primary.name if primary else 'an unknown node'}")
    return [*parts, *(f"{name} silent" for name in view.unreachable)]


def main() -> int:
    """A run as the environment declares it; see ``Goal`` and ``Access`` for the variables."""
    nodes = [node.rpartition(":") for node in os.environ["CACHE_NODES"].split(",")]
    goal = Goal(
        nodes=tuple((host, int(port)) for host, _, port in nodes),
        primaries=int(os.environ["CACHE_PRIMARIES"]),
        leaving=int(os.environ["CACHE_LEAVING"]),
        zone_parameter=os.environ["CACHE_ZONE_PARAMETER"],
    )
    access = Access.from_environment()
    deadline = float(os.environ["CACHE_DEADLINE_SECONDS"])
    return Run(cluster=Cluster(goal, access), lock=Lock(access), deadline_seconds=deadline).run()


if __name__ == "__main__":
    sys.exit(main())
