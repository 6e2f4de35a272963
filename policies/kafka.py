"""Kafka's brokers: replicated, closed to strangers, and protected where their loss would be one of messages."""

from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_policy import PolicyConfigSchema, ResourceValidationArgs, ResourceValidationPolicy, Severity

from policies.objects import KubernetesObject, parse_object
from policies.rules import About, Config, object_policy, subject_policy
from policies.values import UNKNOWN, elements, number, read, show, text

GROUP = "kafka.strimzi.io"
_STATEFUL = frozenset({"Kafka", "KafkaNodePool", "KafkaTopic"})
_INTERNAL = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor")


def replication() -> ResourceValidationPolicy:
    """One broker less must neither lose an acknowledged message nor stop the writes."""
    about = About(
        name="kafka-replication",
        display_name="Kafka is replicated",
        description="Topics and defaults have enough replicas, enough of them in sync, and no topic makes itself.",
        severity=Severity.CRITICAL,
        remediation="Set the replicas and min.insync.replicas that the message states; leave the safe defaults.",
        tags=("kafka", "durability"),
        schema=PolicyConfigSchema(
            properties={
                "minReplicas": {"type": "integer", "minimum": 1, "default": 3},
                "minInSync": {"type": "integer", "minimum": 1, "default": 2},
            }
        ),
    )
    return object_policy(about, _check_replication, frozenset({"Kafka", "KafkaTopic"}))


