"""The cluster: the Kafka object, its node pools, and how partitions are moved when brokers come or go."""

from typing import Any

from components.base.labels import HOST_LABEL, ZONE_LABEL
from components.base.manifests import Manifest, metadata
from components.kafka.broker_config import BrokerConfig
from components.kafka.metrics import METRICS_KEY, METRICS_NAME
from components.kafka.model import API_VERSION, CLUSTER_LABEL, KafkaContext
from components.kafka.network_plan import client_peers
from components.kafka.users_plan import quota_rates
from settings.kafka import CruiseControl, NodePool
from settings.kafka_names import CLIENT_PORT, CLUSTER_NAME, LISTENER
from settings.quantities import Quantity, parse_quantity
from settings.services import Resources

BROKER_POOL = "broker"
CONTROLLER_POOL = "controller"
# Of the operator's images (their Dockerfiles: USER 1001, group 0).
_USER_ID = 1001
# A broker hands its leaderships over before it stops; 30 s, the default, is short for a full disk cache.
_BROKER_GRACE_SECONDS = 120
_REBALANCES = ("add-brokers", "remove-brokers")
_MOVES_PER_BROKER = 2


def plan_cluster(context: KafkaContext, config: BrokerConfig) -> dict[str, Manifest]:
    """Role → manifest: pools and templates first, then the Kafka object that refers to them."""
    kafka = context.kafka
    manifests = {
        "controllers": _pool(CONTROLLER_POOL, "controller", kafka.controllers, context),
        "brokers": _pool(BROKER_POOL, "broker", kafka.brokers, context),
    }
    if kafka.cruise_control is not None:
        manifests |= {f"rebalance-{mode}": _rebalance(mode, kafka.cruise_control, context) for mode in _REBALANCES}
    return {**manifests, "cluster": _kafka(context, config)}


def _kafka(context: KafkaContext, config: BrokerConfig) -> Manifest:
    kafka = context.kafka
    # Own: the operator uses the CA that it is given. Otherwise it makes one, which outlives the Kafka object.
    authority: dict[str, Any] = {"generateSecretOwnerReference": False}
    if kafka.own_authority:
        authority = {"generateCertificateAuthority": False}
    spec: dict[str, Any] = {
        "kafka": _brokers(context, config),
        "clusterCa": authority,
        "clientsCa": {"generateSecretOwnerReference": False},
        "entityOperator": _entity_operator(context),
        "kafkaExporter": {
            "topicRegex": ".*",
            "groupRegex": ".*",
            "resources": plan_resources(kafka.exporter.resources),
            "template": {"pod": _pod(), "container": _container()},
        },
    }
    if kafka.cruise_control is not None:
        spec["cruiseControl"] = _cruise_control(kafka.cruise_control)
    return {
        "apiVersion": API_VERSION,
        "kind": "Kafka",
        "metadata": metadata(
            CLUSTER_NAME,
            labels=context.labels("cluster"),
            namespace=context.namespace,
            annotations=context.annotations,
        ),
        "spec": spec,
    }


def _brokers(context: KafkaContext, config: BrokerConfig) -> dict[str, Any]:
    kafka = context.kafka
    listener = {
        "name": LISTENER,
        "port": CLIENT_PORT,
        "type": "internal",
        "tls": True,
        "authentication": {"type": "scram-sha-512"},
        # The operator writes a policy of its own for the listener, and without peers it admits everybody.
        "networkPolicyPeers": client_peers(context),
    }
    quotas = {} if kafka.default_quota is None else {"quotas": {"type": "kafka", **quota_rates(kafka.default_quota)}}
    return {
        "version": kafka.version,
        "metadataVersion": kafka.metadata_version,
        # Only names each broker's rack; the pools' templates spread the pods.
        "rack": {"type": "topology-label", "topologyKey": ZONE_LABEL},
        "listeners": [listener],
        # What no rule allows is denied (allow.everyone.if.no.acl.found is false), and nobody stands above the rules.
        "authorization": {"type": "simple"},
        "config": dict(sorted(config.items())),
        "metricsConfig": {
            "type": "jmxPrometheusExporter",
            "valueFrom": {"configMapKeyRef": {"name": METRICS_NAME, "key": METRICS_KEY}},
        },
        # One budget covers brokers and controllers together.
        "template": {"podDisruptionBudget": {"maxUnavailable": 1}},
        **quotas,
    }


