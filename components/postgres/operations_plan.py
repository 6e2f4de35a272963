"""The Jobs that keep a running database as the settings say: etcd's users and snapshots, configuration, rollout."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.manifests import Manifest, content_hash
from components.cache.pods import plan_container
from components.postgres.jobs import plan_job_pod, plan_once, plan_scheduled
from components.postgres.model import (
    CONFIG_PATH,
    ETCD_PORT,
    PASSWORDS_PATH,
    PATRONI_PORT,
    REST_USER,
    TLS_PATH,
    DatabaseContext,
)
from components.postgres.patroni_files import PATRONI_NAMESPACE, plan_dynamic
from components.postgres.pods import (
    COMPONENT_JOB,
    PASSWORDS_MOUNT,
    TLS_MOUNT,
    certificate_volume,
    passwords_volume,
    plan_account,
    plan_config_map,
    plan_metadata,
    variables,
)
from settings.postgres_rules import ETCD_NAME

CODE_PATH = "/opt/postgres"
SNAPSHOT_PATH = "/snapshots"
ETCD_OPERATIONS = f"{ETCD_NAME}-operations"
_FOLDER = Path(__file__).parent / "reconfigure"
_CODE_MOUNT = {"name": "code", "mountPath": f"{CODE_PATH}/reconfigure", "readOnly": True}
_SNAPSHOT_SECONDS = 900
_KEEP_SCHEDULE = "41 * * * *"
_CODE_NAME = "postgres-operations-code"


def operations_name(context: DatabaseContext, shard: str) -> str:
    """Name of the pods that speak to a shard's members."""
    return f"{context.cluster(shard)}-operations"


def keep_name(context: DatabaseContext, shard: str) -> str:
    """Name of the CronJob that sets back what somebody switched off by hand."""
    return f"{operations_name(context, shard)}-keep"


def reconfigure_code() -> dict[str, str]:
    """File name → content of the package that the pods run."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.py"))}


def code_config_map() -> str:
    """Name of the ConfigMap with the package."""
    return f"{_CODE_NAME}-{content_hash(reconfigure_code())}"


def plan_etcd_operations(context: DatabaseContext) -> dict[str, Manifest]:
    """Role → manifest: the package, etcd's users at every change of them, and the snapshots."""
    postgres = context.postgres
    shards = postgres.shards
    users = ",".join(
        f"{context.scope(shard)}={etcd_prefix(context, shard)}={PASSWORDS_PATH}/etcd-{shard}" for shard in shards
    )
    common = {
        "PG_ETCD": etcd_addresses(context),
        "PG_PASSWORD_FILE": f"{PASSWORDS_PATH}/etcd-root",
    }
    keys = ["etcd-root", *(f"etcd-{shard}" for shard in shards)]
    users_pod = _pod(
        context, ETCD_OPERATIONS, "etcd-users", {**common, "PG_ETCD_USERS": users}, keys, mounts=(), volumes=()
    )
    snapshot_pod = _pod(
        context,
        ETCD_OPERATIONS,
        "etcd-snapshot",
        {**common, "PG_SNAPSHOT_FOLDER": SNAPSHOT_PATH, "PG_SNAPSHOTS_KEPT": str(postgres.etcd.snapshots_kept)},
        ["etcd-root"],
        mounts=[{"name": "snapshots", "mountPath": SNAPSHOT_PATH}],
        volumes=[{"name": "snapshots", "persistentVolumeClaim": {"claimName": f"{ETCD_NAME}-snapshots"}}],
    )
    return {
        "operations-code": plan_config_map(
            context, code_config_map(), reconfigure_code(), of=_CODE_NAME, component=COMPONENT_JOB
        ),
        "etcd-operations-account": plan_account(context, ETCD_OPERATIONS, COMPONENT_JOB),
        "etcd-users-job": plan_once(
            context,
            f"{ETCD_NAME}-users",
            ETCD_OPERATIONS,
            users_pod,
            deadline_seconds=postgres.operations.deadline_seconds,
            salt=postgres.operations.credentials_version,
        ),
        "etcd-snapshots-claim": _snapshots_claim(context),
        "etcd-snapshot-cronjob": plan_scheduled(
            context,
            f"{ETCD_NAME}-snapshot",
            ETCD_OPERATIONS,
            snapshot_pod,
            schedule=postgres.etcd.snapshot_schedule,
            deadline_seconds=_SNAPSHOT_SECONDS,
        ),
    }


