"""Who may reach the brokers: their users' Deployments, named peers, the operators, and the nodes among themselves.

The operator writes policies of its own for the ports that it opens. Policies add up, so those here are no wider.
"""

from typing import Any

from components.base.labels import selector
from components.base.manifests import Manifest, metadata
from components.base.network import peer_selectors
from components.kafka.model import CLUSTER_LABEL, KafkaContext
from settings.kafka_names import CLIENT_PORT, CLUSTER_NAME

# Strimzi's own ports: the controllers', the one between brokers and for its operators, its agent's in each node.
CONTROLLER_PORT = 9090
REPLICATION_PORT = 9091
AGENT_PORT = 8443
METRICS_PORT = 9404
CRUISE_CONTROL_PORT = 9090
_NODES = f"{CLUSTER_NAME}-kafka"
_ENTITY_OPERATOR = f"{CLUSTER_NAME}-entity-operator"
_CRUISE_CONTROL = f"{CLUSTER_NAME}-cruise-control"
_EXPORTER = f"{CLUSTER_NAME}-kafka-exporter"


def plan_kafka_network(context: KafkaContext) -> dict[str, Manifest]:
    """Role → NetworkPolicy of the cluster's pods."""
    nodes, operator = [_pods(_NODES)], [_cluster_operator(context)]
    entity_operator, cruise_control = [_pods(_ENTITY_OPERATOR)], [_pods(_CRUISE_CONTROL)]
    api_server = _rule_to(
        context.peers[context.kafka.api_server].ports, "to", peer_of(context, context.kafka.api_server)
    )
    internal = [*nodes, *entity_operator, *cruise_control, _pods(_EXPORTER)]
    to_brokers = _rule_to([REPLICATION_PORT], "to", nodes)
    policies = {
        "nodes-flows": _policy(
            context,
            _NODES,
            ingress=[
                _rule_to([CLIENT_PORT], "from", client_peers(context)),
                _rule_to([CONTROLLER_PORT], "from", [*nodes, *operator]),
                _rule_to([REPLICATION_PORT], "from", [*internal, *operator]),
                _rule_to([AGENT_PORT], "from", operator),
                *_scraped(context),
            ],
            egress=[_rule_to([CONTROLLER_PORT, REPLICATION_PORT], "to", nodes), api_server],
        ),
        "entity-operator-flows": _policy(
            context,
            _ENTITY_OPERATOR,
            ingress=[],
            egress=[to_brokers, _rule_to([CRUISE_CONTROL_PORT], "to", cruise_control), api_server],
        ),
        "exporter-flows": _policy(context, _EXPORTER, ingress=_scraped(context), egress=[to_brokers]),
    }
    if context.kafka.cruise_control is not None:
        policies["cruise-control-flows"] = _policy(
            context,
            _CRUISE_CONTROL,
            ingress=[_rule_to([CRUISE_CONTROL_PORT], "from", [*entity_operator, *operator])],
            egress=[to_brokers],
        )
    return policies


def client_peers(context: KafkaContext) -> list[dict[str, Any]]:
    """Who may connect as a client: the Deployments that are users, each by name, and the peers that are named."""
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": context.services_namespace}}
    workloads = sorted(name for name, user in context.users.items() if user.is_workload)
    users = [{"namespaceSelector": namespace, "podSelector": {"matchLabels": selector(name)}} for name in workloads]
    return [*users, *(rule for peer in context.kafka.reached_by for rule in peer_of(context, peer))]


def peer_of(context: KafkaContext, name: str) -> list[dict[str, Any]]:
    """A peer as seen from Kafka's namespace: one that names none lives beside the services."""
    peer = context.peers[name]
    if peer.pod_labels and peer.namespace is None:
        peer = peer.model_copy(update={"namespace": context.services_namespace})
    return peer_selectors(peer)


def _cluster_operator(context: KafkaContext) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": context.kafka.operator.namespace}},
        "podSelector": {"matchLabels": {"strimzi.io/kind": "cluster-operator"}},
    }


def _scraped(context: KafkaContext) -> list[dict[str, Any]]:
    peer = context.kafka.scraped_by
    return [] if peer is None else [_rule_to([METRICS_PORT], "from", peer_of(context, peer))]


def _pods(name: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {CLUSTER_LABEL: CLUSTER_NAME, "strimzi.io/name": name}}}


def _rule_to(ports: list[int], direction: str, selectors: list[dict[str, Any]]) -> dict[str, Any]:
    return {direction: selectors, "ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def _policy(
    context: KafkaContext, name: str, *, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]
) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{name}-flows", labels=context.labels("network"), namespace=context.namespace),
        "spec": {**_pods(name), "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress},
    }
