"""The pods of one Deployment: starting, ready, leaving, and replaced during a rollout."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class PodTiming:
    """How a Deployment's pods come and go."""

    ready_after_seconds: float
    """From the decision to the first request."""
    leave_seconds: float
    """From the decision to the end of the process; a leaving pod serves nothing new."""
    surge_percent: int
    """``maxSurge``; Kubernetes rounds up."""
    max_unavailable: int
    sampled_after_seconds: float = 30.0
    """From the first request until the metrics server has a whole sample; until then the pod's cpu does not count."""


@dataclass(slots=True)
class Pods:
    """Counts of pods by state, and the highest load that each ready pod has seen.

    The Deployment controller's rules: never more than ``replicas`` + surge, never fewer available than
    ``replicas`` less ``max_unavailable`` for the sake of a rollout; the youngest pods leave first.
    """

    timing: PodTiming
    replicas: int
    """``spec.replicas``."""
    high_water: list[float] = field(default_factory=list)
    """Highest load of each ready pod since its start, oldest pod first; never rising from one to the next."""
    old: int = 0
    """Ready pods of the previous revision; they are the first of ``high_water``."""
    starting: list[float] = field(default_factory=list)
    """When each starting pod becomes ready, in order."""
    settling: list[float] = field(default_factory=list)
    """When each pod that is ready but not sampled yet will be; they are the youngest of the ready ones."""
    leaving: list[float] = field(default_factory=list)
    """When each leaving pod is gone, in order."""

    @classmethod
    def settled(cls, timing: PodTiming, replicas: int) -> "Pods":
        """All pods ready, none with a load so far."""
        return cls(timing=timing, replicas=replicas, high_water=[0.0] * replicas)

    @property
    def ready(self) -> int:
        """Pods that serve."""
        return len(self.high_water)

    @property
    def status_replicas(self) -> int:
        """``status.replicas``: ready and starting; leaving pods do not count."""
        return len(self.high_water) + len(self.starting)

    def advance(self, now: float) -> None:
        """Let time pass and the Deployment controller act."""
        starting, settling, leaving = self.starting, self.settling, self.leaving
        while settling and settling[0] <= now:
            settling.pop(0)
        while starting and starting[0] <= now:
            starting.pop(0)
            self.high_water.append(0.0)
            settling.append(now + self.timing.sampled_after_seconds)
        while leaving and leaving[0] <= now:
            leaving.pop(0)
        if self.old or self.status_replicas != self.replicas:
            self._reconcile(now)

    def roll_out(self) -> None:
        """Give the template a new revision: every ready pod will be replaced."""
        self.old = len(self.high_water)

    def note_load(self, load_per_pod: float) -> None:
        """Remember the load for the pods that have not seen as much."""
        marks = self.high_water
        index = len(marks) - 1
        while index >= 0 and marks[index] < load_per_pod:
            marks[index] = load_per_pod
            index -= 1

    def _reconcile(self, now: float) -> None:
        timing = self.timing
        fresh = self.status_replicas - self.old
        surge = -(-self.replicas * timing.surge_percent // 100) if self.old else 0
        wanted = min(self.replicas - fresh, self.replicas + surge - self.status_replicas)
        if wanted > 0:
            self.starting += [now + timing.ready_after_seconds] * wanted
        excess = fresh - self.replicas
        if excess > 0:
            self._remove_fresh(excess, now)
        if self.old:
            spare = self.ready - (self.replicas - timing.max_unavailable)
            self._remove_old(min(self.old, max(0, spare)), now)

    def _remove_fresh(self, count: int, now: float) -> None:
        unready = min(count, len(self.starting))
        if unready:
            del self.starting[-unready:]
        self._leave(count - unready, now)
        ready = count - unready
        if ready:
            del self.high_water[-ready:]
            del self.settling[-ready:]

    def _remove_old(self, count: int, now: float) -> None:
        if count:
            del self.high_water[:count]
            self.old -= count
            self._leave(count, now)

    def _leave(self, count: int, now: float) -> None:
        if count:
            self.leaving += [now + self.timing.leave_seconds] * count
