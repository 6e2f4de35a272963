"""For each alert one case in which it fires and one in which it stays silent: series as promtool writes them."""

from collections.abc import Sequence
from dataclasses import dataclass

NAMESPACE = "payments"
DAY = "1d"


@dataclass(frozen=True, kw_only=True)
class Case:
    """Input series by name and labels → values, one a minute; whether the alert of this subject fires at ``at``."""

    alert: str
    subject: str
    fires: bool
    series: dict[str, str]
    at: str = "30m"
    labels: str = ""
    """More matchers that choose the alert."""


def pair(
    alert: str,
    subject: str,
    *,
    fires: dict[str, str],
    silent: dict[str, str],
    at: str = "30m",
    labels: str = "",
) -> list[Case]:
    """Both cases of one alert."""
    return [
        Case(alert=alert, subject=subject, fires=True, series=fires, at=at, labels=labels),
        Case(alert=alert, subject=subject, fires=False, series=silent, at=at, labels=labels),
    ]


def constant(value: float, minutes: int = 60) -> str:
    return f"{value:g}x{minutes}"


def rising(step: float, *, start: float = 0, minutes: int = 60) -> str:
    return f"{start:g}+{step:g}x{minutes}"


def falling(step: float, *, start: float, minutes: int = 60) -> str:
    return f"{start:g}-{step:g}x{minutes}"


def _retries(*, lag: str, offsets: str | None) -> dict[str, str]:
    chosen = f'consumergroup="{GROUP}-retry",topic="{GROUP}-retry",partition="0"'
    moved = {} if offsets is None else {f"kafka_consumergroup_current_offset{{{chosen}}}": offsets}
    return {f"kafka_consumergroup_lag{{{chosen}}}": lag} | moved


def _latency(fast: int, every: int) -> dict[str, str]:
    name = 'http_request_duration_seconds_bucket{service="payment-service",le="%s"}'
    return {name % "1": rising(fast), name % "2": rising(every), name % "+Inf": rising(every)}


def _outcomes(metric: str, failed: int, good: int) -> dict[str, str]:
    chosen = metric + '{service="payment-service",outcome="%s"}'
    return {chosen % "error": rising(failed), chosen % "ok": rising(good)}


def _memory(gibibytes: float) -> dict[str, str]:
    pod = f'namespace="{NAMESPACE}",pod="payment-service-1",container="payment-service"'
    return {
        f"container_memory_working_set_bytes{{{pod}}}": constant(gibibytes * 2**30),
        f'kube_pod_container_resource_limits{{{pod},resource="memory",unit="byte"}}': constant(2 * 2**30),
    }


def _group(lag: str, *, consumers: int = 3, offsets: str = "0+6000x60", maximum: int = 24) -> dict[str, str]:
    group = 'consumergroup="payment-service-group",topic="payment-events",partition="0"'
    hpa = f'namespace="{NAMESPACE}",horizontalpodautoscaler="payment-processors-hpa"'
    deployment = f'namespace="{NAMESPACE}",deployment="payment-processors"'
    return {
        f"kafka_consumergroup_lag{{{group}}}": lag,
        f"kafka_consumergroup_current_offset{{{group}}}": offsets,
        f"kube_deployment_status_replicas_ready{{{deployment}}}": constant(consumers),
        f"kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}}": constant(consumers),
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}": constant(maximum),
    }


def _api_at(pods: int, requests: str) -> dict[str, str]:
    hpa = f'namespace="{NAMESPACE}",horizontalpodautoscaler="payment-service-hpa"'
    return {
        f"kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}}": constant(pods),
        f"kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}": constant(20),
        'http_requests_total{service="payment-service",route="/api/v1/payments",code="200"}': requests,
    }


# Each minute adds more than the one before: a rate that grows.
_ACCELERATING = " ".join(str(600 * minute * minute) for minute in range(60))

GROUP, PAYMENT, READER = "payment-service-group", "payment-service", "payment-processors"

