"""All rules of a stack as one PrometheusRule object per theme."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from components.autoscaling.policy import ScalingPolicy
from components.base.manifests import Manifest, metadata
from components.observability.alerts_autoscaling import autoscaling_alerts
from components.observability.alerts_backends import backend_alerts
from components.observability.alerts_clients import client_alerts
from components.observability.alerts_consumers import consumer_alerts
from components.observability.alerts_database import shard_alerts
from components.observability.alerts_monitoring import monitoring_alerts
from components.observability.alerts_postgres import safety_alerts
from components.observability.alerts_services import service_alerts, workload_alerts
from components.observability.alerts_targets import target_alerts
from components.observability.indicators import plan_indicators
from components.observability.model import Alert, Surroundings, alert_rule
from components.observability.objectives import burn_alerts, plan_objectives


def plan_rules(around: Surroundings, policies: Sequence[ScalingPolicy], jobs: Iterable[str]) -> dict[str, Manifest]:
    """Role → PrometheusRule: what is recorded, and what is alerted on."""
    recorded = {**plan_indicators(around), **plan_objectives(around)}
    alerts: dict[str, list[Any]] = {}
    for alert in _alerts(around, policies, jobs):
        alerts.setdefault(f"payments-alerts-{alert.area}", []).append(alert_rule(alert, around))
    return {
        "indicators": _object(around, "payments-indicators", recorded),
        "alerts": _object(around, "payments-alerts", alerts),
    }


def _alerts(around: Surroundings, policies: Sequence[ScalingPolicy], jobs: Iterable[str]) -> Iterator[Alert]:
    yield from service_alerts(around)
    yield from workload_alerts(around)
    yield from burn_alerts(around)
    yield from consumer_alerts(around)
    yield from client_alerts(around)
    yield from backend_alerts(around)
    yield from safety_alerts(around)
    yield from shard_alerts(around)
    yield from autoscaling_alerts(around, policies)
    yield from monitoring_alerts(around, jobs)
    yield from target_alerts(around)


def _object(around: Surroundings, name: str, groups: dict[str, list[Any]]) -> Manifest:
    interval = f"{around.observability.evaluation_interval_seconds}s"
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(name, labels=around.labels_of("rules"), namespace=around.namespace),
        "spec": {"groups": [{"name": group, "interval": interval, "rules": rules} for group, rules in groups.items()]},
    }
