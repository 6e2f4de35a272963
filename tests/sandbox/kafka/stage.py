"""Three real brokers as the prod stack declares them: its configuration, its topics, its users."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from components.contract import platform_contract
from components.kafka.broker_config import broker_config
from components.kafka.model import KafkaContext
from components.kafka.topics_plan import plan_topics
from components.kafka.users_plan import plan_users
from payments_client.kafka.access import Access
from payments_client.kafka.contract import KafkaContract, KafkaGroup
from payments_client.kafka.loop import LoopOptions
from payments_client.kafka.metrics import Count, NoMetrics
from payments_client.kafka.producer import EventProducer
from payments_client.kafka.properties import Properties, connection_properties, producer_properties
from payments_client.kafka.runner import Runner
from sandbox import kafka, kafka_secure, tools
from sandbox.kafka import Cluster
from sandbox.kafka_manifests import apply_manifests
from sandbox.kafka_secure import CLIENTS
from settings import Settings, load
from tests.unit.stacks import platform_of

STACK = "prod"
WAIT_SECONDS = 180.0
_NO_COORDINATOR = {"NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"}
_NEVER_USED = "a test's own password for "


class Counts(NoMetrics):
    """Counts in memory."""

    def __init__(self) -> None:
        self.seen: Counter[Count] = Counter()

    def count(self, what: Count, topic: str, number: int = 1) -> None:  # noqa: ARG002 # the protocol's
        """So many more."""
        self.seen[what] += number


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The running brokers and what the rendered objects made of them."""

    cluster: Cluster
    settings: Settings
    contract: KafkaContract
    topics: Mapping[str, Mapping[str, Any]]
    """Topic name → KafkaTopic."""
    users: Mapping[str, Mapping[str, Any]]
    """User name → KafkaUser."""
    admin: AdminClient = field(repr=False)

    @classmethod
    def build(cls, folder: Path) -> "Stage":
        """Start the brokers and carry the prod stack's KafkaTopics and KafkaUsers out on them."""
        settings = load(platform_of(STACK), source=STACK)
        context = KafkaContext.of(settings)
        cluster = kafka_secure.secure_cluster(folder, broker_config(settings))
        kafka.start(cluster, tools.progress())
        topics, users = plan_topics(context), plan_users(context)
        passwords = {_reference(manifest): _password(name) for name, manifest in users.items()}
        admin = kafka_secure.admin(cluster)
        try:
            apply_manifests(admin, [*topics.values(), *users.values()], passwords)
        except BaseException:
            kafka.stop(cluster)
            raise
        promised = platform_contract(settings).kafka
        assert promised is not None
        contract = promised.model_copy(update={"bootstrap_servers": cluster.bootstrap_servers(CLIENTS)})
        stage = cls(cluster=cluster, settings=settings, contract=contract, topics=topics, users=users, admin=admin)
        wait_for(stage._every_broker_knows_the_last_user, "every broker knows the users and their rules")
        return stage

    def _every_broker_knows_the_last_user(self) -> bool:
        """Brokers replay the controllers' log each at its own pace, and in its order."""
        name, manifest = list(self.users.items())[-1]
        rules = manifest["spec"]["authorization"]["acls"]
        topics = {rule["resource"]["name"] for rule in rules if rule["resource"]["type"] == "topic"}
        for address in self.contract.bootstrap_servers.split(","):
            client = AdminClient({**self.connection(name), "bootstrap.servers": address, "log_level": 0})
            try:
                if not topics <= set(client.list_topics(timeout=5).topics):
                    return False
            except KafkaException:
                return False
        return True

    def access(self, user: str, *, password: str | None = None) -> Access:
        """A user's, with the right password unless another is given."""
        authority = kafka_secure.authority_file(self.cluster.folder)
        return Access(username=user, password=password or _password(user), authority_file=authority)

    def connection(self, user: str, *, password: str | None = None) -> Properties:
        """Only what a client needs to connect."""
        return connection_properties(self.contract, self.access(user, password=password), client_id=user)

    def producer(self, user: str, changes: Mapping[str, Any] | None = None) -> EventProducer:
        """A producer with the platform's properties and some changed."""
        properties = producer_properties(self.contract, self.access(user), client_id=user)
        return EventProducer({**properties, **(changes or {})})

    def group(self, user: str) -> KafkaGroup:
        """The group that a Deployment's pods are in."""
        return next(group for group in self.contract.groups if group.application == user)

    def runner(
        self,
        user: str,
        handler: Callable[[Any], None],
        *,
        group_changes: Mapping[str, Any] | None = None,
        options: LoopOptions | None = None,
        uses_retry_topic: bool = True,
        metrics: Any = None,
    ) -> Runner:
        """One member of a user's group."""
        group = self.group(user).model_copy(update=dict(group_changes or {}))
        contract = self.contract.model_copy(update={"groups": (group,)})
        return Runner(
            group.id,
            handler,
            contract,
            self.access(user),
            options=options,
            metrics=metrics,
            uses_retry_topic=uses_retry_topic,
        )

    def assignments(self, group: str) -> list[set[int]]:
        """Partitions of each member of a group, as its coordinator knows them; none while it has no coordinator."""
        try:
            described = self.admin.describe_consumer_groups([group])[group].result(timeout=WAIT_SECONDS)
        except KafkaException as error:
            if error.args[0].name() in _NO_COORDINATOR:
                return []
            raise
        return [
            {partition.partition for partition in member.assignment.topic_partitions} for member in described.members
        ]

    def committed(self, group: KafkaGroup, user: str) -> dict[int, int]:
        """Partition → committed offset of the group's main topic."""
        consumer = Consumer({**self.connection(user), "group.id": group.id})
        count = self.contract.topic(group.topic).partitions
        try:
            found = consumer.committed([TopicPartition(group.topic, n) for n in range(count)], timeout=WAIT_SECONDS)
        finally:
            consumer.close()
        return {entry.partition: entry.offset for entry in found if entry.offset >= 0}

    def read_all(self, topic: str) -> list[Any]:
        """Every message that the topic holds, read by the brokers' own identity, outside any group."""
        consumer = Consumer({**kafka_secure.admin_properties(self.cluster), "group.id": "nobody"})
        count = len(self.admin.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions)
        ends = {}
        for number in range(count):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=WAIT_SECONDS)
            if high > low:
                ends[number] = high
        found: list[Any] = []
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        deadline = time.monotonic() + WAIT_SECONDS
        while ends and time.monotonic() < deadline:
            for message in consumer.consume(1000, timeout=0.5):
                assert message.error() is None, message.error()
                found.append(message)
                number = message.partition() or 0
                if (message.offset() or 0) + 1 >= ends.get(number, 0):
                    ends.pop(number, None)
        consumer.close()
        assert not ends, f"{topic} was not read to its end"
        return found


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Return when something holds. Fails with ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(0.1)


def event(key: str, number: int) -> bytes:
    """A payload that says which of its key's events it is."""
    return json.dumps({"key": key, "number": number}).encode()


def numbers_by_key(messages: Iterable[Any]) -> dict[str, list[int]]:
    """Key → its events' numbers in the order of the messages."""
    found: dict[str, list[int]] = {}
    for message in messages:
        body = json.loads(message.value())
        found.setdefault(body["key"], []).append(body["number"])
    return found


def _reference(manifest: Mapping[str, Any]) -> tuple[str, str]:
    reference = manifest["spec"]["authentication"]["password"]["valueFrom"]["secretKeyRef"]
    return reference["name"], reference["key"]


def _password(user: str) -> str:
    return _NEVER_USED + user
