"""What the autoscalers would read: record name and labels → a value of the simulated plant."""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from planning.twin.plant_api import Api
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerGroup, ConsumerSpec
from planning.twin.plant_stack import Workload
from settings.signals import (
    BREAKER_HOLD,
    BUSIEST_CONSUMER_USE_PERCENT,
    CONSUMER_LAG,
    CONSUMER_RATE_FLOOR,
    LATENCY_RATIOS,
    POOL_RATIO,
)
from settings.signals import LatencySource as Source

Found = TypeVar("Found")
Read = Callable[[], float]
"""The value now; each call is cheap."""
_SELECTOR = re.compile(r'\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{\s*((?:[a-z_]+\s*=\s*"[^"]*"\s*,?\s*)*)\})?\s*')
_LABEL = re.compile(r'([a-z_]+)\s*=\s*"([^"]*)"')


class SignalError(ValueError):
    """An autoscaler asks for a signal that the plant does not have; the message lists those that it has."""


class MovingMean:
    """Mean of the last values; what ``rate(…[window])`` reads of a counter."""

    __slots__ = ("_length", "_total", "_values")

    def __init__(self, window_seconds: int, step_seconds: int) -> None:
        self._length = max(1, window_seconds // step_seconds)
        self._values: deque[float] = deque()
        self._total = 0.0

    def add(self, value: float) -> None:
        """Take the value of one step."""
        self._values.append(value)
        self._total += value
        if len(self._values) > self._length:
            self._total -= self._values.popleft()

    def mean(self) -> float:
        """0 before the first value."""
        return self._total / len(self._values) if self._values else 0.0

    def highest(self) -> float:
        """0 before the first value."""
        return max(self._values, default=0.0)


@dataclass(slots=True)
class ApiHistory:
    """Windows over one API's last steps."""

    arrivals: MovingMean
    calls: MovingMean
    refused: MovingMean
    cpu: MovingMean
    p99: MovingMean
    bank_p99: MovingMean

    @classmethod
    def empty(cls, constants: PlantConstants, step_seconds: int) -> "ApiHistory":
        """Windows as the recording rules and the metrics server have them."""

        def window(seconds: int) -> MovingMean:
            return MovingMean(seconds, step_seconds)

        rate = constants.rate_window_seconds
        return cls(
            arrivals=window(rate), calls=window(rate), refused=window(rate), cpu=window(constants.cpu_window_seconds),
            p99=window(rate), bank_p99=window(rate),
        )  # fmt: skip

    def add(self, api: Api) -> None:
        """Take the values of the API's last step."""
        state = api.state
        self.arrivals.add(state.rate)
        self.calls.add(state.calls)
        self.refused.add(state.rate * state.refused_share)
        self.cpu.add(state.cpu_cores_per_pod)
        self.p99.add(state.p99_seconds)
        self.bank_p99.add(state.bank_p99_seconds)


@dataclass(slots=True)
class Signals:
    """Every recorded signal of the simulated workloads."""

    apis: dict[str, tuple[Workload, Api, ApiHistory]] = field(default_factory=dict)
    """Service name → its API."""
    groups: dict[str, tuple[ConsumerGroup, MovingMean]] = field(default_factory=dict)
    """Consumer group → the group and the window over its input rate."""

    def record(self) -> None:
        """Take the values of the last step into the windows."""
        for _, api, history in self.apis.values():
            history.add(api)
        for group, rate in self.groups.values():
            rate.add(group.rate)

    def reader(self, name: str, labels: Mapping[str, str]) -> Read:
        """How to read one signal. Raises ``SignalError`` for an unknown one."""
        if name in {CONSUMER_LAG, CONSUMER_RATE_FLOOR}:
            return self._of_group(name, self._chosen(self.groups, "consumergroup", name, labels))
        makers = _API_READERS
        if name not in makers:
            known = ", ".join(sorted([CONSUMER_LAG, CONSUMER_RATE_FLOOR, *makers]))
            message = f"signal '{name}': the twin does not know how it behaves; known are {known}"
            raise SignalError(message)
        return makers[name](name, *self._chosen(self.apis, "service", name, labels))

    def lags_of(self, group: str, topic: str) -> Callable[[], Sequence[float]]:
        """How to read the lag of each partition, for scalers that ask Kafka themselves. Raises ``SignalError``."""
        members, _ = self._chosen(self.groups, "consumergroup", CONSUMER_LAG, {"consumergroup": group})
        if members.spec.topic != topic:
            message = f"group '{group}' reads {members.spec.topic}, not '{topic}'"
            raise SignalError(message)
        return members.lag_by_partition

    @staticmethod
    def _chosen(known: Mapping[str, Found], key: str, name: str, labels: Mapping[str, str]) -> Found:
        value = labels.get(key)
        if value is None or value not in known:
            asked = ", ".join(f"{label}={value}" for label, value in labels.items()) or "no labels"
            message = f"signal '{name}' with {asked}: {key} must be one of {', '.join(sorted(known))}"
            raise SignalError(message)
        return known[value]

    @staticmethod
    def _of_group(name: str, found: tuple[ConsumerGroup, MovingMean]) -> Read:
        group, rate = found
        if name == CONSUMER_LAG:
            return lambda: group.lag
        spec = group.spec
        return lambda: _rate_floor(spec, rate.mean())


def _rate_floor(spec: ConsumerSpec, rate: float) -> float:
    """The recorded floor: consumers for the rate at the planned use, and for whole partitions, times T."""
    if rate <= 0:
        return 0.0
    even = rate / (spec.messages_per_second * spec.rate_floor_share)
    of_one: int = int(spec.partitions * spec.messages_per_second * BUSIEST_CONSUMER_USE_PERCENT / 100 / rate)
    return spec.add_above_lag * max(even, spec.partitions / max(of_one, 1))


def parse_selector(query: str) -> tuple[str, dict[str, str]]:
    """Metric name and labels of a PromQL selector. Raises ``SignalError`` for any other PromQL."""
    found = _SELECTOR.fullmatch(query)
    if found is None:
        message = f"query '{query}': the twin reads recorded signals only, for example http_latency_ratio{{service=…}}"
        raise SignalError(message)
    return found.group(1), dict(_LABEL.findall(found.group(2) or ""))


Maker = Callable[[str, Workload, Api, ApiHistory], Read]


def _arrivals(_name: str, _workload: Workload, _api: Api, history: ApiHistory) -> Read:
    return history.arrivals.mean


def _calls(_name: str, _workload: Workload, _api: Api, history: ApiHistory) -> Read:
    return history.calls.mean


def _backlog(_name: str, _workload: Workload, api: Api, _history: ApiHistory) -> Read:
    state = api.state
    return lambda: state.backlog


def _latency(name: str, workload: Workload, _api: Api, history: ApiHistory) -> Read:
    objective, cap = _ratio(name, workload)
    return lambda: min(history.p99.highest() / objective, cap)


def _bank_latency(name: str, workload: Workload, _api: Api, history: ApiHistory) -> Read:
    objective, cap = _ratio(name, workload)
    return lambda: min(history.bank_p99.highest() / objective, cap)


def _pool(name: str, workload: Workload, api: Api, _history: ApiHistory) -> Read:
    allowed, cap = _ratio(name, workload)
    state = api.state
    return lambda: min(state.pool_use / allowed, cap)


def _hold(name: str, workload: Workload, _api: Api, history: ApiHistory) -> Read:
    allowed, _ = _ratio(name, workload)
    return lambda: 1.0 if history.refused.mean() > allowed * history.arrivals.mean() else 0.0


def _ratio(name: str, workload: Workload) -> tuple[float, float]:
    if name not in workload.ratio_objectives:
        message = f"signal '{name}': the settings of {workload.name} have no trigger that records it"
        raise SignalError(message)
    return workload.ratio_objectives[name], workload.ratio_caps[name]


_API_READERS: dict[str, Maker] = {
    "http_requests_per_second": _arrivals,
    "wallet_operations_per_second": _arrivals,
    "external_calls_per_second": _calls,
    "payment_queue_messages": _backlog,
    LATENCY_RATIOS[Source.HTTP]: _latency,
    LATENCY_RATIOS[Source.EXTERNAL]: _bank_latency,
    POOL_RATIO: _pool,
    BREAKER_HOLD: _hold,
}
