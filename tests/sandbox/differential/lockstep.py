"""One trace against the real controller, sync by sync: inputs in place, one sync let through, its outcome written down.

The test is the Deployment controller and the kubelets. A sync waits at the gate before it has read anything; so all
that it reads was written before, and its time is chosen: on a grid whose multiples keep clear of every window and
period, so that it never matters whether a change is a millisecond older or younger than a period.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.metric_documents import timestamp
from tests.sandbox.differential.controller_log import ENDS, Line, Said
from tests.sandbox.differential.gate import Turnstile
from tests.sandbox.differential.inputs import Inputs, PodInput
from tests.sandbox.differential.rendered import Manifest
from tests.sandbox.differential.replay import Served
from tests.sandbox.differential.scenario import Situation, Trace
from tests.sandbox.differential.stage import Stage

_ARRIVAL_TIMEOUT_SECONDS = 120
_SETTLE_SECONDS = 0.25
"""From the last change of a pod to the sync that counts it: the controller learns of pods by a watch."""
_NODE = "played-by-the-test"
_GRACE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One sync of the real controller."""

    index: int
    inputs: Inputs
    decided_seconds: float
    """Unix time at which windows and periods were looked at."""
    stored_seconds: float
    """Unix time at which a change of the scale was remembered; the same when there was none."""
    said: Said
    proposed: int | None
    """What the metrics asked for; ``None`` when they were not asked or failed."""
    replicas: int
    """The scale afterwards."""
    conditions: Mapping[str, tuple[bool, str]]
    """Condition → status and reason, as this sync wrote them; empty when it found nothing to change."""
    served: tuple[Served, ...]
    text: str


@dataclass(slots=True)
class _Player:
    """Writes what changes from one sync to the next."""

    stage: Stage
    namespace: str
    trace: Trace
    pods: dict[str, PodInput] = field(default_factory=dict)
    status_replicas: int | None = None
    touched_seconds: float = 0.0

    @property
    def deployment(self) -> str:
        name = self.trace.scaler.deployment["metadata"]["name"]
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"

    @property
    def autoscaler(self) -> str:
        name = self.trace.scaler.hpa["metadata"]["name"]
        return f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{name}"

    def set_the_scene(self) -> None:
        api, scaler = self.stage.api, self.trace.scaler
        api.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        # Pods need an account; nobody else makes one here.
        api.create(f"/api/v1/namespaces/{self.namespace}/serviceaccounts", {"metadata": {"name": "default"}})
        deployment = _moved(scaler.deployment, self.namespace)
        deployment["spec"] = {**deployment["spec"], "replicas": self.trace.start_replicas}
        api.create(self.deployment.rpartition("/")[0], deployment)

    def play(self, inputs: Inputs, spec_replicas: int) -> None:
        """Everything that the next sync reads."""
        api = self.stage.api
        self.stage.replay.show(self.namespace, inputs)
        if inputs.spec_replicas != spec_replicas:
            api.merge(f"{self.deployment}/scale", {"spec": {"replicas": inputs.spec_replicas}})
        if inputs.status_replicas != self.status_replicas:
            api.merge(f"{self.deployment}/status", {"status": {"replicas": inputs.status_replicas}})
            self.status_replicas = inputs.status_replicas
        wanted = {pod.name: pod for pod in inputs.pods if pod.listed}
        for name in self.pods.keys() - wanted.keys():
            self._remove(name)
        for pod in wanted.values():
            self._ensure(pod)

    def _ensure(self, pod: PodInput) -> None:
        known = self.pods.get(pod.name)
        if known is not None and _life(known) == _life(pod):
            return
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        if known is not None and (known.terminating or known.phase in ("Failed", "Succeeded")):
            self._remove(pod.name)
            known = None
        if known is None:
            self.stage.api.create(path, _pod(self.trace, pod.name))
        self.stage.api.merge(f"{path}/{pod.name}/status", {"status": _status(pod)})
        if pod.terminating:
            self.stage.api.delete(f"{path}/{pod.name}", grace_seconds=_GRACE_SECONDS)
        self.pods[pod.name] = pod
        self.touched_seconds = time.monotonic()

    def _remove(self, name: str) -> None:
        self.stage.api.delete(f"/api/v1/namespaces/{self.namespace}/pods/{name}", grace_seconds=0)
        self.pods.pop(name, None)
        self.touched_seconds = time.monotonic()

    def leave(self) -> None:
        """Nothing of the trace goes on; its objects stay until the API server ends."""
        self.stage.api.delete(self.autoscaler)
        self.stage.api.delete(f"/api/v1/namespaces/{self.namespace}/pods", grace_seconds=0)


