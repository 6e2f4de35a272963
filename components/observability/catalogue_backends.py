"""Metrics of what the services stand on: Kafka, PostgreSQL, the cache, the edge, KEDA.

Names of the JMX exporter are what the rules of ``components/kafka`` make of the brokers' MBeans.
"""

from components.observability.catalogue import Entries, Metric, Source

_kafka = Entries(Source.KAFKA)
_postgres = Entries(Source.POSTGRES)
_pgbouncer = Entries(Source.PGBOUNCER)
_patroni = Entries(Source.PATRONI)
_etcd = Entries(Source.ETCD)
_haproxy = Entries(Source.HAPROXY)
_shards = Entries(Source.SHARDS)
_redis = Entries(Source.REDIS)
_envoy = Entries(Source.ENVOY)
_nginx = Entries(Source.NGINX)
_keda = Entries(Source.KEDA)

KAFKA_METRICS: tuple[Metric, ...] = (
    # kafka-exporter
    _kafka.gauge("kafka_consumergroup_lag", "messages", "consumergroup topic partition"),
    _kafka.gauge("kafka_consumergroup_current_offset", "messages", "consumergroup topic partition"),
    _kafka.gauge("kafka_topic_partition_current_offset", "messages", "topic partition"),
    _kafka.gauge("kafka_topic_partition_under_replicated_partition", "1", "topic partition"),
    # brokers and controllers
    _kafka.gauge("kafka_controller_kafkacontroller_activecontrollercount", "controllers"),
    _kafka.gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "partitions"),
    _kafka.gauge("kafka_server_replicamanager_underminisrpartitioncount", "partitions"),
    _kafka.gauge("kafka_server_replicamanager_underreplicatedpartitions", "partitions"),
    _kafka.counter("kafka_server_brokertopicmetrics_bytesin_total", "bytes", "topic"),
    _kafka.counter("kafka_server_brokertopicmetrics_bytesout_total", "bytes", "topic"),
    _kafka.gauge("kafka_network_requestmetrics_totaltimems", "milliseconds", "request quantile"),
)

POSTGRES_METRICS: tuple[Metric, ...] = (
    _postgres.gauge("pg_up", "1"),
    _postgres.gauge("pg_stat_activity_count", "connections", "datname state usename application_name"),
    _postgres.gauge("pg_settings_max_connections", "connections"),
    _postgres.counter("pg_stat_database_xact_commit", "transactions", "datname"),
    _postgres.counter("pg_stat_database_xact_rollback", "transactions", "datname"),
    _postgres.counter("pg_stat_database_deadlocks", "deadlocks", "datname"),
    _postgres.counter("pg_stat_database_blks_hit", "blocks", "datname"),
    _postgres.counter("pg_stat_database_blks_read", "blocks", "datname"),
    _postgres.gauge("pg_replication_lag_seconds", "seconds"),
    _postgres.gauge("pg_database_size_bytes", "bytes", "datname"),
    _postgres.counter("pg_stat_archiver_failed_count", "segments"),
    _postgres.gauge("pg_stat_archiver_last_archive_age", "seconds"),
    _patroni.gauge("patroni_primary", "1", "scope name"),
    _patroni.gauge("patroni_postgres_running", "1", "scope name"),
    _patroni.gauge("patroni_dcs_last_seen", "seconds", "scope name"),
    _patroni.gauge("patroni_sync_standby", "1", "scope name"),
    _patroni.gauge("patroni_quorum_standby", "1", "scope name"),
    _patroni.counter("patroni_xlog_location", "bytes", "scope name"),
    _pgbouncer.gauge("pgbouncer_pools_client_active_connections", "connections", "database user"),
    _pgbouncer.gauge("pgbouncer_pools_client_waiting_connections", "connections", "database user"),
    _pgbouncer.gauge("pgbouncer_pools_client_maxwait_seconds", "seconds", "database user"),
    _pgbouncer.gauge("pgbouncer_pools_server_active_connections", "connections", "database user"),
    _pgbouncer.gauge("pgbouncer_config_max_client_connections", "connections"),
    _etcd.gauge("etcd_server_has_leader", "1"),
    _etcd.counter("etcd_server_leader_changes_seen_total", "changes"),
    _etcd.histogram("etcd_disk_wal_fsync_duration_seconds", "seconds"),
    _etcd.gauge("etcd_mvcc_db_total_size_in_bytes", "bytes"),
    _etcd.gauge("etcd_server_quota_backend_bytes", "bytes"),
    _haproxy.gauge("haproxy_backend_active_servers", "servers", "proxy"),
    _haproxy.gauge("haproxy_backend_current_sessions", "sessions", "proxy"),
    _haproxy.counter("haproxy_backend_connection_errors_total", "errors", "proxy"),
)

