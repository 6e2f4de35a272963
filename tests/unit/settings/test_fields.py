"""Every rule of a single field: what is refused, with the words that a person needs to put it right."""

import pytest

from tests.unit.stacks import REMOVED, problems_of, settings_of

SERVICE = "services/payment-service"
PATH = "services.payment-service"
LABEL = "text that matches ^[a-z]([-a-z0-9]*[a-z0-9])?$"
LABEL_WORDS = "(lower-case letters, digits and '-', at most 53 characters (names get suffixes of up to 10))"
NAME = "text that matches ^[a-z][a-z0-9.-]*$"
DIGEST_HINT = "(an image with a tag or a digest: registry/name:1.2.3 or registry/name@sha256:…)"
QUANTITY_HINT = "is not a quantity; write for example 500m, 2, 512Mi or 1Gi"
WHOLE = "allowed: a valid integer; fix: write it without quotes"

# Path of the change, new value, then the line's parts in order: path, value, allowed, fix.
REFUSED: list[tuple[str, object, tuple[str, ...]]] = [
    ("environment", "staging", ("environment: is 'staging'", "allowed: 'dev' or 'prod'", "fix: change it")),
    ("cluster/kube_context", "", ("cluster.kube_context: is ''", "at least 1 characters")),
    ("cluster/kubeconfig", 3, ("cluster.kubeconfig: is 3", "a valid string", "fix: write it in quotes")),
    ("cluster/zones", [], ("cluster.zones: is []", "at least 1 entries")),
    ("cluster/zones", ["Zone A"], ("cluster.zones[0]: is 'Zone A'", LABEL)),
    ("cluster/zones", "zone-a", ("cluster.zones: is 'zone-a'", "a valid array", "fix: change the kind of value")),
    ("cluster/namespaces/services", "Pay", ("cluster.namespaces.services: is 'Pay'", LABEL, LABEL_WORDS)),
    ("cluster/namespaces/services", "a" * 54, (f"is '{'a' * 54}'", "at most 53 characters")),
    ("cluster/peers/kafka/ports", [], ("cluster.peers.kafka.ports: is []", "at least 1 entries")),
    ("cluster/peers/kafka/ports", [0], ("cluster.peers.kafka.ports[0]: is 0", "at least 1")),
    ("cluster/peers/kafka/ports", [65536], ("cluster.peers.kafka.ports[0]: is 65536", "at most 65535")),
    ("cluster/peers/kafka/ports", ["9092"], ("cluster.peers.kafka.ports[0]: is '9092'", WHOLE)),
    ("cluster/peers/Kafka", {"ports": [1], "cidrs": ["10.0.0.0/8"]}, ("cluster.peers.Kafka: is 'Kafka'", LABEL)),
    ("cluster/peers/banks/cidrs", ["10.0.0.1/8"], ("cluster.peers.banks.cidrs[0]: is '10.0.0.1/8'", "host bits set")),
    ("cluster/peers/banks/cidrs", ["all"], ("cluster.peers.banks.cidrs[0]: is 'all'", "IPv4 or IPv6 network")),
    ("cluster/peers/banks/except_cidrs", ["x"], ("cluster.peers.banks.except_cidrs[0]: is 'x'", "network")),
    ("topics/payment-events/partitions", 0, ("topics.payment-events.partitions: is 0", "at least 1")),
    ("topics/payment-events/partitions", 1001, ("is 1001", "at most 1000")),
    ("topics/payment-events/key", "User", ("topics.payment-events.key: is 'User'", "^[a-z][a-z0-9_]*$", "message key")),
    ("topics/Payment", {"partitions": 1, "key": "a"}, ("topics.Payment: is 'Payment'", NAME)),
    ("services", {}, ("services: is {}", "at least 1 entries")),
    ("capacity/horizon", "2-days", ("capacity.horizon: is '2-days'", "'now', '6-months' or '1-year'")),
    (f"{SERVICE}/owner", "", (f"{PATH}.owner: is ''", "text that matches")),
    (f"{SERVICE}/owner", "Pay Ments", (f"{PATH}.owner: is 'Pay Ments'", "text that matches", "Team that answers")),
    (f"{SERVICE}/owner", "a" * 64, (f"{PATH}.owner: is", "at most 63 characters")),
    (f"{SERVICE}/pci_scope", "inside", (f"{PATH}.pci_scope: is 'inside'", "'cde', 'connected' or 'out'")),
    (f"{SERVICE}/image", "payment-service", (f"{PATH}.image: is 'payment-service'", DIGEST_HINT)),
    (f"{SERVICE}/image", "a@sha256:abc", (f"{PATH}.image: is 'a@sha256:abc'", DIGEST_HINT)),
    (f"{SERVICE}/image", "Payment:1", (f"{PATH}.image: is 'Payment:1'", DIGEST_HINT)),
    (f"{SERVICE}/config/db_host", "x", (f"{PATH}.config.db_host: is 'db_host'", "^[A-Z][A-Z0-9_]*$")),
    (f"{SERVICE}/config/DB_PORT", 5432, (f"{PATH}.config.DB_PORT: is 5432", "a valid string", "write it in quotes")),
    (f"{SERVICE}/ingress_from", ["Edge"], (f"{PATH}.ingress_from[0]: is 'Edge'", LABEL)),
    (f"{SERVICE}/egress_to", ["Kafka"], (f"{PATH}.egress_to[0]: is 'Kafka'", LABEL)),
    (f"{SERVICE}/api", [], (f"{PATH}.api: is []", "an object", "change the kind of value")),
    (f"{SERVICE}/api/port", 0, (f"{PATH}.api.port: is 0", "at least 1")),
    (f"{SERVICE}/api/port", 65536, (f"{PATH}.api.port: is 65536", "at most 65535")),
    (f"{SERVICE}/api/resources/requests/cpu", "0", (f"{PATH}.api.resources.requests.cpu: is '0'", "more than 0")),
    (f"{SERVICE}/api/resources/requests/cpu", "lots", (f"{PATH}.api.resources.requests.cpu: is", QUANTITY_HINT)),
    (f"{SERVICE}/api/resources/requests/cpu", 1, (f"{PATH}.api.resources.requests.cpu: is 1", "write it in quotes")),
    (f"{SERVICE}/api/resources/limits/memory", "1Gib", (f"{PATH}.api.resources.limits.memory: is", QUANTITY_HINT)),
    (f"{SERVICE}/api/scaling/min_replicas", 0, (f"{PATH}.api.scaling.min_replicas: is 0", "at least 1")),
    (f"{SERVICE}/api/scaling/max_replicas", 1001, (f"{PATH}.api.scaling.max_replicas: is 1001", "at most 1000")),
    (f"{SERVICE}/api/scaling/cpu_target_percent", 0, (f"{PATH}.api.scaling.cpu_target_percent: is 0", "at least 1")),
    (f"{SERVICE}/api/scaling/cpu_target_percent", 101, ("cpu_target_percent: is 101", "at most 100")),
    (f"{SERVICE}/api/scaling/memory_target_percent", 101, ("memory_target_percent: is 101", "at most 100")),
    (
        f"{SERVICE}/api/scaling/triggers/1/target_per_pod",
        0,
        (f"{PATH}.api.scaling.triggers[1].target_per_pod: is 0", "at least 1"),
    ),
    (f"{SERVICE}/api/scaling/triggers/1/metric", "Lag", ("triggers[1].metric: is 'Lag'", "^[a-z][a-z0-9_]*$")),
    (f"{SERVICE}/api/shutdown", {"pre_stop_seconds": -1}, ("shutdown.pre_stop_seconds: is -1", "at least 0")),
    (f"{SERVICE}/api/shutdown", {"pre_stop_seconds": 301}, ("shutdown.pre_stop_seconds: is 301", "at most 300")),
    (f"{SERVICE}/api/shutdown", {"grace_period_seconds": 0}, ("grace_period_seconds: is 0", "at least 1")),
    (f"{SERVICE}/api/shutdown", {"grace_period_seconds": 601}, ("grace_period_seconds: is 601", "at most 600")),
    (f"{SERVICE}/api/probes", {"startup_budget_seconds": 9}, ("startup_budget_seconds: is 9", "at least 10")),
    (f"{SERVICE}/api/probes", {"startup_budget_seconds": 901}, ("startup_budget_seconds: is 901", "at most 900")),
    (f"{SERVICE}/api/probes", {"port": 0}, (f"{PATH}.api.probes.port: is 0", "at least 1")),
    (f"{SERVICE}/consumer/name", "Bad", (f"{PATH}.consumer.name: is 'Bad'", LABEL)),
    (f"{SERVICE}/consumer/topic", "Bad Topic", (f"{PATH}.consumer.topic: is 'Bad Topic'", NAME)),
    (f"{SERVICE}/consumer/group", "Bad", (f"{PATH}.consumer.group: is 'Bad'", NAME, "Kafka consumer group id")),
    (f"{SERVICE}/secrets", [{"env": "db", "config_key": "b"}], (f"{PATH}.secrets[0].env: is 'db'", "DB_PASSWORD")),
    (f"{SERVICE}/secrets", [{"env": "A", "config_key": "b c"}], (f"{PATH}.secrets[0].config_key: is 'b c'",)),
    (
        f"{SERVICE}/secrets",
        [{"env": "A", "existing_secret": "b", "key": "a/b"}],
        (f"{PATH}.secrets[0].key: is 'a/b'", "Key inside the existing Secret"),
    ),
]


