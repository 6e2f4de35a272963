"""The boards on what people of this platform ask first; key figures are read where they are recorded."""

from components.observability.dashboards.panels import (
    BYTES,
    COUNT,
    MILLISECONDS,
    PER_SECOND,
    SECONDS,
    SHARE,
    Board,
    Panel,
    panel,
)
from components.observability.model import Surroundings
from components.observability.objectives import AVAILABILITY, LATENCY, error_ratio
from settings.edge import EdgeRenderer
from settings.observability import ExporterKind


def overview(around: Surroundings) -> Board:
    """Is the platform keeping its promises, and what is in the way?"""
    limits = around.observability.thresholds
    panels = [
        panel("Requests", PER_SECOND, ("service:http_requests:rate5m", "{{service}}")),
        panel(
            "p99 of answers",
            SECONDS,
            ("service:http_request_duration_seconds:p99_5m", "{{service}}"),
            limit=limits.latency_p99_milliseconds / 1000,
        ),
        panel("Failed requests", SHARE, ("service:http_errors:ratio_rate5m", "{{service}}")),
        panel("Bad requests of 1 h, by promise", SHARE, (error_ratio("1h"), "{{service}} {{slo}}")),
        panel(
            "Alerts", COUNT, ('count by (alertname) (ALERTS{alertstate="firing",severity!="none"})', "{{alertname}}")
        ),
        panel("Pods", COUNT, (f"kube_deployment_status_replicas_available{_in(around)}", "{{deployment}}")),
    ]
    if around.has(ExporterKind.KAFKA):
        panels.append(panel("Lag", COUNT, ("consumergroup:lag:sum", "{{consumergroup}}")))
    if around.has(ExporterKind.POSTGRES):
        panels.append(panel("Transactions", PER_SECOND, ("database:transactions:rate5m", "{{datname}}")))
    return Board(key="overview", title="overview", panels=tuple(panels))


def service(around: Surroundings) -> Board:
    """One service in detail: its traffic, its promises, its pods, and what it calls."""
    chosen = '{service="$service"}'
    budget = '(1 - max(service_slo:objective:ratio{service="$service",slo="%s"}))'
    pods = '{container="$service"}'
    panels = (
        panel("Requests by route", PER_SECOND, (f"service_route:http_requests:rate5m{chosen}", "{{route}}")),
        panel("Failed requests by route", SHARE, (f"service_route:http_errors:ratio_rate5m{chosen}", "{{route}}")),
        panel(
            "Answers",
            SECONDS,
            *((f"service:http_request_duration_seconds:{q}_5m{chosen}", q) for q in ("p50", "p95", "p99")),
        ),
        *(
            panel(
                f"Pace of the error budget: {slo}",
                COUNT,
                *(
                    (f'max({error_ratio(window)}{{service="$service",slo="{slo}"}}) / {budget % slo}', window)
                    for window in ("5m", "1h", "6h", "3d")
                ),
                limit=1,
            )
            for slo in (AVAILABILITY, LATENCY)
        ),
        panel("CPU of the request, by pod", SHARE, (f"pod:cpu_use_of_request:ratio{pods}", "{{pod}}")),
        panel("Memory of the limit, by pod", SHARE, (f"pod:memory_use_of_limit:ratio{pods}", "{{pod}}")),
        panel(
            "Database pool",
            SHARE,
            (f"service:database_pool_use:ratio{chosen}", "{{role}}"),
            (f"service:database_errors:ratio_rate5m{chosen}", "failed queries"),
        ),
        panel("Queries, p99", SECONDS, (f"service:database_query_duration_seconds:p99_5m{chosen}", "p99")),
        panel(
            "Calls to dependencies",
            SHARE,
            (f"service:external_errors:ratio_rate5m{chosen}", "failed"),
            (f"service:circuit_breaker_open:ratio_rate5m{chosen}", "refused by breakers"),
        ),
        panel("Events processed", PER_SECOND, (f"service:events_processed:rate5m{chosen}", "events")),
        panel("Events, publication to end", SECONDS, (f"service:event_latency_seconds:p99_5m{chosen}", "p99")),
        panel("Failed events", SHARE, (f"service:event_errors:ratio_rate5m{chosen}", "failed")),
    )
    return Board(key="service", title="service", panels=panels, services=tuple(around.workloads))


