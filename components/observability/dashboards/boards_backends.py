"""The boards on what the services stand on: Kafka, PostgreSQL, the caches."""

from components.observability.alerts_clients import HANDLER_SECONDS
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
from settings.observability import ExporterKind


def kafka(around: Surroundings) -> Board | None:
    """Topics, groups and brokers."""
    if not around.has(ExporterKind.KAFKA):
        return None
    panels: list[Panel] = [
        panel("Events by topic", PER_SECOND, ("topic:events:rate5m", "{{topic}}")),
        panel("Events by group", PER_SECOND, ("consumergroup:events:rate5m", "{{consumergroup}}")),
        panel("Lag", COUNT, ("consumergroup:lag:sum", "{{consumergroup}}")),
    ]
    factor = around.observability.thresholds.lag_per_consumer_factor
    for consumer in around.consumers.values():
        lag = f'sum(consumergroup:lag:sum{{consumergroup="{consumer.group}"}})'
        pods = (
            f'sum(kube_deployment_status_replicas_ready{{namespace="{around.namespace}",deployment="{consumer.name}"}})'
        )
        panels.append(
            panel(
                f"Lag per consumer: {consumer.name}",
                COUNT,
                (f"{lag} / clamp_min({pods}, 1)", "messages"),
                limit=consumer.scaling.add_above_lag_per_consumer * factor,
            )
        )
    panels += [
        panel(
            "Partitions in trouble",
            COUNT,
            ("sum(kafka_controller_kafkacontroller_offlinepartitionscount)", "without a leader"),
            ("sum(kafka_server_replicamanager_underminisrpartitioncount)", "below min ISR"),
            ("sum(kafka_server_replicamanager_underreplicatedpartitions)", "under-replicated"),
            limit=1,
        ),
        panel(
            "Bytes in and out",
            BYTES,
            ("sum(rate(kafka_server_brokertopicmetrics_bytesin_total[5m]))", "in"),
            ("sum(rate(kafka_server_brokertopicmetrics_bytesout_total[5m]))", "out"),
        ),
        panel(
            "Requests to brokers, p99",
            MILLISECONDS,
            ('max by (request) (kafka_network_requestmetrics_totaltimems{quantile="0.99"})', "{{request}}"),
        ),
        panel(
            "Slowest partition of each group",
            COUNT,
            ("max by (consumergroup, topic) (kafka_consumergroup_lag)", "{{consumergroup}}"),
        ),
        panel(
            "What clients count",
            PER_SECOND,
            ("sum by (service, event) (rate(payments_kafka_events_total[5m]))", "{{service}} {{event}}"),
        ),
        panel(
            "Handlers, p99",
            SECONDS,
            (
                "histogram_quantile(0.99, sum by (topic, le) (rate(payments_kafka_handler_seconds_bucket[5m])))",
                "{{topic}}",
            ),
        ),
        panel(
            "Slowest handler that is not back",
            SECONDS,
            ("max by (service, topic) (payments_kafka_seconds_in_handler)", "{{service}} {{topic}}"),
            limit=HANDLER_SECONDS,
        ),
    ]
    return Board(key="kafka", title="Kafka", panels=tuple(panels))


