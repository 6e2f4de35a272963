"""What an autoscaler sees at one synchronisation: the scale target, its pods, and the three metrics APIs.

Units: seconds of one clock (any zero), milli-units for external, pods and object metrics, millicores and bytes for
pods. ``None`` for a metric means that its API answers with an error; a key that is missing means that nobody serves it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Phase(StrEnum):
    """``status.phase`` of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerUsage:
    """One container's usage in a pod's sample; ``None`` when the resource is missing from it."""

    cpu_millicores: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """One pod under the target's selector, with its sample of the resource metrics API."""

    name: str
    phase: Phase = Phase.RUNNING
    ready: bool | None = True
    """Status of the Ready condition; ``None`` is Unknown (its node is lost)."""
    ready_transition_seconds: float | None = 0.0
    """When the Ready condition last changed; ``None`` when the pod has no such condition."""
    started_seconds: float | None = 0.0
    """``status.startTime``; ``None`` when no kubelet has seen the pod."""
    deleted: bool = False
    """It has a deletion time stamp: it is terminating."""
    listed: bool = True
    """False when the pod is gone but the metrics API still reports its last sample."""
    cpu_millicores: int | None = None
    """Sum over the pod's containers; ``None`` when there is no sample."""
    memory_bytes: int | None = None
    containers: Mapping[str, ContainerUsage] | None = None
    """Usage by container, for ContainerResource metrics; ``None``: the pod has one container, with the pod's usage."""
    sample_seconds: float = 0.0
    """Time stamp of the sample (end of its window)."""
    window_seconds: float = 60.0


@dataclass(kw_only=True, slots=True)
class UniformPods:
    """The quick form of a target's pods: how many are in each state, when all in one state are alike.

    It may be changed in place from one synchronisation to the next. ``expand`` gives the same pods one by one.
    """

    ready: int = 0
    """Running, Ready, with a sample that counts for cpu (older than the initialisation period, or sampled since)."""
    settling: int = 0
    """Running, Ready, within the cpu initialisation period, and no whole sample since they became ready."""
    starting: int = 0
    """Running, not Ready yet, with a sample."""
    unsampled: int = 0
    """Running, not Ready yet, and no sample yet."""
    pending: int = 0
    terminating: int = 0
    """Deleted, still Running; they are Ready when ``terminating_ready``."""
    terminating_ready: bool = True
    cpu_millicores: int = 0
    """Per pod of ``ready``. What the others use does not count."""
    memory_bytes: int = 0
    """Per pod of ``ready``, ``settling`` and ``starting`` (memory and pods metrics do not wait for readiness)."""
    containers: Mapping[str, ContainerUsage] | None = None
    """As ``Pod.containers``, the same for every pod."""

    def expand(self, now_seconds: float) -> list[Pod]:
        """The same pods one by one, at a time, for the default initialisation period of 300 s."""
        old, new = now_seconds - 86400.0, now_seconds - 20.0
        sampled = Pod(
            name="ready",
            started_seconds=old,
            ready_transition_seconds=old + 20.0,
            cpu_millicores=self.cpu_millicores,
            memory_bytes=self.memory_bytes,
            containers=self.containers,
            sample_seconds=now_seconds,
        )
        unsampled = Pod(name="unsampled", ready=False, started_seconds=new, ready_transition_seconds=new)
        kinds = (
            (sampled, self.ready),
            (
                replace(sampled, name="settling", started_seconds=new - 20.0, ready_transition_seconds=new),
                self.settling,
            ),
            (
                replace(sampled, name="starting", ready=False, started_seconds=new, ready_transition_seconds=new),
                self.starting,
            ),
            (unsampled, self.unsampled),
            (
                replace(unsampled, name="pending", phase=Phase.PENDING, started_seconds=None),
                self.pending,
            ),
            (replace(sampled, name="terminating", deleted=True, ready=self.terminating_ready), self.terminating),
        )
        return [replace(pod, name=f"{pod.name}-{index}") for pod, count in kinds for index in range(count)]


def metric_key(name: str, match_labels: Mapping[str, str] | None = None) -> str:
    """The name under which an observation carries an external or pods metric: ``lag{group=payments,topic=events}``."""
    if not match_labels:
        return name
    return f"{name}{{{','.join(f'{label}={match_labels[label]}' for label in sorted(match_labels))}}}"


def object_key(kind: str, object_name: str, name: str, match_labels: Mapping[str, str] | None = None) -> str:
    """The name under which an observation carries an object metric: ``Service/payment-service-svc/requests``."""
    return f"{kind}/{object_name}/{metric_key(name, match_labels)}"


@dataclass(kw_only=True, slots=True)
class Observation:
    """Everything one synchronisation reads. It may be changed in place and handed in again."""

    now_seconds: float
    spec_replicas: int
    """``spec.replicas`` of the target: what was last asked for."""
    status_replicas: int
    """``status.replicas`` of the target: pods that exist, surge included, terminating ones not."""
    pods: Sequence[Pod] | UniformPods = field(default_factory=UniformPods)
    external: Mapping[str, Sequence[int] | None] = field(default_factory=dict)
    """By ``metric_key``: every value that the external metrics API returns, in milli-units."""
    pod_metrics: Mapping[str, Mapping[str, int] | int | None] = field(default_factory=dict)
    """By ``metric_key``: milli-units by pod name, or one number for every pod that has a resource sample too."""
    object_metrics: Mapping[str, int | None] = field(default_factory=dict)
    """By ``object_key``, in milli-units."""
    resource_metrics_available: bool = True
    """False when the resource metrics API answers with an error."""
