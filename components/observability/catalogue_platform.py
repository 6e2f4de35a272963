"""Metrics of the services and of the cluster that they run in."""

from components.observability.catalogue import Entries, Metric, Source

_services = Entries(Source.SERVICES)
_cluster = Entries(Source.KUBERNETES)
_prometheus = Entries(Source.PROMETHEUS)

SERVICE_METRICS: tuple[Metric, ...] = (
    _services.counter("http_requests_total", "requests", "method route code"),
    _services.histogram("http_request_duration_seconds", "seconds", "method route"),
    _services.gauge("payment_queue_depth", "payments"),
    _services.counter("wallet_operations_total", "operations", "operation"),
    _services.counter("external_calls_total", "calls", "dependency outcome"),
    _services.histogram("external_call_duration_seconds", "seconds", "dependency"),
    _services.counter("circuit_breaker_calls_total", "calls", "dependency"),
    _services.counter("circuit_breaker_rejected_total", "calls", "dependency"),
    _services.gauge("database_pool_connections_in_use", "connections", "role"),
    _services.gauge("database_pool_connections_max", "connections", "role"),
    _services.counter("database_queries_total", "queries", "operation outcome"),
    _services.histogram("database_query_duration_seconds", "seconds", "operation"),
    _services.counter("events_processed_total", "events", "topic outcome"),
    _services.histogram("event_latency_seconds", "seconds", "topic"),
    _services.counter("payments_cache_events_total", "events", "event class tier"),
    _services.counter("payments_kafka_events_total", "events", "event topic"),
    _services.histogram("payments_kafka_handler_seconds", "seconds", "topic"),
    _services.gauge("payments_kafka_seconds_in_handler", "seconds", "topic"),
)

CLUSTER_METRICS: tuple[Metric, ...] = (
    _cluster.counter("container_cpu_usage_seconds_total", "seconds", "namespace pod container"),
    _cluster.gauge("container_memory_working_set_bytes", "bytes", "namespace pod container"),
    _cluster.gauge("kube_cronjob_created", "seconds", "namespace cronjob"),
    _cluster.gauge("kube_cronjob_status_last_successful_time", "seconds", "namespace cronjob"),
    _cluster.gauge("kube_deployment_spec_replicas", "pods", "namespace deployment"),
    _cluster.gauge("kube_deployment_status_replicas_available", "pods", "namespace deployment"),
    _cluster.gauge("kube_deployment_status_replicas_ready", "pods", "namespace deployment"),
    _cluster.gauge("kube_horizontalpodautoscaler_spec_max_replicas", "pods", "namespace horizontalpodautoscaler"),
    _cluster.gauge("kube_horizontalpodautoscaler_spec_min_replicas", "pods", "namespace horizontalpodautoscaler"),
    _cluster.gauge(
        "kube_horizontalpodautoscaler_status_condition", "1", "namespace horizontalpodautoscaler condition status"
    ),
    _cluster.gauge("kube_horizontalpodautoscaler_status_current_replicas", "pods", "namespace horizontalpodautoscaler"),
    _cluster.gauge("kube_horizontalpodautoscaler_status_desired_replicas", "pods", "namespace horizontalpodautoscaler"),
    _cluster.gauge("kube_pod_container_resource_limits", "cores or bytes", "namespace pod container resource unit"),
    _cluster.gauge("kube_pod_container_resource_requests", "cores or bytes", "namespace pod container resource unit"),
    _cluster.counter("kube_pod_container_status_restarts_total", "restarts", "namespace pod container"),
    _cluster.gauge("kube_statefulset_status_replicas_ready", "pods", "namespace statefulset"),
    _cluster.gauge("kube_resourcequota", "cores, bytes or objects", "namespace resourcequota resource type"),
    _cluster.gauge("kubelet_volume_stats_available_bytes", "bytes", "namespace persistentvolumeclaim"),
    _cluster.gauge("kubelet_volume_stats_capacity_bytes", "bytes", "namespace persistentvolumeclaim"),
)

PROMETHEUS_METRICS: tuple[Metric, ...] = (
    _prometheus.gauge("up", "1", "job instance namespace pod"),
    _prometheus.counter("prometheus_rule_evaluation_failures_total", "evaluations", "rule_group"),
    _prometheus.gauge("prometheus_rule_group_last_evaluation_timestamp_seconds", "seconds", "rule_group"),
    _prometheus.counter("alertmanager_notifications_failed_total", "notifications", "integration reason"),
    _prometheus.counter("alertmanager_notifications_total", "notifications", "integration"),
)
