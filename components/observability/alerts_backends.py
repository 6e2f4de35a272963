"""Alerts on what the services stand on: Kafka, PostgreSQL and its pooler, the cache, the edge, and volumes."""

from collections.abc import Iterator

from components.observability.model import Alert, Area, Severity, Surroundings
from settings.edge import EdgeRenderer
from settings.observability import ExporterKind

_KAFKA = "kafka-cluster"
_POSTGRES = "postgres-cluster"
_CACHE = "redis-cluster"
_FREE_PERCENT = 5
"""Of a volume: less than this wakes somebody, whether it still shrinks or not."""


def backend_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts on every backend whose exporter is scraped."""
    if around.has(ExporterKind.KAFKA):
        yield from _kafka()
    if around.has(ExporterKind.POSTGRES):
        yield from _postgres(around)
    if around.has(ExporterKind.PATRONI):
        yield from _primaries(around)
    if around.has(ExporterKind.PGBOUNCER):
        yield from _pooler(around)
    if around.cache_namespace is not None:
        yield from _cache()
    yield from _edge(around)
    yield from _volumes(around)


def _kafka() -> Iterator[Alert]:
    def alert(name: str, expression: str, *, lasts: str, severity: Severity, summary: str, anchor: str) -> Alert:
        return Alert(
            name=name, expression=expression, lasts=lasts, severity=severity, area=Area.KAFKA, subject=_KAFKA,
            summary=summary, action="look at the brokers' pods and volumes; restart nothing while replicas are behind",
            runbook=f"kafka-health.md#{anchor}",
        )  # fmt: skip

    yield alert(
        "KafkaOfflinePartitions",
        "sum(kafka_controller_kafkacontroller_offlinepartitionscount) > 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        summary="{{ $value }} partitions have no leader: nothing can be written to or read from them",
        anchor="partitions-without-a-leader",
    )
    yield alert(
        "KafkaUnderMinIsr",
        "sum(kafka_server_replicamanager_underminisrpartitioncount) > 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        summary="{{ $value }} partitions are below min.insync.replicas: writes with acks=all fail",
        anchor="below-the-minimum-in-sync",
    )
    yield alert(
        "KafkaUnderReplicated",
        "sum(kafka_server_replicamanager_underreplicatedpartitions) > 0",
        lasts="10m",
        severity=Severity.WARNING,
        summary="{{ $value }} partitions miss a replica: one more loss may stop writes",
        anchor="replicas-behind",
    )
    yield alert(
        "KafkaControllerMissing",
        "sum(kafka_controller_kafkacontroller_activecontrollercount) != 1",
        lasts="2m",
        severity=Severity.CRITICAL,
        summary="{{ $value }} active controllers instead of one: no leader can be elected",
        anchor="no-controller",
    )


def _database_alert(
    name: str,
    expression: str,
    *,
    lasts: str,
    severity: Severity,
    summary: str,
    action: str,
    anchor: str,
    subject: str = _POSTGRES,
) -> Alert:
    return Alert(
        name=name, expression=expression, lasts=lasts, severity=severity, area=Area.DATABASE, subject=subject,
        summary=summary, action=action, runbook=f"database-health.md#{anchor}",
    )  # fmt: skip


def _postgres(around: Surroundings) -> Iterator[Alert]:
    limits = around.observability.thresholds
    yield _database_alert(
        "DatabaseConnectionsHigh",
        f"100 * database:connections_use:ratio > {limits.database_connections_percent}",
        lasts="5m",
        severity=Severity.CRITICAL,
        summary='{{ $labels.pod }} uses {{ $value | printf "%.0f" }} % of max_connections',
        action="find who holds them (pg_stat_activity by application_name and state); pools belong behind PgBouncer",
        anchor="connections",
    )
    yield _database_alert(
        "DatabaseReplicationLag",
        f"max by (namespace, pod) (pg_replication_lag_seconds) > {limits.replication_lag_seconds}",
        lasts="5m",
        severity=Severity.WARNING,
        summary="{{ $labels.pod }} is {{ $value | humanizeDuration }} behind its primary",
        action="look for a long query on the replica, a full disk, or a slow network",
        anchor="replication-lag",
    )
    yield _database_alert(
        "DatabaseDown",
        "pg_up == 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        summary="the exporter of {{ $labels.pod }} cannot reach PostgreSQL",
        action="look at the pod and at what Patroni says of it",
        anchor="a-member-is-down",
    )


def _primaries(around: Surroundings) -> Iterator[Alert]:
    """For each shard. One whose members are all away exports nothing, and a sum of nothing never fires."""
    database = around.database
    shards = (
        {} if database is None else {database.cluster(one): database.scope(one) for one in database.postgres.shards}
    )
    chosen = {name: f'patroni_primary{{scope="{scope}"}}' for name, scope in shards.items()}
    for name, series in (chosen or {_POSTGRES: "patroni_primary"}).items():
        yield _database_alert(
            "DatabaseWithoutPrimary",
            f"sum by (scope) ({series}) != 1",
            lasts="1m",
            severity=Severity.CRITICAL,
            subject=name,
            summary="{{ $labels.scope }} has {{ $value }} primaries instead of one",
            action="none: see whether etcd has its majority. Two: fence the older one at once, both accept payments",
            anchor="not-exactly-one-primary",
        )
        yield _database_alert(
            "DatabaseUnseen",
            f"absent({series})",
            lasts="2m",
            severity=Severity.CRITICAL,
            subject=name,
            summary=f"no member of {name} tells whether it is the primary: it is gone, or nobody sees it",
            action="see whether its pods run and whether payments are stored; then whether Prometheus reaches Patroni",
            anchor="no-member-is-seen",
        )


def _pooler(around: Surroundings) -> Iterator[Alert]:
    yield _database_alert(
        "PoolerConnectionsHigh",
        f"100 * pooler:client_connections_use:ratio > {around.observability.thresholds.database_connections_percent}",
        lasts="5m",
        severity=Severity.CRITICAL,
        summary='{{ $labels.pod }} has {{ $value | printf "%.0f" }} % of the clients that it accepts',
        action="lower database_connections_per_pod or a maximum; one more read replica carries reads only",
        anchor="connections",
    )
    yield _database_alert(
        "PoolerQueueing",
        "max by (namespace, pod, database) (pgbouncer_pools_client_maxwait_seconds) > 1",
        lasts="2m",
        severity=Severity.WARNING,
        summary="the oldest client of {{ $labels.database }} waits for {{ $value | humanizeDuration }}",
        action="look for long transactions first; more server connections only help an idle server",
        anchor="clients-wait",
    )


def _cache() -> Iterator[Alert]:
    def alert(name: str, expression: str, *, lasts: str, severity: Severity, summary: str, anchor: str) -> Alert:
        return Alert(
            name=name, expression=expression, lasts=lasts, severity=severity, area=Area.CACHE, subject=_CACHE,
            summary=summary, action="the platform works without it, but slower: watch the database's connections",
            runbook=f"cache-health.md#{anchor}",
        )  # fmt: skip

    yield alert(
        "CacheClusterBroken",
        "min(redis_cluster_state) == 0 or sum(redis_cluster_slots_fail) > 0",
        lasts="1m",
        severity=Severity.CRITICAL,
        summary="the cache refuses some keys or all of them",
        anchor="the-cluster-refuses",
    )
    yield alert(
        "CacheMemoryFull",
        "max by (namespace, pod) (redis_memory_used_bytes / (redis_memory_max_bytes > 0)) > 0.95"
        " and on (namespace, pod) rate(redis_evicted_keys_total[10m]) > 0",
        lasts="15m",
        severity=Severity.WARNING,
        summary="{{ $labels.pod }} is full and evicts keys",
        anchor="memory-is-full",
    )
    yield alert(
        "CacheHitsLow",
        "cache:hits:ratio_rate5m < 0.5 and on () sum(rate(redis_commands_processed_total[5m])) > 100",
        lasts="15m",
        severity=Severity.WARNING,
        summary="only {{ $value | humanizePercentage }} of the reads find something",
        anchor="few-hits",
    )


def _edge(around: Surroundings) -> Iterator[Alert]:
    if around.edge is EdgeRenderer.GATEWAY and around.has(ExporterKind.ENVOY):
        every = "sum(rate(envoy_http_downstream_rq_xx[5m]))"
        failed = 'sum(rate(envoy_http_downstream_rq_xx{envoy_response_code_class="5"}[5m]))'
    elif around.edge is EdgeRenderer.NGINX:
        every, failed = _of_nginx(around), _of_nginx(around, 'status=~"5.."')
        yield _nginx_unseen()
    else:
        return
    yield Alert(
        name="EdgeErrorsHigh",
        expression=f"100 * {failed} / ({every} > 0) > {around.observability.thresholds.error_percent}",
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.EDGE,
        subject="edge",
        summary='the edge answers {{ $value | printf "%.1f" }} % of the requests with 5xx',
        action="compare with the services' own errors; only here: routing, certificates or health checks",
        runbook="edge-health.md#errors-at-the-edge",
    )


def _of_nginx(around: Surroundings, *matchers: str) -> str:
    """Requests/s to our services: the controller serves other people's too.

    Its own label ``service`` is kept under that name or as ``exported_service``, as its monitor has it.
    """
    services = "|".join(sorted(around.services))
    chosen = [",".join([f'{label}=~"{services}"', *matchers]) for label in ("service", "exported_service")]
    return f"sum({' or '.join(f'rate(nginx_ingress_controller_requests{{{each}}}[5m])' for each in chosen)})"


def _nginx_unseen() -> Alert:
    """Its controller is the cluster's, and so is its monitor: no target of ours would be missing."""
    return Alert(
        name="EdgeUnseen",
        expression="absent(nginx_ingress_controller_config_last_reload_successful)",
        lasts="15m",
        severity=Severity.CRITICAL,
        area=Area.EDGE,
        subject="edge",
        summary="nothing of ingress-nginx is scraped: errors at the edge reach nobody",
        action="turn on the controller's metrics and its ServiceMonitor (controller.metrics of its chart)",
        runbook="edge-health.md#the-edge-is-not-seen",
    )