SERVICES = [
    *pair("ApiLatencyHigh", PAYMENT, fires=_latency(90, 100), silent=_latency(100, 100)),
    *pair(
        "CircuitBreakerOpen",
        "gateway-service",
        fires={
            'circuit_breaker_rejected_total{service="gateway-service"}': rising(12),
            'circuit_breaker_calls_total{service="gateway-service"}': rising(100),
        },
        silent={
            'circuit_breaker_rejected_total{service="gateway-service"}': rising(9),
            'circuit_breaker_calls_total{service="gateway-service"}': rising(100),
        },
    ),
    *pair(
        "EventErrorsHigh",
        PAYMENT,
        fires=_outcomes("events_processed_total", 3, 97),
        silent=_outcomes("events_processed_total", 1, 199),
    ),
    *pair(
        "DatabaseErrorsHigh",
        PAYMENT,
        fires=_outcomes("database_queries_total", 3, 97),
        silent=_outcomes("database_queries_total", 0, 100),
    ),
    *pair(
        "ServiceDown",
        PAYMENT,
        fires={f'kube_deployment_status_replicas_available{{namespace="{NAMESPACE}",deployment="{PAYMENT}"}}': "0x60"},
        silent={f'kube_deployment_status_replicas_available{{namespace="{NAMESPACE}",deployment="{PAYMENT}"}}': "1x60"},
    ),
    *pair("MemoryHigh", PAYMENT, fires=_memory(1.8), silent=_memory(1.6)),
    *pair(
        "PodsRestarting",
        PAYMENT,
        fires={
            f'kube_pod_container_status_restarts_total{{namespace="{NAMESPACE}",container="{PAYMENT}",pod="a"}}': (
                "0x18 1 2 3 4 5 6 7 8 9 10 11 12 13"
            )
        },
        silent={
            f'kube_pod_container_status_restarts_total{{namespace="{NAMESPACE}",container="{PAYMENT}",pod="a"}}': (
                "0x20 1x20"
            )
        },
    ),
]

CONSUMERS = [
    *pair(
        "ConsumerLagGrowing",
        GROUP,
        fires=_group(rising(400), consumers=3),
        # T17: 19,000 at 20 consumers is less than the scaler's own target of 1000 each, even while it grows.
        silent=_group(rising(100, start=16_000), consumers=20),
    ),
    # A large lag that shrinks is work being done.
    Case(
        alert="ConsumerLagGrowing", subject=GROUP, fires=False, series=_group(falling(500, start=60_000), consumers=3)
    ),
    *pair(
        "ConsumerDelayHigh",
        GROUP,
        fires=_group(constant(40_000), offsets=rising(6_000)),
        silent=_group(constant(20_000), offsets=rising(6_000)),
    ),
    *pair(
        "ConsumerStandsStill",
        GROUP,
        fires=_group(constant(5), offsets=constant(1_000)),
        silent=_group(constant(5), offsets=rising(1)),
    ),
    *pair(
        "AtMaximumAndGrowing",
        "payment-processors",
        fires=_group(rising(100, start=30_000), consumers=24),
        silent=_group(rising(100, start=30_000), consumers=23),
    ),
    *pair(
        "DeadLetters",
        GROUP,
        fires={f'kafka_topic_partition_current_offset{{topic="{GROUP}-dead-letter",partition="0"}}': rising(1)},
        # What was given up long ago still waits there; a retry is no dead letter.
        silent={
            f'kafka_topic_partition_current_offset{{topic="{GROUP}-dead-letter",partition="0"}}': constant(7),
            f'kafka_topic_partition_current_offset{{topic="{GROUP}-retry",partition="0"}}': rising(1),
        },
    ),
    *pair(
        "RetriesPileUp",
        GROUP,
        fires=_retries(lag=constant(3), offsets=constant(40)),
        # One message a second waits for its 30 seconds: as it should.
        silent=_retries(lag=constant(30), offsets=rising(60)),
    ),
    Case(alert="RetriesPileUp", subject=GROUP, fires=True, series=_retries(lag=rising(60), offsets=rising(1))),
    # Nobody has committed anything there yet.
    Case(alert="RetriesPileUp", subject=GROUP, fires=True, series=_retries(lag=constant(3), offsets=None)),
]