@pytest.mark.parametrize(("path", "value", "parts"), REFUSED, ids=[f"{path}={value!r}" for path, value, _ in REFUSED])
def test_a_wrong_value_is_refused_in_one_line_that_says_what_to_do(
    path: str, value: object, parts: tuple[str, ...]
) -> None:
    [line] = problems_of("dev", {path: value})
    positions = [line.find(part) for part in (*parts, "fix: ")]
    assert -1 not in positions, line
    assert positions[0] < positions[1], line


@pytest.mark.parametrize(
    "path",
    [
        "topics/payment-events/partitions",
        f"{SERVICE}/api/port",
        f"{SERVICE}/api/scaling/min_replicas",
        f"{SERVICE}/api/scaling/max_replicas",
        f"{SERVICE}/api/scaling/cpu_target_percent",
        f"{SERVICE}/api/scaling/memory_target_percent",
        f"{SERVICE}/api/scaling/triggers/1/target_per_pod",
        f"{SERVICE}/consumer/scaling/max_replicas",
    ],
)
@pytest.mark.parametrize(
    ("value", "fix"),
    [("20", "write it without quotes"), (True, "change the kind of value"), (20.5, "change the kind of value")],
)
def test_a_number_in_quotes_a_yes_and_a_fraction_are_no_whole_numbers(path: str, value: object, fix: str) -> None:
    [line] = problems_of("dev", {path: value})
    assert f": is {value!r}; allowed: a valid integer; fix: {fix}" in line


