"""etcd as manifests: the three members that decide who is primary."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest
from components.cache.pods import plan_container
from components.postgres.model import (
    ETCD_METRICS_PORT,
    ETCD_PEER_PORT,
    ETCD_PORT,
    TLS_PATH,
    DatabaseContext,
)
from components.postgres.pods import (
    COMPONENT_ETCD,
    TLS_MOUNT,
    certificate_volume,
    http_get,
    names_of,
    plan_account,
    plan_apart,
    plan_claim,
    plan_disruption_budget,
    plan_metadata,
    plan_pod_base,
    plan_service,
    pod_field,
    ports,
    probe,
)
from settings.postgres_rules import ETCD_NAME

ETCD_DATA_PATH = "/var/lib/etcd"
METRICS_PORT_NAME = "metrics"
_PORTS = {"client": ETCD_PORT, "peer": ETCD_PEER_PORT, METRICS_PORT_NAME: ETCD_METRICS_PORT}
_QUOTA_BYTES = 2 * 2**30


def plan_etcd(context: DatabaseContext) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    return {
        "etcd-account": plan_account(context, ETCD_NAME, COMPONENT_ETCD),
        "etcd-svc": plan_service(context, ETCD_NAME, ETCD_NAME, _PORTS, component=COMPONENT_ETCD, headless=True),
        "etcd-pdb": plan_disruption_budget(context, ETCD_NAME, COMPONENT_ETCD, holds_data=True),
        "etcd-statefulset": _stateful_set(context),
    }


def _stateful_set(context: DatabaseContext) -> Manifest:
    etcd = context.postgres.etcd
    pod = {
        **plan_pod_base(ETCD_NAME, grace_period_seconds=60),
        **plan_apart(ETCD_NAME),
        "containers": [_container(context)],
        "volumes": [certificate_volume("tls", context.postgres.certificates.etcd)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": plan_metadata(context, ETCD_NAME, of=ETCD_NAME, component=COMPONENT_ETCD),
        "spec": {
            "replicas": etcd.members,
            "serviceName": ETCD_NAME,
            # Members find each other only when all of them start.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "minReadySeconds": 10,
            "revisionHistoryLimit": 5,
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
            "selector": {"matchLabels": selector(ETCD_NAME)},
            "template": {
                "metadata": {"labels": context.labels(ETCD_NAME).of_pods(COMPONENT_ETCD, ETCD_NAME)},
                "spec": pod,
            },
            "volumeClaimTemplates": [plan_claim(etcd.storage, etcd.storage_class)],
        },
    }


def _container(context: DatabaseContext) -> dict[str, Any]:
    members = ",".join(
        f"{name}=https://{host}:{ETCD_PEER_PORT}"
        for name, host in zip(names_of(ETCD_NAME, context.postgres.etcd.members), context.etcd_hosts(), strict=True)
    )
    own = f"$(POD_NAME).{ETCD_NAME}.{context.namespace}.svc.cluster.local"
    options = {
        "name": "$(POD_NAME)",
        "data-dir": f"{ETCD_DATA_PATH}/data",
        "initial-cluster": members,
        # Only read by a member without data. Once the cluster stands, a stranger must not found a second one.
        "initial-cluster-state": "existing" if context.postgres.etcd.formed else "new",
        "initial-advertise-peer-urls": f"https://{own}:{ETCD_PEER_PORT}",
        "advertise-client-urls": f"https://{own}:{ETCD_PORT}",
        "listen-peer-urls": f"https://0.0.0.0:{ETCD_PEER_PORT}",
        "listen-client-urls": f"https://0.0.0.0:{ETCD_PORT}",
        "listen-metrics-urls": f"http://0.0.0.0:{ETCD_METRICS_PORT}",
        "cert-file": f"{TLS_PATH}/tls.crt",
        "key-file": f"{TLS_PATH}/tls.key",
        "peer-cert-file": f"{TLS_PATH}/tls.crt",
        "peer-key-file": f"{TLS_PATH}/tls.key",
        "peer-trusted-ca-file": f"{TLS_PATH}/ca.crt",
        "peer-client-cert-auth": "true",
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "quota-backend-bytes": str(_QUOTA_BYTES),
        "logger": "zap",
    }
    return plan_container(
        "etcd",
        context.postgres.etcd.image,
        context.postgres.etcd.resources,
        command=["etcd"],
        args=[f"--{name}={value}" for name, value in options.items()],
        env=[pod_field("POD_NAME", "metadata.name")],
        ports=ports(_PORTS),
        startupProbe=probe(5, 60, **http_get("/livez", METRICS_PORT_NAME)),
        readinessProbe=probe(5, 3, **http_get("/readyz", METRICS_PORT_NAME)),
        livenessProbe=probe(5, 12, **http_get("/livez", METRICS_PORT_NAME)),
        volumeMounts=[TLS_MOUNT, {"name": "data", "mountPath": ETCD_DATA_PATH}],
    )
