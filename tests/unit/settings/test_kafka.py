"""What a stack file may say about Kafka, and what it is told otherwise."""

import pytest

from tests.unit.stacks import STACKS, Changes, platform_of, problems_of

CASES: list[tuple[Changes, str, str]] = [
    ({"kafka/min_in_sync_replicas": 3}, "kafka", "the loss of one broker would stop every write"),
    ({"kafka/replication_factor": 5}, "kafka", "is more than brokers.nodes 3"),
    ({"kafka/controllers/nodes": 4}, "kafka", "an even number needs one more for a majority"),
    ({"kafka/brokers/heap": "15Gi"}, "kafka.brokers", "more than half of limits.memory"),
    ({"kafka/brokers/heap": "64Mi"}, "kafka.brokers", "too small for a node"),
    ({"kafka/groups": {"heartbeat_interval_seconds": 11}}, "kafka.groups", "more than a third of"),
    ({"kafka/groups": {"max_poll_interval_seconds": 30}}, "kafka.groups", "a slow batch would look like a lost"),
    ({"kafka/group_max_session_timeout_seconds": 20}, "kafka", "the brokers' bounds"),
    ({"kafka/group_min_session_timeout_seconds": 31}, "kafka", "the brokers' bounds"),
    ({"kafka/operator": {"installed_by_us": True}}, "kafka.operator", "chart is not given"),
    ({"kafka/operator": {"chart": "oci://r.example.com/c"}}, "kafka.operator", "installed_by_us is false"),
    ({"kafka/users/keda": {"password": {}, "watches_lag": True}}, "kafka.users.keda.password", "exactly one source"),
    ({"kafka/users/payment-servce": {}}, "kafka.users.payment-servce", "payment-service"),
    ({"kafka/users/payment-service": {"watches_lag": True}}, "kafka.users.payment-service.watches_lag", "of its own"),
    ({"kafka/api_server": "kubernets-api"}, "kafka.api_server", "kubernetes-api"),
    ({"kafka/reached_by": ["kedda"]}, "kafka.reached_by[0]", "keda"),
    ({"kafka/scraped_by": "prometheus"}, "kafka.scraped_by", "monitoring"),
    ({"cluster/namespaces/kafka": "cache"}, "cluster.namespaces.kafka", "a namespace of its own"),
    ({"topics/payment-events/min_in_sync_replicas": 3}, "topics.payment-events.min_in_sync_replicas", "at most 2"),
    ({"topics/payment-events/max_message_bytes": 8 * 2**20}, "kafka.groups.max_partition_fetch_bytes", "largest"),
    ({"services/wallet-service/api/produces": ["walet-events"]}, "services.wallet-service.api.produces[0]", "wallet"),
    ({"services/wallet-service/consumer/group": "payment-service-group"}, "services.", "no other application"),
    ({"services/payment-service/config/KAFKA_USERNAME": "me"}, "services.payment-service", "kafka.users gives them"),
    (
        {"kafka/acknowledged_growth": [
            {"topic": "paymnt-events", "from_partitions": 24, "to_partitions": 48, "reason": "drained at night",
             "date": "2026-11-24"}]},
        "kafka.acknowledged_growth[0].topic", "payment-events",
    ),
    (
        {"kafka/acknowledged_growth": [
            {"topic": "payment-events", "from_partitions": 24, "to_partitions": 12, "reason": "drained at night",
             "date": "2026-11-24"}]},
        "kafka.acknowledged_growth[0]", "partitions never shrink",
    ),
    ({"kafka/brokers/nodes": 2, "kafka/replication_factor": 2, "kafka/min_in_sync_replicas": 1},
     "kafka.brokers.nodes", "at least 3 in prod"),
    ({"kafka/users": {}}, "kafka.users", "one that watches the lag"),
    ({"kafka/reached_by": []}, "kafka.reached_by", "a peer for KEDA"),
    ({"autoscaling/keda/kafka/bootstrap_servers": "kafka:9092"}, "autoscaling.keda.kafka.bootstrap_servers",
     "the cluster of this stack"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "words"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_is_told_with_its_place(changes: Changes, path: str, words: str) -> None:
    found = problems_of("prod", changes)
    assert any(line.startswith(path) and words in line for line in found), found


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_not_required_may_be_left_out(stack: str) -> None:
    assert problems_of(stack, {"kafka/cruise_control": None}) == []
    assert problems_of(stack, {"kafka/acknowledged_growth": []}) == []


def test_all_mistakes_are_told_at_once() -> None:
    taken = "payment-service-group-retry"
    topic = platform_of("prod")["topics"]["payment-events"]
    found = problems_of("prod", {"kafka/users/nobody": {}, f"topics/{taken}": topic, "kafka/reached_by": []})
    for path in ("kafka.users.nobody", f"topics.{taken}", "kafka.reached_by"):
        assert any(line.startswith(path) for line in found), (path, found)
