from typing import Any

from cli.status import summarize


def _deployment(
    name: str, *, ready: int, desired: int, conditions: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "api"}},
        "spec": {"replicas": desired, "template": {"spec": {"containers": [{"image": "a:1"}]}}},
        "status": {"readyReplicas": ready, "conditions": conditions or []},
    }


def _scaler(target: str, status: dict[str, Any]) -> dict[str, Any]:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 70}}}
    lag = {"type": "External", "external": {"metric": {"name": "lag"}, "target": {"averageValue": "1k"}}}
    spec = {"scaleTargetRef": {"name": target}, "minReplicas": 3, "maxReplicas": 20, "metrics": [cpu, lag]}
    return {"kind": "HorizontalPodAutoscaler", "metadata": {"name": f"{target}-hpa"}, "spec": spec, "status": status}


def test_deployments_are_joined_with_their_autoscalers_and_sorted() -> None:
    current = [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}},
        {"type": "External", "external": {"metric": {"name": "lag"}, "current": {"averageValue": "250"}}},
    ]
    items = [
        _deployment("b", ready=1, desired=2),
        _deployment("a", ready=3, desired=3),
        _scaler("a", {"currentMetrics": current}),
    ]
    first, second = summarize(items)
    assert (first.name, first.ready, first.desired, first.minimum, first.maximum) == ("a", 3, 3, 3, 20)
    assert first.targets == "cpu 40%/70%, lag 250/1k"
    assert (second.name, second.minimum, second.targets, second.problem) == ("b", None, "", "")


def test_a_metric_that_was_never_read_is_a_question_mark() -> None:
    for status in ({}, {"currentMetrics": [{"type": ""}, {"type": ""}]}):
        (row,) = summarize([_deployment("a", ready=3, desired=3), _scaler("a", status)])
        assert row.targets == "cpu ?/70%, lag ?/1k"


def test_the_reason_of_a_stuck_rollout_comes_before_the_autoscalers() -> None:
    stuck = {"type": "Progressing", "status": "False", "message": "quota exceeded"}
    read = [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}},
        {"type": "External", "external": {"metric": {"name": "lag"}, "current": {"averageValue": "1"}}},
    ]
    inactive = {
        "currentMetrics": read,
        "conditions": [{"type": "ScalingActive", "status": "False", "message": "no metrics"}],
    }
    (row,) = summarize([_deployment("a", ready=0, desired=3, conditions=[stuck]), _scaler("a", inactive)])
    assert row.problem == "quota exceeded"
    (row,) = summarize([_deployment("a", ready=3, desired=3), _scaler("a", inactive)])
    assert row.problem == "no metrics"


def test_an_autoscaler_that_warms_up_names_the_metric_it_waits_for() -> None:
    lag = {"type": "External", "external": {"metric": {"name": "lag"}, "current": {"averageValue": "0"}}}
    long = {"type": "ScalingActive", "status": "False", "message": "the HPA was unable to compute: did not receive"}
    (row,) = summarize(
        [_deployment("a", ready=3, desired=3), _scaler("a", {"currentMetrics": [lag], "conditions": [long]})]
    )
    assert row.problem == "autoscaler has not read cpu yet"
