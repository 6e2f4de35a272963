"""Strimzi's cluster operator where this program installs it: its namespace's flows and its chart's values."""

from typing import Any

from components.base.labels import Labels
from components.base.manifests import Manifest, metadata
from components.kafka.model import CLUSTER_LABEL, KafkaContext
from components.kafka.network_plan import AGENT_PORT, CONTROLLER_PORT, REPLICATION_PORT, peer_of
from settings.kafka_names import CLUSTER_NAME

OPERATOR_NAME = "strimzi-cluster-operator"
_OPERATOR_PODS = {"matchLabels": {"strimzi.io/kind": "cluster-operator"}}


def chart_values(context: KafkaContext) -> dict[str, Any]:
    """Values of the chart: it watches the namespace of Kafka alone, and its pods fit the level ``restricted``."""
    return {
        "watchNamespaces": [context.namespace],
        "watchAnyNamespace": False,
        "replicas": 2,
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "extraEnvs": [{"name": "STRIMZI_POD_SECURITY_PROVIDER_CLASS", "value": "restricted"}],
    }


def plan_operator_flows(context: KafkaContext) -> Manifest:
    """It reaches the Kubernetes API and the cluster's nodes, and nothing reaches it."""
    namespace = context.kafka.operator.namespace
    labels = Labels(name=OPERATOR_NAME, environment=context.environment, owner=context.kafka.owner, pci_scope="out")
    cluster = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": context.namespace}},
        "podSelector": {"matchLabels": {CLUSTER_LABEL: CLUSTER_NAME}},
    }
    ports = [CONTROLLER_PORT, REPLICATION_PORT, AGENT_PORT]
    api_server = context.peers[context.kafka.api_server]
    egress = [
        {"to": [cluster], "ports": [{"port": port, "protocol": "TCP"} for port in ports]},
        {
            "to": peer_of(context, context.kafka.api_server),
            "ports": [{"port": port, "protocol": "TCP"} for port in api_server.ports],
        },
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{OPERATOR_NAME}-flows", labels=labels.of("network"), namespace=namespace),
        "spec": {"podSelector": _OPERATOR_PODS, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": egress},
    }
