"""What Prometheus has to record so that every autoscaler finds its metrics, and the alerts on those inputs."""

from collections.abc import Iterable, Mapping
from typing import Any

from components.autoscaling.policy import ScalingPolicy, Trigger
from components.base.manifests import Manifest, metadata
from settings.services import Consumer, Service

NAME = "autoscaling-inputs"
# As often as the autoscaler asks (its sync period): a slower group would hand it the same value twice.
INTERVAL = "15s"
# Believed capacity may be wrong by about a third before the rate floor misleads (docs/scaling.md).
DRIFT_LOW, DRIFT_HIGH = 0.7, 1.3
_RUNBOOK = "docs/runbooks/autoscaling.md"


def plan_rules(
    policies: Iterable[ScalingPolicy],
    services: Mapping[str, Service],
    *,
    namespace: str,
    labels: Mapping[str, str],
) -> Manifest:
    """One PrometheusRule: each series is recorded once, however many scalers read it."""
    triggers = _distinct(trigger for policy in policies for trigger in policy.triggers)
    consumers = [service.consumer for _, service in sorted(services.items()) if service.consumer is not None]
    groups = [
        {"name": "autoscaling-inputs", "interval": INTERVAL, "rules": [_record(trigger) for trigger in triggers]},
        {
            "name": "autoscaling-input-alerts",
            "interval": INTERVAL,
            "rules": [
                *(_missing(trigger, namespace) for trigger in triggers),
                *(_drift(consumer, namespace) for consumer in consumers),
            ],
        },
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(NAME, labels=labels, namespace=namespace),
        "spec": {"groups": groups},
    }


def _distinct(triggers: Iterable[Trigger]) -> list[Trigger]:
    found = {(trigger.metric, trigger.labels): trigger for trigger in triggers}
    return [found[key] for key in sorted(found)]


def _record(trigger: Trigger) -> dict[str, Any]:
    return {"record": trigger.metric, "labels": dict(trigger.labels), "expr": trigger.expression}


def _missing(trigger: Trigger, namespace: str) -> dict[str, Any]:
    chosen = ",".join(f'{key}="{value}"' for key, value in trigger.labels)
    subject = ", ".join(value for _, value in trigger.labels)
    return {
        "alert": "AutoscalerInputMissing",
        "expr": f"absent({trigger.metric}{{{chosen}}})",
        "for": "2m",
        # The operator routes an alert by its namespace.
        "labels": {
            "severity": "critical",
            "area": "autoscaling",
            "namespace": namespace,
            "subject": subject,
            "metric": trigger.metric,
            **dict(trigger.labels),
        },
        "annotations": {
            "summary": f"{trigger.metric} of {subject} is missing: its autoscaler does not see the load any more",
            "action": "find out why the exporter or the rule is silent; until then nothing is scaled down",
            "runbook": f"{_RUNBOOK}#a-metric-is-missing",
        },
    }


def _drift(consumer: Consumer, namespace: str) -> dict[str, Any]:
    """Throughput per consumer while there is lag to work on, against what the settings believe."""
    believed = consumer.scaling.messages_per_second_per_consumer
    group = f'consumergroup="{consumer.group}",topic="{consumer.topic}"'
    pods = f'sum(kube_deployment_status_replicas_ready{{namespace="{namespace}",deployment="{consumer.name}"}})'
    ratio = f"sum(rate(kafka_consumergroup_current_offset{{{group}}}[10m])) / {pods} / {believed}"
    # A group that has caught up is bounded by its input, which says nothing about what it could do.
    busy = f"sum(kafka_consumergroup_lag{{{group}}}) > {consumer.scaling.remove_below_lag_per_consumer} * {pods}"
    return {
        "alert": "ConsumerCapacityDrift",
        "expr": f"(({ratio}) < {DRIFT_LOW} or ({ratio}) > {DRIFT_HIGH}) and ({busy})",
        "for": "30m",
        "labels": {
            "severity": "warning",
            "area": "autoscaling",
            "namespace": namespace,
            "subject": consumer.group,
            "consumergroup": consumer.group,
        },
        "annotations": {
            "summary": f"{consumer.name}: one consumer processes {{{{ $value | humanizePercentage }}}} of the "
            f"{believed} messages/s that its settings state",
            "action": "measure anew and correct scaling.messages_per_second_per_consumer",
            "runbook": f"{_RUNBOOK}#capacity-drift",
        },
    }