def _counted(event: str, values: str, *, service: str = READER, topic: str = "payment-events") -> dict[str, str]:
    return {f'payments_kafka_events_total{{service="{service}",pod="a",event="{event}",topic="{topic}"}}': values}


def _rise_by_one(alert: str, event: str, subject: str, *, service: str = READER) -> list[Case]:
    """One event, of a counter that was there with 0, fires; the same number of long ago does not."""
    fires = _counted(event, "0x27 1x30", service=service)
    return pair(alert, subject, fires=fires, silent=_counted(event, constant(1), service=service))


def _inside(seconds: str) -> dict[str, str]:
    return {f'payments_kafka_seconds_in_handler{{service="{READER}",pod="a",topic="payment-events"}}': seconds}


def _attempts(failed: float, handled: float) -> dict[str, str]:
    return _counted("failed", rising(failed)) | _counted("handled", rising(handled))


_READY = f'kube_deployment_status_replicas_ready{{namespace="{NAMESPACE}",deployment="{READER}"}}'

CLIENTS = [
    *pair("KafkaClientUnseen", GROUP, fires={_READY: constant(3)}, silent={_READY: constant(3)} | _inside(constant(0))),
    # No pod is there whose metrics could be missing.
    Case(alert="KafkaClientUnseen", subject=GROUP, fires=False, series={_READY: constant(0)}),
    *pair("HandlerHangs", GROUP, fires=_inside("0x20 0+60x20"), silent=_inside("0x20 50x20")),
    *pair(
        "HandlersWait",
        GROUP,
        fires=_counted("unavailable", rising(2)),
        # A failover: over within minutes.
        silent=_counted("unavailable", "0x18 4 8 8x30"),
    ),
    *pair("HandlersFail", GROUP, fires=_attempts(3, 97), silent=_attempts(0.1, 100)),
    *pair(
        "FailedMessageStays",
        GROUP,
        fires=_counted("park_failed", rising(2)),
        silent=_counted("park_failed", constant(7)),
    ),
    *_rise_by_one("BrokersRefuseConsumer", "refused", GROUP),
    *_rise_by_one("ConsumerGivenUp", "lost", GROUP),
    *pair(
        "CommitsFail",
        GROUP,
        fires=_counted("commit_failed", rising(24)),
        # What a rebalance does: refused for now, and once for good.
        silent=_counted("commit_deferred", rising(24)) | _counted("commit_failed", "0x20 1x30"),
    ),
    *pair(
        "RebalancesWithoutEnd",
        GROUP,
        fires=_counted("revoked", rising(8)),
        # A rollout, each partition twice; the retry topic's group has a measure of its own.
        silent=_counted("revoked", "0x10 0+8x6 48x30") | _counted("revoked", rising(8), topic=f"{GROUP}-retry"),
    ),
    *_rise_by_one("EventsNotAcknowledged", "not_acknowledged", PAYMENT, service=PAYMENT),
    *_rise_by_one("EventsNotAcknowledged", "not_acknowledged", READER),
    *_rise_by_one("ProducerBroken", "producer_broken", PAYMENT, service=PAYMENT),
    *_rise_by_one("ProducerBroken", "producer_broken", READER),
]


def _kafka(metric: str, bad: float, good: float) -> tuple[dict[str, str], dict[str, str]]:
    return {f'{metric}{{pod="a"}}': constant(bad)}, {f'{metric}{{pod="a"}}': constant(good)}


def _health(alert: str, metric: str, bad: float, good: float) -> list[Case]:
    fires, silent = _kafka(metric, bad, good)
    return pair(alert, "kafka-cluster", fires=fires, silent=silent)


