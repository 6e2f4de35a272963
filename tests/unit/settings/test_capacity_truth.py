"""Figures that the stack declares elsewhere: told twice, they must agree."""

import pytest

from planning.capacity.installed import brokers, database, proxies
from tests.unit.stacks import REMOVED, problems_of, settings_of

PLAIN = {"horizon": "6-months", "entry_service": "payment-service"}


@pytest.mark.parametrize(
    ("part", "field", "value", "source"),
    [
        ("kafka", "brokers", 5, "kafka.brokers.nodes"),
        ("kafka", "replication", 2, "kafka.replication_factor"),
        ("kafka", "broker_disk_gib", 499, "kafka.brokers.storage.size"),
        ("database", "server_connections", 217, "postgres.pooler"),
        ("database", "disk_gib", 1000, "postgres.storage.size"),
        ("edge", "proxies", 9, "edge.proxies.max_replicas"),
    ],
)
def test_a_contradiction_is_refused_with_the_block_that_is_right(
    part: str, field: str, value: int, source: str
) -> None:
    [problem] = problems_of("prod", {"capacity": {**PLAIN, part: {field: value}}})
    assert problem.startswith(f"capacity.{part}.{field}: is {value}; allowed: ")
    assert f"which {source} declares; fix: leave it away" in problem


def test_what_agrees_and_what_nobody_says_is_accepted() -> None:
    agreed = {"kafka": {"brokers": 3, "broker_disk_gib": 500}, "database": {"server_connections": 216}}
    assert problems_of("prod", {"capacity": {**PLAIN, **agreed, "edge": {"proxies": 10}}}) == []
    assert problems_of("prod", {"capacity": PLAIN}) == []


def test_plans_read_the_blocks() -> None:
    changes = {
        "kafka/brokers/nodes": 5, "kafka/brokers/storage/size": "1Ti", "postgres/storage/size": "700Gi",
        "edge/proxies": {"max_replicas": 12},
    }  # fmt: skip
    settings = settings_of("prod", changes)
    assert (brokers(settings).count, brokers(settings).disk_gib) == (5, 1024)
    assert (database(settings).shards, database(settings).disk_gib) == (2, 700)
    assert database(settings).server_connections == 2 * (3 * 20 + 3 * 16)
    assert proxies(settings) == (12, "edge.proxies.max_replicas")


def test_a_stack_without_the_parts_says_their_size_itself() -> None:
    stated = {"kafka": {"brokers": 7}, "database": {"server_connections": 999, "disk_gib": 50}}
    settings = settings_of("prod", {"kafka": REMOVED, "postgres": REMOVED, "capacity": {**PLAIN, **stated}})
    assert (brokers(settings).count, brokers(settings).count_path) == (7, "capacity.kafka.brokers")
    assert (database(settings).server_connections, database(settings).disk_gib) == (999, 50)