def _volumes(around: Surroundings) -> Iterator[Alert]:
    """By what is free: the filesystem keeps some of the rest, so a full volume never shows all of it as used."""
    chosen = f'{{namespace=~"{"|".join(around.namespaces)}"}}'
    capacity = f"kubelet_volume_stats_capacity_bytes{chosen}"
    free = f"100 * kubelet_volume_stats_available_bytes{chosen} / {capacity}"
    # A full volume fills no further: its slope is zero, and it must not fall silent.
    runs_out = f"predict_linear(kubelet_volume_stats_available_bytes{chosen}[6h], 4 * 86400) <= 0"
    percent = around.observability.thresholds.disk_percent
    yield Alert(
        name="VolumeFillingUp",
        expression=f"100 - {free} > {percent} and {runs_out}",
        lasts="30m",
        severity=Severity.WARNING,
        area=Area.MONITORING,
        subject="volumes",
        summary='{{ $labels.persistentvolumeclaim }} is {{ $value | printf "%.0f" }} % full: four days at most',
        action="enlarge the volume in the stack file, or shorten what is kept",
        runbook="volume-full.md#a-volume-fills-up",
    )
    yield Alert(
        name="VolumeFull",
        expression=f"{free} < {_FREE_PERCENT}",
        lasts="5m",
        severity=Severity.CRITICAL,
        area=Area.MONITORING,
        subject="volumes",
        summary='{{ $labels.persistentvolumeclaim }} has {{ $value | printf "%.1f" }} % free: its server stops soon',
        action="enlarge the volume in the stack file at once; delete nothing inside it by hand",
        runbook="volume-full.md#a-volume-is-full",
    )
