"""One Deployment's autoscaler in the loop: the plant as the controllers see it, their answer as replicas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from planning.twin.hpa import Controller, HpaSpec, Observation, UniformPods, metric_key
from planning.twin.plant_api import Api
from planning.twin.plant_consumers import ConsumerGroup
from planning.twin.plant_pods import Pods
from planning.twin.plant_stack import Workload
from planning.twin.signals import Read, Signals


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

    def read(self, now_seconds: float, *, metrics_down: bool) -> Mapping[str, list[int] | None]:  # noqa: ARG002
        """Every signal now; an adapter rounds to milli-units."""
        if metrics_down:
            return self._gone
        return {key: [round(reader() * 1000)] for key, reader in self._readers.items()}


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
    hpa = workload.scaler
    source: Source = RecordedMetrics(hpa, signals)
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
