"""Kafka's settings: what is refused, and with which words; each rule with path, value, what is allowed, and the fix."""

import pytest

from payments_client.kafka.loop import LoopOptions
from settings.kafka_rules import HANDOVER_SECONDS
from tests.unit.stacks import REMOVED, Changes, problems_of, settings_of

BOOTSTRAP = "kafka-cluster-kafka-bootstrap.kafka.svc:9093"
USER = {"password": {"existing_secret": "a"}}
GROWTH = {"topic": "payment-events", "from_partitions": 24, "to_partitions": 48, "reason": "drained at night"}


def test_no_kafka_at_all_is_a_choice() -> None:
    assert settings_of("dev", {"kafka": REMOVED}).kafka is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"kafka/api_server": "kubernetes-apj"},
            (
                "kafka.api_server: is 'kubernetes-apj'; allowed: one of cluster.peers: …; fix: did you mean "
                "'kubernetes-api'?"
            ),
        ),
        (
            {"kafka/reached_by": ["nobody"]},
            (
                "kafka.reached_by[0]: is 'nobody'; allowed: one of cluster.peers: …; fix: declare 'nobody' under "
                "cluster.peers, or remove it here"
            ),
        ),
        (
            {"kafka/scraped_by": "monitorin"},
            "kafka.scraped_by: is 'monitorin'; allowed: one of cluster.peers: …; fix: did you mean 'monitoring'?",
        ),
        (
            {"topics/wallet-events/min_in_sync_replicas": 3},
            (
                "topics.wallet-events.min_in_sync_replicas: is 3; allowed: below kafka.replication_factor "
                "3: the loss of "
                "one broker would stop every write; fix: set it to at most 2, or remove it"
            ),
        ),
        (
            {"topics/wallet-service-group-retry": {"partitions": 3, "key": "wallet_id"}},
            (
                "topics.wallet-service-group-retry: allowed: a name that no consumer group's own topic has: "
                "wallet-service gets this one by itself; fix: rename the topic, or the group"
            ),
        ),
        (
            {"services/wallet-service/consumer/group": "payment-service-group"},
            (
                "services.wallet-service.consumer.group: is 'payment-service-group'; allowed: a group that no other "
                "application is a member of: each would get half of the messages; fix: name another group; "
                "services.payment-service.consumer.group has this one already"
            ),
        ),
        (
            {"kafka/groups": {"max_partition_fetch_bytes": 2**20}},
            (
                "kafka.groups.max_partition_fetch_bytes: is 1048576; allowed: at least 1064960, the largest message of "
                "…; fix: raise it to 1064960, or lower max_message_bytes of the topic"
            ),
        ),
        (
            {"kafka/groups": {"fetch_max_bytes": 2**20}},
            (
                "kafka.groups.fetch_max_bytes: is 1048576; allowed: at least 1064960, the largest message of …; fix: "
                "raise it to 1064960, or lower max_message_bytes of the topic"
            ),
        ),
        (
            {"kafka/users": {"walet-service": USER}},
            (
                "kafka.users.walet-service: is 'walet-service'; allowed: one of the Deployments that use "
                "Kafka: …; fix: "
                "did you mean 'wallet-service'?"
            ),
        ),
        (
            {"kafka/users": {"wallet-service": {**USER, "watches_lag": True}}},
            (
                "kafka.users.wallet-service.watches_lag: is True; allowed: a user of its own, which reads "
                "and writes no "
                "message; fix: give the autoscaler another user"
            ),
        ),
        (
            {"services/wallet-service/api/produces": ["walet-events"]},
            (
                "services.wallet-service.api.produces[0]: is 'walet-events'; allowed: one of topics: …; "
                "fix: did you mean "
                "'wallet-events'?"
            ),
        ),
        (
            {"services/wallet-service/consumer/produces": ["wallet-events", "x"]},
            (
                "services.wallet-service.consumer.produces[1]: is 'x'; allowed: one of topics: …; fix: "
                "declare 'x' under "
                "topics, or remove it here"
            ),
        ),
        (
            {"services/wallet-service/config/KAFKA_BROKERS": "kafka:9092"},
            (
                f"services.wallet-service.config.KAFKA_BROKERS: is 'kafka:9092'; allowed: {BOOTSTRAP}, the "
                f"cluster of this "
                f"stack: its certificates name this host; fix: set it to {BOOTSTRAP}, or remove it: the "
                f"program sets it "
                "by itself"
            ),
        ),
        (
            {"services/wallet-service/config/KAFKA_USERNAME": "me"},
            "services.wallet-service: allowed: no KAFKA_USERNAME of its own: kafka.users gives them; fix: remove them",
        ),
        (
            {"kafka/acknowledged_growth": [{**GROWTH, "topic": "payment-event", "date": "2026-11-24"}]},
            (
                "kafka.acknowledged_growth[0].topic: is 'payment-event'; allowed: one of topics: …; fix: did you mean "
                "'payment-events'?"
            ),
        ),
        (
            {"cluster/namespaces/kafka": "payments"},
            (
                "cluster.namespaces.kafka: is 'payments'; allowed: a namespace of its own: it keeps volumes and the "
                "brokers' keys; fix: name another one"
            ),
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_fix(changes: Changes, line: str) -> None:
    """``…`` stands for any text, such as the list of all names."""
    problems = problems_of("dev", changes)
    assert any(_fits(problem, line) for problem in problems), "\n".join(problems)


def _fits(problem: str, line: str) -> bool:
    head, *rest = line.split("…")
    if not rest:
        return problem == line
    return problem.startswith(head) and problem.endswith(rest[-1]) and "; fix: " in problem


def test_a_service_that_cannot_reach_the_brokers_is_told_which_peer_is_missing() -> None:
    [line] = problems_of(
        "dev", {"services/wallet-service/egress_to": ["postgres", "postgres-ro", "redis-local", "redis"]}
    )
    assert line == (
        "services.wallet-service.egress_to: is ['postgres', 'postgres-ro', 'redis-local', 'redis']; allowed: a peer "
        "that leads to the brokers: wallet-processors, wallet-service is a user of Kafka; fix: add a peer with "
        "namespace kafka, pod_labels {strimzi.io/cluster: kafka-cluster} and port 9093 to cluster.peers, and name it "
        "here"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"autoscaling/keda/kafka/bootstrap_servers": "kafka:9093"},
            (
                f"autoscaling.keda.kafka.bootstrap_servers: is 'kafka:9093'; allowed: {BOOTSTRAP}, the cluster of this "
                f"stack; fix: set it to {BOOTSTRAP}"
            ),
        ),
        (
            {"autoscaling/keda/kafka/authentication": "none", "autoscaling/keda/kafka/existing_secret": None},
            (
                "autoscaling.keda.kafka.authentication: is 'none'; allowed: scram-sha-512: the brokers of "
                "this stack admit "
                "nobody else; fix: set it, and name the Secret in existing_secret"
            ),
        ),
        (
            {"kafka/users": {}},
            (
                "kafka.users: is []; allowed: one that watches the lag: KEDA signs in to read it; fix: add keda with "
                "watches_lag: true and the password of the Secret autoscaling.keda.kafka.existing_secret"
            ),
        ),
        (
            {"kafka/reached_by": []},
            (
                "kafka.reached_by: is []; allowed: a peer for KEDA, which reads the lag from the brokers; "
                "fix: add KEDA's "
                "operator to cluster.peers, and name it here"
            ),
        ),
        (
            {"kafka/controllers/nodes": 1},
            (
                "kafka.controllers.nodes: is 1; allowed: at least 3 in prod: fewer do not survive the loss "
                "of one; fix: "
                "set it to 3"
            ),
        ),
        (
            {"kafka/replication_factor": 2, "kafka/min_in_sync_replicas": 1},
            "kafka.replication_factor: is 2; allowed: at least 3 in prod; fix: set it to 3",
        ),
        (
            {"cluster/zones": ["a", "b"]},
            (
                "cluster.zones: is ['a', 'b']; allowed: so many that a lost zone leaves "
                "kafka.min_in_sync_replicas 2 of 3 "
                "replicas: with 2 zones it takes 2; fix: spread the nodes over more zones, or lower "
                "min_in_sync_replicas"
            ),
        ),
    ],
)
def test_prod_survives_a_zone_and_its_autoscaler_signs_in(changes: Changes, line: str) -> None:
    problems = problems_of("prod", changes)
    assert line in problems, "\n".join(problems)