def _connections(used: int) -> dict[str, str]:
    return {
        'pg_stat_activity_count{pod="p",state="active"}': constant(used),
        'pg_settings_max_connections{pod="p"}': constant(200),
    }


def _primary(scope: str, *members: int) -> dict[str, str]:
    """Whether each member of a shard says that it is the primary."""
    return {
        f'patroni_primary{{scope="{scope}",name="{number}"}}': constant(says) for number, says in enumerate(members)
    }


def _pooler(clients: int) -> dict[str, str]:
    return {
        'pgbouncer_pools_client_active_connections{pod="b",database="payments"}': constant(clients),
        'pgbouncer_pools_client_waiting_connections{pod="b",database="payments"}': constant(0),
        'pgbouncer_config_max_client_connections{pod="b"}': constant(1000),
    }


def _cache(used: int, evicted: str) -> dict[str, str]:
    return {
        'redis_memory_used_bytes{pod="r",namespace="cache"}': constant(used),
        'redis_memory_max_bytes{pod="r",namespace="cache"}': constant(100),
        'redis_evicted_keys_total{pod="r",namespace="cache"}': evicted,
    }


def _hits(found: int, missed: int) -> dict[str, str]:
    return {
        'redis_keyspace_hits_total{pod="r"}': rising(found),
        'redis_keyspace_misses_total{pod="r"}': rising(missed),
        'redis_commands_processed_total{pod="r"}': rising(12_000),
    }


def _edge(failed: int) -> dict[str, str]:
    return {
        'envoy_http_downstream_rq_xx{envoy_response_code_class="5"}': rising(failed),
        'envoy_http_downstream_rq_xx{envoy_response_code_class="2"}': rising(1000),
    }


def _volume(free: str, namespace: str = "database") -> dict[str, str]:
    claim = f'namespace="{namespace}",persistentvolumeclaim="data-0"'
    return {
        f"kubelet_volume_stats_available_bytes{{{claim}}}": free,
        f"kubelet_volume_stats_capacity_bytes{{{claim}}}": constant(1000, 480),
    }


def _headroom(days: int) -> dict[str, str]:
    """The worst shard decides; the other has plenty."""
    name = 'payments_database_partition_headroom_seconds{shard="%s",table="es.events"}'
    return {name % "s00": constant(100 * 86_400), name % "s01": constant(days * 86_400)}


def _outbox(oldest: str) -> dict[str, str]:
    name = 'payments_database_outbox_oldest_seconds{shard="s00",lane="%d"}'
    return {name % 0: constant(0), name % 7: oldest}


def _balances(age: str) -> dict[str, str]:
    name = 'payments_database_read_model_age_seconds{shard="s00",model="%s",bucket="3"}'
    return {name % "wallet_balances": age, name % "another": constant(9_000)}


def _cron_jobs(*names: str, success: str | None, created: float = -9e6) -> dict[str, str]:
    """Times of CronJobs: when they were made, and when they last succeeded (the clock of a case begins at 0)."""
    series = {}
    for name in names:
        labels = f'{{namespace="database",cronjob="{name}"}}'
        series[f"kube_cronjob_created{labels}"] = f"{created:.0f}x60"
        if success is not None:
            series[f"kube_cronjob_status_last_successful_time{labels}"] = success
    return series


def _overdue(alert: str, cron_jobs: tuple[str, ...], limit_seconds: int) -> list[Case]:
    """30 minutes in: just over the limit for the 15 minutes that it takes; just under; never run, and new."""
    old, shard = limit_seconds - 14 * 60, 'shard="s00"'
    return [
        *pair(
            alert,
            "postgres-cluster",
            fires=_cron_jobs(*cron_jobs, success=constant(-old)),
            silent=_cron_jobs(*cron_jobs, success=constant(-(limit_seconds - 31 * 60))),
            labels=shard,
        ),
        *pair(
            alert,
            "postgres-cluster",
            fires=_cron_jobs(*cron_jobs, success=None),
            silent=_cron_jobs(*cron_jobs, success=None, created=0),
            labels=shard,
        ),
        # One that succeeds is enough, and another shard's success is none of this one's.
        Case(
            alert=alert,
            subject="postgres-cluster",
            fires=True,
            series=_cron_jobs(*cron_jobs, success=constant(-old))
            | _cron_jobs(*(name.replace("cluster", "cluster-s01") for name in cron_jobs), success=constant(0)),
            labels=shard,
        ),
    ]


