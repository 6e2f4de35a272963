"""What the platform promises about Kafka: where it listens, its topics, and how each consumer group reads.

No secret is in it: a pod gets its password and the brokers' authority as files, named by the variables below.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from payments_client.part import Part

BOOTSTRAP_VARIABLE = "KAFKA_BROKERS"
"""The plan's name; it carries the TLS listener."""
USER_VARIABLE = "KAFKA_USERNAME"
PASSWORD_VARIABLE = "KAFKA_PASSWORD"  # noqa: S105 # a variable's name
"""``KAFKA_PASSWORD_FILE`` names the file that holds it."""
AUTHORITY_VARIABLE = "KAFKA_CA"
"""``KAFKA_CA_FILE`` names the file with the certificate that signs the brokers' own."""
RACK_VARIABLE = "KAFKA_RACK"
"""The pod's zone, where it is known: reads then come from the replica in the same zone."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]*$", max_length=200)]
Count = Annotated[int, Field(ge=1, le=10000)]


class KafkaTopic(Part):
    """One topic. Its partitions never shrink, and growing a keyed one breaks the order of its keys."""

    name: Name
    partitions: Annotated[int, Field(ge=1, le=1000)]
    key: str | None = None
    """Field whose value is the key of a message; messages of one key keep their order. ``null``: no key."""
    max_message_bytes: Annotated[int, Field(ge=1024)] = 2**20


class KafkaGroup(Part):
    """One consumer group: what it reads, and how its members behave. Protocol ``classic``."""

    id: Name
    """``group.id``."""
    application: Name
    """The one Deployment whose pods are its members."""
    topic: Name
    retry_topic: Name
    """Where a message waits whose handling failed for now. A group of the same name reads it, in the same pods."""
    dead_letter_topic: Name
    """Where a message ends that is given up, with the reason in its headers."""
    session_timeout_seconds: Annotated[int, Field(ge=1, le=1800)] = 30
    heartbeat_interval_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    max_poll_records: Count = 500
    """Most messages that one poll hands over."""
    max_poll_interval_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    offset_reset: Literal["earliest", "latest"] = "earliest"
    assignment: Literal["cooperative-sticky", "range", "roundrobin"] = "cooperative-sticky"
    """The assignors that librdkafka has. The last two are eager: every member stops for each rebalance."""
    fetch_max_bytes: Annotated[int, Field(ge=1024)] = 50 * 2**20
    max_partition_fetch_bytes: Annotated[int, Field(ge=1024)] = 2 * 2**20
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """Times that a message is handled each time it is delivered, before it leaves its place."""
    retry_deliveries: Annotated[int, Field(ge=0, le=20)] = 2
    """Times that a message goes through the retry topic before it is given up."""
    retry_delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """How long it waits there each time."""

    @model_validator(mode="after")
    def _members_are_not_lost(self) -> Self:
        if self.heartbeat_interval_seconds * 3 > self.session_timeout_seconds:
            raise ValueError(
                f"group {self.id}: heartbeat_interval_seconds {self.heartbeat_interval_seconds} is more than a third "
                f"of session_timeout_seconds {self.session_timeout_seconds}"
            )
        if self.max_poll_interval_seconds <= self.session_timeout_seconds:
            raise ValueError(
                f"group {self.id}: max_poll_interval_seconds {self.max_poll_interval_seconds} is not more than "
                f"session_timeout_seconds {self.session_timeout_seconds}; librdkafka refuses it"
            )
        if len({self.topic, self.retry_topic, self.dead_letter_topic}) < 3:  # noqa: PLR2004 # the three just named
            raise ValueError(f"group {self.id}: topic, retry_topic and dead_letter_topic must be three topics")
        return self


class KafkaContract(Part):
    """The cluster's address, every topic, every group."""

    bootstrap_servers: Annotated[str, Field(min_length=1)]
    """``host:port``, comma-separated."""
    security_protocol: Literal["SASL_SSL", "PLAINTEXT"] = "SASL_SSL"
    """With SASL_SSL the mechanism is SCRAM-SHA-512. PLAINTEXT is for tests without certificates."""
    topics: tuple[KafkaTopic, ...]
    groups: tuple[KafkaGroup, ...]

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        names = [topic.name for topic in self.topics]
        for what, known in (
            ("topic", names),
            ("group", [group.id for group in self.groups]),
            ("application", [group.application for group in self.groups]),
        ):
            twice = sorted({name for name in known if known.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} stands twice")
        missing = {
            name
            for group in self.groups
            for name in (group.topic, group.retry_topic, group.dead_letter_topic)
            if name not in names
        }
        if missing:
            raise ValueError(f"groups name topics that are not there: {', '.join(sorted(missing))}")
        return self

    def group(self, group_id: str) -> KafkaGroup:
        """The group with an id. Raises ``KeyError`` with the known ones."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise KeyError(f"the contract has no group '{group_id}'; it has: {[group.id for group in self.groups]}")

    def topic(self, name: str) -> KafkaTopic:
        """The topic with a name. Raises ``KeyError`` with the known ones."""
        for topic in self.topics:
            if topic.name == name:
                return topic
        raise KeyError(f"the contract has no topic '{name}'; it has: {[topic.name for topic in self.topics]}")
