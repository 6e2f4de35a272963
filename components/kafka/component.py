"""The component that declares Kafka in a namespace of its own."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pulumi
from pulumi_kubernetes import helm

from components.base.manifests import Manifest, child_opts, declare
from components.base.namespace import GuardedNamespace, GuardedNamespaceArgs
from components.kafka.broker_config import BrokerConfig
from components.kafka.cluster_plan import plan_cluster
from components.kafka.metrics import plan_metrics
from components.kafka.model import KafkaContext
from components.kafka.network_plan import plan_kafka_network
from components.kafka.operator_plan import OPERATOR_NAME, chart_values, plan_operator_flows
from components.kafka.topics_plan import plan_topics
from components.kafka.users_plan import plan_password_secrets, plan_users
from settings.base import Environment
from settings.kafka import Kafka
from settings.kafka_names import bootstrap_servers
from settings.quantities import parse_quantity
from settings.services import ResourceAmounts, Resources

# What is gone with one of these is gone: messages, or the topic that holds them.
_STATEFUL_KINDS = frozenset({"Kafka", "KafkaNodePool", "KafkaTopic"})
_OPERATOR_PODS = 2
_OPERATOR_RESOURCES = Resources(
    requests=ResourceAmounts(cpu="200m", memory="512Mi"), limits=ResourceAmounts(cpu="1000m", memory="512Mi")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaClusterArgs:
    """The cluster's settings and surroundings, its brokers' configuration, and the stack's secrets by config key."""

    context: KafkaContext
    config: BrokerConfig
    secrets: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    services_ready: tuple[pulumi.Resource, ...] = ()
    """The services' namespace, where the users' Secrets go too."""


class KafkaCluster(pulumi.ComponentResource):
    """Brokers, controllers, topics and users, with their namespace and network."""

    bootstrap_servers: str
    """Host and port of the TLS listener."""

    def __init__(self, name: str, args: KafkaClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:kafka:KafkaCluster", name, {}, opts)
        context = args.context
        # Not `_protect`: that is the SDK's own, and every child without a word of its own would inherit it.
        self._lasting = True if context.environment is Environment.PROD else None
        # A namespace that goes takes every topic with it.
        namespace = GuardedNamespace(
            context.namespace,
            GuardedNamespaceArgs(
                namespace=context.namespace,
                environment=context.environment,
                other_amounts=(peak_amounts(context.kafka),),
                volume_claims=context.kafka.brokers.nodes + context.kafka.controllers.nodes,
            ),
            pulumi.ResourceOptions(parent=self, protect=self._lasting),
        )
        operator = self._operator(context, namespace.ready) if context.kafka.operator.installed_by_us else []
        prepared = self._declare(
            name,
            {"metrics": plan_metrics(context), **plan_kafka_network(context)},
            [*namespace.ready],
        )
        encoded = {key: value.apply(_in_base64) for key, value in args.secrets.items()}
        passwords = self._declare(
            name, plan_password_secrets(context, encoded), [*namespace.ready, *args.services_ready]
        )
        cluster = plan_cluster(context, args.config)
        kafka = cluster.pop("cluster")
        pools = self._declare(name, cluster, [*prepared, *operator])
        brokers = self._declare(name, {"cluster": kafka}, pools)
        topics = self._declare(name, {f"topic-{key}": m for key, m in plan_topics(context).items()}, brokers)
        users = self._declare(
            name, {f"user-{key}": m for key, m in plan_users(context).items()}, [*brokers, *passwords]
        )
        self.ready: list[pulumi.Resource] = [*topics, *users]
        """What a client needs before it starts."""
        self.bootstrap_servers = bootstrap_servers(context.namespace)
        self.register_outputs({"bootstrapServers": self.bootstrap_servers, "topics": sorted(context.topics)})

    def _declare(
        self, name: str, manifests: Mapping[str, Manifest], depends_on: list[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        resources: list[pulumi.Resource] = []
        for role, manifest in manifests.items():
            protect = self._lasting if manifest["kind"] in _STATEFUL_KINDS else None
            options = child_opts(self, depends_on=depends_on, protect=protect, retain_on_delete=protect)
            resources.append(declare(f"{name}-{role}", manifest, options))
        return resources

    def _operator(self, context: KafkaContext, watched: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """The chart with its CRDs, which Helm installs and never deletes.

        It waits for the namespace that it watches: the chart puts its RoleBindings there.
        """
        operator = context.kafka.operator
        namespace = GuardedNamespace(
            operator.namespace,
            GuardedNamespaceArgs(
                namespace=operator.namespace,
                environment=context.environment,
                other_amounts=(amounts_of([(_OPERATOR_PODS + 1, _OPERATOR_RESOURCES)]),),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        flows = declare(
            f"{OPERATOR_NAME}-flows", plan_operator_flows(context), child_opts(self, depends_on=namespace.ready)
        )
        release = helm.v3.Release(
            OPERATOR_NAME,
            name="strimzi",
            chart=operator.chart,
            version=operator.chart_version,
            namespace=operator.namespace,
            values=chart_values(context),
            opts=child_opts(self, depends_on=[*namespace.ready, *watched, flows], retain_on_delete=self._lasting),
        )
        return [release]


def peak_amounts(kafka: Kafka) -> dict[str, Decimal]:
    """What the namespace of Kafka needs at most; keys as in ``settings.services.peak_amounts``.

    The Deployments of the exporter and of Cruise Control roll with one pod more; the entity operator's has two
    containers and is stopped before its successor starts.
    """
    groups = [
        (kafka.brokers.nodes, kafka.brokers.resources),
        (kafka.controllers.nodes, kafka.controllers.resources),
        (2, kafka.exporter.resources),
        (2, kafka.entity_operator.resources),
    ]
    if kafka.cruise_control is not None:
        groups.append((2, kafka.cruise_control.resources))
    return amounts_of(groups)


def amounts_of(groups: list[tuple[int, Resources]]) -> dict[str, Decimal]:
    """The sum over (number, resources of each)."""
    amounts: dict[str, Decimal] = {"pods": Decimal(sum(count for count, _ in groups))}
    for side in ("requests", "limits"):
        for name in ("cpu", "memory", "ephemeral_storage"):
            amounts[f"{side}.{name.replace('_', '-')}"] = sum(
                (count * parse_quantity(getattr(getattr(resources, side), name)) for count, resources in groups),
                Decimal(0),
            )
    return amounts


def _in_base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
