"""The twin over the real controller's own observations, and where the two differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from planning.twin.hpa import Controller, ControllerFlags, HpaSpec
from planning.twin.observation import ContainerUsage, Observation, Phase, Pod, metric_key, object_key
from tests.sandbox.differential.inputs import INIT_PERIOD_SECONDS, Inputs, PodInput
from tests.sandbox.differential.lockstep import Record
from tests.sandbox.differential.rendered import Manifest, Scaler
from tests.sandbox.differential.scenario import Trace
from tests.sandbox.differential.stage import DOWNSCALE_SECONDS

_CLEARANCE_SECONDS = 0.003
"""The controller looks at the clock several times in a sync; its log gives the time of one of them."""
_POD_CLEARANCE_SECONDS = 0.2
"""It looks at pods while it asks for one metric after the other, before the time that its log gives."""
_LATE_FACTOR = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Sync:
    """What both did at one sync: replicas afterwards, and what the metrics asked for (``None``: nothing)."""

    index: int
    real: int
    twin: int
    real_proposal: int | None
    twin_proposal: int | None
    real_conditions: Mapping[str, tuple[bool, str]]
    twin_conditions: Mapping[str, tuple[bool, str]]

    @property
    def agrees(self) -> bool:
        """Replicas and proposal are the same, and so are the conditions that the real controller wrote."""
        same = (self.real, self.real_proposal) == (self.twin, self.twin_proposal)
        return same and self.real_conditions.items() <= self.twin_conditions.items()


def syncs(trace: Trace, records: Sequence[Record]) -> list[Sync]:
    """Replay the records through the twin."""
    spec = HpaSpec.from_manifest(trace.scaler.hpa, target=trace.scaler.deployment)
    controller = Controller(spec, ControllerFlags(downscale_stabilization_seconds=DOWNSCALE_SECONDS))
    found = []
    for record in records:
        decision = controller.sync(observation_of(trace.scaler, record))
        found.append(
            Sync(
                index=record.index,
                real=record.replicas,
                twin=decision.desired_replicas,
                real_proposal=record.proposed,
                twin_proposal=decision.recommendation,
                real_conditions=record.conditions,
                twin_conditions={kind: (each.status, each.reason) for kind, each in decision.conditions.items()},
            )
        )
    return found


def observation_of(scaler: Scaler, record: Record) -> Observation:
    """Exactly what the real controller was given."""
    inputs = record.inputs
    return Observation(
        now_seconds=record.decided_seconds,
        spec_replicas=inputs.spec_replicas,
        status_replicas=inputs.status_replicas,
        pods=[_pod(pod) for pod in inputs.pods],
        external={key: inputs.external[name] for key, name, kind in _metrics(scaler) if kind == "External"},
        pod_metrics={
            key: None if inputs.pods_metrics_fail else _of_pods(inputs, name)
            for key, name, kind in _metrics(scaler)
            if kind == "Pods"
        },
        object_metrics={key: inputs.objects[name] for key, name, kind in _metrics(scaler) if kind == "Object"},
        resource_metrics_available=not inputs.resources_fail,
    )


def _of_pods(inputs: Inputs, metric: str) -> dict[str, int]:
    return {pod.name: pod.custom[metric] for pod in inputs.pods if metric in pod.custom}


def _metrics(scaler: Scaler) -> Iterator[tuple[str, str, str]]:
    """The twin's key, the trace's name, and the type of each metric that has a name of its own."""
    for metric in scaler.metrics:
        kind = metric["type"]
        source: Manifest = metric.get(kind[0].lower() + kind[1:], {})
        name = str(source.get("metric", {}).get("name", ""))
        labels = source.get("metric", {}).get("selector", {}).get("matchLabels", {})
        if kind == "Object":
            described = source["describedObject"]
            yield object_key(described["kind"], described["name"], name, labels), name, kind
        elif name:
            yield metric_key(name, labels), name, kind


def _pod(pod: PodInput) -> Pod:
    usage = pod.usage
    containers = None
    if usage is not None:
        containers = {
            name: ContainerUsage(cpu_millicores=amounts.get("cpu"), memory_bytes=_bytes(amounts.get("memory")))
            for name, amounts in usage.items()
        }
    return Pod(
        name=pod.name,
        phase=Phase(pod.phase),
        ready=pod.ready,
        ready_transition_seconds=None if pod.ready is None else float(pod.ready_since),
        started_seconds=None if pod.started is None else float(pod.started),
        deleted=pod.terminating,
        listed=pod.listed,
        cpu_millicores=_total(pod, "cpu"),
        memory_bytes=_bytes(_total(pod, "memory")),
        containers=containers,
        sample_seconds=float(pod.sampled),
        window_seconds=float(pod.window_seconds),
    )


def _total(pod: PodInput, resource: str) -> int | None:
    """The pod's usage; a pod of which one container lacks a sample has none."""
    if not pod.usage or any(resource not in amounts for amounts in pod.usage.values()):
        return None
    return sum(amounts[resource] for amounts in pod.usage.values())