def run(stage: Stage, trace: Trace, namespace: str) -> list[Record]:
    """Replay a trace in a namespace of its own."""
    player = _Player(stage=stage, namespace=namespace, trace=trace)
    player.set_the_scene()
    epoch, spec, started, slot = int(time.time()), trace.start_replicas, 0.0, -1
    records: list[Record] = []
    with stage.gate.turnstile(namespace) as turnstile:
        hpas = player.autoscaler.rpartition("/")[0]
        stage.api.create(hpas, _moved(trace.scaler.hpa, namespace))
        _await(turnstile, trace)
        try:
            for index in range(trace.syncs):
                now = int(time.time())
                inputs = trace.plan(Situation(index=index, spec_replicas=spec, epoch=epoch, now=now))
                player.play(inputs, spec)
                earliest = max(time.monotonic(), player.touched_seconds + _SETTLE_SECONDS)
                started = started or earliest
                slot = max(slot + 1, math.ceil((earliest - started) / trace.grid_seconds))
                time.sleep(max(0.0, started + slot * trace.grid_seconds - time.monotonic()))
                stage.log.take(namespace)
                stage.replay.take(namespace)
                stage.gate.take_status(namespace)
                turnstile.release()
                lines = _through(stage, turnstile, trace, namespace)
                spec = int(stage.api.get(player.deployment)["spec"]["replicas"])
                status = stage.gate.take_status(namespace) or {}
                records.append(
                    _record(index, inputs, lines, spec=spec, status=status, served=stage.replay.take(namespace))
                )
        finally:
            player.leave()
    return records


def _through(stage: Stage, turnstile: Turnstile, trace: Trace, namespace: str) -> list[Line]:
    """Wait until the sync is over: the next one stands at the gate."""
    lines: list[Line] = []
    while True:
        _await(turnstile, trace)
        lines += stage.log.take(namespace)
        if any(line.said in ENDS for line in lines):
            return lines
        turnstile.release()  # the same sync reads the scale again, after a conflict


def _await(turnstile: Turnstile, trace: Trace) -> None:
    if not turnstile.await_arrival(_ARRIVAL_TIMEOUT_SECONDS):
        message = f"{trace.name}: the controller did not come back within {_ARRIVAL_TIMEOUT_SECONDS} s"
        raise AssertionError(message)


def _record(
    index: int, inputs: Inputs, lines: list[Line], *, spec: int, status: dict[str, Any], served: list[Served]
) -> Record:
    ends = [line for line in lines if line.said in ENDS]
    assert len(ends) == 1, f"sync {index} ended {len(ends)} times: {lines}"
    proposals = [line for line in lines if line.said is Said.PROPOSED]
    decided = proposals[0] if proposals else ends[0]
    return Record(
        index=index,
        inputs=inputs,
        decided_seconds=decided.at_seconds,
        stored_seconds=ends[0].at_seconds,
        said=ends[0].said,
        proposed=proposals[0].replicas if proposals else None,
        replicas=spec,
        conditions=_set_now(ends[0].said, inputs, status, proposed=bool(proposals)),
        served=tuple(served),
        text=ends[0].text,
    )


def _set_now(said: Said, inputs: Inputs, status: dict[str, Any], *, proposed: bool) -> dict[str, tuple[bool, str]]:
    """The conditions that this sync set; the others are as old as the controller's copy of the autoscaler."""
    kinds = {"AbleToScale"}
    if proposed or said is Said.FAILED or inputs.spec_replicas == 0:
        kinds.add("ScalingActive")
    if proposed:
        kinds.add("ScalingLimited")
    return {
        each["type"]: (each["status"] == "True", each["reason"])
        for each in status.get("conditions", [])
        if each["type"] in kinds
    }


def _moved(manifest: Manifest, namespace: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _pod(trace: Trace, name: str) -> dict[str, Any]:
    spec = trace.scaler.deployment["spec"]["template"]["spec"]
    lasting = [each for each in spec.get("initContainers", []) if each.get("restartPolicy") == "Always"]
    return {
        "metadata": {"name": name, "labels": dict(trace.scaler.labels)},
        "spec": {
            "nodeName": _NODE,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "initContainers": [{**_bare(each), "restartPolicy": "Always"} for each in lasting],
            "containers": [_bare(each) for each in spec["containers"]],
        },
    }


def _bare(container: dict[str, Any]) -> dict[str, Any]:
    """What the autoscaler looks at: the name and the requests."""
    return {key: container[key] for key in ("name", "image", "resources") if key in container}


def _status(pod: PodInput) -> dict[str, Any]:
    conditions = []
    if pod.ready is not None:
        since = timestamp(datetime.fromtimestamp(pod.ready_since, UTC))
        conditions = [{"type": "Ready", "status": str(pod.ready), "lastTransitionTime": since}]
    started = None if pod.started is None else timestamp(datetime.fromtimestamp(pod.started, UTC))
    return {"phase": pod.phase, "startTime": started, "conditions": conditions}


def _life(pod: PodInput) -> tuple[object, ...]:
    """What the API server knows of a pod."""
    return (pod.phase, pod.ready, pod.ready_since, pod.started, pod.terminating)
