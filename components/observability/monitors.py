"""What Prometheus scrapes: a PodMonitor per workload and exporter, and the network flow that lets it in.

PodMonitors, because the label ``service`` is ours: a ServiceMonitor would set it to the Kubernetes Service's name.
"""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from components.base.network import peer_selectors
from components.base.workload import HTTP_PORT_NAME
from components.cache.cluster_plan import EXPORTER_PORT_NAME
from components.database.metrics_plan import PORT as SHARD_METRICS_PORT
from components.database.metrics_plan import PORT_NAME as SHARD_METRICS_PORT_NAME
from components.database.metrics_plan import metrics_name
from components.observability.model import Surroundings
from components.postgres.etcd_plan import METRICS_PORT_NAME as ETCD_METRICS_PORT_NAME
from components.postgres.pods import COMPONENT_POOLER
from components.postgres.pooler_plan import HAPROXY_PORT_NAME
from components.services.plan import workloads
from settings.cache_rules import CLUSTER_NAME
from settings.observability import ExporterTarget
from settings.postgres_rules import ETCD_NAME

ETCD_JOB, HAPROXY_JOB = "etcd", "haproxy"


def plan_monitors(around: Surroundings) -> dict[str, Manifest]:
    """Role → PodMonitor: the services' pods, the caches' exporters, and the exporters that the settings name."""
    path = around.observability.metrics_path
    monitors = {
        f"monitor-{workload}": _pod_monitor(
            around, workload, pod_labels=selector(workload), port=HTTP_PORT_NAME, path=path, namespace=around.namespace
        )
        for workload in around.workloads
    }
    for name in map(metrics_name, around.measured_shards):
        monitors[f"monitor-{name}"] = _pod_monitor(
            around,
            name,
            pod_labels=selector(name),
            port=SHARD_METRICS_PORT_NAME,
            path="/metrics",
            namespace=around.namespace,
        )
    if around.cache_namespace is not None:
        monitors[f"monitor-{CLUSTER_NAME}"] = _pod_monitor(
            around,
            CLUSTER_NAME,
            pod_labels=selector(CLUSTER_NAME),
            port=EXPORTER_PORT_NAME,
            path="/metrics",
            namespace=around.cache_namespace,
        )
    monitors |= _own_database(around)
    for kind, target in around.observability.exporters.items():
        peer = around.peers[target.peer]
        monitors[f"monitor-{kind}"] = _pod_monitor(
            around,
            str(kind),
            pod_labels=peer.pod_labels,
            port=target.port,
            path=target.path,
            namespace=peer.namespace or around.namespace,
            tls=_tls(target),
        )
    return monitors


def _own_database(around: Surroundings) -> dict[str, Manifest]:
    """What serves its own metrics, beside the exporters that the settings name."""
    database = around.database
    if database is None or database.postgres.exporters.scraped_by is None:
        return {}
    pods = {
        ETCD_JOB: (selector(ETCD_NAME), ETCD_METRICS_PORT_NAME),
        # Of every shard.
        HAPROXY_JOB: ({"app.kubernetes.io/component": COMPONENT_POOLER}, HAPROXY_PORT_NAME),
    }
    return {
        f"monitor-{job}": _pod_monitor(
            around, job, pod_labels=labels, port=port, path="/metrics", namespace=database.namespace
        )
        for job, (labels, port) in pods.items()
    }


def scraped_jobs(around: Surroundings) -> list[str]:
    """Values of ``job``, one for each PodMonitor."""
    return sorted(role.removeprefix("monitor-") for role in plan_monitors(around))


def plan_scrape_flows(around: Surroundings) -> dict[str, Manifest]:
    """Role → NetworkPolicy: Prometheus may reach the port that serves a workload's metrics, and nothing else."""
    services = sorted(around.services.items())
    served = {one.name: one.port for name, service in services for one in workloads(name, service)}
    served |= dict.fromkeys(map(metrics_name, around.measured_shards), SHARD_METRICS_PORT)
    return {f"scrape-{workload}": _scrape_flow(around, workload, port) for workload, port in served.items()}


def _scrape_flow(around: Surroundings, workload: str, port: int) -> Manifest:
    peer = around.peers[around.observability.prometheus]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{workload}-scraped", labels=around.labels.of("network"), namespace=around.namespace),
        "spec": {
            "podSelector": {"matchLabels": selector(workload)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peer_selectors(peer), "ports": [{"port": port, "protocol": "TCP"}]}],
        },
    }


def _pod_monitor(
    around: Surroundings,
    job: str,
    *,
    pod_labels: dict[str, str],
    port: str,
    path: str,
    namespace: str,
    tls: dict[str, Any] | None = None,
) -> Manifest:
    endpoint: dict[str, Any] = {
        "port": port,
        "path": path,
        **(tls or {}),
        "interval": f"{around.observability.scrape_interval_seconds}s",
        # A label `service` of the program itself would become `exported_service`: ours is the one that rules read.
        "honorLabels": False,
        "relabelings": [
            {"targetLabel": "job", "replacement": job, "action": "replace"},
            {"targetLabel": "service", "replacement": job, "action": "replace"},
        ],
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(f"{job}-pods", labels=around.labels_of("monitor"), namespace=around.namespace),
        "spec": {
            "selector": {"matchLabels": dict(pod_labels)},
            "namespaceSelector": {"matchNames": [namespace]},
            "podMetricsEndpoints": [endpoint],
        },
    }


def _tls(target: ExporterTarget) -> dict[str, Any]:
    """How an endpoint is verified; the operator reads the authority from the PodMonitor's own namespace."""
    if target.authority is None:
        return {}
    authority = {"name": target.authority.existing_secret, "key": target.authority.key}
    return {
        "scheme": str(target.scheme),
        "tlsConfig": {"ca": {"secret": authority}, "serverName": target.server_name},
    }
