"""The pod that serves one shard's figures to Prometheus: Deployment and network policy.

One pod a shard, and it asks the member that takes writes: a figure is there once, whatever runs where.
"""

from collections.abc import Mapping
from typing import Any

from components.base.labels import ZONE_LABEL, Labels, selector
from components.base.manifests import Manifest, metadata
from components.base.network import peer_selectors
from components.postgres.pods import http_get, ports, probe
from settings.cluster import Peer
from settings.data_migrations import Primary

COMPONENT = "database-metrics"
PORT_NAME = "metrics"
PORT = 9187


def metrics_name(shard: str) -> str:
    """Name of a shard's Deployment."""
    return f"{COMPONENT}-{shard}"


def plan_metrics(shard: str, spec: Mapping[str, Any], *, labels: Labels, namespace: str, waiting: bool) -> Manifest:
    """The Deployment; ``spec`` is the pod's, with one container and without ports and probes.

    ``waiting``: the roles are not declared yet, and perhaps not the password's Secret: nobody waits for the pod.
    """
    name = metrics_name(shard)
    (container,) = spec["containers"]
    served = {
        **container,
        "ports": ports({PORT_NAME: PORT}),
        # They do not ask the database: a pod that cannot reach it has to say so, not to be restarted for it.
        "startupProbe": probe(2, 30, **http_get("/healthz", PORT_NAME)),
        "readinessProbe": probe(10, 3, **http_get("/healthz", PORT_NAME)),
        "livenessProbe": probe(10, 6, tcpSocket={"port": PORT_NAME}),
    }
    annotations = {"pulumi.com/skipAwait": "true"} if waiting else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, labels=labels.of(COMPONENT), namespace=namespace, annotations=annotations),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 5,
            # Never two that ask at once.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(name)},
            "template": {
                "metadata": {"labels": labels.of_pods(COMPONENT, name)},
                "spec": {**spec, **_spread(name), "restartPolicy": "Always", "containers": [served]},
            },
        },
    }


def _spread(name: str) -> dict[str, Any]:
    spread = {
        "maxSkew": 1,
        "topologyKey": ZONE_LABEL,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(name)},
    }
    return {"topologySpreadConstraints": [spread]}


def plan_metrics_network(
    shard: str, primary: Primary, peers: Mapping[str, Peer], *, labels: Labels, namespace: str
) -> Manifest:
    """Out to the shard's members only; who may scrape is said by observability."""
    name, peer = metrics_name(shard), peers[primary.peer]
    egress = {"to": peer_selectors(peer), "ports": [{"port": port, "protocol": "TCP"} for port in peer.ports]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{name}-flows", labels=labels.of("network"), namespace=namespace),
        "spec": {
            "podSelector": {"matchLabels": selector(name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [egress],
        },
    }
