"""One partition per key, whoever asks: Kafka's Java client, librdkafka as we set it up, and our Python."""

import base64
import random
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # missing in its stubs only

from payments_client.kafka.partitioner import murmur2, partition_for
from payments_client.kafka.producer import EventProducer
from sandbox import tools
from sandbox.kafka_jars import ensure_jars, find_java
from sandbox.kafka_secure import admin_properties
from tests.sandbox.kafka.stage import WAIT_SECONDS, Stage

COUNT = 12_000
COUNTS = (1, 2, 12, 16, 24, 48, 97, 1000)
_TOPIC, _PARTITIONS = "partitioner-agreement", 24


def _keys() -> list[bytes]:
    """Empty, every tail length, text of several scripts, long, arbitrary bytes, and what the plan's keys look like."""
    dice = random.Random(20261124)  # noqa: S311 # the same keys in every run
    found = [b"", *(bytes([value]) for value in range(256)), *(b"\xff" * length for length in range(1, 64))]
    found += [text.encode() for text in ("ñandú", "用户-42", "Ωμέγα", "🙂" * 7, "e\u0301", "\x00", " ")]
    found += [dice.randbytes(length) for length in (1_000, 4_099, 65_537)]
    found += [f"user-{number}".encode() for number in range(3_000)]
    found += [dice.randbytes(16).hex().encode() for _ in range(3_000)]
    while len(found) < COUNT:
        found.append(dice.randbytes(dice.randrange(0, 200)))
    return found


@pytest.fixture(scope="module")
def java_answers() -> Sequence[tuple[bytes, int, int, int]]:
    """Key, partitions, murmur2 as Java's signed number, partition."""
    java, jars = find_java(), ensure_jars(tools.progress())
    asked = [(key, COUNTS[number % len(COUNTS)]) for number, key in enumerate(_keys())]
    lines = "".join(f"{base64.b64encode(key).decode()} {partitions}\n" for key, partitions in asked)
    source = Path(__file__).with_name("Partitions.java")
    answer = subprocess.run(
        [str(java), "-cp", f"{jars}/*", str(source)],
        input=lines,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert answer.returncode == 0, (
        f"{answer.stderr}\nthis test compiles one file: it needs a JDK, not only a runtime "
        "(Debian and Ubuntu: apt-get install default-jdk-headless)"
    )
    words = [line.split(" ") for line in answer.stdout.splitlines()]
    assert len(words) == len(asked)
    return [(*question, int(hash_), int(partition)) for question, (hash_, partition) in zip(asked, words, strict=True)]


def test_twelve_thousand_keys_agree_with_kafkas_java_client(
    java_answers: Sequence[tuple[bytes, int, int, int]],
) -> None:
    assert len(java_answers) >= 10_000
    for key, partitions, hash_, partition in java_answers:
        ours = murmur2(key)
        assert (ours - 2**32 if ours >= 2**31 else ours) == hash_, key
        assert partition_for(key, partitions) == partition, (key, partitions)


@pytest.fixture
def topic(stage: Stage) -> Iterator[str]:
    made = stage.admin.create_topics([NewTopic(_TOPIC, _PARTITIONS, 3)], operation_timeout=WAIT_SECONDS)
    made[_TOPIC].result(timeout=WAIT_SECONDS)
    yield _TOPIC
    stage.admin.delete_topics([_TOPIC])[_TOPIC].result(timeout=WAIT_SECONDS)


def test_twelve_thousand_messages_of_our_producer_land_where_the_partitioner_says(stage: Stage, topic: str) -> None:
    landed: list[tuple[bytes, int]] = []

    def remember(error: object, message: object) -> None:
        assert error is None, error
        landed.append((message.key(), message.partition()))  # type: ignore[attr-defined] # the stub says object

    keys = _keys()
    with stage.producer("payment-service", admin_properties(stage.cluster)) as producer:
        for key in keys:
            producer.send(topic, key=key, value=b"x", on_delivery=remember)
    assert Counter(key for key, _ in landed) == Counter(keys)
    for key, partition in landed:
        assert partition == partition_for(key, _PARTITIONS), key


def test_librdkafkas_own_default_would_break_the_agreement(stage: Stage, topic: str) -> None:
    """Why the producer's properties name the partitioner: without it, nearly every key would land elsewhere."""
    landed: list[bool] = []
    changes = {**admin_properties(stage.cluster), "partitioner": "consistent_random"}
    with stage.producer("payment-service", changes) as producer:
        _send_and_compare(producer, topic, landed)
    assert len(landed) == 240
    assert sum(landed) < len(landed) // 4


def _send_and_compare(producer: EventProducer, topic: str, landed: list[bool]) -> None:
    for number in range(240):
        key = f"user-{number}".encode()
        expected = partition_for(key, _PARTITIONS)
        producer.send(
            topic,
            key=key,
            value=b"x",
            on_delivery=lambda _, message, expected=expected: landed.append(message.partition() == expected),  # type: ignore[misc]
        )
