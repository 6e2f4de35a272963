"""An API: pods that answer requests, and what its metrics would read."""

import math
from dataclasses import dataclass, field

from planning.twin.plant_bank import Breaker
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_pods import Pods
from planning.twin.plant_queueing import wait_percentile_seconds

_HUNDREDFOLD = math.log(100)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiSpec:
    """One API as its manifests and settings describe it."""

    name: str
    planned_rate_per_pod: float
    """Requests/s at which a pod uses its cpu request."""
    cpu_request_cores: float
    cpu_limit_cores: float
    memory_request_bytes: float
    memory_limit_bytes: float
    database_connections_per_pod: int
    """0: the pool is not modelled."""
    calls_bank: bool
    objective_seconds: float
    """p99 above it loses the moment for the service-level objective."""
    requests_per_entry_request: float

    @property
    def cpu_capacity_per_pod(self) -> float:
        """Requests/s at which a pod is throttled at its cpu limit."""
        return self.planned_rate_per_pod * self.cpu_limit_cores / self.cpu_request_cores


@dataclass(slots=True)
class ApiState:
    """What an API does at the moment; the values of the last step."""

    backlog: float = 0.0
    """Requests that wait for capacity."""
    rate: float = 0.0
    """Requests/s that arrive."""
    calls: float = 0.0
    """Calls/s that reach the bank."""
    refused_share: float = 0.0
    """Share of the arrivals that the breaker refuses."""
    dropped: float = 0.0
    """Requests/s that time out."""
    p99_seconds: float = 0.0
    bank_p99_seconds: float = 0.0
    cpu_cores_per_pod: float = 0.0
    memory_bytes_per_pod: float = 0.0
    pool_use: float = 0.0
    """Share of the database connections in use."""
    capacity: float = 0.0
    """Requests/s that the ready pods can serve."""
    binding: str = "cpu"
    """What bounds the capacity: cpu, database-pool or bank."""


@dataclass(slots=True)
class Api:
    """The pods of one API under load."""

    spec: ApiSpec
    constants: PlantConstants
    pods: Pods
    state: ApiState = field(default_factory=ApiState)
    breaker: Breaker | None = None

    def step(self, now: float, seconds: float, rate: float, bank_seconds: float) -> ApiState:
        """Let ``rate`` requests/s arrive for ``seconds``; the bank answers in ``bank_seconds`` on average."""
        state, constants = self.state, self.constants
        if self.breaker is not None:
            state.refused_share = self.breaker.refused_share(now, bank_seconds)
        accepted = rate * (1.0 - state.refused_share)
        ready = self.pods.ready
        per_pod, state.binding = self._capacity_per_pod(bank_seconds)
        state.capacity = capacity = ready * per_pod
        waiting = state.backlog + accepted * seconds
        served = min(waiting, capacity * seconds)
        backlog = waiting - served
        longest = capacity * constants.request_timeout_seconds
        state.dropped = max(0.0, backlog - longest) / seconds
        state.backlog = min(backlog, longest)
        state.rate, state.calls = rate, served / seconds
        self._measure(served / seconds, rate - accepted, bank_seconds)
        return state

    def _capacity_per_pod(self, bank_seconds: float) -> tuple[float, str]:
        spec, constants = self.spec, self.constants
        capacity, binding = spec.cpu_capacity_per_pod, "cpu"
        if spec.database_connections_per_pod:
            pool = spec.database_connections_per_pod / constants.database_hold_seconds
            if pool < capacity:
                capacity, binding = pool, "database-pool"
        if spec.calls_bank:
            workers = constants.bank_workers_per_pod / bank_seconds
            if workers < capacity:
                capacity, binding = workers, "bank"
        return capacity, binding

    def _measure(self, served: float, refused: float, bank_seconds: float) -> None:
        """Latency, cpu, memory and pool use at ``served`` requests/s over all ready pods."""
        state, spec, constants = self.state, self.spec, self.constants
        ready = self.pods.ready
        state.bank_p99_seconds = bank_seconds * _HUNDREDFOLD if spec.calls_bank and served > 0 else 0.0
        if ready == 0:
            state.p99_seconds = constants.request_timeout_seconds if state.rate > 0 else 0.0
            state.cpu_cores_per_pod = state.memory_bytes_per_pod = state.pool_use = 0.0
            return
        each = served / ready
        work = each + refused / ready * constants.refused_call_cost
        cores = spec.cpu_request_cores * work / spec.planned_rate_per_pod
        state.cpu_cores_per_pod = min(cores, spec.cpu_limit_cores)
        state.pool_use = (
            min(1.0, each * constants.database_hold_seconds / spec.database_connections_per_pod)
            if spec.database_connections_per_pod
            else 0.0
        )
        self.pods.note_load(each)
        state.memory_bytes_per_pod = self._memory_bytes()
        state.p99_seconds = self._p99_seconds(each, bank_seconds)

    def _p99_seconds(self, each: float, bank_seconds: float) -> float:
        """Percentiles of the stations are added: an upper bound, never too hopeful."""
        state, spec, constants = self.state, self.spec, self.constants
        if state.rate <= 0 and state.backlog <= 0:
            return 0.0
        limit = constants.queueing_utilization_limit
        cores = max(1, round(spec.cpu_limit_cores))
        cpu = spec.cpu_capacity_per_pod
        p99 = constants.service_time_p99_seconds + wait_percentile_seconds(min(each, cpu * limit), cores, cores / cpu)
        if spec.database_connections_per_pod:
            connections, hold = spec.database_connections_per_pod, constants.database_hold_seconds
            p99 += wait_percentile_seconds(min(each, connections / hold * limit), connections, hold)
        if spec.calls_bank:
            workers = constants.bank_workers_per_pod
            p99 += state.bank_p99_seconds
            p99 += wait_percentile_seconds(min(each, workers / bank_seconds * limit), workers, bank_seconds)
        if state.capacity > 0:
            p99 += state.backlog / state.capacity
        return min(p99, constants.request_timeout_seconds)

    def _memory_bytes(self) -> float:
        """Average over the ready pods; each keeps the heap of its highest load."""
        spec, constants = self.spec, self.constants
        marks = self.pods.high_water
        loads = sum(marks) / len(marks) / spec.planned_rate_per_pod
        share = constants.idle_memory_share + constants.memory_share_per_planned_load * loads
        return min(share * spec.memory_request_bytes, constants.heap_limit_share * spec.memory_limit_bytes)
