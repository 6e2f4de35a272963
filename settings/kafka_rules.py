"""The rules between Kafka and the rest of a stack's settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from settings.autoscaling import Autoscaling, KafkaAuthentication
from settings.base import Environment
from settings.cluster import Cluster, Peer
from settings.kafka import Kafka
from settings.kafka_names import (
    BOOTSTRAP_VARIABLE,
    CLIENT_PORT,
    CLUSTER_NAME,
    bootstrap_servers,
    dead_letter_topic,
    plan_all_topics,
    plan_all_users,
    retry_topic,
)
from settings.problems import Problem
from settings.services import Service
from settings.topics import Cleanup, Topic

_BROKERS_IN_PROD = 3
HANDOVER_SECONDS = 20
"""How long the client's runner waits for handlers when it gives partitions up: ``LoopOptions.handover_seconds``."""
_LEAVING_SECONDS = 10  # its last commits and its leave, tried again where a coordinator moves
_CLUSTER_LABELS = {"strimzi.io/cluster": CLUSTER_NAME}
# What a Deployment's consumers get from the program; a service cannot set them itself.
CLIENT_VARIABLES = frozenset({"KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_CA"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stack:
    kafka: Kafka
    cluster: Cluster
    topics: Mapping[str, Topic]
    services: Mapping[str, Service]
    autoscaling: Autoscaling
    environment: Environment


def kafka_problems(
    kafka: Kafka | None,
    *,
    cluster: Cluster,
    topics: Mapping[str, Topic],
    services: Mapping[str, Service],
    autoscaling: Autoscaling,
    environment: Environment,
) -> Iterator[Problem]:
    """Everything that is wrong between the brokers and their surroundings."""
    if kafka is None:
        return
    stack = _Stack(
        kafka=kafka, cluster=cluster, topics=topics, services=services, autoscaling=autoscaling, environment=environment
    )
    yield from _namespace_of_its_own(stack)
    yield from _peers_are_known(stack)
    yield from _topics_fit_the_brokers(stack)
    yield from _group_topics_have_own_names(stack)
    yield from _one_group_one_application(stack)
    yield from _fetches_hold_a_message(stack)
    yield from _failed_messages_are_kept_as_long(stack)
    yield from _consumers_have_time_to_leave(stack)
    yield from _users_are_workloads(stack)
    yield from _produced_topics_are_known(stack)
    yield from _clients_reach_the_brokers(stack)
    yield from _scaler_signs_in(stack)
    yield from _acknowledgements_name_topics(stack)
    if environment is Environment.PROD:
        yield from _survives_a_zone(stack)


def _namespace_of_its_own(stack: _Stack) -> Iterator[Problem]:
    names = stack.cluster.namespaces
    if names.kafka in (names.services, names.cache):
        yield Problem(
            path="cluster.namespaces.kafka",
            value=names.kafka,
            allowed="a namespace of its own: it keeps volumes and the brokers' keys",
            fix="name another one",
        )


def _peers_are_known(stack: _Stack) -> Iterator[Problem]:
    kafka, known = stack.kafka, stack.cluster.peers
    named = [("kafka.api_server", kafka.api_server)]
    named += [(f"kafka.reached_by[{index}]", peer) for index, peer in enumerate(kafka.reached_by)]
    if kafka.scraped_by is not None:
        named.append(("kafka.scraped_by", kafka.scraped_by))
    for path, peer in named:
        if peer not in known:
            yield Problem.unknown_name(path=path, value=peer, known=known, where="cluster.peers")


def _topics_fit_the_brokers(stack: _Stack) -> Iterator[Problem]:
    factor = stack.kafka.replication_factor
    for name, topic in stack.topics.items():
        in_sync = topic.min_in_sync_replicas
        if in_sync is not None and in_sync >= max(factor, 2):
            yield Problem(
                path=f"topics.{name}.min_in_sync_replicas",
                value=in_sync,
                allowed=f"below kafka.replication_factor {factor}: the loss of one broker would stop every write",
                fix=f"set it to at most {max(factor - 1, 1)}, or remove it",
            )


def _group_topics_have_own_names(stack: _Stack) -> Iterator[Problem]:
    for name, service in stack.services.items():
        if service.consumer is None:
            continue
        for topic in (retry_topic(service.consumer.group), dead_letter_topic(service.consumer.group)):
            if topic in stack.topics:
                yield Problem(
                    path=f"topics.{topic}",
                    has_value=False,
                    allowed=f"a name that no consumer group's own topic has: {name} gets this one by itself",
                    fix="rename the topic, or the group",
                )


def _one_group_one_application(stack: _Stack) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, service in stack.services.items():
        if service.consumer is None:
            continue
        group, path = service.consumer.group, f"services.{name}.consumer.group"
        if group in first:
            yield Problem(
                path=path,
                value=group,
                allowed="a group that no other application is a member of: each would get half of the messages",
                fix=f"name another group; {first[group]} has this one already",
            )
        first.setdefault(group, path)


def _fetches_hold_a_message(stack: _Stack) -> Iterator[Problem]:
    planned = plan_all_topics(stack.kafka, stack.topics, stack.services).values()
    largest = max((topic for topic in planned), key=lambda topic: topic.max_message_bytes, default=None)
    if largest is None:
        return
    for field in ("max_partition_fetch_bytes", "fetch_max_bytes"):
        value = getattr(stack.kafka.groups, field)
        if value < largest.max_message_bytes:
            yield Problem(
                path=f"kafka.groups.{field}",
                value=value,
                allowed=f"at least {largest.max_message_bytes}, the largest message of {largest.name}",
                fix=f"raise it to {largest.max_message_bytes}, or lower max_message_bytes of the topic",
            )


def _failed_messages_are_kept_as_long(stack: _Stack) -> Iterator[Problem]:
    """A message that failed must not be gone while those that did not are still there to be read again."""
    planned = plan_all_topics(stack.kafka, stack.topics, stack.services)
    sources = [
        planned[service.consumer.topic]
        for service in stack.services.values()
        if service.consumer is not None and service.consumer.topic in planned
    ]
    aged = [topic for topic in sources if topic.cleanup is not Cleanup.COMPACT]  # compaction alone keeps for ever
    longest = max(aged, key=lambda topic: topic.retention_hours, default=None)
    if longest is None:
        return
    for section in ("retry", "dead_letter"):
        hours = getattr(stack.kafka, section).retention_hours
        if hours < longest.retention_hours:
            yield Problem(
                path=f"kafka.{section}.retention_hours",
                value=hours,
                allowed=f"at least {longest.retention_hours}, the retention of {longest.name}: with its consumers down "
                f"for longer than {hours} hours, what failed once would be lost and all else kept",
                fix=f"raise it to {longest.retention_hours}, or lower topics.{longest.name}.retention_hours",
            )


def _consumers_have_time_to_leave(stack: _Stack) -> Iterator[Problem]:
    heartbeat = stack.kafka.groups.heartbeat_interval_seconds
    needed = HANDOVER_SECONDS + heartbeat + _LEAVING_SECONDS
    for name, service in stack.services.items():
        if service.consumer is None:
            continue
        shutdown = service.consumer.shutdown
        if shutdown.grace_period_seconds - shutdown.pre_stop_seconds < needed:
            yield Problem(
                path=f"services.{name}.consumer.shutdown.grace_period_seconds",
                value=shutdown.grace_period_seconds,
                allowed=f"at least {needed + shutdown.pre_stop_seconds}: {shutdown.pre_stop_seconds} s of "
                f"pre_stop_seconds, {HANDOVER_SECONDS} s for handlers that run, {heartbeat} s until a rebalance lets "
                f"the last commit pass, {_LEAVING_SECONDS} s to commit and leave; killed earlier, it hands over what "
                "the next owner handles again",
                fix=f"raise it to {needed + shutdown.pre_stop_seconds}",
            )


def _users_are_workloads(stack: _Stack) -> Iterator[Problem]:
    clients = {name for name, user in plan_all_users(stack.kafka, stack.services).items() if user.is_workload}
    for name, user in stack.kafka.users.items():
        if user.watches_lag and name in clients:
            yield Problem(
                path=f"kafka.users.{name}.watches_lag",
                value=True,
                allowed="a user of its own, which reads and writes no message",
                fix="give the autoscaler another user",
            )
        elif not user.watches_lag and name not in clients:
            yield Problem.unknown_name(
                path=f"kafka.users.{name}", value=name, known=clients, where="the Deployments that use Kafka"
            )


def _produced_topics_are_known(stack: _Stack) -> Iterator[Problem]:
    for name, service in stack.services.items():
        parts = {"api": service.api.produces, "consumer": service.consumer.produces if service.consumer else []}
        for part, produces in parts.items():
            for index, topic in enumerate(produces):
                if topic not in stack.topics:
                    yield Problem.unknown_name(
                        path=f"services.{name}.{part}.produces[{index}]",
                        value=topic,
                        known=stack.topics,
                        where="topics",
                    )


def _clients_reach_the_brokers(stack: _Stack) -> Iterator[Problem]:
    """Every service with a user has the address and the flow that lead to the brokers."""
    namespace = stack.cluster.namespaces.kafka
    wanted = bootstrap_servers(namespace)
    clients = plan_all_users(stack.kafka, stack.services)
    for name, service in stack.services.items():
        names = {name} | ({service.consumer.name} if service.consumer is not None else set())
        if not names & clients.keys():
            continue
        given = service.config.get(BOOTSTRAP_VARIABLE)
        if given not in (None, wanted):
            yield Problem(
                path=f"services.{name}.config.{BOOTSTRAP_VARIABLE}",
                value=given,
                allowed=f"{wanted}, the cluster of this stack: its certificates name this host",
                fix=f"set it to {wanted}, or remove it: the program sets it by itself",
            )
        peers = [stack.cluster.peers.get(peer) for peer in service.egress_to]
        if None not in peers and not any(peer is not None and _leads_to_brokers(peer, namespace) for peer in peers):
            yield Problem(
                path=f"services.{name}.egress_to",
                value=service.egress_to,
                allowed=f"a peer that leads to the brokers: {', '.join(sorted(names & clients.keys()))} "
                "is a user of Kafka",
                fix=f"add a peer with namespace {namespace}, pod_labels {{strimzi.io/cluster: {CLUSTER_NAME}}} and "
                f"port {CLIENT_PORT} to cluster.peers, and name it here",
            )
        taken = sorted(
            {*(CLIENT_VARIABLES & service.config.keys()), *(CLIENT_VARIABLES & {s.env for s in service.secrets})}
        )
        if taken:
            yield Problem(
                path=f"services.{name}",
                has_value=False,
                allowed=f"no {', '.join(taken)} of its own: kafka.users gives them",
                fix="remove them",
            )


def _leads_to_brokers(peer: Peer, namespace: str) -> bool:
    return peer.namespace == namespace and peer.pod_labels == _CLUSTER_LABELS and CLIENT_PORT in peer.ports


def _scaler_signs_in(stack: _Stack) -> Iterator[Problem]:
    keda = stack.autoscaling.keda
    if keda is None:
        return
    wanted = bootstrap_servers(stack.cluster.namespaces.kafka)
    if keda.kafka.bootstrap_servers != wanted:
        yield Problem(
            path="autoscaling.keda.kafka.bootstrap_servers",
            value=keda.kafka.bootstrap_servers,
            allowed=f"{wanted}, the cluster of this stack",
            fix=f"set it to {wanted}",
        )
    if keda.kafka.authentication is not KafkaAuthentication.SCRAM_SHA_512:
        yield Problem(
            path="autoscaling.keda.kafka.authentication",
            value=str(keda.kafka.authentication),
            allowed="scram-sha-512: the brokers of this stack admit nobody else",
            fix="set it, and name the Secret in existing_secret",
        )
    if not any(user.watches_lag for user in stack.kafka.users.values()):
        yield Problem(
            path="kafka.users",
            value=sorted(stack.kafka.users),
            allowed="one that watches the lag: KEDA signs in to read it",
            fix="add keda with watches_lag: true and the password of the Secret autoscaling.keda.kafka.existing_secret",
        )
    if not stack.kafka.reached_by:
        yield Problem(
            path="kafka.reached_by",
            value=[],
            allowed="a peer for KEDA, which reads the lag from the brokers",
            fix="add KEDA's operator to cluster.peers, and name it here",
        )


def _acknowledgements_name_topics(stack: _Stack) -> Iterator[Problem]:
    known = plan_all_topics(stack.kafka, stack.topics, stack.services)
    for index, entry in enumerate(stack.kafka.acknowledged_growth):
        if entry.topic not in known:
            yield Problem.unknown_name(
                path=f"kafka.acknowledged_growth[{index}].topic", value=entry.topic, known=known, where="topics"
            )


def _survives_a_zone(stack: _Stack) -> Iterator[Problem]:
    kafka, zones = stack.kafka, len(stack.cluster.zones)
    for pool in ("brokers", "controllers"):
        nodes = getattr(kafka, pool).nodes
        if nodes < _BROKERS_IN_PROD:
            yield Problem(
                path=f"kafka.{pool}.nodes",
                value=nodes,
                allowed=f"at least {_BROKERS_IN_PROD} in prod: fewer do not survive the loss of one",
                fix=f"set it to {_BROKERS_IN_PROD}",
            )
    if kafka.replication_factor < _BROKERS_IN_PROD:
        yield Problem(
            path="kafka.replication_factor",
            value=kafka.replication_factor,
            allowed=f"at least {_BROKERS_IN_PROD} in prod",
            fix=f"set it to {_BROKERS_IN_PROD}",
        )
    # Replicas are spread over the racks: of a lost zone, each partition loses this many.
    lost = -(-kafka.replication_factor // zones)
    if zones > 1 and kafka.replication_factor - lost < kafka.min_in_sync_replicas:  # fewer are refused by themselves
        yield Problem(
            path="cluster.zones",
            value=stack.cluster.zones,
            allowed=f"so many that a lost zone leaves kafka.min_in_sync_replicas {kafka.min_in_sync_replicas} of "
            f"{kafka.replication_factor} replicas: with {zones} zones it takes {lost}",
            fix="spread the nodes over more zones, or lower min_in_sync_replicas",
        )