def autoscaling(around: Surroundings) -> Board:
    """What each scaler sees, wants and may."""
    hpa = f"kube_horizontalpodautoscaler_%s{_in(around)}"
    legend = "{{horizontalpodautoscaler}}"
    inactive = f'{{namespace="{around.namespace}",condition="ScalingActive",status="false"}}'
    panels = [
        panel("Wanted pods", COUNT, (hpa % "status_desired_replicas", legend)),
        panel("Present pods", COUNT, (hpa % "status_current_replicas", legend)),
        panel(
            "Room to the maximum",
            SHARE,
            (f"{hpa % 'status_current_replicas'} / {hpa % 'spec_max_replicas'}", legend),
            limit=1,
        ),
        *(panel(f"Input: {metric}", COUNT, (metric, "{{service}}{{consumergroup}}")) for metric in _inputs(around)),
        panel(
            "Scalers that cannot act",
            COUNT,
            (
                f"sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_condition{inactive})",
                legend,
            ),
        ),
    ]
    if around.has(ExporterKind.KEDA):
        panels.append(
            panel(
                "KEDA's errors",
                PER_SECOND,
                ("sum by (scaledObject) (rate(keda_scaled_object_errors_total[5m]))", "{{scaledObject}}"),
            )
        )
    return Board(key="autoscaling", title="autoscaling", panels=tuple(panels))


def _inputs(around: Surroundings) -> list[str]:
    """Every recorded metric that a scaler of this stack reads, once."""
    found = {trigger.metric for service in around.services.values() for trigger in service.api.scaling.triggers}
    found |= {"kafka_consumer_lag", "kafka_consumer_rate_floor"} if around.consumers else set()
    return sorted(found)


def capacity(around: Surroundings) -> Board:
    """Load against each limit: what is full first?"""
    panels: list[Panel] = [
        panel("All requests", PER_SECOND, ("sum(service:http_requests:rate5m)", "requests/s")),
        panel("Namespace quota", SHARE, ("namespace:quota_use:ratio", "{{namespace}} {{resource}}"), limit=1),
        panel(
            "Volumes",
            SHARE,
            (
                "1 - kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes",
                "{{namespace}} {{persistentvolumeclaim}}",
            ),
            limit=around.observability.thresholds.disk_percent / 100,
        ),
        panel(
            "Busiest pod: CPU of its request",
            SHARE,
            ("max by (container) (pod:cpu_use_of_request:ratio)", "{{container}}"),
        ),
        panel(
            "Fullest pod: memory of its limit",
            SHARE,
            ("max by (container) (pod:memory_use_of_limit:ratio)", "{{container}}"),
            limit=around.observability.thresholds.memory_percent / 100,
        ),
    ]
    if around.has(ExporterKind.PGBOUNCER):
        panels.append(
            panel("Clients of the pooler", SHARE, ("pooler:client_connections_use:ratio", "{{pod}}"), limit=1)
        )
    if around.has(ExporterKind.POSTGRES):
        panels.append(panel("Database size", BYTES, ("max by (datname) (pg_database_size_bytes)", "{{datname}}")))
    if around.has(ExporterKind.KAFKA):
        panels.append(panel("Events by topic", PER_SECOND, ("topic:events:rate5m", "{{topic}}")))
    return Board(key="capacity", title="capacity", panels=tuple(panels))


def edge(around: Surroundings) -> Board | None:
    """What enters, and what is turned away."""
    if around.edge is EdgeRenderer.GATEWAY and around.has(ExporterKind.ENVOY):
        return Board(
            key="edge",
            title="edge",
            panels=(
                panel(
                    "Answers by class",
                    PER_SECOND,
                    (
                        "sum by (envoy_response_code_class) (rate(envoy_http_downstream_rq_xx[5m]))",
                        "{{envoy_response_code_class}}xx",
                    ),
                ),
                panel(
                    "p99 at the edge",
                    MILLISECONDS,
                    ("histogram_quantile(0.99, sum by (le) (rate(envoy_http_downstream_rq_time_bucket[5m])))", "p99"),
                ),
                panel(
                    "Turned away by rate limits",
                    PER_SECOND,
                    ("sum(rate(envoy_http_local_rate_limit_rate_limited[5m]))", "429"),
                ),
                panel("Connections", COUNT, ("sum(envoy_http_downstream_cx_active)", "open")),
                panel(
                    "Healthy endpoints",
                    COUNT,
                    ("min by (envoy_cluster_name) (envoy_cluster_membership_healthy)", "{{envoy_cluster_name}}"),
                ),
                panel(
                    "Answers of the services",
                    PER_SECOND,
                    (
                        "sum by (envoy_cluster_name, envoy_response_code) (rate(envoy_cluster_upstream_rq[5m]))",
                        "{{envoy_cluster_name}} {{envoy_response_code}}",
                    ),
                ),
            ),
        )
    return None


def _in(around: Surroundings) -> str:
    return f'{{namespace="{around.namespace}"}}'
