"""Cases of the autoscaling, the monitoring and an edge of ingress-nginx."""

from collections.abc import Sequence

from tests.real.observability.case import (
    ACCELERATING,
    GROUP,
    NAMESPACE,
    PAYMENT,
    Case,
    api_at,
    constant,
    group,
    pair,
    rising,
)

_KEDA = f'keda_scaler_detail_errors_total{{namespace="{NAMESPACE}",scaledObject="a",triggerName="lag"}}'
_RULES = 'prometheus_rule_group_last_evaluation_timestamp_seconds{rule_group="x;autoscaling-inputs"}'


def _queue(values: str) -> dict[str, str]:
    return {'payment_queue_depth{service="payment-service",pod="a"}': values}


def _drift(per_minute: int) -> dict[str, str]:
    return group(constant(9_000), consumers=3, offsets=rising(per_minute))


def _condition(value: int) -> dict[str, str]:
    scaler = f'namespace="{NAMESPACE}",horizontalpodautoscaler="payment-service-hpa"'
    return {
        f'kube_horizontalpodautoscaler_status_condition{{{scaler},condition="ScalingActive",status="false"}}': constant(
            value
        )
    }


def _notifications(failed: int) -> dict[str, str]:
    return {
        'alertmanager_notifications_failed_total{integration="slack"}': rising(failed),
        'alertmanager_notifications_total{integration="slack"}': rising(100),
    }


AUTOSCALING = [
    *pair(
        "AutoscalerInputMissing",
        PAYMENT,
        fires={},
        silent=_queue(constant(5)),
        labels='metric="payment_queue_messages"',
    ),
    *pair(
        "AutoscalerInputStale",
        PAYMENT,
        fires=_queue(constant(5)),
        silent=_queue(rising(1)),
        labels='metric="payment_queue_messages"',
    ),
    *pair(
        "AutoscalerInputsNotEvaluated",
        "autoscaling-inputs",
        fires={_RULES: constant(0)},
        silent={_RULES: rising(60)},
    ),
    *pair("AutoscalerInactive", PAYMENT, fires=_condition(1), silent=_condition(0)),
    *pair(
        "AtMaximumAndGrowing",
        PAYMENT,
        fires=api_at(20, ACCELERATING),
        silent=api_at(20, rising(60_000)),
        at="40m",
    ),
    Case(alert="AtMaximumAndGrowing", subject=PAYMENT, fires=False, series=api_at(19, ACCELERATING), at="40m"),
    *pair(
        "KedaScalerErrors",
        "keda",
        fires={_KEDA: rising(1)},
        silent={_KEDA: constant(7)},
    ),
    # 300 messages/s are believed: 3 consumers do 54,000 a minute.
    *pair("ConsumerCapacityDrift", GROUP, fires=_drift(30_000), silent=_drift(54_000), at="55m"),
]


def _up(job: str, *pods: tuple[str, int]) -> dict[str, str]:
    return {f'up{{job="{job}",pod="{pod}"}}': constant(answers) for pod, answers in pods}


_MEMBERS = tuple((f"postgres-cluster-{ordinal}", 1) for ordinal in range(3))
# Another shard's members are scraped under the same job.
_OTHERS = tuple((f"postgres-cluster-s01-{ordinal}", 1) for ordinal in range(3))
_PAYMENTS_READY = {
    f'kube_deployment_status_replicas_ready{{namespace="{NAMESPACE}",deployment="{PAYMENT}"}}': constant(2)
}
_PODS = ((f"{PAYMENT}-6d4c-x7k2p", 1), (f"{PAYMENT}-6d4c-b9v4t", 1))
_INCOMPLETE = [
    *pair(
        "TargetsIncomplete",
        "postgres-cluster",
        fires=_up("patroni", *_MEMBERS[:2], *_OTHERS),
        silent=_up("patroni", *_MEMBERS),
        labels='job="patroni"',
    ),
    # One is there and does not answer; and none is there at all.
    Case(
        alert="TargetsIncomplete",
        subject="postgres-cluster",
        fires=True,
        series=_up("patroni", *_MEMBERS[:2], ("postgres-cluster-2", 0)),
        labels='job="patroni"',
    ),
    Case(alert="TargetsIncomplete", subject="postgres-cluster", fires=True, series={}, labels='job="postgres"'),
    *pair(
        "TargetsIncomplete",
        PAYMENT,
        fires={**_up(PAYMENT, *_PODS[:1]), **_PAYMENTS_READY},
        silent={**_up(PAYMENT, *_PODS), **_PAYMENTS_READY},
    ),
]

