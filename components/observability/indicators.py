"""The key figures: recorded once, and read by alerts, dashboards and people under the same name."""

from typing import Any

from components.observability.model import Surroundings, record_rule
from settings.observability import ExporterKind

WINDOW = "5m"


def plan_indicators(around: Surroundings) -> dict[str, list[dict[str, Any]]]:
    """Group → recording rules of throughput, latency, utilisation and errors.

    All carry the labels by which remote write keeps them for years.
    """
    groups = {
        "throughput": _throughput(around),
        "latency": _latency(),
        "utilisation": _utilisation(around),
        "errors": _errors(),
    }
    labels = around.observability.long_term_labels
    return {
        f"payments-{name}": [record_rule(record, expression, labels) for record, expression in records.items()]
        for name, records in groups.items()
    }


def _rate(metric: str, by: str, matchers: str = "") -> str:
    chosen = f"{{{matchers}}}" if matchers else ""
    return f"sum by ({by}) (rate({metric}{chosen}[{WINDOW}]))"


def _throughput(around: Surroundings) -> dict[str, str]:
    records = {
        "service:http_requests:rate5m": _rate("http_requests_total", "service"),
        "service_route:http_requests:rate5m": _rate("http_requests_total", "service, route"),
        "service:events_processed:rate5m": _rate("events_processed_total", "service"),
    }
    if around.has(ExporterKind.KAFKA):
        records["topic:events:rate5m"] = _rate("kafka_topic_partition_current_offset", "topic")
        records["consumergroup:events:rate5m"] = _rate("kafka_consumergroup_current_offset", "consumergroup, topic")
    if around.has(ExporterKind.POSTGRES):
        commits = _rate("pg_stat_database_xact_commit", "datname")
        records["database:transactions:rate5m"] = f"{commits} + {_rate('pg_stat_database_xact_rollback', 'datname')}"
    return records


def _latency() -> dict[str, str]:
    histograms = {
        "http_request_duration_seconds": ("p50", "p95", "p99"),
        "event_latency_seconds": ("p50", "p99"),
        "database_query_duration_seconds": ("p50", "p99"),
        "external_call_duration_seconds": ("p99",),
    }
    return {
        f"service:{name}:{quantile}_5m": (
            f"histogram_quantile(0.{quantile[1:]}, sum by (service, le) (rate({name}_bucket[{WINDOW}])))"
        )
        for name, quantiles in histograms.items()
        for quantile in quantiles
    }


def _utilisation(around: Surroundings) -> dict[str, str]:
    # A workload's container is named like the workload.
    place = f'namespace="{around.namespace}",container=~"{"|".join(around.workloads)}"'
    memory_limit = f'kube_pod_container_resource_limits{{{place},resource="memory"}}'
    cpu_request = f'kube_pod_container_resource_requests{{{place},resource="cpu"}}'
    cpu = _rate("container_cpu_usage_seconds_total", "pod, container", place)
    memory = f"max by (pod, container) (container_memory_working_set_bytes{{{place}}})"
    records = {
        "pod:cpu_use_of_request:ratio": f"{cpu} / sum by (pod, container) ({cpu_request})",
        "pod:memory_use_of_limit:ratio": f"{memory} / max by (pod, container) ({memory_limit})",
        "service:database_pool_use:ratio": (
            # The fullest, with its role: a pool for reads with room hides one for writes that has none.
            "topk by (service) (1, sum by (service, role) (database_pool_connections_in_use)"
            " / sum by (service, role) (database_pool_connections_max))"
        ),
        "service:circuit_breaker_open:ratio_rate5m": (
            f"{_rate('circuit_breaker_rejected_total', 'service')} / {_rate('circuit_breaker_calls_total', 'service')}"
        ),
        "namespace:quota_use:ratio": (
            'max by (namespace, resource) (kube_resourcequota{type="used"})'
            ' / (max by (namespace, resource) (kube_resourcequota{type="hard"}) > 0)'
        ),
    }
    if around.has(ExporterKind.KAFKA):
        records["consumergroup:lag:sum"] = "sum by (consumergroup, topic) (kafka_consumergroup_lag)"
    if around.has(ExporterKind.POSTGRES):
        records["database:connections_use:ratio"] = (
            "sum by (namespace, pod) (pg_stat_activity_count) / max by (namespace, pod) (pg_settings_max_connections)"
        )
    if around.has(ExporterKind.PGBOUNCER):
        records["pooler:client_connections_use:ratio"] = (
            "(sum by (namespace, pod) (pgbouncer_pools_client_active_connections)"
            " + sum by (namespace, pod) (pgbouncer_pools_client_waiting_connections))"
            " / max by (namespace, pod) (pgbouncer_config_max_client_connections)"
        )
    if around.cache_namespace is not None:
        hits = f"sum(rate(redis_keyspace_hits_total[{WINDOW}]))"
        records["cache:hits:ratio_rate5m"] = f"{hits} / ({hits} + sum(rate(redis_keyspace_misses_total[{WINDOW}])))"
    return records


def _errors() -> dict[str, str]:
    failed = 'outcome="error"'
    return {
        "service_route:http_errors:ratio_rate5m": _share("http_requests_total", "service, route", 'code=~"5.."'),
        "service:http_errors:ratio_rate5m": _share("http_requests_total", "service", 'code=~"5.."'),
        "service:event_errors:ratio_rate5m": _share("events_processed_total", "service", failed),
        "service:database_errors:ratio_rate5m": _share("database_queries_total", "service", failed),
        "service:external_errors:ratio_rate5m": _share("external_calls_total", "service", failed),
    }


def _share(metric: str, by: str, failed: str) -> str:
    """The failed share. Without a failure there is no such series yet: then it is 0, while there is traffic."""
    every = _rate(metric, by)
    return f"({_rate(metric, by, failed)} or 0 * {every}) / ({every} > 0)"
