"""A shard's poolers as manifests: PgBouncer with HAProxy beside it, one Deployment for writes and one for reads."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, content_hash, metadata
from components.base.workload import zone_spread
from components.cache.pods import plan_container
from components.postgres.haproxy_files import render_haproxy
from components.postgres.model import (
    CONFIG_PATH,
    HAPROXY_HEALTH_PORT,
    MONITORING_USER,
    POOLER_PORT,
    DatabaseContext,
)
from components.postgres.pgbouncer_files import POOLER_RUN_PATH, PoolerMode, pods_of, pooler_name, render_pgbouncer
from components.postgres.pods import (
    COMPONENT_POOLER,
    CONFIG_MOUNT,
    PASSWORDS_MOUNT,
    TLS_MOUNT,
    certificate_volume,
    config_volume,
    http_get,
    memory_volume,
    passwords_volume,
    plan_account,
    plan_config_map,
    plan_disruption_budget,
    plan_metadata,
    plan_pod_base,
    plan_service,
    pod_field,
    ports,
    probe,
)
from settings.postgres_pools import PRE_STOP_SECONDS

EXPORTER_PORT = 9127
HAPROXY_PORT_NAME = "haproxy"
_SOCKET = f"{POOLER_RUN_PATH}/.s.PGSQL.{POOLER_PORT}"


def service_name(context: DatabaseContext, shard: str, mode: PoolerMode) -> str:
    """What applications call: the cluster's own name for writes, with ``-ro`` for reads."""
    return context.cluster(shard) if mode is PoolerMode.READ_WRITE else f"{context.cluster(shard)}-ro"


def plan_poolers(context: DatabaseContext, shard: str) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    found: dict[str, Manifest] = {}
    for mode in PoolerMode:
        found |= {f"pooler-{mode}-{role}": manifest for role, manifest in _plan(context, shard, mode).items()}
    return found


def plan_aliases(context: DatabaseContext, shard: str) -> dict[str, Manifest]:
    """The two names as the services' namespace knows them: what is ``DB_HOST`` in the plan."""
    labels = context.labels(context.cluster(shard))
    return {
        f"alias-{mode}": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(
                service_name(context, shard, mode),
                labels=labels.of(COMPONENT_POOLER),
                namespace=context.services_namespace,
            ),
            "spec": {
                "type": "ExternalName",
                "externalName": f"{service_name(context, shard, mode)}.{context.namespace}.svc.cluster.local",
            },
        }
        for mode in PoolerMode
    }


def _plan(context: DatabaseContext, shard: str, mode: PoolerMode) -> dict[str, Manifest]:
    name = pooler_name(shard, mode)
    files = {**render_pgbouncer(context, shard, mode), "haproxy.cfg": render_haproxy(context, shard)}
    config_map = f"{name}-config-{content_hash(files)}"
    port = {"postgres": POOLER_PORT}
    return {
        "account": plan_account(context, name, COMPONENT_POOLER),
        "config": plan_config_map(context, config_map, files, of=name, component=COMPONENT_POOLER),
        "svc": plan_service(
            context, service_name(context, shard, mode), name, port, component=COMPONENT_POOLER, headless=False
        ),
        "peers-svc": plan_service(context, f"{name}-peers", name, port, component=COMPONENT_POOLER, headless=True),
        "pdb": plan_disruption_budget(context, name, COMPONENT_POOLER, holds_data=False),
        "deployment": _deployment(context, shard, mode, config_map),
    }


def _deployment(context: DatabaseContext, shard: str, mode: PoolerMode, config_map: str) -> Manifest:
    name, pods = pooler_name(shard, mode), pods_of(context, mode)
    grace = context.postgres.pooler.grace_period_seconds
    described = plan_metadata(context, name, of=name, component=COMPONENT_POOLER)
    # Pods count as available a grace period after they are ready, which paces a rollout and is nothing to wait for:
    # the engine waits until all are ready. A rollout goes on after an `up`; a pod that does not get ready stops it.
    described["annotations"] = {"pulumi.com/waitFor": f"jsonpath={{.status.readyReplicas}}={pods.replicas}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": described,
        "spec": {
            "replicas": pods.replicas,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": pods.surge, "maxUnavailable": 0 if pods.surge else 1},
            },
            # A pod that stops keeps its connections until its clients have left, and no Deployment counts it. The next
            # one goes when the last one is gone for certain: the budget of connections counts with exactly this.
            "minReadySeconds": grace,
            "progressDeadlineSeconds": 600 + grace,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": selector(name)},
            "template": {
                "metadata": {"labels": context.labels(name).of_pods(COMPONENT_POOLER, name)},
                "spec": _pod(context, shard, name, config_map),
            },
        },
    }