_SOURCES = {
    "kube-state-metrics": (
        (
            "kube_deployment_status_replicas_available",
            "kube_horizontalpodautoscaler_spec_max_replicas",
            "kube_pod_container_resource_limits",
            "kube_pod_container_status_restarts_total",
            "kube_resourcequota",
        ),
        NAMESPACE,
    ),
    "cadvisor": (("container_cpu_usage_seconds_total", "container_memory_working_set_bytes"), NAMESPACE),
    "kubelet": (("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"), "database"),
    "prometheus": (("prometheus_rule_group_last_evaluation_timestamp_seconds",), "monitoring"),
    "alertmanager": (("alertmanager_notifications_total",), "monitoring"),
    "kube-state-metrics-database": (("kube_statefulset_status_replicas_ready", "kube_cronjob_created"), "database"),
}


def _there(names: Sequence[str], namespace: str) -> dict[str, str]:
    return {f'{name}{{namespace="{namespace}"}}': constant(1) for name in names}


MONITORING = [
    Case(alert="DeadMan", subject=NAMESPACE, fires=True, series={}),
    *pair(
        "TargetMissing",
        "kafka",
        fires={'up{job="kafka",pod="a"}': constant(0)},
        silent={'up{job="kafka",pod="a"}': constant(0), 'up{job="kafka",pod="b"}': constant(1)},
    ),
    Case(alert="TargetMissing", subject="kafka", fires=True, series={}),
    *_INCOMPLETE,
    *(
        case
        for source, (names, namespace) in _SOURCES.items()
        for case in pair(
            "ClusterMetricsMissing",
            source,
            # All but the last.
            fires=_there(names[:-1], namespace),
            silent=_there(names, namespace),
        )
    ),
    Case(
        alert="ClusterMetricsMissing",
        subject="kube-state-metrics",
        fires=True,
        series=_there(_SOURCES["kube-state-metrics"][0], "their-shop"),
    ),
    *pair(
        "RulesFail",
        "rules",
        fires={'prometheus_rule_evaluation_failures_total{rule_group="g"}': rising(1)},
        silent={'prometheus_rule_evaluation_failures_total{rule_group="g"}': constant(4)},
    ),
    *pair("AlertsNotDelivered", "alertmanager", fires=_notifications(2), silent=_notifications(0)),
]


def _nginx(failed: int, *, label: str = "exported_service", service: str = PAYMENT) -> dict[str, str]:
    chosen = f'nginx_ingress_controller_requests{{{label}="{service}",status="%s"}}'
    return {chosen % "502": rising(failed), chosen % "200": rising(1000 - failed)}


_SEEN = {"nginx_ingress_controller_config_last_reload_successful": constant(1)}

NGINX_CASES = [
    *pair("EdgeErrorsHigh", "edge", fires=_nginx(20), silent=_nginx(5)),
    # The controller's label as it stands, and errors of somebody else's service.
    *pair("EdgeErrorsHigh", "edge", fires=_nginx(20, label="service"), silent=_nginx(900, service="their-shop")),
    *pair("EdgeUnseen", "edge", fires={}, silent=_SEEN),
]
"""For a stack whose edge ingress-nginx renders; the committed ones have gateways."""
