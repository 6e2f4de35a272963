"""The two ways to grow a keyed topic without breaking the order of any key, as steps for a person."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """What grows, in which stack, and who reads and writes it."""

    stack: str
    topic: str
    path: str
    """Where the stack file states the partitions."""
    from_partitions: int
    to_partitions: int
    groups: tuple[str, ...]
    """Consumer groups that read it."""
    writers: tuple[str, ...]
    """Deployments that write it."""


def migration_steps(growth: Growth) -> dict[str, list[str]]:
    """Name of the way → its steps in order.

    Everything that can be refused is prepared and reviewed before anything stops: with the writers down, a forgotten
    row of a table that others own would last as long as they take to answer.
    """
    return {
        "Drain (writes stop for minutes):": _drain(growth),
        "New topic and dual write (no stop, one service more):": _dual_write(growth),
    }


def _drain(growth: Growth) -> list[str]:
    stack, topic, to_partitions = growth.stack, growth.topic, growth.to_partitions
    readers = ", ".join(growth.groups) or "every group that reads it"
    retries = ", ".join(f"{group}-retry" for group in growth.groups) or "their retry groups"
    writers = ", ".join(growth.writers) or f"everything that writes {topic}"
    entry = (
        f'{{topic: {topic}, from_partitions: {growth.from_partitions}, to_partitions: {to_partitions}, reason: "…", '
        'date: "YYYY-MM-DD"}'
    )
    return [
        (
            f"prepare: in Pulumi.{stack}.yaml set {growth.path} to {to_partitions}, and add to "
            f"kafka.acknowledged_growth: {entry}"
        ),
        f"prepare: ./payctl kafka ledger --stack {stack}",
        f"prepare: in policies/config/{stack}.json, kafka-topics-agreed, set {topic} to {to_partitions} partitions",
        (
            f"./payctl check --stack {stack} passes; all three files are reviewed, the pack's by its owners, and "
            "merged; nothing is deployed yet"
        ),
        (
            f"stop what writes {topic}: {writers}. With an outbox stop its relay alone: events wait there, and "
            "payments go on. Otherwise bring the Deployments to 0 replicas, with KEDA by the annotation "
            'autoscaling.keda.sh/paused-replicas: "0" of their ScaledObjects'
        ),
        f"wait until the lag of {readers} is 0, and then that of {retries}",
        f"deploy: ./payctl up --stack {stack}; the KafkaTopic {topic} is Ready with {to_partitions} partitions",
        "start what was stopped",
    ]


def _dual_write(growth: Growth) -> list[str]:
    stack, topic, to_partitions = growth.stack, growth.topic, growth.to_partitions
    readers = ", ".join(growth.groups) or "every group that reads it"
    successor = f"{topic}-{to_partitions}"
    return [
        (
            f"prepare: in Pulumi.{stack}.yaml declare the topic {successor} with {to_partitions} partitions and "
            f"the same key, and add it to produces of what writes {topic}"
        ),
        (
            "prepare: a service reads one topic in one group, so declare a second service for each that reads "
            "it: a copy "
            f"with another name, whose consumer has another name and group and the topic {successor}. Its API "
            "comes with it, at its minimum; nothing has to call it"
        ),
        (
            f"prepare: ./payctl kafka ledger --stack {stack}; in policies/config/{stack}.json add the new topic "
            "and the new groups' retry and dead-letter topics to kafka-topics-agreed"
        ),
        (
            f"./payctl check --stack {stack} passes; all files are reviewed and merged; deploy while no image "
            "writes to the new topic yet, and bring the new consumers to 0 replicas"
        ),
        f"have writers write each message to {topic} and to {successor}, with an id that readers can compare",
        (
            f"once {readers} are past the first message that was written twice, start the consumers of "
            f"{successor}: both look up the id where they commit their work, and skip what is done"
        ),
        f"stop {readers} once the new groups have caught up, then the writes to {topic}",
        (
            f"keep {topic} in the stack file until its retention of the last message is over; then docs/runbooks/"
            "kafka-topics.md, a topic is given up"
        ),
    ]
