"""Alerts on what keeps a shard's rows safe: synchronous replicas, the archive, backups and their tests, etcd."""

from collections.abc import Iterator, Sequence

from components.observability.model import Alert, Area, Severity, Surroundings
from components.observability.watched import WatchedDatabase, watched_database
from settings.observability import ExporterKind

_POSTGRES = "postgres-cluster"
_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS
_UNKEPT_SECONDS = 3 * _HOUR_SECONDS
"""The CronJob is hourly, and one run may find a member away."""
_UNARCHIVED_SECONDS = 900
"""A segment is archived within a minute of its first write (``archive_timeout``)."""
_UNSEEN_SECONDS = 60
"""Members look at etcd every few seconds; a lease is 20 or 30 s."""


def safety_alerts(around: Surroundings) -> Iterator[Alert]:
    """Alerts for the database that the stack declares itself, as far as its exporters are scraped."""
    database = watched_database(around.database)
    if around.has(ExporterKind.PATRONI):
        yield _without_synchronous_replica()
        yield _without_etcd()
    if database is None:
        return
    yield from _etcd(database)
    for shard, cron_job in database.kept.items():
        yield _overdue(
            "DatabaseGuardsNotKept",
            shard,
            database.namespace,
            [cron_job],
            age_seconds=_UNKEPT_SECONDS,
            severity=Severity.WARNING,
            what="strict replication may be off since somebody switched it off",
            anchor="guards-are-not-kept",
        )
    if database.backups:
        yield from _archive(around)
    limits = around.observability.thresholds
    for shard, cron_jobs in database.backups.items():
        yield _overdue(
            "DatabaseBackupOverdue",
            shard,
            database.namespace,
            cron_jobs,
            age_seconds=limits.backup_age_hours * _HOUR_SECONDS,
            severity=Severity.CRITICAL,
            what="its newest backup is too old",
            anchor="a-backup-is-overdue",
        )
    for shard, cron_job in database.restore_tests.items():
        yield _overdue(
            "DatabaseRestoreTestOverdue",
            shard,
            database.namespace,
            [cron_job],
            age_seconds=limits.restore_test_age_days * _DAY_SECONDS,
            severity=Severity.WARNING,
            what="nobody knows whether its backups can be restored",
            anchor="a-restore-test-is-overdue",
        )


def _alert(
    name: str,
    expression: str,
    *,
    lasts: str,
    severity: Severity,
    summary: str,
    action: str,
    runbook: str,
    subject: str = _POSTGRES,
) -> Alert:
    return Alert(
        name=name, expression=expression, lasts=lasts, severity=severity, area=Area.DATABASE, subject=subject,
        summary=summary, action=action, runbook=runbook,
    )  # fmt: skip


def _without_synchronous_replica() -> Alert:
    return _alert(
        "DatabaseWithoutSynchronousReplica",
        "sum by (scope) (patroni_sync_standby + patroni_quorum_standby) == 0",
        lasts="2m",
        severity=Severity.CRITICAL,
        summary="{{ $labels.scope }} has no synchronous replica: writes wait, or stand on one disk",
        action="bring a replica back; patronictl show-config tells whether strict replication is on and writes wait",
        runbook="database-health.md#no-synchronous-replica",
    )


def _without_etcd() -> Alert:
    return _alert(
        "DatabaseWithoutEtcd",
        f"time() - max by (scope) (patroni_dcs_last_seen) > {_UNSEEN_SECONDS}",
        lasts="1m",
        severity=Severity.CRITICAL,
        summary="no member of {{ $labels.scope }} has reached etcd for {{ $value | humanizeDuration }}",
        action="delete no database pod: the primary goes on while it reaches all members; bring etcd back",
        runbook="database-health.md#etcd-is-away",
    )


def _etcd(database: WatchedDatabase) -> Iterator[Alert]:
    chosen = f'{{namespace="{database.namespace}",statefulset="{database.etcd}"}}'
    # More than one pod of kube-state-metrics tells the same.
    ready = f"max(kube_statefulset_status_replicas_ready{chosen})"
    yield _alert(
        "EtcdWithoutQuorum",
        f"{ready} < {database.etcd_members // 2 + 1}",
        lasts="1m",
        severity=Severity.CRITICAL,
        subject=database.etcd,
        summary="{{ $value }} members of etcd are ready: no primary can be elected",
        action="delete no database pod; bring back members that still have their disks before anything is restored",
        runbook="database-health.md#etcd-is-away",
    )
    yield _alert(
        "EtcdMemberDown",
        f"{ready} < {database.etcd_members}",
        lasts="10m",
        severity=Severity.WARNING,
        subject=database.etcd,
        summary=f"{{{{ $value }}}} of {database.etcd_members} members of etcd are ready",
        action="look at the pod and its node; a member whose disk is lost is removed and added anew",
        runbook="database-health.md#etcd-is-away",
    )


def _archive(around: Surroundings) -> Iterator[Alert]:
    if not around.has(ExporterKind.POSTGRES):
        return
    yield _alert(
        "DatabaseArchivingFails",
        "max by (namespace, pod) (increase(pg_stat_archiver_failed_count[15m])) > 0",
        lasts="15m",
        severity=Severity.CRITICAL,
        summary="{{ $labels.pod }} cannot archive its write-ahead log",
        action="look at the member's log for pgbackrest's reason: the store, its key, or a missing stanza",
        runbook="database-health.md#the-archive-stands-still",
    )
    if around.has(ExporterKind.PATRONI):
        yield _alert(
            "DatabaseArchiveOld",
            # Only a primary has a position that it writes to; an idle one has nothing to archive.
            f"max by (namespace, pod) (pg_stat_archiver_last_archive_age) > {_UNARCHIVED_SECONDS}"
            " and on (namespace, pod) increase(patroni_xlog_location[15m]) > 0",
            lasts="5m",
            severity=Severity.CRITICAL,
            summary="{{ $labels.pod }} writes, and archived last {{ $value | humanizeDuration }} ago",
            action="see whether pgbackrest hangs on the member; a point in time since then cannot be restored",
            runbook="database-health.md#the-archive-stands-still",
        )


def _overdue(
    name: str,
    shard: str,
    namespace: str,
    cron_jobs: Sequence[str],
    *,
    age_seconds: int,
    severity: Severity,
    what: str,
    anchor: str,
) -> Alert:
    """None of these CronJobs has succeeded for so long; one that never has counts from when it was made."""
    chosen = f'{{namespace="{namespace}",cronjob=~"{"|".join(cron_jobs)}"}}'
    last = f"(max(kube_cronjob_status_last_successful_time{chosen}) or max(kube_cronjob_created{chosen}))"
    return Alert(
        name=name,
        expression=f"time() - {last} > {age_seconds}",
        lasts="15m",
        severity=severity,
        area=Area.DATABASE,
        subject=_POSTGRES,
        summary=f"{shard}: {what} ({{{{ $value | humanizeDuration }}}} without a success)",
        action=f"kubectl get jobs -n {namespace}, and the log of the last one of {' or '.join(cron_jobs)}",
        runbook=f"database-health.md#{anchor}",
        labels={"shard": shard},
    )