def test_two_brokers_are_few_in_prod_and_enough_elsewhere() -> None:
    changes = {"kafka/brokers/nodes": 2, "kafka/replication_factor": 2, "kafka/min_in_sync_replicas": 1}
    assert problems_of("dev", changes) == []
    found = [line for line in problems_of("prod", changes) if line.startswith("kafka.brokers.nodes")]
    assert found == [
        "kafka.brokers.nodes: is 2; allowed: at least 3 in prod: fewer do not survive the loss of one; fix: set it to 3"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kafka/brokers/nodes": 2}, "replication_factor 3 is more than brokers.nodes 2"),
        ({"kafka/min_in_sync_replicas": 3}, "min_in_sync_replicas 3 is not below replication_factor 3"),
        ({"kafka/controllers/nodes": 4}, "an even number needs one more for a majority and survives no more losses"),
        ({"kafka/brokers/heap": "1536Mi"}, "heap 1536Mi is more than half of limits.memory 2Gi"),
        ({"kafka/brokers/heap": "64Mi"}, "heap 64Mi is too small for a node"),
        (
            {"kafka/groups": {"heartbeat_interval_seconds": 11}},
            "heartbeat_interval_seconds 11 is more than a third of session_timeout_seconds 30",
        ),
        (
            {"kafka/groups": {"session_timeout_seconds": 400, "max_poll_interval_seconds": 500}},
            "groups.session_timeout_seconds 400 is outside 6–300, the brokers' bounds",
        ),
        (
            {"kafka/groups": {"max_poll_interval_seconds": 30}},
            "max_poll_interval_seconds 30 is not more than session_timeout_seconds 30",
        ),
        ({"kafka/users": {"wallet-service": {"password": {}}}}, "a password has exactly one source"),
        (
            {"kafka/users": {"wallet-service": {"password": {"existing_secret": "a", "config_key": "b"}}}},
            "a password has exactly one source",
        ),
        ({"kafka/operator": {"installed_by_us": True}}, "installed_by_us is true, and chart is not given"),
        ({"kafka/operator": {"chart": "oci://a/b"}}, "installed_by_us is false, and chart is given"),
        (
            {"kafka/acknowledged_growth": [{**GROWTH, "to_partitions": 24, "date": "2026-11-24"}]},
            "to_partitions 24 is not more than from_partitions 24: partitions never shrink",
        ),
        (
            {"kafka/acknowledged_growth": [{**GROWTH, "date": "2026-02-30"}]},
            "date 2026-02-30 is no day of the calendar",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_of_its_block_is_told_with_the_numbers(changes: Changes, words: str) -> None:
    [line] = problems_of("dev", changes)
    assert line.startswith("kafka")
    assert words in line
    assert "; fix: " in line


def test_everything_that_is_wrong_is_said_at_once() -> None:
    problems = problems_of("prod", {"kafka/api_server": "x", "kafka/controllers/nodes": 1, "kafka/reached_by": []})
    assert {line.split(":")[0] for line in problems} >= {
        "kafka.api_server",
        "kafka.controllers.nodes",
        "kafka.reached_by",
    }


def test_failed_messages_are_kept_at_least_as_long_as_those_of_their_topic() -> None:
    def said(retry: int, dead_letter: int, **topic: object) -> list[str]:
        sections = {
            "kafka/retry": {"partitions": 12, "retention_hours": retry},
            "kafka/dead_letter": {"partitions": 3, "retention_hours": dead_letter},
        }
        return problems_of(
            "dev", {**sections, **{f"topics/wallet-events/{key}": value for key, value in topic.items()}}
        )

    assert said(168, 168) == []
    assert said(167, 336) == [
        (
            "kafka.retry.retention_hours: is 167; allowed: at least 168, the retention of payment-events: with its "
            "consumers down for longer than 167 hours, what failed once would be lost and all else kept; fix: raise it "
            "to 168, or lower topics.payment-events.retention_hours"
        )
    ]
    [line] = said(240, 239, retention_hours=240)
    assert line.startswith("kafka.dead_letter.retention_hours: is 239; allowed: at least 240, the retention of wallet-")
    assert said(168, 336, retention_hours=240, cleanup="compact") == [], "compaction alone keeps without an age"


@pytest.mark.parametrize(
    ("pre_stop", "grace", "refused"), [(0, 40, False), (0, 39, True), (5, 45, False), (5, 44, True)]
)
def test_a_consumer_has_time_to_hand_its_partitions_over(pre_stop: int, grace: int, refused: bool) -> None:  # noqa: FBT001
    shutdown = {"pre_stop_seconds": pre_stop, "grace_period_seconds": grace}
    problems = problems_of("dev", {"services/wallet-service/consumer/shutdown": shutdown})
    wanted = 40 + pre_stop
    told = (
        f"services.wallet-service.consumer.shutdown.grace_period_seconds: is {grace}; allowed: at least {wanted}: "
        f"{pre_stop} s of pre_stop_seconds, 20 s for handlers that run, 10 s until a rebalance lets the last commit "
        "pass, 10 s to commit and leave; killed earlier, it hands over what the next owner handles again; "
        f"fix: raise it to {wanted}"
    )
    assert problems == ([told] if refused else [])


def test_the_time_for_handlers_is_that_of_the_clients_runner() -> None:
    assert LoopOptions().handover_seconds == HANDOVER_SECONDS