def postgresql(around: Surroundings) -> Board | None:
    """Members, connections, poolers."""
    panels: list[Panel] = []
    limit = around.observability.thresholds.database_connections_percent / 100
    if around.has(ExporterKind.POSTGRES):
        hits = "sum by (datname) (rate(pg_stat_database_blks_hit[5m]))"
        panels += [
            panel("Transactions", PER_SECOND, ("database:transactions:rate5m", "{{datname}}")),
            panel("Connections of the maximum", SHARE, ("database:connections_use:ratio", "{{pod}}"), limit=limit),
            panel("Connections by state", COUNT, ("sum by (state) (pg_stat_activity_count)", "{{state}}")),
            panel(
                "Replicas behind", SECONDS, ("max by (pod) (pg_replication_lag_seconds)", "{{pod}}"),
                limit=around.observability.thresholds.replication_lag_seconds,
            ),
            panel(
                "Reads from memory",
                SHARE,
                (f"{hits} / ({hits} + sum by (datname) (rate(pg_stat_database_blks_read[5m])))", "{{datname}}"),
            ),
            panel(
                "Deadlocks", PER_SECOND, ("sum by (datname) (rate(pg_stat_database_deadlocks[5m]))", "{{datname}}")
            ),
            panel("Size", BYTES, ("max by (datname) (pg_database_size_bytes)", "{{datname}}")),
        ]  # fmt: skip
    if around.measured_shards:
        headroom = "min by (shard, table) (payments_database_partition_headroom_seconds)"
        outbox = "max by (shard) (payments_database_outbox_oldest_seconds)"
        age = "max by (shard, model) (payments_database_read_model_age_seconds)"
        on_its_way = "max by (shard) (payments_database_cross_shard_oldest_seconds)"
        wrong = "max by (shard, check) (payments_database_check_wrong_rows)"
        panels += [
            panel("Time until partitions end", SECONDS, (headroom, "{{shard}} {{table}}")),
            panel("Oldest message not published", SECONDS, (outbox, "{{shard}}"), limit=60),
            panel("Age of read models", SECONDS, (age, "{{shard}} {{model}}"), limit=60),
            panel("Oldest transfer between shards", SECONDS, (on_its_way, "{{shard}}"), limit=300),
            panel("Rows that disagree with the events", COUNT, (wrong, "{{shard}} {{check}}"), limit=0),
        ]
    if around.has(ExporterKind.PATRONI):
        panels += [
            panel("Primaries", COUNT, ("sum by (scope) (patroni_primary)", "{{scope}}")),
            panel("Members that run", COUNT, ("sum by (scope) (patroni_postgres_running)", "{{scope}}")),
        ]
    if around.database is not None and around.database.postgres.exporters.scraped_by is not None:
        slowest = "histogram_quantile(0.99, sum by (pod, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))"
        active = "min by (service, proxy) (haproxy_backend_active_servers)"
        failed = "sum by (proxy) (rate(haproxy_backend_connection_errors_total[5m]))"
        panels += [
            panel("etcd: members with a leader", COUNT, ("sum(etcd_server_has_leader)", "members")),
            panel("etcd: its disk, p99", SECONDS, (slowest, "{{pod}}")),
            panel("HAProxy: members behind it", COUNT, (active, "{{proxy}}")),
            panel("HAProxy: refused connections", PER_SECOND, (failed, "{{proxy}}")),
        ]
    if around.has(ExporterKind.PGBOUNCER):
        panels += [
            panel("Clients of the pooler", SHARE, ("pooler:client_connections_use:ratio", "{{pod}}"), limit=limit),
            panel(
                "Clients that wait",
                COUNT,
                ("sum by (database) (pgbouncer_pools_client_waiting_connections)", "{{database}}"),
            ),
            panel(
                "Oldest waiting client",
                SECONDS,
                ("max by (database) (pgbouncer_pools_client_maxwait_seconds)", "{{database}}"),
            ),
            panel(
                "Server connections in use",
                COUNT,
                ("sum by (database) (pgbouncer_pools_server_active_connections)", "{{database}}"),
            ),
        ]
    return Board(key="postgresql", title="PostgreSQL", panels=tuple(panels)) if panels else None


def cache(around: Surroundings) -> Board | None:
    """The shared tier, as its exporters see it, and all tiers, as the services do."""
    if around.cache_namespace is None:
        return None
    panels = (
        panel("Reads that find something", SHARE, ("cache:hits:ratio_rate5m", "all members")),
        panel("Commands", PER_SECOND, ("sum by (pod) (rate(redis_commands_processed_total[5m]))", "{{pod}}")),
        panel(
            "Memory of the maximum",
            SHARE,
            ("redis_memory_used_bytes / (redis_memory_max_bytes > 0)", "{{pod}}"),
            limit=1,
        ),
        panel("Evictions", PER_SECOND, ("sum by (pod) (rate(redis_evicted_keys_total[5m]))", "{{pod}}")),
        panel("Connections", COUNT, ("redis_connected_clients", "{{pod}}")),
        panel("Slots that fail", COUNT, ("sum(redis_cluster_slots_fail)", "slots"), limit=1),
        panel(
            "What the services' caches do",
            PER_SECOND,
            ("sum by (tier, event) (rate(payments_cache_events_total[5m]))", "{{tier}} {{event}}"),
        ),
    )
    return Board(key="cache", title="caches", panels=panels)