SHARD_METRICS: tuple[Metric, ...] = (
    _shards.gauge("payments_database_partition_headroom_seconds", "seconds", "shard table"),
    _shards.gauge("payments_database_outbox_oldest_seconds", "seconds", "shard lane"),
    _shards.gauge("payments_database_read_model_age_seconds", "seconds", "shard model bucket"),
    _shards.gauge("payments_database_schema_version", "version", "shard"),
    _shards.gauge("payments_database_cross_shard_transfers", "transfers", "shard"),
    _shards.gauge("payments_database_cross_shard_oldest_seconds", "seconds", "shard"),
    _shards.gauge("payments_database_buckets_refused_seconds", "seconds", "shard"),
    _shards.gauge("payments_database_check_wrong_rows", "rows", "shard check"),
    _shards.gauge("payments_database_check_age_seconds", "seconds", "shard check"),
)

CACHE_METRICS: tuple[Metric, ...] = (
    _redis.gauge("redis_up", "1"),
    _redis.gauge("redis_cluster_state", "1"),
    _redis.gauge("redis_cluster_slots_fail", "slots"),
    _redis.gauge("redis_memory_used_bytes", "bytes"),
    _redis.gauge("redis_memory_max_bytes", "bytes"),
    _redis.gauge("redis_connected_clients", "connections"),
    _redis.counter("redis_commands_processed_total", "commands"),
    _redis.counter("redis_evicted_keys_total", "keys"),
    _redis.counter("redis_keyspace_hits_total", "reads"),
    _redis.counter("redis_keyspace_misses_total", "reads"),
)

EDGE_METRICS: tuple[Metric, ...] = (
    _envoy.counter("envoy_http_downstream_rq_total", "requests", "envoy_http_conn_manager_prefix"),
    _envoy.counter(
        "envoy_http_downstream_rq_xx", "requests", "envoy_http_conn_manager_prefix envoy_response_code_class"
    ),
    _envoy.counter("envoy_cluster_upstream_rq", "requests", "envoy_cluster_name envoy_response_code"),
    _envoy.histogram("envoy_http_downstream_rq_time", "milliseconds", "envoy_http_conn_manager_prefix"),
    _envoy.gauge("envoy_http_downstream_cx_active", "connections", "envoy_http_conn_manager_prefix"),
    _envoy.counter("envoy_http_local_rate_limit_rate_limited", "requests", "envoy_local_http_ratelimit_prefix"),
    _envoy.gauge("envoy_cluster_membership_healthy", "endpoints", "envoy_cluster_name"),
    _nginx.counter(
        "nginx_ingress_controller_requests", "requests", "ingress service exported_service status method host path"
    ),
    _nginx.gauge("nginx_ingress_controller_config_last_reload_successful", "1", "controller_class"),
    _nginx.histogram("nginx_ingress_controller_request_duration_seconds", "seconds", "ingress service status"),
)

KEDA_METRICS: tuple[Metric, ...] = (
    _keda.counter("keda_scaler_detail_errors_total", "errors", "namespace scaledObject scaler triggerName"),
    _keda.counter("keda_scaled_object_errors_total", "errors", "namespace scaledObject"),
    _keda.gauge("keda_scaler_active", "1", "namespace scaledObject scaler triggerName"),
)
