"""A shard taken back to a moment, as a Job that only a person starts."""

from typing import Any

from components.base.manifests import Manifest
from components.cache.pods import plan_container
from components.postgres.backup_files import SECRET_VARIABLES
from components.postgres.backup_plan import backup_config_map
from components.postgres.jobs import plan_by_hand, plan_job_pod
from components.postgres.model import CONFIG_PATH, DATA_PATH, PASSWORDS_PATH, DatabaseContext
from components.postgres.operations_plan import (
    etcd_addresses,
    etcd_prefix,
    operation_volumes,
    plan_operation,
)
from components.postgres.pods import (
    COMPONENT_JOB,
    CONFIG_MOUNT,
    TEMPORARY,
    config_volume,
    plan_account,
    secret_variables,
    temporary_volume,
)
from components.postgres.restore_files import TARGET_VARIABLE
from settings.postgres import DatabaseBackup

_RESTORE_SECONDS = 24 * 3600
TARGET_KEY = "target"


def in_place_name(context: DatabaseContext, shard: str) -> str:
    """Name of the CronJob and of its pods; ``-target`` behind it is the ConfigMap that a person makes."""
    return f"{context.cluster(shard)}-restore-in-place"


def plan_restore_in_place(context: DatabaseContext, shard: str) -> dict[str, Manifest]:
    """Role → manifest; empty without a backup. docs/runbooks/postgres-restore.md says when to run it."""
    backup = context.postgres.backup
    if backup is None:
        return {}
    name = in_place_name(context, shard)
    return {
        "restore-in-place-account": plan_account(context, name, COMPONENT_JOB),
        "restore-in-place-cronjob": plan_by_hand(
            context, name, name, _pod(context, backup, shard), deadline_seconds=_RESTORE_SECONDS
        ),
    }


def _pod(context: DatabaseContext, backup: DatabaseBackup, shard: str) -> dict[str, Any]:
    name = in_place_name(context, shard)
    forget = plan_operation(
        context,
        "etcd-forget",
        {
            "PG_ETCD": etcd_addresses(context),
            "PG_ETCD_PREFIX": etcd_prefix(context, shard),
            "PG_ETCD_USER": context.scope(shard),
            "PG_PASSWORD_FILE": f"{PASSWORDS_PATH}/etcd-{shard}",
        },
    )
    # Without the ConfigMap, which is deleted when it is over, the pod waits and touches nothing.
    target = {"configMapKeyRef": {"name": f"{name}-target", "key": TARGET_KEY}}
    restore = plan_container(
        "restore",
        context.postgres.image,
        backup.resources,
        command=["sh", f"{CONFIG_PATH}/restore_in_place.sh"],
        env=[
            *secret_variables(backup.existing_secret, SECRET_VARIABLES),
            {"name": TARGET_VARIABLE, "valueFrom": target},
        ],
        volumeMounts=[CONFIG_MOUNT, TEMPORARY, {"name": "data", "mountPath": DATA_PATH}],
    )
    data = {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{context.cluster(shard)}-0"}}
    volumes = [config_volume(backup_config_map(context, shard)), data, temporary_volume()]
    pod = plan_job_pod(name, restore, [*operation_volumes(context, [f"etcd-{shard}"]), *volumes])
    return {**pod, "initContainers": [forget]}