def plan_operations(context: DatabaseContext, shard: str, revision: object) -> dict[str, Manifest]:
    """Role → manifest: the configuration's Jobs, and the rollout's whenever the members' pods change (``revision``)."""
    name, postgres = operations_name(context, shard), context.postgres
    desired = {"desired.json": json.dumps(plan_dynamic(context), indent=2, sort_keys=True) + "\n"}
    config_map = f"{name}-config-{content_hash(desired)}"
    common = {
        "PG_CERT_FILE": f"{TLS_PATH}/tls.crt",
        "PG_KEY_FILE": f"{TLS_PATH}/tls.key",
        "PG_MEMBERS": ",".join(f"https://{host}:{PATRONI_PORT}" for host in context.member_hosts(shard)),
        "PG_PASSWORD_FILE": f"{PASSWORDS_PATH}/restapi",
        "PG_REST_USER": REST_USER,
    }
    configure, keep = (
        _pod(
            context,
            name,
            command,
            {**common, "PG_DESIRED_FILE": f"{CONFIG_PATH}/desired.json"},
            ["restapi"],
            mounts=[{"name": "config", "mountPath": CONFIG_PATH, "readOnly": True}],
            volumes=[{"name": "config", "configMap": {"name": config_map, "defaultMode": 0o444}}],
        )
        for command in ("configure", "keep")
    )
    rollout = _pod(
        context,
        name,
        "rollout",
        {**common, "PG_NAMESPACE": context.namespace, "PG_WORKLOAD": context.cluster(shard)},
        ["restapi"],
        mounts=[{"name": "api-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}],
        volumes=[_api_token()],
    )
    seconds = postgres.operations.deadline_seconds
    return {
        "operations-account": plan_account(context, name, COMPONENT_JOB),
        "operations-role": _role(context, shard),
        "operations-role-binding": _role_binding(context, shard),
        "operations-config": plan_config_map(context, config_map, desired, of=name, component=COMPONENT_JOB),
        # In this order: more memory is there before PostgreSQL is told to use it, and a new image before its settings.
        "rollout-job": plan_once(context, f"{name}-rollout", name, rollout, deadline_seconds=seconds, salt=revision),
        "configure-job": plan_once(context, f"{name}-configure", name, configure, deadline_seconds=seconds),
        # The Job above runs once for each content: what a person switches off in an incident would stay off.
        "keep-cronjob": plan_scheduled(
            context, keep_name(context, shard), name, keep, schedule=_KEEP_SCHEDULE, deadline_seconds=seconds + 60
        ),
    }


def _pod(
    context: DatabaseContext,
    account: str,
    command: str,
    environment: dict[str, str],
    passwords: Sequence[str],
    *,
    mounts: Sequence[dict[str, Any]],
    volumes: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    container = plan_operation(context, command, environment, mounts)
    return plan_job_pod(account, container, [*operation_volumes(context, passwords), *volumes])


def plan_operation(
    context: DatabaseContext, command: str, environment: Mapping[str, str], mounts: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The container that runs one command of the package."""
    operations = context.postgres.operations
    return plan_container(
        command,
        operations.image,
        operations.resources,
        command=["python3", "-m", "reconfigure", command],
        env=variables(
            {
                **environment,
                "PG_CA_FILE": f"{TLS_PATH}/ca.crt",
                "PG_DEADLINE_SECONDS": str(operations.deadline_seconds),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": CODE_PATH,
            }
        ),
        volumeMounts=[_CODE_MOUNT, TLS_MOUNT, PASSWORDS_MOUNT, *mounts],
    )


def operation_volumes(context: DatabaseContext, passwords: Sequence[str]) -> list[dict[str, Any]]:
    """What every such container mounts: the package, the Jobs' certificate, and these passwords."""
    code = {"name": "code", "configMap": {"name": code_config_map(), "defaultMode": 0o444}}
    certificate = certificate_volume("tls", context.postgres.certificates.operations)
    return [code, certificate, passwords_volume(context, {key: key for key in passwords})]


def etcd_addresses(context: DatabaseContext) -> str:
    """The members of etcd as the package takes them."""
    return ",".join(f"https://{host}:{ETCD_PORT}" for host in context.etcd_hosts())


def etcd_prefix(context: DatabaseContext, shard: str) -> str:
    """Where a shard's keys lie."""
    return f"{PATRONI_NAMESPACE}{context.scope(shard)}/"


def _api_token() -> dict[str, Any]:
    """A token that ends with the Job, mounted into this pod only."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 7200}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "api-token", "projected": {"defaultMode": 0o440, "sources": sources}}


def _role(context: DatabaseContext, shard: str) -> Manifest:
    """Delete the pods of this shard, by name; read what tells which are outdated."""
    name = operations_name(context, shard)
    pods = [f"{context.cluster(shard)}-{ordinal}" for ordinal in range(context.postgres.nodes)]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": plan_metadata(context, name, of=name, component=COMPONENT_JOB),
        "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["pods"], "resourceNames": pods, "verbs": ["delete"]},
            {
                "apiGroups": ["apps"],
                "resources": ["statefulsets"],
                "resourceNames": [context.cluster(shard)],
                "verbs": ["get"],
            },
        ],
    }


def _role_binding(context: DatabaseContext, shard: str) -> Manifest:
    name = operations_name(context, shard)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": plan_metadata(context, name, of=name, component=COMPONENT_JOB),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": context.namespace}],
    }


def _snapshots_claim(context: DatabaseContext) -> Manifest:
    etcd = context.postgres.etcd
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": etcd.storage}}}
    if etcd.storage_class is not None:
        spec["storageClassName"] = etcd.storage_class
    described = plan_metadata(context, f"{ETCD_NAME}-snapshots", of=ETCD_NAME, component=COMPONENT_JOB)
    # Many classes bind a claim only when a pod uses it: the first snapshot.
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {**described, "annotations": {"pulumi.com/skipAwait": "true"}},
        "spec": spec,
    }
