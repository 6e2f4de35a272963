"""What the plans of Kafka need to know of their stack."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.base.labels import Labels
from settings.base import Environment
from settings.cluster import Peer
from settings.kafka import Kafka
from settings.kafka_names import CLUSTER_NAME, PlannedTopic, PlannedUser, plan_all_topics, plan_all_users
from settings.platform import Settings

API_VERSION = "kafka.strimzi.io/v1"
CLUSTER_LABEL = "strimzi.io/cluster"
READY = "condition=Ready"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaContext:
    """The cluster's settings and its surroundings."""

    kafka: Kafka
    namespace: str
    services_namespace: str
    environment: Environment
    topics: Mapping[str, PlannedTopic]
    users: Mapping[str, PlannedUser]
    peers: Mapping[str, Peer] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "KafkaContext":
        """The context of a stack. Raises ``ValueError`` where the stack declares no Kafka."""
        if settings.kafka is None:
            message = "the stack declares no Kafka"
            raise ValueError(message)
        return cls(
            kafka=settings.kafka,
            namespace=settings.cluster.namespaces.kafka,
            services_namespace=settings.cluster.namespaces.services,
            environment=settings.environment,
            topics=plan_all_topics(settings.kafka, settings.topics, settings.services),
            users=plan_all_users(settings.kafka, settings.services),
            peers=settings.cluster.peers,
        )

    def labels(self, component: str) -> dict[str, str]:
        """Labels of an object that the operator reads. Events carry payments, never card data."""
        labels = Labels(
            name=CLUSTER_NAME, environment=self.environment, owner=self.kafka.owner, pci_scope="connected"
        ).of(component)
        return {**labels, CLUSTER_LABEL: CLUSTER_NAME}

    @property
    def annotations(self) -> dict[str, str]:
        """An update waits for the operator's condition, where one runs."""
        return {"pulumi.com/waitFor": READY} if self.kafka.wait_until_ready else {}
