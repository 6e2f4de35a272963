"""Backups as manifests: the Jobs that make them, and the one that restores the newest and reads all of it."""

from pathlib import PurePosixPath
from typing import Any

from components.base.manifests import Manifest, content_hash
from components.cache.pods import plan_container
from components.postgres.backup_files import CONFIG_FILE, SECRET_VARIABLES, render_backup
from components.postgres.jobs import plan_job_pod, plan_once, plan_scheduled
from components.postgres.model import CONFIG_PATH, DATA_PATH, DatabaseContext
from components.postgres.pods import (
    COMPONENT_JOB,
    CONFIG_MOUNT,
    TEMPORARY,
    TLS_MOUNT,
    certificate_volume,
    config_volume,
    plan_account,
    plan_claim,
    plan_config_map,
    secret_variables,
    temporary_volume,
)
from components.postgres.restore_files import RESTORE_CONFIG, restore_in_place_script, restore_test_script
from settings.postgres import DatabaseBackup

_BACKUP_SECONDS = 6 * 3600
_STANZA_SECONDS = 600


def backup_name(context: DatabaseContext, shard: str) -> str:
    """Name of the pods that make backups, and of the Jobs' common part."""
    return f"{context.cluster(shard)}-backup"


def restore_name(context: DatabaseContext, shard: str) -> str:
    """Name of the pods that try a restore; they see the store and no member."""
    return f"{context.cluster(shard)}-restore"


def backup_cron_jobs(context: DatabaseContext, shard: str) -> tuple[str, str]:
    """Names of the CronJobs that make backups: full ones, and what changed since."""
    name = backup_name(context, shard)
    return f"{name}-full", f"{name}-diff"


def restore_test_name(context: DatabaseContext, shard: str) -> str:
    """Name of the CronJob that restores the newest backup and reads all of it."""
    return f"{restore_name(context, shard)}-test"


def plan_backup(context: DatabaseContext, shard: str) -> dict[str, Manifest]:
    """Role → manifest; empty without a backup."""
    backup = context.postgres.backup
    if backup is None:
        return {}
    name, restore = backup_name(context, shard), restore_name(context, shard)
    config_map = backup_config_map(context, shard)
    stanza = context.scope(shard)
    full, differential = backup_cron_jobs(context, shard)

    def job(*command: str) -> dict[str, Any]:
        return _backup_pod(context, backup, name, config_map, list(command))

    def pgbackrest(*words: str) -> list[str]:
        return ["pgbackrest", f"--config={CONFIG_FILE}", f"--stanza={stanza}", *words]

    return {
        "backup-account": plan_account(context, name, COMPONENT_JOB),
        "restore-account": plan_account(context, restore, COMPONENT_JOB),
        "backup-config": plan_config_map(
            context, config_map, backup_job_files(context, shard), of=name, component=COMPONENT_JOB
        ),
        # Archiving fails, and keeps its segments, until the store knows the shard. Repeating it changes nothing.
        "backup-stanza-job": plan_once(
            context, f"{name}-stanza", name, job(*pgbackrest("stanza-create")), deadline_seconds=_STANZA_SECONDS
        ),
        "backup-full-cronjob": plan_scheduled(
            context,
            full,
            name,
            job(*pgbackrest("--type=full", "backup")),
            schedule=backup.full_schedule,
            deadline_seconds=_BACKUP_SECONDS,
        ),
        "backup-differential-cronjob": plan_scheduled(
            context,
            differential,
            name,
            job(*pgbackrest("--type=diff", "backup")),
            schedule=backup.differential_schedule,
            deadline_seconds=_BACKUP_SECONDS,
        ),
        "restore-test-cronjob": plan_scheduled(
            context,
            restore_test_name(context, shard),
            restore,
            _restore_pod(context, backup, restore, config_map),
            schedule=backup.restore_test_schedule,
            deadline_seconds=_BACKUP_SECONDS,
        ),
    }


def backup_job_files(context: DatabaseContext, shard: str) -> dict[str, str]:
    """Files of the Jobs' pods: the backups', and of the restore test that has a data folder of its own; or none."""
    if context.postgres.backup is None:
        return {}
    return {
        "pgbackrest.conf": render_backup(context, shard, local=False),
        PurePosixPath(RESTORE_CONFIG).name: render_backup(context, shard, local=True),
        "restore_test.sh": restore_test_script(context, shard),
        "restore_in_place.sh": restore_in_place_script(context, shard),
    }


def backup_config_map(context: DatabaseContext, shard: str) -> str:
    """Name of the ConfigMap with these files."""
    return f"{backup_name(context, shard)}-config-{content_hash(backup_job_files(context, shard))}"


def _backup_pod(
    context: DatabaseContext, backup: DatabaseBackup, account: str, config_map: str, command: list[str]
) -> dict[str, Any]:
    container = plan_container(
        "backup",
        context.postgres.image,
        backup.resources,
        command=command,
        env=secret_variables(backup.existing_secret, SECRET_VARIABLES),
        volumeMounts=[CONFIG_MOUNT, TLS_MOUNT, TEMPORARY],
    )
    certificate = certificate_volume("tls", context.postgres.certificates.operations)
    return plan_job_pod(account, container, [config_volume(config_map), certificate, temporary_volume()])


def _restore_pod(context: DatabaseContext, backup: DatabaseBackup, account: str, config_map: str) -> dict[str, Any]:
    storage = context.postgres.storage
    claim = plan_claim(storage.size, storage.storage_class)["spec"]
    container = plan_container(
        "restore",
        context.postgres.image,
        backup.resources,
        command=["sh", f"{CONFIG_PATH}/restore_test.sh"],
        env=secret_variables(backup.existing_secret, SECRET_VARIABLES),
        volumeMounts=[CONFIG_MOUNT, TEMPORARY, {"name": "data", "mountPath": DATA_PATH}],
    )
    # A disk of its own, as large as a member's, that goes when the pod does.
    disk = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
    return plan_job_pod(account, container, [config_volume(config_map), disk, temporary_volume()])
