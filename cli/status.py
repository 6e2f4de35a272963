"""What runs, read from the API server: Deployments with their replicas and what their autoscalers see."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sandbox.errors import SandboxError

_KUBECTL_TIMEOUT_SECONDS = 20
_UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadStatus:
    """One Deployment as the API server reports it."""

    name: str
    role: str
    ready: int
    desired: int
    image: str
    minimum: int | None
    maximum: int | None
    targets: str
    """Current and target value of each metric: ``cpu 40%/70%, kafka_consumer_lag 0/1000``."""
    problem: str
    """Why it is not as it should be; empty when it is."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return asdict(self)


def read_workloads(kubectl: Path, kubeconfig: str | None, context: str, namespace: str) -> list[WorkloadStatus]:
    """Ask the cluster. Raises ``SandboxError`` with kubectl's own words when it does not answer."""
    command = [str(kubectl), "--context", context, "--namespace", namespace, "--request-timeout", "10s"]
    if kubeconfig is not None:
        command += ["--kubeconfig", kubeconfig]
    answer = subprocess.run(
        [*command, "get", "deployments.apps,horizontalpodautoscalers.v2.autoscaling", "--output", "json"],
        capture_output=True,
        text=True,
        timeout=_KUBECTL_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode != 0:
        raise SandboxError(
            f"the cluster of context {context} does not answer: {answer.stderr.strip()}",
            next_step="payctl up brings up the sandbox; for another cluster check its kubeconfig and context",
        )
    return summarize(json.loads(answer.stdout)["items"])


def summarize(items: Iterable[Mapping[str, Any]]) -> list[WorkloadStatus]:
    """Deployments joined with the autoscalers that target them, sorted by name."""
    objects = list(items)
    scalers = {
        item["spec"]["scaleTargetRef"]["name"]: item for item in objects if item["kind"] == "HorizontalPodAutoscaler"
    }
    rows = [_workload(item, scalers.get(item["metadata"]["name"])) for item in objects if item["kind"] == "Deployment"]
    return sorted(rows, key=lambda row: row.name)


def as_table(rows: Iterable[WorkloadStatus]) -> Table:
    """The table that a person reads."""
    table = Table(box=None, pad_edge=False)
    for heading in ("workload", "role", "ready", "bounds"):
        table.add_column(heading, no_wrap=True)  # names are read whole, or not at all
    for heading in ("current / target", "problem"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        bounds = f"{row.minimum}–{row.maximum}" if row.minimum is not None else "–"
        table.add_row(
            row.name,
            row.role,
            f"{row.ready}/{row.desired}",
            bounds,
            row.targets.replace(", ", "\n"),
            row.problem or "none",
        )
    return table


def _workload(deployment: Mapping[str, Any], scaler: Mapping[str, Any] | None) -> WorkloadStatus:
    spec, status = deployment["spec"], deployment.get("status", {})
    return WorkloadStatus(
        name=deployment["metadata"]["name"],
        role=deployment["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""),
        ready=status.get("readyReplicas", 0),
        desired=spec.get("replicas", 1),
        image=spec["template"]["spec"]["containers"][0]["image"],
        minimum=scaler["spec"].get("minReplicas") if scaler else None,
        maximum=scaler["spec"]["maxReplicas"] if scaler else None,
        targets=_targets(scaler) if scaler else "",
        problem=_problem(deployment, scaler),
    )


def _targets(scaler: Mapping[str, Any]) -> str:
    # The controller leaves an empty entry for a metric that it could not read.
    read = [metric for metric in scaler.get("status", {}).get("currentMetrics") or [] if metric.get("type")]
    current = {_metric_name(metric): metric for metric in read}
    parts = []
    for metric in scaler["spec"].get("metrics", []):
        name = _metric_name(metric)
        source = metric[metric["type"].lower()]
        parts.append(f"{name} {_current(current.get(name))}/{_value(source['target'])}")
    return ", ".join(parts)


def _unread(scaler: Mapping[str, Any]) -> list[str]:
    """Metrics that the controller has not read, or not yet: it takes cpu only from pods ready for half a minute."""
    return [target.split()[0] for target in _targets(scaler).split(", ") if f" {_UNKNOWN}/" in target]


def _metric_name(metric: Mapping[str, Any]) -> str:
    source = metric[metric["type"].lower()]
    return str(source["name"] if "name" in source else source["metric"]["name"])


def _current(metric: Mapping[str, Any] | None) -> str:
    return _UNKNOWN if metric is None else _value(metric[metric["type"].lower()]["current"])


def _value(amounts: Mapping[str, Any]) -> str:
    if "averageUtilization" in amounts:
        return f"{amounts['averageUtilization']}%"
    text = str(amounts.get("averageValue", amounts.get("value", _UNKNOWN)))
    # No metric of ours is negative: this is what the controller writes before its first reading.
    return _UNKNOWN if text.startswith("-") else text


def _problem(deployment: Mapping[str, Any], scaler: Mapping[str, Any] | None) -> str:
    """The first condition that says no: rollout first, autoscaler second."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition["type"] in ("Available", "Progressing") and condition["status"] != "True":
            return str(condition.get("message", condition.get("reason", condition["type"])))
    conditions = scaler.get("status", {}).get("conditions") or [] if scaler else []
    for condition in conditions:
        if condition["type"] in ("AbleToScale", "ScalingActive") and condition["status"] != "True":
            if scaler and (unread := _unread(scaler)):
                return f"autoscaler has not read {', '.join(unread)} yet"
            return str(condition.get("message", condition.get("reason", condition["type"])))
    return ""