@pytest.mark.parametrize(
    ("path", "dotted", "meaning"),
    [
        ("environment", "environment", "a value"),
        ("cluster/kube_context", "cluster.kube_context", "Context in the kubeconfig"),
        ("cluster/zones", "cluster.zones", "Availability zones"),
        ("services", "services", "a value"),
        ("topics/payment-events/key", "topics.payment-events.key", "Field whose value is the message key"),
        (f"{SERVICE}/owner", f"{PATH}.owner", "Team that answers for it"),
        (f"{SERVICE}/image", f"{PATH}.image", "an image with a tag or a digest"),
        (f"{SERVICE}/api/resources/limits", f"{PATH}.api.resources.limits", "a value"),
        (f"{SERVICE}/api/scaling/max_replicas", f"{PATH}.api.scaling.max_replicas", "a value"),
        (f"{SERVICE}/consumer/topic", f"{PATH}.consumer.topic", "Topic that the group reads"),
    ],
)
def test_a_missing_key_is_named_with_its_meaning(path: str, dotted: str, meaning: str) -> None:
    [line] = problems_of("dev", {path: REMOVED})
    assert line.startswith(f"{dotted}: allowed: required: {meaning}")
    assert line.endswith(f"fix: add '{dotted.rsplit('.', maxsplit=1)[-1]}'")