def _pod(context: DatabaseContext, shard: str, name: str, config_map: str) -> dict[str, Any]:
    return {
        **plan_pod_base(name, grace_period_seconds=context.postgres.pooler.grace_period_seconds),
        "topologySpreadConstraints": zone_spread(name),
        # PgBouncer verifies this name, which is in the members' certificate, and reaches HAProxy beside it.
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": [context.pods_domain(shard)]}],
        # It starts before PgBouncer and stops after it: its clients' last transactions pass through HAProxy.
        "initContainers": [_haproxy(context)],
        # The exporter stops with PgBouncer: its session on the console is a client that would never leave.
        "containers": [_pgbouncer(context), _exporter(context)],
        "volumes": [
            config_volume(config_map),
            certificate_volume("tls", context.postgres.certificates.pooler),
            passwords_volume(context, {"pooler": "pooler", "monitoring": "monitoring"}),
            memory_volume("run", "4Mi"),
        ],
    }


def _pgbouncer(context: DatabaseContext) -> dict[str, Any]:
    pooler = context.postgres.pooler
    return plan_container(
        "pgbouncer",
        pooler.image,
        pooler.resources,
        command=["sh", f"{CONFIG_PATH}/start.sh"],
        env=[pod_field("POD_IP", "status.podIP")],
        ports=ports({"postgres": POOLER_PORT}),
        # Whether there is a primary must not count: clients wait in the pool for the new one.
        startupProbe=probe(2, 30, tcpSocket={"port": "postgres"}),
        readinessProbe=probe(5, 2, exec={"command": ["test", "-S", _SOCKET]}),
        livenessProbe=probe(10, 6, tcpSocket={"port": "postgres"}),
        lifecycle={"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        volumeMounts=[
            CONFIG_MOUNT,
            TLS_MOUNT,
            PASSWORDS_MOUNT,
            {"name": "run", "mountPath": POOLER_RUN_PATH},
        ],
    )


def _haproxy(context: DatabaseContext) -> dict[str, Any]:
    pooler = context.postgres.pooler
    return plan_container(
        "haproxy",
        pooler.haproxy_image,
        pooler.haproxy_resources,
        restartPolicy="Always",
        command=["haproxy", "-W", "-db", "-f", f"{CONFIG_PATH}/haproxy.cfg"],
        ports=ports({HAPROXY_PORT_NAME: HAPROXY_HEALTH_PORT}),
        startupProbe=probe(2, 30, **http_get("/healthz", HAPROXY_PORT_NAME)),
        readinessProbe=probe(5, 2, **http_get("/healthz", HAPROXY_PORT_NAME)),
        livenessProbe=probe(10, 6, tcpSocket={"port": HAPROXY_PORT_NAME}),
        volumeMounts=[CONFIG_MOUNT, TLS_MOUNT],
    )


def _exporter(context: DatabaseContext) -> dict[str, Any]:
    exporters = context.postgres.exporters
    # The exporter reads its connection from the environment and the password from a file in PostgreSQL's format.
    target = f"host=127.0.0.1 port={POOLER_PORT} dbname=pgbouncer user={MONITORING_USER} sslmode=require"
    return plan_container(
        "exporter",
        exporters.pgbouncer_image,
        exporters.resources,
        args=[f"--pgBouncer.connectionString={target} passfile={POOLER_RUN_PATH}/exporter.pgpass"],
        ports=ports({"metrics": EXPORTER_PORT}),
        startupProbe=probe(2, 30, tcpSocket={"port": "metrics"}),
        readinessProbe=probe(10, 3, **http_get("/", "metrics")),
        livenessProbe=probe(10, 6, tcpSocket={"port": "metrics"}),
        volumeMounts=[{"name": "run", "mountPath": POOLER_RUN_PATH, "readOnly": True}],
    )