def _pool(name: str, role: str, pool: NodePool, context: KafkaContext) -> Manifest:
    volume: dict[str, Any] = {
        "id": 0,
        "type": "persistent-claim",
        "size": pool.storage.size,
        "deleteClaim": False,
        "kraftMetadata": "shared",
    }
    if pool.storage.storage_class is not None:
        volume["class"] = pool.storage.storage_class
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaNodePool",
        "metadata": metadata(name, labels=context.labels(name), namespace=context.namespace),
        "spec": {
            "replicas": pool.nodes,
            "roles": [role],
            "storage": {"type": "jbod", "volumes": [volume]},
            "resources": plan_resources(pool.resources),
            "jvmOptions": _heap(pool.heap),
            "template": {
                "pod": {
                    **_pod(),
                    "terminationGracePeriodSeconds": _BROKER_GRACE_SECONDS,
                    "topologySpreadConstraints": _spread(role),
                },
                "kafkaContainer": _container(),
                "initContainer": _container(),
            },
        },
    }


def _spread(role: str) -> list[dict[str, Any]]:
    """Zones differ by at most one node of the role; hosts as far as they can."""
    chosen = {"matchLabels": {CLUSTER_LABEL: CLUSTER_NAME, f"strimzi.io/{role}-role": "true"}}
    return [
        {"maxSkew": 1, "topologyKey": ZONE_LABEL, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": chosen},
        {"maxSkew": 1, "topologyKey": HOST_LABEL, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": chosen},
    ]


def _entity_operator(context: KafkaContext) -> dict[str, Any]:
    resources = plan_resources(context.kafka.entity_operator.resources)
    return {
        "topicOperator": {"resources": resources},
        "userOperator": {"resources": resources},
        "template": {
            "pod": _pod(),
            "topicOperatorContainer": _container(),
            "userOperatorContainer": _container(),
        },
    }


def _cruise_control(control: CruiseControl) -> dict[str, Any]:
    return {
        "resources": plan_resources(control.resources),
        "jvmOptions": _heap(control.heap),
        "autoRebalance": [{"mode": mode, "template": {"name": rebalance_name(mode)}} for mode in _REBALANCES],
        "template": {"pod": _pod(), "cruiseControlContainer": _container()},
    }


def rebalance_name(mode: str) -> str:
    """Name of the KafkaRebalance that the operator copies when brokers come or go."""
    return f"{CLUSTER_NAME}-{mode}"


def _rebalance(mode: str, control: CruiseControl, context: KafkaContext) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaRebalance",
        "metadata": metadata(
            rebalance_name(mode),
            labels=context.labels("rebalance"),
            namespace=context.namespace,
            annotations={"strimzi.io/rebalance-template": "true"},
        ),
        "spec": {
            "concurrentPartitionMovementsPerBroker": _MOVES_PER_BROKER,
            "replicationThrottle": control.moved_bytes_per_second,
        },
    }


def plan_resources(resources: Resources) -> dict[str, Any]:
    """Requests and limits as the operator takes them."""
    return {
        side: {"cpu": a.cpu, "memory": a.memory, "ephemeral-storage": a.ephemeral_storage}
        for side, a in (("requests", resources.requests), ("limits", resources.limits))
    }


def _heap(heap: Quantity) -> dict[str, str]:
    """Start and maximum are one: memory that is taken later is memory that may be missing then."""
    mebibytes = f"{int(parse_quantity(heap) // 2**20)}m"
    return {"-Xms": mebibytes, "-Xmx": mebibytes}


def _pod() -> dict[str, Any]:
    """What the namespace's Pod Security level ``restricted`` asks for, whichever way the operator is set up."""
    return {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER_ID,
            "fsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    }


def _container() -> dict[str, Any]:
    return {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    }
