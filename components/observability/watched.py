"""What of the stack's own database the cluster's metrics tell about."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.postgres.backup_plan import backup_cron_jobs, restore_test_name
from components.postgres.model import DatabaseContext
from components.postgres.operations_plan import keep_name
from settings.postgres_rules import ETCD_NAME


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedDatabase:
    """Names in the database's namespace: shard → CronJobs, and the workload of etcd."""

    namespace: str
    etcd: str
    etcd_members: int
    kept: Mapping[str, str]
    """What sets strict replication back."""
    backups: Mapping[str, tuple[str, ...]]
    """Any of them makes a backup; empty without backups."""
    restore_tests: Mapping[str, str]


def watched_database(context: DatabaseContext | None) -> WatchedDatabase | None:
    """Its workloads and CronJobs by name; ``None`` without a database."""
    if context is None:
        return None
    shards = context.postgres.shards
    backed_up = shards if context.postgres.backup is not None else []
    return WatchedDatabase(
        namespace=context.namespace,
        etcd=ETCD_NAME,
        etcd_members=context.postgres.etcd.members,
        kept={shard: keep_name(context, shard) for shard in shards},
        backups={shard: backup_cron_jobs(context, shard) for shard in backed_up},
        restore_tests={shard: restore_test_name(context, shard) for shard in backed_up},
    )
