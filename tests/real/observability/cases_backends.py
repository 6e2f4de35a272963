"""Cases of Kafka, the database, the caches, the edge and volumes."""

from tests.real.observability.case import Case, constant, falling, pair, rising


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


def _refused(oldest: str) -> dict[str, str]:
    name = 'payments_database_buckets_refused_seconds{shard="%s"}'
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
    *(
        case
        for severity, seconds in (("warning", 600), ("critical", 3600))
        for case in pair(
            "BucketsStayClosed",
            "buckets",
            fires=_refused(constant(seconds + 1)),
            silent=_refused(constant(seconds - 1)),
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
