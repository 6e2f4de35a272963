"""One Deployment's autoscaler in the loop: the plant as the controllers see it, their answer as replicas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planning.twin.hpa import Controller, HpaSpec, Observation, UniformPods, metric_key
from planning.twin.kafka_scaler import KafkaTrigger
from planning.twin.keda import KafkaLag, ScaledObject, Sources, State, hpa_from_scaled_object, metric_values
from planning.twin.plant_api import Api
from planning.twin.plant_consumers import ConsumerGroup
from planning.twin.plant_pods import Pods
from planning.twin.plant_stack import Workload
from planning.twin.scaled_object import PrometheusTrigger
from planning.twin.signals import Read, SignalError, Signals, parse_selector


class Source(Protocol):
    """Where the external metrics of one autoscaler come from."""

    def read(self, now_seconds: float, *, metrics_down: bool) -> Mapping[str, list[int] | None]:
        """Values by ``metric_key`` in milli-units; ``None`` for an error."""


class RecordedMetrics:
    """An adapter that serves recorded signals by name and labels; gone with Prometheus."""

    def __init__(self, hpa: Mapping[str, Any], signals: Signals) -> None:
        self._readers: dict[str, Read] = {}
        for metric in hpa["spec"].get("metrics", ()):
            if metric["type"] == "External":
                identifier = metric["external"]["metric"]
                labels = (identifier.get("selector") or {}).get("matchLabels") or {}
                reader = signals.reader(identifier["name"], labels)
                self._readers[metric_key(identifier["name"], labels)] = reader
        self._gone: dict[str, list[int] | None] = dict.fromkeys(self._readers)

    def read(self, now_seconds: float, *, metrics_down: bool) -> Mapping[str, list[int] | None]:  # noqa: ARG002 # KEDA's needs the time
        """Every signal now; an adapter rounds to milli-units."""
        if metrics_down:
            return self._gone
        return {key: [round(reader() * 1000)] for key, reader in self._readers.items()}


class KedaMetrics:
    """KEDA's adapter: it reads Kafka and counts pods itself, and asks Prometheus for the recorded signals."""

    def __init__(self, workload: Workload, pods: Pods, signals: Signals) -> None:
        self._spec = ScaledObject.from_manifest(workload.scaler)
        self._state, self._pods = State(), pods
        self._lags: dict[str, Callable[[], Sequence[float]]] = {}
        self._queries: dict[str, Read] = {}
        self._selectors: list[str] = []
        for trigger in self._spec.external:
            source = trigger.source
            if isinstance(source, KafkaTrigger):
                self._lags[source.source] = signals.lags_of(source.group, source.topic)
            elif isinstance(source, PrometheusTrigger):
                self._queries[source.query] = signals.reader(*parse_selector(source.query))
            else:
                self._selectors.append(_own_selector(workload, source.pod_selector))
        self._sources = Sources(now_seconds=0.0, spec_replicas=0)
        self._gone: dict[str, Sequence[float] | None] = dict.fromkeys(self._queries)

    def read(self, now_seconds: float, *, metrics_down: bool) -> Mapping[str, list[int] | None]:
        """What the HPA controller gets, after KEDA's cache, caps, formula and fallback."""
        sources, pods = self._sources, self._pods
        sources.now_seconds = now_seconds
        sources.spec_replicas, sources.ready_replicas = pods.replicas, pods.ready
        sources.kafka = {name: _kafka_lag(read()) for name, read in self._lags.items()}
        sources.prometheus = self._gone if metrics_down else {query: (read(),) for query, read in self._queries.items()}
        sources.pods = dict.fromkeys(self._selectors, pods.status_replicas + len(pods.leaving))
        return metric_values(self._spec, sources, self._state)


def _kafka_lag(partitions: Sequence[float]) -> KafkaLag:
    """Whole messages, as offsets are."""
    whole = [round(lag) for lag in partitions]
    return KafkaLag(total=sum(whole), partitions=len(whole), partitions_with_lag=sum(lag > 0 for lag in whole))


def _own_selector(workload: Workload, selector: str) -> str:
    labels = workload.deployment["spec"]["template"]["metadata"]["labels"]
    wanted = dict(part.split("=", 1) for part in selector.split(",") if "=" in part)
    if not wanted or wanted.items() - labels.items():
        message = f"{workload.name}: podSelector '{selector}' does not choose the pods of its own Deployment"
        raise SignalError(message)
    return selector


@dataclass(slots=True)
class Scaler:
    """The HPA controller for one workload."""

    controller: Controller
    max_replicas: int
    source: Source
    pods: Pods
    plant: Api | ConsumerGroup
    observation: Observation
    seen: UniformPods

    def set_limits(self, *, lowest: int, highest: int) -> None:
        """Another minimum and maximum from the next synchronisation on."""
        self.controller.set_limits(lowest=lowest, highest=highest)
        self.max_replicas = highest

    def decide(self, now_seconds: float, *, metrics_down: bool) -> tuple[int, bool]:
        """``spec.replicas`` after this synchronisation, and whether the metrics ask for more than the maximum."""
        pods, seen, observation = self.pods, self.seen, self.observation
        seen.settling = len(pods.settling)
        seen.ready = pods.ready - seen.settling
        seen.starting = len(pods.starting)
        seen.terminating = len(pods.leaving)
        if isinstance(self.plant, Api):
            state = self.plant.state
            seen.cpu_millicores = round(state.cpu_cores_per_pod * 1000)
            seen.memory_bytes = round(state.memory_bytes_per_pod)
        observation.now_seconds = now_seconds
        observation.spec_replicas = pods.replicas
        observation.status_replicas = pods.status_replicas
        observation.external = self.source.read(now_seconds, metrics_down=metrics_down)
        decision = self.controller.sync(observation)
        wanted = decision.recommendation
        return decision.desired_replicas, wanted is not None and wanted > self.max_replicas


def make_scaler(workload: Workload, pods: Pods, plant: Api | ConsumerGroup, signals: Signals) -> Scaler:
    """The controller for a workload's rendered scaler. Raises what the controllers raise for a manifest of theirs."""
    source: Source
    if workload.scaler["kind"] == "ScaledObject":
        hpa: Mapping[str, Any] = hpa_from_scaled_object(workload.scaler, workload.deployment)
        source = KedaMetrics(workload, pods, signals)
    else:
        hpa = workload.scaler
        source = RecordedMetrics(hpa, signals)
    spec = HpaSpec.from_manifest(hpa, target=workload.deployment)
    seen = UniformPods(terminating_ready=False)
    return Scaler(
        controller=Controller(spec),
        max_replicas=workload.max_replicas,
        source=source,
        pods=pods,
        plant=plant,
        observation=Observation(now_seconds=0.0, spec_replicas=0, status_replicas=0, pods=seen),
        seen=seen,
    )