@pytest.mark.parametrize(
    ("path", "dotted", "meant"),
    [
        ("enviroment", "enviroment", "environment"),
        ("cluster/kube_contxt", "cluster.kube_contxt", "kube_context"),
        ("cluster/peers/kafka/port", "cluster.peers.kafka.port", "ports"),
        ("topics/payment-events/partition", "topics.payment-events.partition", "partitions"),
        ("capacity/horizn", "capacity.horizn", "horizon"),
        (f"{SERVICE}/imge", f"{PATH}.imge", "image"),
        (f"{SERVICE}/api/scaling/max_replica", f"{PATH}.api.scaling.max_replica", "max_replicas"),
        (f"{SERVICE}/api/resources/limits/memry", f"{PATH}.api.resources.limits.memry", "memory"),
        (f"{SERVICE}/consumer/gruop", f"{PATH}.consumer.gruop", "group"),
        (f"{SERVICE}/api/scaling/triggers/1/metrics", f"{PATH}.api.scaling.triggers[1].metrics", "metric"),
    ],
)
def test_a_misspelt_key_suggests_the_right_one(path: str, dotted: str, meant: str) -> None:
    [line] = problems_of("dev", {path: "x"})
    assert line.startswith(f"{dotted}: unknown key; known are ")
    assert line.endswith(f"fix: did you mean '{meant}'?")


def test_an_unknown_key_that_resembles_nothing_is_to_be_removed() -> None:
    assert problems_of("dev", {"zzz": 1}) == [
        (
            "zzz: unknown key; known are autoscaling, cache, capacity, cluster, data, edge, environment, kafka, "
            "loadtest, observability, postgres, prices, services, topics; fix: remove it"
        )
    ]


def test_a_misspelt_choice_suggests_the_right_one() -> None:
    assert problems_of("dev", {"capacity/horizon": "6-month"}) == [
        "capacity.horizon: is '6-month'; allowed: 'now', '6-months' or '1-year'; fix: did you mean '6-months'?"
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cluster/namespaces/services", "a" * 53),
        ("cluster/kubeconfig", REMOVED),
        (f"{SERVICE}/api/port", 65535),
        (f"{SERVICE}/image", "registry.example.com:5000/a/b:1.0.0-rc.1"),
        (f"{SERVICE}/api/scaling/min_replicas", 20),
        (f"{SERVICE}/api/shutdown", {"pre_stop_seconds": 44, "grace_period_seconds": 45}),
        (f"{SERVICE}/api/scaling/cpu_target_percent", 100),
        (f"{SERVICE}/consumer", REMOVED),
        ("services/gateway-service/ingress_from", []),
        ("cluster/peers/banks", {"cidrs": ["2001:db8::/32"], "ports": [443]}),
    ],
)
def test_values_on_the_edge_of_a_rule_are_accepted(path: str, value: object) -> None:
    assert problems_of("dev", {path: value}) == []


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings_of("dev").capacity.entry_service = "wallet-service"  # type: ignore[misc]


def test_a_long_value_is_cut_in_the_message() -> None:
    [line] = problems_of("dev", {f"{SERVICE}/api": ["x" * 500]})
    assert "…" in line
    assert len(line) < 300
