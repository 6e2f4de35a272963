"""L3 as manifests: the StatefulSet of the cluster's pods and the Services that give each an address that stays."""

from typing import Any

from components.base.labels import HOST_LABEL, ZONE_LABEL, selector
from components.base.manifests import Manifest, content_hash, metadata
from components.cache.pods import (
    BUS_PORT_NAME,
    GRACE_PERIOD_SECONDS,
    PORT_NAME,
    CacheContext,
    hosts,
    plan_container,
    plan_mounts,
    plan_pod_security,
    plan_server,
    plan_volumes,
)  # fmt: skip
from components.cache.server_files import (
    BUS_PORT,
    CONFIG_PATH,
    EXPORTER_FILE,
    EXPORTER_TARGET,
    PORT,
    RUN_PATH,
    TLS_PATH,
    plan_cluster_files,
)  # fmt: skip
from settings.cache import Cache
from settings.cache_rules import CLUSTER_NAME

COMPONENT = "cache-cluster"
EXPORTER_PORT = 9121
EXPORTER_PORT_NAME = "metrics"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"


def plan_cluster(cache: Cache, context: CacheContext) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration."""
    files = plan_cluster_files(cache)
    config_map = f"{CLUSTER_NAME}-config-{content_hash(files)}"
    members = {f"{host}-svc": _pod_service(cache, context, host) for host in hosts(CLUSTER_NAME, cache.cluster.pods)}
    return {
        "account": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(cache, context, CLUSTER_NAME),
            "automountServiceAccountToken": False,
        },
        "config": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata(cache, context, config_map),
            "data": files,
            "immutable": True,
        },
        "svc": _governing_service(cache, context),
        **members,
        "pdb": _disruption_budget(cache, context),
        "statefulset": _stateful_set(cache, context, config_map),
    }


def member_hosts(cache: Cache, context: CacheContext) -> list[str]:
    """Names under which the pods are reached and which their certificate carries, in order of their ordinals."""
    return [f"{host}.{context.namespace}.svc.cluster.local" for host in hosts(CLUSTER_NAME, cache.cluster.pods)]


def _governing_service(cache: Cache, context: CacheContext) -> Manifest:
    """What a StatefulSet has to name; clients use it to find any pod at all."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": selector(CLUSTER_NAME),
        "ports": _service_ports(),
    }
    return _service(cache, context, CLUSTER_NAME, spec)


def _pod_service(cache: Cache, context: CacheContext, host: str) -> Manifest:
    """An address that stays while the pod's own changes at every start.

    Without it a cluster whose pods all restart at once is lost: each looks for the others where they no longer are.
    """
    spec = {
        "type": "ClusterIP",
        # Members have to find each other before any of them is ready.
        "publishNotReadyAddresses": True,
        "selector": {**selector(CLUSTER_NAME), POD_NAME_LABEL: host},
        "ports": _service_ports(),
    }
    return _service(cache, context, host, spec)


def _service(cache: Cache, context: CacheContext, name: str, spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(cache, context, name), "spec": spec}


def _service_ports() -> list[dict[str, Any]]:
    return [
        {"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"},
        {"name": BUS_PORT_NAME, "port": BUS_PORT, "targetPort": BUS_PORT_NAME, "protocol": "TCP"},
    ]


def _disruption_budget(cache: Cache, context: CacheContext) -> Manifest:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(CLUSTER_NAME)},
    }
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(cache, context, CLUSTER_NAME),
        "spec": spec,
    }


def _stateful_set(cache: Cache, context: CacheContext, config_map: str) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(cache, context, CLUSTER_NAME),
        "spec": {
            "replicas": cache.cluster.pods,
            "serviceName": CLUSTER_NAME,
            # The cluster is formed by the reconciler, not by the order of starts.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            # Time for a replica to catch up before the next pod, perhaps its primary, is replaced.
            "minReadySeconds": 15,
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": selector(CLUSTER_NAME)},
            "template": {
                "metadata": {"labels": context.labels(CLUSTER_NAME, cache).of_pods(COMPONENT, CLUSTER_NAME)},
                "spec": _pod(cache, context, config_map),
            },
            **_claims(cache),
        },
    }


def _claims(cache: Cache) -> dict[str, Any]:
    """The volume of a pod's identity, unless it is kept in memory."""
    if cache.cluster.storage is None:
        return {}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": cache.cluster.storage}}},
    }
    return {
        # A pod that is scaled away and comes back must not believe in a cluster that has forgotten it.
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"},
        "volumeClaimTemplates": [claim],
    }


def _pod(cache: Cache, context: CacheContext, config_map: str) -> dict[str, Any]:
    own = {"matchLabels": selector(CLUSTER_NAME)}
    server = plan_server(
        cache,
        cache.cluster.resources,
        env=[
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ANNOUNCE_HOST", "value": f"$(POD_NAME).{context.namespace}.svc.cluster.local"},
            # Kubernetes copies the node's zone to its pods' labels (1.35 and newer); empty elsewhere.
            {"name": "ZONE", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{ZONE_LABEL}']"}}},
        ],
        ports=[
            {"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"},
            {"name": BUS_PORT_NAME, "containerPort": BUS_PORT, "protocol": "TCP"},
        ],
        lifecycle={"preStop": {"exec": {"command": ["sh", f"{CONFIG_PATH}/stop.sh"]}}},
        volumeMounts=plan_mounts(),
    )
    return {
        "serviceAccountName": CLUSTER_NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS,
        "securityContext": plan_pod_security(),
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": own, "topologyKey": HOST_LABEL}]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "labelSelector": own,
                "topologyKey": ZONE_LABEL,
                "whenUnsatisfiable": "DoNotSchedule",
                "nodeTaintsPolicy": "Honor",
            }
        ],
        "containers": [server, _exporter(cache)],
        "volumes": [
            *plan_volumes(cache, config_map),
            *([] if cache.cluster.storage else [{"name": "data", "emptyDir": {"sizeLimit": "16Mi"}}]),
        ],
    }


def _exporter(cache: Cache) -> dict[str, Any]:
    def probe(failures: int, **handler: Any) -> dict[str, Any]:
        return {**handler, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": failures}

    return plan_container(
        "exporter",
        cache.exporter.image,
        cache.exporter.resources,
        args=[
            f"--redis.addr={EXPORTER_TARGET}",
            f"--redis.password-file={EXPORTER_FILE}",
            f"--tls-ca-cert-file={TLS_PATH}/ca.crt",
            "--is-cluster",
        ],
        ports=[{"name": EXPORTER_PORT_NAME, "containerPort": EXPORTER_PORT, "protocol": "TCP"}],
        startupProbe=probe(12, tcpSocket={"port": EXPORTER_PORT_NAME}),
        readinessProbe=probe(3, httpGet={"path": "/health", "port": EXPORTER_PORT_NAME}),
        livenessProbe=probe(6, tcpSocket={"port": EXPORTER_PORT_NAME}),
        volumeMounts=[
            {"name": "tls", "mountPath": TLS_PATH, "readOnly": True},
            {"name": "run", "mountPath": RUN_PATH, "readOnly": True},
        ],
    )


def _metadata(cache: Cache, context: CacheContext, name: str) -> dict[str, Any]:
    return metadata(name, labels=context.labels(CLUSTER_NAME, cache).of(COMPONENT), namespace=context.namespace)