def _standbys(synchronous: int, quorum: int) -> dict[str, str]:
    found = {}
    for name in "abc":
        labels = f'{{scope="payments-s00",name="{name}",pod="{name}"}}'
        found[f"patroni_sync_standby{labels}"] = constant(synchronous if name == "b" else 0)
        found[f"patroni_quorum_standby{labels}"] = constant(quorum if name != "a" else 0)
    return found


def _etcd_ready(members: int) -> dict[str, str]:
    """Two pods of kube-state-metrics say it."""
    name = 'kube_statefulset_status_replicas_ready{namespace="database",statefulset="postgres-etcd",pod="%s"}'
    return {name % "a": constant(members), name % "b": constant(members)}


def _archive(age: str, written: str) -> dict[str, str]:
    target = 'namespace="database",pod="p"'
    return {
        f"pg_stat_archiver_last_archive_age{{{target}}}": age,
        f'patroni_xlog_location{{scope="s00",name="p",{target}}}': written,
    }


def _last_seen(*steps: str) -> dict[str, str]:
    name = 'patroni_dcs_last_seen{scope="s00",name="%d"}'
    return {name % number: step for number, step in enumerate(steps)}


def _on_its_way(oldest: str) -> dict[str, str]:
    name = 'payments_database_cross_shard_oldest_seconds{shard="%s"}'
    return {name % "s00": constant(0), name % "s01": oldest}


def _versions(*versions: str) -> dict[str, str]:
    name = 'payments_database_schema_version{shard="s%02d"}'
    return {name % number: values for number, values in enumerate(versions)}


def _checks(figure: str, books: float, balances: float = 0) -> dict[str, str]:
    name = f'payments_database_check_{figure}{{shard="s00",check="%s"}}'
    return {name % "books": constant(books), name % "wallet_balances": constant(balances)}


