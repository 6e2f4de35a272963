"""Alerts on the alerting itself: it must be heard of when it falls silent."""

from collections.abc import Iterable, Iterator

from components.observability.model import Alert, Area, Severity, Surroundings

DEAD_MAN = "DeadMan"
NOT_DELIVERED = "AlertsNotDelivered"
# One for each kind of object: it may list some kinds and not others.
_STATE_METRICS = (
    "kube_deployment_status_replicas_available",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_pod_container_resource_limits",
    "kube_pod_container_status_restarts_total",
    "kube_resourcequota",
)
_DATABASE_STATE_METRICS = ("kube_statefulset_status_replicas_ready", "kube_cronjob_created")
_CONTAINER_METRICS = ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes")
_VOLUME_METRICS = ("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes")
_PROMETHEUS_METRICS = ("prometheus_rule_group_last_evaluation_timestamp_seconds",)
_ALERTMANAGER_METRICS = ("alertmanager_notifications_total",)


def monitoring_alerts(around: Surroundings, jobs: Iterable[str]) -> Iterator[Alert]:
    """The dead man, what is not scraped, and what does not reach anybody."""
    yield Alert(
        name=DEAD_MAN,
        expression="vector(1)",
        lasts="0m",
        severity=Severity.NONE,
        area=Area.MONITORING,
        subject=around.namespace,
        summary="always fires: where it does not arrive, no alert does",
        action="none while it arrives; the receiver raises the alarm when it stops",
        runbook="monitoring.md#the-dead-man-alert-stopped",
    )
    for job in jobs:
        yield Alert(
            name="TargetMissing",
            expression=f'absent(up{{job="{job}"}}) or sum(up{{job="{job}"}}) == 0',
            lasts="5m",
            severity=Severity.CRITICAL,
            area=Area.MONITORING,
            subject=job,
            summary=f"nothing of {job} is scraped: every alert that reads it is blind",
            action="compare the PodMonitor's labels and port with the pods; then the network policy, then the exporter",
            runbook="monitoring.md#nothing-is-scraped",
        )
    yield from _sources(around)
    yield Alert(
        name="RulesFail",
        expression="sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total[10m])) > 0",
        lasts="10m",
        severity=Severity.WARNING,
        area=Area.MONITORING,
        subject="rules",
        summary="rules of {{ $labels.rule_group }} cannot be evaluated",
        action="Prometheus' page of rules shows the error beside each",
        runbook="monitoring.md#rules-cannot-be-evaluated",
    )
    yield Alert(
        name=NOT_DELIVERED,
        expression=(
            "sum by (integration) (rate(alertmanager_notifications_failed_total[5m]))"
            " / (sum by (integration) (rate(alertmanager_notifications_total[5m])) > 0) > 0.01"
        ),
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.MONITORING,
        subject="alertmanager",
        summary="{{ $value | humanizePercentage }} of the notifications by {{ $labels.integration }} fail",
        action="check the receiver's Secret and whether its address can be reached from the cluster",
        runbook="monitoring.md#notifications-fail",
    )


def _sources(around: Surroundings) -> Iterator[Alert]:
    """What belongs to the cluster has no job of ours; alerts that read it would be silent without it."""
    sources = {
        "kube-state-metrics": (_STATE_METRICS, f'{{namespace="{around.namespace}"}}'),
        "cadvisor": (_CONTAINER_METRICS, f'{{namespace="{around.namespace}"}}'),
        "prometheus": (_PROMETHEUS_METRICS, ""),
        "alertmanager": (_ALERTMANAGER_METRICS, ""),
    }
    if around.database is not None or around.kafka is not None:
        sources["kubelet"] = (_VOLUME_METRICS, f'{{namespace=~"{"|".join(around.namespaces)}"}}')
    if around.database is not None:
        chosen = f'{{namespace="{around.database.namespace}"}}'
        sources["kube-state-metrics-database"] = (_DATABASE_STATE_METRICS, chosen)
    for source, (metrics, chosen) in sources.items():
        yield Alert(
            name="ClusterMetricsMissing",
            expression=" or ".join(f"absent({metric}{chosen})" for metric in metrics),
            lasts="10m",
            severity=Severity.CRITICAL,
            area=Area.MONITORING,
            subject=source,
            summary=f"figures of {source} are missing: every alert that reads them is blind",
            action="see whether it runs and is scraped, and whether it may list what is missing",
            runbook="monitoring.md#figures-of-the-cluster-are-missing",
        )
