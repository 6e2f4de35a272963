"""The whole of what a stack may ask for, and the rules between its parts."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.autoscaling import Autoscaling
from settings.base import DnsLabel, Environment, Strict
from settings.cache import Cache
from settings.cache_rules import cache_problems
from settings.capacity import PLAN_NEEDS, Capacity
from settings.capacity_truth import capacity_problems
from settings.cloudflare_rules import cloudflare_problems
from settings.cluster import Cluster
from settings.data import Data
from settings.data_migration_rules import migration_problems
from settings.data_rules import data_problems
from settings.edge import Edge
from settings.edge_rules import edge_problems
from settings.kafka import Kafka
from settings.kafka_rules import kafka_problems
from settings.loadtest import LoadTest
from settings.loadtest_rules import loadtest_problems
from settings.observability import Observability
from settings.observability_rules import observability_problems
from settings.postgres import Postgres
from settings.postgres_rules import postgres_problems
from settings.prices import Prices
from settings.problems import CrossFieldError, Problem
from settings.scaling import LagTrigger
from settings.services import Service, peak_database_connections
from settings.topics import Topic


class Settings(Strict):
    """Everything under ``payments:platform`` in a stack file."""

    environment: Environment
    cluster: Cluster
    topics: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$")], Topic] = {}
    services: Annotated[dict[DnsLabel, Service], Field(min_length=1)]
    autoscaling: Autoscaling = Autoscaling()
    capacity: Capacity = Capacity()
    edge: Edge | None = None
    """How requests enter; nothing is declared for it when absent."""
    cache: Cache | None = None
    """The cache tiers; absent: none is declared."""
    kafka: Kafka | None = None
    """The Kafka cluster, its topics and users; absent: the brokers are somebody else's."""
    data: Data | None = None
    """The shards of the database and their roles; absent: none is declared."""
    prices: Prices = Prices()
    """What `payctl cost` and `payctl act` count with."""
    observability: Observability | None = None
    """Monitors, rules, routes and dashboards; nothing is declared for them when absent."""
    loadtest: LoadTest | None = None
    """Load tests; none is declared and none can be run when absent."""
    postgres: Postgres | None = None
    """The database; absent: none is declared."""

    @model_validator(mode="after")
    def _rules_between_parts(self) -> Self:
        problems = [
            *_unknown_peers(self),
            *_duplicate_workloads(self),
            *_consumers_within_partitions(self),
            *_triggers_on_known_topics(self),
            *_pools_within_budget(self),
            *_minimum_covers_zones(self),
            *_horizon_is_carried(self),
            *_edge_fits(self),
            *_shards_agree(self),
            *cache_problems(self.cache, cluster=self.cluster, services=self.services, environment=self.environment),
            *kafka_problems(
                self.kafka,
                cluster=self.cluster,
                topics=self.topics,
                services=self.services,
                autoscaling=self.autoscaling,
                environment=self.environment,
            ),
            *data_problems(self.data, self.environment),
            *migration_problems(self.data, self.cluster, self.environment, own_clusters=self.postgres is not None),
            *observability_problems(
                self.observability, cluster=self.cluster, services=self.services, autoscaling=self.autoscaling
            ),
            *loadtest_problems(
                self.loadtest, environment=self.environment, cluster=self.cluster, services=self.services
            ),
            *postgres_problems(
                self.postgres,
                cluster=self.cluster,
                services=self.services,
                capacity=self.capacity,
                environment=self.environment,
            ),
            *capacity_problems(self.capacity, kafka=self.kafka, postgres=self.postgres, edge=self.edge),
        ]
        if problems:
            raise CrossFieldError(problems)
        return self


def _unknown_peers(settings: Settings) -> Iterator[Problem]:
    known = settings.cluster.peers
    for name, service in settings.services.items():
        for field in ("ingress_from", "egress_to"):
            for index, peer in enumerate(getattr(service, field)):
                if peer not in known:
                    yield Problem.unknown_name(
                        path=f"services.{name}.{field}[{index}]", value=peer, known=known, where="cluster.peers"
                    )