BACKENDS = [
    *_health("KafkaOfflinePartitions", "kafka_controller_kafkacontroller_offlinepartitionscount", 2, 0),
    *_health("KafkaUnderMinIsr", "kafka_server_replicamanager_underminisrpartitioncount", 1, 0),
    *_health("KafkaUnderReplicated", "kafka_server_replicamanager_underreplicatedpartitions", 3, 0),
    *_health("KafkaControllerMissing", "kafka_controller_kafkacontroller_activecontrollercount", 0, 1),
    *pair("DatabaseConnectionsHigh", "postgres-cluster", fires=_connections(182), silent=_connections(178)),
    *pair(
        "DatabaseReplicationLag",
        "postgres-cluster",
        fires={'pg_replication_lag_seconds{pod="p"}': constant(31)},
        silent={'pg_replication_lag_seconds{pod="p"}': constant(29)},
    ),
    *pair("DatabaseDown", "postgres-cluster", fires={"pg_up": constant(0)}, silent={"pg_up": constant(1)}),
    *pair(
        "DatabaseWithoutPrimary",
        "postgres-cluster",
        fires=_primary("payments-s00", 1, 1),
        silent=_primary("payments-s00", 1, 0),
    ),
    # The other shard's primary is no consolation.
    *pair(
        "DatabaseWithoutPrimary",
        "postgres-cluster",
        fires={**_primary("payments-s00", 0, 0), **_primary("payments-s01", 1, 0)},
        silent={**_primary("payments-s00", 1, 0), **_primary("payments-s01", 0, 0)},
    ),
    *pair(
        "DatabaseUnseen",
        "postgres-cluster",
        fires=_primary("payments-s01", 1, 0),
        silent=_primary("payments-s00", 0, 0),
    ),
    # All members go at once: the last samples are stale, and nothing is said any more.
    Case(
        alert="DatabaseUnseen",
        subject="postgres-cluster",
        fires=True,
        series={'patroni_primary{scope="payments-s00",name="a"}': "1x10 stale"},
    ),
    *pair("DatabaseWithoutSynchronousReplica", "postgres-cluster", fires=_standbys(0, 0), silent=_standbys(0, 1)),
    *pair("DatabaseWithoutSynchronousReplica", "postgres-cluster", fires=_standbys(0, 0), silent=_standbys(1, 0)),
    # Each minute is a look at etcd, one of the members' is enough; then it is as in the first minute.
    *pair(
        "DatabaseWithoutEtcd",
        "postgres-cluster",
        fires=_last_seen("0+60x20 1200x40", constant(0)),
        silent=_last_seen(rising(60), constant(0)),
    ),
    *pair("EtcdWithoutQuorum", "postgres-etcd", fires=_etcd_ready(1), silent=_etcd_ready(2)),
    *pair("EtcdMemberDown", "postgres-etcd", fires=_etcd_ready(2), silent=_etcd_ready(3)),
    *_overdue("DatabaseGuardsNotKept", ("postgres-cluster-operations-keep",), 3 * 3600),
    *_overdue(
        "DatabaseBackupOverdue",
        ("postgres-cluster-backup-full", "postgres-cluster-backup-diff"),
        26 * 3600,
    ),
    *_overdue("DatabaseRestoreTestOverdue", ("postgres-cluster-restore-test",), 8 * 86_400),
    Case(
        alert="DatabaseBackupOverdue",
        subject="postgres-cluster",
        fires=False,
        series=_cron_jobs("postgres-cluster-backup-full", success=constant(-5 * 86_400))
        | _cron_jobs("postgres-cluster-backup-diff", success=constant(-3600)),
        labels='shard="s00"',
    ),
    *pair(
        "DatabaseArchivingFails",
        "postgres-cluster",
        fires={'pg_stat_archiver_failed_count{namespace="database",pod="p"}': rising(1)},
        silent={'pg_stat_archiver_failed_count{namespace="database",pod="p"}': "0 0 3x57"},
    ),
    *pair(
        "DatabaseArchiveOld",
        "postgres-cluster",
        fires=_archive(rising(60), rising(1000)),
        silent=_archive(constant(60), rising(1000)),
    ),
    # An idle primary, and a replica, have nothing to archive.
    *pair(
        "DatabaseArchiveOld",
        "postgres-cluster",
        fires=_archive(rising(60), rising(1000)),
        silent=_archive(rising(60), constant(1000)),
    ),
    *pair("PoolerConnectionsHigh", "postgres-cluster", fires=_pooler(910), silent=_pooler(890)),
    *(
        case
        for severity, days in (("warning", 60), ("critical", 30))
        for case in pair(
            "PartitionHeadroomLow",
            "partitions",
            fires=_headroom(days - 1),
            silent=_headroom(days + 1),
            labels=f'severity="{severity}"',
        )
    ),
    *pair("OutboxStuck", "outbox", fires=_outbox(rising(60)), silent=_outbox("0 60 90 0x57"), at="8m"),
    *pair("OutboxStuck", "outbox", fires=_outbox(constant(61)), silent=_outbox(constant(59))),
    *pair("BalancesStale", "balances", fires=_balances(constant(61)), silent=_balances(constant(59))),
    *(
        case
        for severity, seconds in (("warning", 300), ("critical", 1800))
        for case in pair(
            "CrossShardTransferStuck",
            "cross-shard-transfers",
            fires=_on_its_way(constant(seconds + 1)),
            silent=_on_its_way(constant(seconds - 1)),
            labels=f'severity="{severity}",shard="s01"',
        )
    ),
    *pair(
        "SchemaVersionsDiffer",
        "schema",
        fires=_versions(constant(12, 120), constant(10, 120)),
        silent=_versions(constant(12, 120), constant(12, 120)),
        at="70m",
    ),
    # One after the other, within the hour that a deployment may take.
    Case(
        alert="SchemaVersionsDiffer",
        subject="schema",
        fires=False,
        series=_versions("10 12x119", "10x50 12x70"),
        at="70m",
    ),
    *pair(
        "BooksWrong",
        "books",
        fires=_checks("wrong_rows", 1),
        silent=_checks("wrong_rows", 0),
        labels='check="books"',
    ),
    *pair(
        "BooksWrong",
        "books",
        fires=_checks("wrong_rows", 0, 3),
        silent=_checks("wrong_rows", 1, 0),
        labels='check="wallet_balances"',
    ),
    *pair(
        "BooksUnchecked",
        "books",
        fires=_checks("age_seconds", 172_801),
        silent=_checks("age_seconds", 172_799),
        labels='check="books"',
    ),
    *pair(
        "PoolerQueueing",
        "postgres-cluster",
        fires={'pgbouncer_pools_client_maxwait_seconds{database="payments"}': constant(1.5)},
        silent={'pgbouncer_pools_client_maxwait_seconds{database="payments"}': constant(0.5)},
    ),
    *pair(
        "CacheClusterBroken",
        "redis-cluster",
        fires={"redis_cluster_state": constant(0), "redis_cluster_slots_fail": constant(0)},
        silent={"redis_cluster_state": constant(1), "redis_cluster_slots_fail": constant(0)},
    ),
    *pair("CacheMemoryFull", "redis-cluster", fires=_cache(97, rising(5)), silent=_cache(97, constant(0)), at="45m"),
    *pair("CacheHitsLow", "redis-cluster", fires=_hits(100, 200), silent=_hits(200, 100), at="45m"),
    *pair("EdgeErrorsHigh", "edge", fires=_edge(20), silent=_edge(5)),
    *pair(
        "VolumeFillingUp",
        "volumes",
        fires=_volume(falling(1, start=190, minutes=180)),
        silent=_volume(constant(100, 180)),
        at="2h",
    ),
    # Full since long ago; and somebody else's volume.
    *pair(
        "VolumeFillingUp",
        "volumes",
        fires=_volume(constant(0, 480)),
        silent=_volume(falling(1, start=190, minutes=180), namespace="their-shop"),
        at="2h",
    ),
    Case(alert="VolumeFillingUp", subject="volumes", fires=True, series=_volume(constant(0, 480)), at="7h"),
    *pair("VolumeFull", "volumes", fires=_volume(constant(49)), silent=_volume(constant(51))),
    *pair("VolumeFull", "volumes", fires=_volume(constant(0)), silent=_volume(constant(0), namespace="their-shop")),
]

_KEDA = f'keda_scaler_detail_errors_total{{namespace="{NAMESPACE}",scaledObject="a",triggerName="lag"}}'
_RULES = 'prometheus_rule_group_last_evaluation_timestamp_seconds{rule_group="x;autoscaling-inputs"}'


def _queue(values: str) -> dict[str, str]:
    return {'payment_queue_depth{service="payment-service",pod="a"}': values}


def _drift(per_minute: int) -> dict[str, str]:
    return _group(constant(9_000), consumers=3, offsets=rising(per_minute))


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
        fires=_api_at(20, _ACCELERATING),
        silent=_api_at(20, rising(60_000)),
        at="40m",
    ),
    Case(alert="AtMaximumAndGrowing", subject=PAYMENT, fires=False, series=_api_at(19, _ACCELERATING), at="40m"),
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


CASES = [*SERVICES, *CONSUMERS, *CLIENTS, *BACKENDS, *AUTOSCALING, *MONITORING]


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