def _check_replication(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if subject.group != GROUP:
        return
    replicas, in_sync = number(config["minReplicas"]) or 0, number(config["minInSync"]) or 0
    if subject.kind == "KafkaTopic":
        spec = read(subject.props, "spec")
        yield from _at_least(spec, ("replicas",), replicas)
        yield from _at_least(spec, ("config", "min.insync.replicas"), in_sync)
        yield from _below(spec, ("config", "min.insync.replicas"), ("replicas",))
        return
    brokers = read(subject.props, "spec", "kafka")
    yield from _at_least(brokers, ("config", "default.replication.factor"), replicas)
    yield from _at_least(brokers, ("config", "min.insync.replicas"), in_sync)
    yield from _below(brokers, ("config", "min.insync.replicas"), ("config", "default.replication.factor"))
    for key in _INTERNAL:
        yield from _at_least(brokers, ("config", key), replicas)
    for key in ("auto.create.topics.enable", "unclean.leader.election.enable"):
        value = read(brokers, "config", key)
        # Topics are created by default, with the defaults; leaders are elected cleanly by default.
        if value in (True, "true") or (value is None and key.startswith("auto")):
            yield f"config.{key} is {show(value)}. Allowed: false. Fix: set it to false."


def _at_least(node: object, path: tuple[str, ...], minimum: float) -> Iterator[str]:
    value = read(node, *path)
    if value is UNKNOWN:
        return
    if (number(value) or 0) < minimum:
        name = ".".join(path)
        yield f"{name} is {show(value)}. Allowed: at least {show(minimum)}. Fix: set it to {show(minimum)}."


def _below(node: object, path: tuple[str, ...], bound: tuple[str, ...]) -> Iterator[str]:
    value, limit = number(read(node, *path)), number(read(node, *bound))
    if value is not None and limit is not None and value >= limit:
        yield (
            f"{'.'.join(path)} is {show(value)} of {show(limit)} replicas: the loss of one broker stops every write."
            f" Allowed: at most {show(limit - 1)}. Fix: lower it."
        )


def closed_listeners() -> ResourceValidationPolicy:
    """Whoever connects says who he is, over TLS, and may do what a rule allows."""
    about = About(
        name="kafka-listeners-closed",
        display_name="Kafka admits nobody anonymously",
        description="Every listener uses TLS and authentication, authorization is on, and nobody stands above it.",
        severity=Severity.CRITICAL,
        remediation="Set tls: true and an authentication on each listener, and authorization.type: simple.",
        tags=("kafka", "network"),
        pci="4.2.1",
        pci_text="Strong cryptography and security protocols are implemented to safeguard PAN during transmission",
        schema=PolicyConfigSchema(
            properties={"superUsers": {"type": "array", "items": {"type": "string"}, "default": []}}
        ),
    )
    return object_policy(about, _check_listeners, frozenset({"Kafka"}))


def _check_listeners(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if subject.group != GROUP:
        return
    brokers = read(subject.props, "spec", "kafka")
    for position, listener in enumerate(elements(read(brokers, "listeners"))):
        name = text(read(listener, "name")) or str(position)
        tls, kind = read(listener, "tls"), read(listener, "authentication", "type")
        if tls not in (True, UNKNOWN):
            yield f"listener '{name}' is in plain text. Allowed: TLS. Fix: set tls to true."
        if kind is None:
            yield (
                f"listener '{name}' asks nobody who he is. Allowed: an authentication."
                " Fix: set authentication.type, for example to scram-sha-512."
            )
    authorization = read(brokers, "authorization", "type")
    if authorization is None:
        yield "authorization is not set: every user may do everything. Allowed: simple. Fix: set authorization.type."
    elif authorization not in ("simple", UNKNOWN):
        yield (
            f"authorization.type is {show(authorization)}, and the rules of the KafkaUsers bind nobody."
            " Allowed: simple. Fix: set it to simple."
        )
    if read(brokers, "config", "allow.everyone.if.no.acl.found") in (True, "true"):
        yield "allows everybody what no rule speaks of. Allowed: false. Fix: remove allow.everyone.if.no.acl.found."
    allowed = elements(config.get("superUsers"))
    for user in elements(read(brokers, "authorization", "superUsers")):
        if user is not UNKNOWN and user not in allowed:
            yield (
                f"superUsers holds {show(user)}, whom no rule binds. Allowed: {_listed(allowed)}."
                " Fix: give the user the rules that it needs."
            )


def _listed(values: list[object]) -> str:
    return ", ".join(show(value) for value in values) or "none"


def no_wildcards() -> ResourceValidationPolicy:
    """A user may do what its Deployment does; a wildcard also covers the topics of tomorrow."""
    about = About(
        name="kafka-acls-are-narrow",
        display_name="Kafka's users have no wildcards",
        description="Rules of KafkaUsers name each topic and group, state operations one by one, and touch no cluster.",
        severity=Severity.HIGH,
        remediation="Name the topics and groups literally, with the operations that the Deployment uses.",
        tags=("kafka", "access"),
        pci="7.2.1",
        pci_text="Access is defined by least privileges required to perform a job function",
    )
    return object_policy(about, _check_acls, frozenset({"KafkaUser"}))


def _check_acls(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    if subject.group != GROUP:
        return
    if read(subject.props, "spec", "authorization") is None:
        return  # without rules the user may do nothing
    for rule in elements(read(subject.props, "spec", "authorization", "acls")):
        resource = read(rule, "resource")
        kind, name = read(resource, "type"), read(resource, "name")
        if name == "*" or read(resource, "patternType") == "prefix":
            shown = show(name) + (" as a prefix" if name != "*" else "")
            yield f"a rule covers {show(kind)} {shown}. Allowed: names in full. Fix: one rule for each."
        if kind in ("cluster", "transactionalId"):
            yield f"a rule covers {show(kind)}. Allowed: topics and groups. Fix: remove the rule."
        for operation in elements(read(rule, "operations")):
            if operation in ("All", "Alter", "AlterConfigs", "Create", "Delete"):
                yield (
                    f"a rule allows {show(operation)} on {show(kind)} {show(name)}. Allowed: Describe, DescribeConfigs,"
                    " Read, Write. Fix: name what the client does; topics are made and changed by their KafkaTopics."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    """An object together with the engine's protection of it."""

    subject: KubernetesObject
    protect: bool

    @property
    def title(self) -> str:
        return self.subject.title

    @property
    def urn(self) -> str:
        return self.subject.urn


def protected() -> ResourceValidationPolicy:
    """Deleting a KafkaTopic deletes the topic, and renaming one is deleting it."""
    about = About(
        name="kafka-state-is-protected",
        display_name="Kafka's state is protected",
        description="Where the config asks for it, clusters, pools and topics are protected from deletion.",
        severity=Severity.CRITICAL,
        remediation="Declare the object with protect and retain_on_delete.",
        tags=("kafka", "durability"),
        schema=PolicyConfigSchema(properties={"required": {"type": "boolean", "default": False}}),
    )

    def parse(args: ResourceValidationArgs) -> _Guarded | None:
        subject = parse_object(args.resource_type, args.name, args.urn, args.props)
        return None if subject is None else _Guarded(subject=subject, protect=args.opts.protect)

    return subject_policy(about, _check_protection, _STATEFUL, parse)


def _check_protection(found: _Guarded, config: Config) -> Iterator[str]:
    if found.subject.group != GROUP:
        return
    if config.get("required") is True and not found.protect:
        yield "an update may delete it, with its messages. Allowed: protect. Fix: declare it with protect."
    for position, volume in enumerate(elements(read(found.subject.props, "spec", "storage", "volumes"))):
        if read(volume, "deleteClaim") is True:
            yield f"volume {position} goes with its pool. Allowed: deleteClaim false. Fix: set it to false."
        if read(volume, "type") == "ephemeral" and config.get("required") is True:
            yield f"volume {position} goes with its pod. Allowed: a persistent claim. Fix: set type persistent-claim."


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [replication(), closed_listeners(), no_wildcards(), protected()]
