"""L2 as manifests: one instance on each node, reached through a Service that never leaves the node."""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, content_hash, metadata
from components.cache.pods import (
    GRACE_PERIOD_SECONDS,
    PORT_NAME,
    CacheContext,
    plan_mounts,
    plan_pod_security,
    plan_server,
    plan_volumes,
)  # fmt: skip
from components.cache.server_files import DATA_PATH, PORT, plan_local_files
from settings.cache import Cache, LocalMode
from settings.cache_rules import LOCAL_NAME

COMPONENT = "cache-local"


def plan_local(cache: Cache, context: CacheContext) -> dict[str, Manifest]:
    """Role → manifest; nothing unless L2 runs on the nodes."""
    if cache.local.mode is not LocalMode.DAEMON_SET:
        return {}
    labels = context.labels(LOCAL_NAME, cache)

    def named(name: str) -> dict[str, Any]:
        return metadata(name, labels=labels.of(COMPONENT), namespace=context.namespace)

    files = plan_local_files(cache)
    config_map = f"{LOCAL_NAME}-config-{content_hash(files)}"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": named(LOCAL_NAME),
        "automountServiceAccountToken": False,
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": named(config_map),
        "data": files,
        "immutable": True,
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named(LOCAL_NAME),
        "spec": {
            "type": "ClusterIP",
            # Only the instance of the caller's own node; where there is none the client counts a miss.
            "internalTrafficPolicy": "Local",
            "selector": selector(LOCAL_NAME),
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }
    daemon_set = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": named(LOCAL_NAME),
        "spec": {
            "revisionHistoryLimit": 5,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": selector(LOCAL_NAME)},
            "template": {
                "metadata": {"labels": labels.of_pods(COMPONENT, LOCAL_NAME)},
                "spec": _pod(cache, config_map),
            },
        },
    }
    return {"local-account": account, "local-config": config, "local-svc": service, "local-daemonset": daemon_set}


def _pod(cache: Cache, config_map: str) -> dict[str, Any]:
    server = plan_server(
        cache,
        cache.local.resources,
        ports=[{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        volumeMounts=[*plan_mounts(data=False), {"name": "data", "mountPath": DATA_PATH}],
    )
    return {
        "serviceAccountName": LOCAL_NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS,
        "securityContext": plan_pod_security(),
        "containers": [server],
        # The server's working folder; it writes nothing there.
        "volumes": [*plan_volumes(cache, config_map), {"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}],
    }