def _bytes(milli_units: int | None) -> int | None:
    return None if milli_units is None else milli_units // 1000


def unclear(trace: Trace, records: Sequence[Record]) -> str | None:
    """A change that was, to the millisecond, as old as a window or period: then neither answer is wrong.

    The gate's grid keeps clear of it, unless the machine stalled for half a second at the wrong moment.
    """
    edges = sorted(_edges(trace.scaler))
    for later in records:
        for pod in later.inputs.pods:
            age = later.decided_seconds - (pod.started or 0)
            if -_CLEARANCE_SECONDS <= age - INIT_PERIOD_SECONDS <= _POD_CLEARANCE_SECONDS:
                return f"pod {pod.name} is {INIT_PERIOD_SECONDS} s old at sync {later.index}, more or less"
        for earlier in records[: later.index]:
            youngest = later.decided_seconds - earlier.stored_seconds - _CLEARANCE_SECONDS
            oldest = later.decided_seconds - earlier.decided_seconds + _CLEARANCE_SECONDS
            for edge in edges:
                if youngest <= edge <= oldest:
                    return f"sync {earlier.index} is {edge} s old at sync {later.index}, to the millisecond"
    return None


def follows(trace: Trace, replicas: Sequence[int]) -> bool:
    """Whether the replicas begin with the counts that the trace is meant to lead through."""
    path = [count for count, _ in groupby([trace.start_replicas, *replicas])][1:]
    return tuple(path[: len(trace.path)]) == trace.path


def late(trace: Trace, records: Sequence[Record]) -> str | None:
    """The first sync that missed its place on the grid; then more may have been forgotten than the trace wants."""
    for before, after in pairwise(records):
        gap_seconds = after.decided_seconds - before.decided_seconds
        if gap_seconds > _LATE_FACTOR * trace.grid_seconds:
            return f"sync {after.index} came {gap_seconds:.1f} s after the one before"
    return None


def _edges(scaler: Scaler) -> Iterator[int]:
    """Seconds after which something is forgotten."""
    behaviour = scaler.hpa["spec"].get("behavior")
    if behaviour is None:
        yield DOWNSCALE_SECONDS
        return
    for direction in ("scaleUp", "scaleDown"):
        rules = behaviour.get(direction, {})
        window = rules.get("stabilizationWindowSeconds", DOWNSCALE_SECONDS if direction == "scaleDown" else 0)
        periods = [int(policy["periodSeconds"]) for policy in rules.get("policies", [{"periodSeconds": 15}])]
        yield from (edge for edge in (int(window), *periods) if edge)


def difference(trace: Trace, compared: Sequence[Sync], records: Sequence[Record]) -> str | None:
    """Both sequences and the first sync at which they differ; ``None`` when they never do."""
    wrong = next((sync for sync in compared if not sync.agrees), None)
    if wrong is None:
        return None
    record = records[wrong.index]
    return "\n".join(
        [
            f"{trace.name}: the twin differs from the real controller at sync {wrong.index}",
            f"  real replicas {[sync.real for sync in compared]}",
            f"  twin replicas {[sync.twin for sync in compared]}",
            f"  real proposal {wrong.real_proposal}, twin proposal {wrong.twin_proposal}",
            f"  real conditions {dict(wrong.real_conditions)}, twin conditions {dict(wrong.twin_conditions)}",
            f"  the controller {record.said}: {record.text}",
            f"  it saw {record.inputs}",
            f"  it was answered {[(served.metric, served.status, served.values) for served in record.served]}",
            f"  autoscaler {trace.scaler.hpa['spec']}",
        ]
    )
