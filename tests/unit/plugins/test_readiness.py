"""When an object is ready, by kind and by annotation, and what is said while it is not."""

from typing import Any

import pytest

from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.readiness import READY, SKIP_AWAIT, TIMEOUT, WAIT_FOR, check_for, timeout_seconds
from sandbox.plugins.kubernetes.reasons import event_reasons, pod_reasons


def judge(api_version: str, kind: str, annotations: dict[str, Any] | None = None, **parts: Any) -> Any:
    live = {"apiVersion": api_version, "kind": kind, "metadata": {"generation": 2}, **parts}
    check = check_for(live, annotations or {})
    assert check is not None
    return check(live)


def deployment(condition: dict[str, Any] | None = None, **status: Any) -> Any:
    conditions = [condition] if condition else []
    full = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, **status}
    return judge("apps/v1", "Deployment", spec={"replicas": 3}, status={**full, "conditions": conditions})


def test_a_deployment_is_ready_when_all_replicas_are_new_and_available() -> None:
    assert deployment().ready


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"observedGeneration": 1}, "has not looked at generation 2"),
        ({"updatedReplicas": 2}, "2 of 3 replicas have the new version"),
        ({"replicas": 4}, "1 replicas of an older version"),
        ({"availableReplicas": 2}, "2 of 3 replicas are available"),
    ],
)
def test_a_deployment_says_what_is_missing(status: dict[str, Any], says: str) -> None:
    answer = deployment(**status)
    assert not answer.ready
    assert not answer.failed
    assert says in answer.message


def test_a_deployment_past_its_deadline_has_failed() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "took too long"}
    answer = deployment(late, availableReplicas=0)
    assert answer.failed
    assert "took too long" in answer.message


def test_pods_that_cannot_be_created_are_the_message() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota exceeded"}
    assert "quota exceeded" in deployment(refused, availableReplicas=0).message


def test_a_paused_deployment_has_nothing_to_wait_for() -> None:
    assert judge("apps/v1", "Deployment", spec={"paused": True, "replicas": 3}, status={}).ready


def test_a_stateful_set_waits_for_replicas_beyond_its_partition() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    status = {"observedGeneration": 2, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}
    spec = {"replicas": 3, "updateStrategy": strategy}
    assert judge("apps/v1", "StatefulSet", spec=spec, status={**status, "updatedReplicas": 1}).ready
    assert not judge("apps/v1", "StatefulSet", spec=spec, status={**status, "updatedReplicas": 0}).ready
    assert not judge("apps/v1", "StatefulSet", spec=spec, status={**status, "readyReplicas": 2}).ready


def test_a_daemon_set_waits_for_every_node() -> None:
    status = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3}
    assert judge("apps/v1", "DaemonSet", spec={}, status={**status, "numberAvailable": 3}).ready
    assert not judge("apps/v1", "DaemonSet", spec={}, status={**status, "numberAvailable": 2}).ready


def test_a_job_completes_fails_or_is_suspended() -> None:
    def job(spec: dict[str, Any] | None = None, **condition: str) -> Any:
        return judge("batch/v1", "Job", spec=spec or {}, status={"conditions": [condition] if condition else []})

    assert job(type="Complete", status="True").ready
    assert job({"suspend": True}).ready
    assert not job().ready
    failed = job(type="Failed", status="True", reason="BackoffLimitExceeded", message="no more tries")
    assert failed.failed
    assert "no more tries" in failed.message


def test_other_kinds() -> None:
    assert judge("v1", "Service", spec={"type": "ClusterIP"}).ready
    assert not judge("v1", "Service", spec={"type": "LoadBalancer"}).ready
    assert judge("v1", "PersistentVolumeClaim", status={"phase": "Bound"}).ready
    assert judge("v1", "PersistentVolumeClaim", status={"phase": "Lost"}).failed
    assert judge("v1", "Pod", status={"phase": "Succeeded"}).ready
    assert judge("v1", "Pod", status={"phase": "Failed"}).failed
    assert not judge("v1", "Namespace", status={"phase": "Terminating"}).ready
    assert check_for({"apiVersion": "v1", "kind": "ConfigMap"}, {}) is None


def test_a_kind_of_another_group_with_the_same_name_is_not_awaited() -> None:
    assert check_for({"apiVersion": "serving.test/v1", "kind": "Service"}, {}) is None


def test_awaiting_can_be_skipped() -> None:
    assert check_for({"apiVersion": "apps/v1", "kind": "Deployment"}, {SKIP_AWAIT: "true"}) is None


@pytest.mark.parametrize(
    ("expression", "ready"),
    [
        ("condition=Ready", True),
        ("condition=Ready=true", True),
        ("condition=Ready=False", False),
        ("condition=Other", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.phase}=Stopped", False),
        ("jsonpath={.status.hosts[0].port}=80", True),
        ('["condition=Ready", "jsonpath={.status.phase}=Running"]', True),
        ('["condition=Ready", "jsonpath={.status.phase}=Stopped"]', False),
    ],
)
def test_what_to_wait_for_can_be_said(expression: str, *, ready: bool) -> None:
    status = {"phase": "Running", "hosts": [{"port": 80}], "conditions": [{"type": "Ready", "status": "True"}]}
    assert judge("test/v1", "Thing", {WAIT_FOR: expression}, status=status).ready is ready


def test_a_condition_of_an_older_generation_does_not_count() -> None:
    conditions = [{"type": "Ready", "status": "True", "observedGeneration": 1}]
    assert not judge("test/v1", "Thing", {WAIT_FOR: "condition=Ready"}, status={"conditions": conditions}).ready


@pytest.mark.parametrize("expression", ["ready", "[nonsense", "condition"])
def test_what_cannot_be_understood_is_refused(expression: str) -> None:
    with pytest.raises(ProviderError, match="waitFor"):
        judge("test/v1", "Thing", {WAIT_FOR: expression})


def test_timeouts_come_from_the_engine_then_the_annotation_then_the_default() -> None:
    assert timeout_seconds(5, {TIMEOUT: "7"}) == 5
    assert timeout_seconds(0, {TIMEOUT: "7"}) == 7
    assert timeout_seconds(0, {}) == 600
    with pytest.raises(ProviderError, match="number of seconds"):
        timeout_seconds(0, {TIMEOUT: "soon"})


def test_reasons_of_pods_are_grouped() -> None:
    waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pods = [{"metadata": {"name": f"p{n}"}, "status": {"containerStatuses": [waiting]}} for n in range(3)]
    assert pod_reasons(pods) == ["pod p0: container app ImagePullBackOff: no such image (and 2 more pods)"]


def test_a_pod_that_cannot_be_placed_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert pod_reasons([{"metadata": {"name": "p"}, "status": {"conditions": [condition]}}]) == [
        "pod p: Unschedulable: 0/3 nodes"
    ]


def test_events_of_others_are_not_reasons() -> None:
    def event(name: str, message: str, at: str) -> dict[str, Any]:
        return {"involvedObject": {"name": name, "kind": "Pod"}, "message": message, "lastTimestamp": at}

    events = [event("web-1", "old", "2026-01-01"), event("web-1", "new", "2026-01-02"), event("other", "no", "2026")]
    assert event_reasons(events, {"web"}, "web-") == ["pod: new", "pod: old"]


def test_ready_has_nothing_to_say() -> None:
    assert READY.message == ""