def workload_names(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each Deployment's name with the path that gives it."""
    for name, service in settings.services.items():
        yield name, f"services.{name}"
        if service.consumer is not None:
            yield service.consumer.name, f"services.{name}.consumer.name"


def _duplicate_workloads(settings: Settings) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, path in workload_names(settings):
        if name in first:
            yield Problem(
                path=path,
                value=name,
                allowed="a name that no other Deployment has",
                fix=f"rename it; {first[name]} has this name already",
            )
        first.setdefault(name, path)


def _consumers_within_partitions(settings: Settings) -> Iterator[Problem]:
    for name, service in settings.services.items():
        consumer = service.consumer
        if consumer is None:
            continue
        topic = settings.topics.get(consumer.topic)
        if topic is None:
            yield Problem.unknown_name(
                path=f"services.{name}.consumer.topic", value=consumer.topic, known=settings.topics, where="topics"
            )
        elif consumer.scaling.max_replicas > topic.partitions:
            yield Problem(
                path=f"services.{name}.consumer.scaling.max_replicas",
                value=consumer.scaling.max_replicas,
                allowed=f"at most {topic.partitions}, the partitions of {consumer.topic}",
                fix=f"lower it to {topic.partitions}; a consumer without a partition only idles",
            )


def _triggers_on_known_topics(settings: Settings) -> Iterator[Problem]:
    for name, service in settings.services.items():
        for index, trigger in enumerate(service.api.scaling.triggers):
            if isinstance(trigger, LagTrigger) and trigger.topic not in settings.topics:
                yield Problem.unknown_name(
                    path=f"services.{name}.api.scaling.triggers[{index}].topic",
                    value=trigger.topic,
                    known=settings.topics,
                    where="topics",
                )


def _pools_within_budget(settings: Settings) -> Iterator[Problem]:
    """Scaling out on a full pool opens more connections: at every maximum they must still fit the pooler."""
    needs = {name: peak_database_connections(service) for name, service in settings.services.items()}
    budget, total = settings.capacity.database_client_connections, sum(needs.values())
    if total > budget:
        parts = " + ".join(f"{need} ({name})" for name, need in needs.items() if need)
        yield Problem(
            path="capacity.database_client_connections",
            value=budget,
            allowed=f"at least {total}, what all pods open at their maximum while the APIs roll: {parts}",
            fix="lower database_connections_per_pod or max_replicas, or have the pooler accept more",
        )


def _minimum_covers_zones(settings: Settings) -> Iterator[Problem]:
    """In prod the loss of a zone must leave at least one pod of each API: two pods in two zones are enough."""
    if settings.environment is not Environment.PROD:
        return
    if len(settings.cluster.zones) < 2:  # noqa: PLR2004 # one zone is no redundancy
        yield Problem(
            path="cluster.zones",
            value=settings.cluster.zones,
            allowed="at least 2 zones in prod",
            fix="name the zones that the cluster's nodes are spread over",
        )
    for name, service in settings.services.items():
        if service.api.scaling.min_replicas < 2:  # noqa: PLR2004
            yield Problem(
                path=f"services.{name}.api.scaling.min_replicas",
                value=service.api.scaling.min_replicas,
                allowed="at least 2 in prod",
                fix="set it to 2 or more: one pod is an outage at every eviction",
            )


def _shards_agree(settings: Settings) -> Iterator[Problem]:
    """A shard is one PostgreSQL cluster: who declares both its clusters and its data names the same ones."""
    if settings.postgres is None or settings.data is None:
        return
    clusters, data = list(settings.postgres.shards), list(settings.data.shards)
    if set(clusters) != set(data):
        yield Problem(
            path="postgres.shards",
            value=clusters,
            allowed=f"the names of data.shards, {', '.join(sorted(data))}: each shard is a cluster of its own",
            fix="name the same shards in both",
        )
    if settings.postgres.database != settings.data.database:
        yield Problem(
            path="postgres.database",
            value=settings.postgres.database,
            allowed=f"data.database, {settings.data.database}: poolers lead to the database that data makes",
            fix=f"set it to {settings.data.database}",
        )


def _edge_fits(settings: Settings) -> Iterator[Problem]:
    if settings.edge is not None:
        yield from edge_problems(
            settings.edge,
            settings.environment,
            {name: service.ingress_from for name, service in settings.services.items()},
            settings.cluster.peers,
            settings.cluster.namespaces.services,
        )
        yield from cloudflare_problems(settings.edge)


def _horizon_is_carried(settings: Settings) -> Iterator[Problem]:
    """The plan's own table against the stack's limits: one year needs 50 pods and 48 partitions."""
    horizon, entry = settings.capacity.horizon, settings.capacity.entry_service
    needs = PLAN_NEEDS[horizon]
    service = settings.services.get(entry)
    if service is None:
        yield Problem.unknown_name(
            path="capacity.entry_service", value=entry, known=settings.services, where="services"
        )
        return
    load = f"capacity.horizon {horizon} promises {needs.peak_requests_per_second} requests/s"
    if service.api.scaling.max_replicas < needs.api_pods:
        yield Problem(
            path=f"services.{entry}.api.scaling.max_replicas",
            value=service.api.scaling.max_replicas,
            allowed=f"at least {needs.api_pods}: {load}",
            fix=f"raise it to {needs.api_pods} (and the limit in the policy pack), or promise a nearer horizon",
        )
    topic = settings.topics.get(service.consumer.topic) if service.consumer is not None else None
    if service.consumer is not None and topic is not None and topic.partitions < needs.kafka_partitions:
        yield Problem(
            path=f"topics.{service.consumer.topic}.partitions",
            value=topic.partitions,
            allowed=f"at least {needs.kafka_partitions}: {load}",
            fix=f"plan the move to {needs.kafka_partitions} partitions: on a keyed topic it breaks the order per key, "
            f"so it is a migration; or promise a nearer horizon",
        )
