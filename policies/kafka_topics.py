"""Topics: as many partitions and the key that this pack states, bounded retention, names, and who reads them."""

import re
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.consumers import variable
from policies.index import StackIndex
from policies.kafka import GROUP
from policies.objects import KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, fields, number, read, show, text

KEY_ANNOTATION = "payments.dev/message-key"
_GROUP_VARIABLE = "KAFKA_CONSUMER_GROUP"
_HOUR_MILLISECONDS = 3600 * 1000
_TABLE = {
    "topics": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "partitions": {"type": "integer", "minimum": 1},
                "key": {"type": ["string", "null"]},
            },
            "required": ["partitions", "key"],
            "additionalProperties": False,
        },
        "default": {},
    }
}


def agreed_topics() -> StackValidationPolicy:
    """The pack's own table, which other people keep than the stack's ledger."""
    about = About(
        name="kafka-topics-agreed",
        display_name="Topics are the agreed ones",
        description="Every topic has the key and partitions of this pack's table: none shrinks, grows or is missing.",
        severity=Severity.CRITICAL,
        remediation="Correct the topic, or have the pack's owners change the table: the past cannot be changed.",
        tags=("kafka", "order"),
        schema=PolicyConfigSchema(properties=_TABLE),
    )
    return stack_policy(about, _check_agreed)


def _topics(index: StackIndex) -> list[KubernetesObject]:
    return [subject for subject in index.by_kind.get("KafkaTopic", []) if subject.group == GROUP]


def _check_agreed(index: StackIndex, config: Config) -> Iterator[Violation]:
    table = fields(config.get("topics"))
    declared = _topics(index)
    for topic in declared:
        name = text(topic.name)
        if name is None or not table:
            continue
        if name not in table:
            yield Violation(
                topic,
                f"is not in this pack's table. Allowed: {', '.join(sorted(table))}."
                " Fix: correct the name, or have the pack's owners add it.",
            )
            continue
        partitions, agreed = read(topic.props, "spec", "partitions"), number(read(table[name], "partitions")) or 0
        found = number(partitions)
        if partitions is not UNKNOWN and (found is None or found < agreed):
            yield Violation(
                topic,
                f"has {show(partitions)} partitions. Allowed: {show(agreed)}, which it has already."
                f" Fix: set them to {show(agreed)}; they cannot be taken away.",
            )
        if found is not None and found > agreed and read(table[name], "key") is not None:
            yield Violation(
                topic,
                f"has {show(found)} partitions, and its messages have the key {show(read(table[name], 'key'))}."
                f" Allowed: {show(agreed)}: more of them send keys elsewhere and break their order."
                " Fix: plan the migration (payctl kafka plan), then have the pack's owners raise the table.",
            )
        key, agreed_key = read(topic.props, "metadata", "annotations", KEY_ANNOTATION), read(table[name], "key")
        if key is not UNKNOWN and key != agreed_key:
            yield Violation(
                topic,
                f"has the key {show(key)}. Allowed: {show(agreed_key)}. Fix: set it back; another key is a new topic.",
            )
    names = {topic.name for topic in declared}
    for cluster in index.by_kind.get("Kafka", []):
        for name in sorted(table) if UNKNOWN not in names and cluster.group == GROUP else []:
            if name not in names:
                yield Violation(
                    cluster,
                    f"the topic '{name}' of this pack's table is not declared. Allowed: every topic of the table."
                    " Fix: declare it again; a renamed topic is a new one beside it.",
                )


def retention() -> ResourceValidationPolicy:
    """Too short loses what a consumer has not read yet; endless keeps personal data for ever."""
    about = About(
        name="kafka-retention-bounded",
        display_name="Retention is bounded",
        description="Topics that delete state how long they keep messages, within this pack's bounds.",
        severity=Severity.HIGH,
        remediation="Set retention.ms within the bounds.",
        tags=("kafka", "durability"),
        pci="3.2.1",
        pci_text="Account data storage is kept to a minimum through data retention and disposal policies",
        schema=PolicyConfigSchema(
            properties={
                "minHours": {"type": "integer", "minimum": 1, "default": 24},
                "maxHours": {"type": "integer", "minimum": 1, "default": 720},
            }
        ),
    )
    return object_policy(about, _check_retention, frozenset({"KafkaTopic"}))


def _check_retention(subject: KubernetesObject, config: Config) -> Iterator[str]:
    topic = read(subject.props, "spec", "config")
    if subject.group != GROUP or read(topic, "cleanup.policy") in ("compact", UNKNOWN):
        return
    value = read(topic, "retention.ms")
    if value is UNKNOWN:
        return
    low, high = (number(config[key]) or 0 for key in ("minHours", "maxHours"))
    found = number(value)
    if found is None:
        yield f"retention.ms is {show(value)}. Allowed: {show(low)} to {show(high)} hours. Fix: set it."
        return
    hours = found / _HOUR_MILLISECONDS
    if found < 0 or not low <= hours <= high:
        kept = "for ever" if found < 0 else f"{hours:g} hours"
        yield f"keeps messages {kept}. Allowed: {show(low)} to {show(high)} hours. Fix: set retention.ms within them."


def names() -> ResourceValidationPolicy:
    """Names that metrics, rules and people can tell apart."""
    about = About(
        name="kafka-topic-names",
        display_name="Topics have plain names",
        description="Topic names are lower-case words with hyphens, and the object has the topic's name.",
        severity=Severity.MEDIUM,
        remediation="Name the topic after its events: payment-events.",
        tags=("kafka",),
        schema=PolicyConfigSchema(
            properties={"pattern": {"type": "string", "default": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$"}}
        ),
    )
    return object_policy(about, _check_name, frozenset({"KafkaTopic"}))


def _check_name(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if subject.group != GROUP:
        return
    own, pattern = read(subject.props, "spec", "topicName"), str(config["pattern"])
    if own not in (None, UNKNOWN, subject.name):
        yield f"is the topic {show(own)}. Allowed: one name for both. Fix: remove spec.topicName."
    name = text(subject.name)
    if name is not None and re.fullmatch(pattern, name) is None:
        yield f"its name does not match {pattern}. Allowed: lower-case words with hyphens. Fix: name it so."


def one_group_one_application() -> StackValidationPolicy:
    """Two applications in one group get half of the messages each, and neither gets all."""
    about = About(
        name="kafka-group-has-one-application",
        display_name="One group, one application",
        description="No two Deployments and no two users are members of the same consumer group.",
        severity=Severity.CRITICAL,
        remediation="Give each application a group of its own.",
        tags=("kafka",),
    )
    return stack_policy(about, _check_groups)


def _check_groups(index: StackIndex, _config: Config) -> Iterator[Violation]:
    members = [(subject, variable(subject, _GROUP_VARIABLE)) for subject in index.workloads]
    members += [
        (user, text(read(rule, "resource", "name")))
        for user in index.by_kind.get("KafkaUser", [])
        if user.group == GROUP
        for rule in elements(read(user.props, "spec", "authorization", "acls"))
        if read(rule, "resource", "type") == "group" and "Read" in elements(read(rule, "operations"))
    ]
    first: dict[tuple[str, str], KubernetesObject] = {}
    for subject, group in members:
        if group is None:
            continue
        kind = "user" if subject.kind == "KafkaUser" else "workload"
        other = first.setdefault((kind, group), subject)
        if other is not subject:
            yield Violation(
                subject,
                f"is a member of the consumer group '{group}', and so is {other.title}. Allowed: one application."
                " Fix: name another group.",
            )


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [agreed_topics(), retention(), names(), one_group_one_application()]
