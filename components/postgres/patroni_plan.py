"""A shard's members as manifests: the StatefulSet that Patroni runs in."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, content_hash
from components.cache.pods import plan_container
from components.postgres.backup_files import SECRET_VARIABLES, SERVER_CONFIG_FILE, backup_files
from components.postgres.bootstrap_files import MAINTENANCE_DATABASE
from components.postgres.model import (
    BACKUP_PORT,
    CONFIG_PATH,
    DATA_PATH,
    ETCD_TLS_PATH,
    MONITORING_USER,
    PASSWORDS_PATH,
    PATRONI_PORT,
    POSTGRES_PORT,
    RUN_PATH,
    DatabaseContext,
)
from components.postgres.patroni_files import (
    BOOTSTRAP_FILE,
    MEMBER_FILE,
    PATRONI_FOLDER,
    member_files,
    render_bootstrap,
)
from components.postgres.pods import (
    COMPONENT_SERVER,
    CONFIG_MOUNT,
    PASSWORDS_MOUNT,
    TEMPORARY,
    TLS_MOUNT,
    certificate_volume,
    http_get,
    memory_volume,
    passwords_volume,
    plan_account,
    plan_apart,
    plan_claim,
    plan_config_map,
    plan_disruption_budget,
    plan_metadata,
    plan_pod_base,
    plan_service,
    pod_field,
    ports,
    probe,
    secret_variables,
    temporary_volume,
    variables,
)
from settings.services import Resources

EXPORTER_PORT = 9187
GRACE_PERIOD_SECONDS = 300
"""A checkpoint of a large cache takes minutes; a member that is killed in it recovers for as long."""
_PORTS = {"postgres": POSTGRES_PORT, "patroni": PATRONI_PORT}
_RUN_MOUNT = {"name": "run", "mountPath": RUN_PATH}
_DATA_MOUNT = {"name": "data", "mountPath": DATA_PATH}


def plan_members(context: DatabaseContext, shard: str) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    name = context.cluster(shard)
    files = {
        **member_files(context, shard),
        **(backup_files(context, shard) if context.postgres.backup else {}),
    }
    config_map = f"{name}-config-{content_hash(files)}"
    return {
        "account": plan_account(context, name, COMPONENT_SERVER),
        "config": plan_config_map(context, config_map, files, of=name, component=COMPONENT_SERVER),
        # Only a new cluster reads it: its change is the reconfiguration's business and restarts no pod.
        "bootstrap": plan_config_map(
            context,
            f"{name}-bootstrap",
            {BOOTSTRAP_FILE: render_bootstrap(context)},
            of=name,
            component=COMPONENT_SERVER,
            immutable=False,
        ),
        "pods-svc": plan_service(
            context, context.pods_service(shard), name, _ports(context), component=COMPONENT_SERVER, headless=True
        ),
        "pdb": plan_disruption_budget(context, name, COMPONENT_SERVER, holds_data=True),
        "statefulset": _stateful_set(context, shard, config_map),
    }


def _ports(context: DatabaseContext) -> dict[str, int]:
    return {**_PORTS, "metrics": EXPORTER_PORT, **({"backup": BACKUP_PORT} if context.postgres.backup else {})}


def _stateful_set(context: DatabaseContext, shard: str, config_map: str) -> Manifest:
    name, postgres = context.cluster(shard), context.postgres
    described = plan_metadata(context, name, of=name, component=COMPONENT_SERVER)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        # The rollout Job waits for the members, and replaces one that a bad version left down. The engine would wait
        # for that one to be ready first, and never come to the Job.
        "metadata": {**described, "annotations": {"pulumi.com/skipAwait": "true"}},
        "spec": {
            "replicas": postgres.nodes,
            "serviceName": context.pods_service(shard),
            # After all members were down, only the last primary or its synchronous replica may lead: pod 0 may be
            # neither, and would wait for ever as the first of an order.
            "podManagementPolicy": "Parallel",
            # Replaced in order by the rollout Job, replicas first: Kubernetes knows no roles.
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 5,
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
            "selector": {"matchLabels": selector(name)},
            "template": {
                "metadata": {"labels": context.labels(name).of_pods(COMPONENT_SERVER, name)},
                "spec": _pod(context, shard, config_map),
            },
            "volumeClaimTemplates": [plan_claim(postgres.storage.size, postgres.storage.storage_class)],
        },
    }


def _pod(context: DatabaseContext, shard: str, config_map: str) -> dict[str, Any]:
    name, certificates, backup = context.cluster(shard), context.postgres.certificates, context.postgres.backup
    config = {
        "name": "config",
        "projected": {
            "defaultMode": 0o444,
            "sources": [
                {"configMap": {"name": config_map}},
                {
                    "configMap": {
                        "name": config_map,
                        "items": [{"key": MEMBER_FILE, "path": f"{PATRONI_FOLDER}/{MEMBER_FILE}"}],
                    }
                },
                {
                    "configMap": {
                        "name": f"{name}-bootstrap",
                        "items": [{"key": BOOTSTRAP_FILE, "path": f"{PATRONI_FOLDER}/{BOOTSTRAP_FILE}"}],
                    }
                },
            ],
        },
    }
    keys = {key: key for key in ("superuser", "replication", "rewind", "restapi", "admin", "pooler", "monitoring")}
    return {
        **plan_pod_base(name, grace_period_seconds=GRACE_PERIOD_SECONDS),
        **plan_apart(name),
        "containers": [
            _server(context),
            _exporter(context),
            *([_backup_server(context, backup.resources)] if backup is not None else []),
        ],
        "volumes": [
            config,
            certificate_volume("tls", certificates.postgres),
            certificate_volume("etcd-tls", certificates.etcd, authority_only=True),
            passwords_volume(context, {**keys, f"etcd-{shard}": "etcd"}),
            # Sockets only; the server's shared memory has its own folder.
            memory_volume("run", "16Mi"),
            memory_volume("shm", "256Mi"),
            temporary_volume("256Mi"),
        ],
    }


def _server(context: DatabaseContext) -> dict[str, Any]:
    timers, backup = context.postgres.effective_timers, context.postgres.backup
    period = timers.loop_wait_seconds
    # A member is given up by its kubelet when its lease has run out, not before.
    failures = -(-timers.ttl_seconds // period)
    return plan_container(
        "postgres",
        context.postgres.image,
        context.postgres.resources,
        command=["sh", f"{CONFIG_PATH}/start.sh"],
        env=[
            pod_field("POD_NAME", "metadata.name"),
            *(secret_variables(backup.existing_secret, SECRET_VARIABLES) if backup is not None else []),
        ],
        ports=ports(_PORTS),
        startupProbe=probe(period, 60, **http_get("/liveness", "patroni", tls=True)),
        readinessProbe=probe(period, failures, **http_get("/readiness", "patroni", tls=True)),
        livenessProbe=probe(period, failures, **http_get("/liveness", "patroni", tls=True)),
        volumeMounts=[
            CONFIG_MOUNT,
            TLS_MOUNT,
            {"name": "etcd-tls", "mountPath": ETCD_TLS_PATH, "readOnly": True},
            PASSWORDS_MOUNT,
            _RUN_MOUNT,
            _DATA_MOUNT,
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 # PostgreSQL's parallel workers share it
            TEMPORARY,
        ],
    )


def _exporter(context: DatabaseContext) -> dict[str, Any]:
    exporters = context.postgres.exporters
    return plan_container(
        "exporter",
        exporters.postgres_image,
        exporters.resources,
        env=variables(
            {
                "DATA_SOURCE_PASS_FILE": f"{PASSWORDS_PATH}/monitoring",
                "DATA_SOURCE_URI": f"/{MAINTENANCE_DATABASE}?host={RUN_PATH}&sslmode=disable",
                "DATA_SOURCE_USER": MONITORING_USER,
            }
        ),
        ports=ports({"metrics": EXPORTER_PORT}),
        startupProbe=probe(5, 12, **http_get("/", "metrics")),
        readinessProbe=probe(10, 3, **http_get("/", "metrics")),
        livenessProbe=probe(10, 6, tcpSocket={"port": "metrics"}),
        volumeMounts=[
            {**PASSWORDS_MOUNT, "mountPath": f"{PASSWORDS_PATH}/monitoring", "subPath": "monitoring"},
            _RUN_MOUNT,
        ],
    )


def _backup_server(context: DatabaseContext, resources: Resources) -> dict[str, Any]:
    """What the backup Jobs speak to: they read the files of a member, a replica where one is in step."""
    command = ["pgbackrest", f"--config={SERVER_CONFIG_FILE}"]
    return plan_container(
        "backup",
        context.postgres.image,
        resources,
        command=[*command, "server"],
        ports=ports({"backup": BACKUP_PORT}),
        startupProbe=probe(5, 12, tcpSocket={"port": "backup"}),
        readinessProbe=probe(10, 3, exec={"command": [*command, "server-ping", "localhost"]}),
        livenessProbe=probe(10, 6, tcpSocket={"port": "backup"}),
        volumeMounts=[CONFIG_MOUNT, TLS_MOUNT, _RUN_MOUNT, _DATA_MOUNT, TEMPORARY],
    )
