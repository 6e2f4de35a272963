"""Rules between fields: what the runtime would reject or silently ignore is refused before anything is deployed."""

from typing import Any

import pytest

from tests.unit.stacks import REMOVED, Changes, problems_of

SERVICE = "services/payment-service"
PATH = "services.payment-service"


@pytest.mark.parametrize("field", ["cpu", "memory", "ephemeral_storage"])
def test_a_limit_below_its_request_is_refused(field: str) -> None:
    [line] = problems_of(
        "dev",
        {f"{SERVICE}/api/resources/requests/{field}": "2Gi", f"{SERVICE}/api/resources/limits/{field}": "2047Mi"},
    )
    assert line == (
        f"{PATH}.api.resources: limits.{field} 2047Mi is below requests.{field} 2Gi: the API server refuses it; "
        f"fix: raise limits.{field} to at least 2Gi, or lower the request"
    )


def test_a_limit_equal_to_its_request_is_accepted() -> None:
    assert problems_of("dev", {f"{SERVICE}/consumer/resources/limits/cpu": "0.5"}) == []


def test_a_cpu_target_that_use_can_never_exceed_is_refused() -> None:
    [line] = problems_of(
        "dev",
        {
            f"{SERVICE}/api/scaling/cpu_target_percent": 100,
            f"{SERVICE}/api/resources/limits/cpu": "500m",
        },
    )
    assert line == (
        f"{PATH}.api: cpu_target_percent 100 can never be exceeded: limits.cpu is 100 % of requests.cpu, and use "
        "stops at the limit; fix: raise limits.cpu, or lower the target below 100"
    )


def test_a_memory_target_that_use_can_never_exceed_is_refused() -> None:
    changes = {f"{SERVICE}/api/scaling/memory_target_percent": 100, f"{SERVICE}/api/resources/limits/memory": "1Gi"}
    [line] = problems_of("dev", changes)
    assert "memory_target_percent 100 can never be exceeded: limits.memory is 100 % of requests.memory" in line


@pytest.mark.parametrize(("pre_stop", "grace"), [(45, 45), (60, 45)])
def test_a_grace_period_within_the_pre_stop_sleep_is_refused(pre_stop: int, grace: int) -> None:
    shutdown = {"pre_stop_seconds": pre_stop, "grace_period_seconds": grace}
    [line] = problems_of("dev", {f"{SERVICE}/api/shutdown": shutdown})
    assert f"{PATH}.api.shutdown: grace_period_seconds {grace} is not more than pre_stop_seconds {pre_stop}" in line
    assert f"fix: set grace_period_seconds above {pre_stop}" in line


def test_a_minimum_above_the_maximum_is_refused() -> None:
    assert problems_of("dev", {f"{SERVICE}/api/scaling/min_replicas": 21}) == [
        f"{PATH}.api.scaling: min_replicas 21 is above max_replicas 20; fix: set max_replicas to at least 21"
    ]


HOLD = {"kind": "breaker-hold", "open_percent": 5}


def test_an_autoscaler_without_any_target_is_refused() -> None:
    assert problems_of(
        "dev", {f"{SERVICE}/api/scaling": {"min_replicas": 3, "max_replicas": 20, "triggers": [HOLD]}}
    ) == [
        (
            f"{PATH}.api.scaling: an autoscaler without any target never scales; fix: give at least one of "
            "cpu_target_percent, memory_target_percent, triggers"
        )
    ]


def test_two_triggers_on_the_same_metric_are_refused() -> None:
    lag = {"kind": "lag", "topic": "payment-events", "target_per_pod": 1}
    [line] = problems_of("dev", {f"{SERVICE}/api/scaling/triggers/2": {**lag, "group": "payment-service-group"}})
    assert "two triggers name the same metric: kafka_consumer_lag; fix: keep one of them" in line
    assert problems_of("dev", {f"{SERVICE}/api/scaling/triggers/2": {**lag, "group": "another-group"}}) == []


@pytest.mark.parametrize("below", [1000, 1500])
def test_s4_a_dead_band_upside_down_is_refused(below: int) -> None:
    assert problems_of("dev", {f"{SERVICE}/consumer/scaling/remove_below_lag_per_consumer": below}) == [
        (
            f"{PATH}.consumer.scaling: remove_below_lag_per_consumer {below} is not below add_above_lag_per_consumer "
            "1000: the group would add and remove the same consumer for ever; fix: set it to 500, half of it, as the "
            "plan does"
        )
    ]


def test_a_trigger_on_an_unknown_topic_is_refused() -> None:
    assert problems_of("dev", {f"{SERVICE}/api/scaling/triggers/0/topic": "payment-event"}) == [
        (
            f"{PATH}.api.scaling.triggers[0].topic: is 'payment-event'; allowed: one of topics: gateway-events, "
            "payment-events, wallet-events; fix: did you mean 'payment-events'?"
        )
    ]


def test_a_metric_that_nothing_measures_is_refused() -> None:
    [line] = problems_of("dev", {f"{SERVICE}/api/scaling/triggers/1/metric": "http_request_per_second"})
    assert line.startswith(f"{PATH}.api.scaling.triggers[1]: nothing says how 'http_request_per_second' is measured")
    assert line.endswith("fix: correct the name, or give a query")


@pytest.mark.parametrize(("kind", "fix"), [("latencies", "did you mean 'latency'?"), (REMOVED, "say which kind it is")])
def test_a_trigger_names_its_kind(kind: object, fix: str) -> None:
    [line] = problems_of("dev", {f"{SERVICE}/api/scaling/triggers/3/kind": kind})
    assert line.startswith(f"{PATH}.api.scaling.triggers[3].kind: ")
    assert "allowed: one of per-pod, latency, database-pool, breaker-hold, lag; " in line
    assert line.endswith(f"fix: {fix}")


def test_t13_scaling_on_the_pool_needs_a_bound_on_connections() -> None:
    [line] = problems_of("dev", {"services/wallet-service/api/database_connections_per_pod": 0})
    assert "scaling.triggers has database-pool, but database_connections_per_pod is 0" in line


def test_t13_all_pods_at_their_maximum_fit_the_pooler() -> None:
    # APIs with a quarter more while they roll: (25 + 19 + 13) pods x 10; consumers: (24 + 16 + 12) x 5.
    assert problems_of("dev", {"capacity/database_client_connections": 830}) == []
    assert problems_of("dev", {"capacity/database_client_connections": 829}) == [
        (
            "capacity.database_client_connections: is 829; allowed: at least 830, what all pods open at their maximum "
            "while the APIs roll: 370 (payment-service) + 270 (wallet-service) + 190 (gateway-service); fix: lower "
            "database_connections_per_pod or max_replicas, or have the pooler accept more"
        )
    ]


@pytest.mark.parametrize(
    ("stack", "changes", "why"),
    [
        ("dev", {"autoscaling/scaler": "keda"}, "autoscaling: scaler is keda, and nothing says where KEDA reads"),
        ("prod", {"autoscaling/scaler": "hpa"}, "autoscaling: keda is described, but scaler is hpa"),
        ("prod", {"autoscaling/keda/kafka/authentication": "none"}, "autoscaling.keda.kafka: authentication none and"),
    ],
)
def test_the_scaler_and_its_section_belong_together(stack: str, changes: Changes, why: str) -> None:
    [line] = problems_of(stack, changes)
    assert line.startswith(why)


@pytest.mark.parametrize("first", ["startup_path", "readiness_path"])
def test_probes_that_share_a_path_are_refused(first: str) -> None:
    [line] = problems_of("dev", {f"{SERVICE}/api/probes": {first: "/health/live"}})
    assert "startup_path, readiness_path and liveness_path must differ" in line
    assert "fix: give each probe its own path" in line


def test_t06_a_consumer_has_no_memory_target() -> None:
    [line] = problems_of("dev", {f"{SERVICE}/consumer/scaling/memory_target_percent": 80})
    assert line.startswith(f"{PATH}.consumer.scaling.memory_target_percent: unknown key; ")


@pytest.mark.parametrize(
    ("service", "topic", "partitions"),
    [
        ("payment-service", "payment-events", 24),
        ("wallet-service", "wallet-events", 16),
        ("gateway-service", "gateway-events", 12),
    ],
)
def test_t07_more_consumers_than_partitions_are_refused(service: str, topic: str, partitions: int) -> None:
    path = f"services/{service}/consumer/scaling/max_replicas"
    assert problems_of("dev", {path: partitions}) == []
    assert problems_of("dev", {path: partitions + 1}) == [
        (
            f"{path.replace('/', '.')}: is {partitions + 1}; allowed: at most {partitions}, the partitions of {topic}; "
            f"fix: lower it to {partitions}; a consumer without a partition only idles"
        )
    ]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_t08_one_year_horizon_is_refused_with_what_must_change(stack: str) -> None:
    assert problems_of(stack, {"capacity/horizon": "1-year"}) == [
        (
            f"{PATH}.api.scaling.max_replicas: is 20; allowed: at least 50: capacity.horizon 1-year promises 10000 "
            "requests/s; fix: raise it to 50 (and the limit in the policy pack), or promise a nearer horizon"
        ),
        (
            "topics.payment-events.partitions: is 24; allowed: at least 48: capacity.horizon 1-year promises 10000 "
            "requests/s; fix: plan the move to 48 partitions: on a keyed topic it breaks the order per key, so it is a "
            "migration; or promise a nearer horizon"
        ),
    ]


def test_t08_one_year_is_accepted_once_the_limits_carry_it() -> None:
    carried = {f"{SERVICE}/api/scaling/max_replicas": 50, "topics/payment-events/partitions": 48}
    assert problems_of("dev", {"capacity/horizon": "1-year", **carried}) == []


def test_t08_six_months_need_exactly_the_twenty_pods_and_24_partitions_of_the_plan() -> None:
    assert problems_of("dev", {"capacity/horizon": "6-months"}) == []
    short = {f"{SERVICE}/api/scaling/max_replicas": 19, "topics/payment-events/partitions": 23}
    fitting = {f"{SERVICE}/consumer/scaling/max_replicas": 23}
    lines = problems_of("dev", {"capacity/horizon": "6-months", **short, **fitting})
    assert [line.split(";")[0] for line in lines] == [
        f"{PATH}.api.scaling.max_replicas: is 19",
        "topics.payment-events.partitions: is 23",
    ]


def test_t08_now_needs_five_pods_and_twelve_partitions() -> None:
    small = {
        f"{SERVICE}/api/scaling/max_replicas": 4,
        "topics/payment-events/partitions": 11,
        f"{SERVICE}/consumer/scaling/max_replicas": 11,
    }
    lines = problems_of("dev", small)
    assert [line.split(": capacity")[0].split("allowed: ")[1] for line in lines] == ["at least 5", "at least 12"]


def test_load_that_a_service_does_not_let_in_is_refused() -> None:
    fenced: Changes = {"services/wallet-service/ingress_from": ["edge", "services"]}
    assert problems_of("dev", fenced) == []
    [line] = problems_of("dev", {**fenced, "loadtest/run": ["normal"]})
    assert line == (
        "services.wallet-service.ingress_from: is ['edge', 'services']; allowed: a peer in the namespace loadtest too: "
        "loadtest sends its requests to wallet-service-svc.payments; fix: add such a peer to cluster.peers and name it "
        "here, or send load to the edge"
    )


@pytest.mark.parametrize("address", ["https://api.payments.com", "http://wallet-service-svc.payments-2:8080"])
def test_load_that_goes_elsewhere_needs_no_way_in(address: str) -> None:
    changes: Changes = {
        "services/wallet-service/ingress_from": ["edge", "services"],
        "loadtest/run": ["normal"],
        "loadtest/targets": {"wallet-service": address},
    }
    assert problems_of("dev", changes) == []


def test_a_target_of_an_unknown_service_is_refused() -> None:
    [line] = problems_of("dev", {"loadtest/targets/walet-service": "http://a.test"})
    assert line.startswith("loadtest.targets.walet-service: is 'walet-service'")


def test_an_entry_service_that_does_not_exist_is_refused() -> None:
    assert problems_of("dev", {"capacity/entry_service": "payment-servce"}) == [
        (
            "capacity.entry_service: is 'payment-servce'; allowed: one of services: gateway-service, payment-service, "
            "wallet-service; fix: did you mean 'payment-service'?"
        )
    ]


@pytest.mark.parametrize("field", ["ingress_from", "egress_to"])
def test_a_peer_that_is_not_declared_is_refused(field: str) -> None:
    known = (
        "allowed: one of cluster.peers: banks, database-poolers, database-servers, edge, kafka, kubernetes-api, "
        "loadtest, monitoring, postgres, postgres-ro, redis, redis-local, services"
    )
    assert problems_of("dev", {f"{SERVICE}/{field}": ["edg", "nothing"]}) == [
        f"{PATH}.{field}[0]: is 'edg'; {known}; fix: did you mean 'edge'?",
        f"{PATH}.{field}[1]: is 'nothing'; {known}; fix: declare 'nothing' under cluster.peers, or remove it here",
    ]


def test_a_topic_that_is_not_declared_is_refused() -> None:
    [line] = problems_of("dev", {f"{SERVICE}/consumer/topic": "payment-event"})
    assert line.startswith(f"{PATH}.consumer.topic: is 'payment-event'; allowed: one of topics: gateway-events")
    assert line.endswith("fix: did you mean 'payment-events'?")


@pytest.mark.parametrize(
    ("taken", "second"),
    [("wallet-processors", "services.wallet-service.consumer.name"), ("wallet-service", "services.wallet-service")],
)
def test_two_deployments_of_one_name_are_refused(taken: str, second: str) -> None:
    assert problems_of("dev", {f"{SERVICE}/consumer/name": taken}) == [
        (
            f"{second}: is '{taken}'; allowed: a name that no other Deployment has; fix: rename it; "
            f"{PATH}.consumer.name has this name already"
        )
    ]


PEER_IS_ONE = "a peer is either pods in the cluster or addresses outside; fix: give pod_labels or cidrs, one of the two"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"cluster/peers/kafka/cidrs": ["10.0.0.0/8"]}, PEER_IS_ONE),
        ({"cluster/peers/kafka/pod_labels": {}}, PEER_IS_ONE),
        (
            {"cluster/peers/kafka/except_cidrs": ["10.0.0.0/8"]},
            "except_cidrs only means something beside cidrs; fix: remove it",
        ),
    ],
)
def test_a_peer_has_exactly_one_form(change: dict[str, Any], rule: str) -> None:
    assert problems_of("dev", change) == [f"cluster.peers.kafka: {rule}"]


def test_a_zone_named_twice_is_refused() -> None:
    assert problems_of("dev", {"cluster/zones": ["b", "a", "b"]}) == [
        "cluster: zones named more than once: b; fix: name each zone once"
    ]


def test_prod_needs_two_zones_and_two_pods_of_each_api() -> None:
    single = {"cluster/zones": ["zone-a"], "services/gateway-service/api/scaling/min_replicas": 1}
    assert problems_of("prod", single) == [
        (
            "cluster.zones: is ['zone-a']; allowed: at least 2 zones in prod; fix: name the zones that the cluster's "
            "nodes are spread over"
        ),
        (
            "services.gateway-service.api.scaling.min_replicas: is 1; allowed: at least 2 in prod; fix: set it to 2 or "
            "more: one pod is an outage at every eviction"
        ),
        (
            "cache.cluster.primaries: is 3; allowed: a number of which any of 1 zones holds less than half: 3 "
            "primaries put 3 into one zone, and 0 of 3 cannot elect; fix: spread the nodes over three zones or more"
        ),
        *(
            f"{path}: is 3; allowed: a number of which any of 1 zones holds less than half: 3 of 3 are lost with one "
            "zone; fix: spread the nodes over three zones or more"
            for path in ("postgres.nodes", "postgres.etcd.members")
        ),
    ]
    assert problems_of("dev", single) == []


ONE_SOURCE = (
    f"{PATH}.secrets[0]: a secret has exactly one source; fix: give either existing_secret (a Secret in the cluster) "
    "or config_key (a Pulumi secret)"
)


@pytest.mark.parametrize("sources", [{}, {"existing_secret": "a", "config_key": "b"}])
def test_a_secret_has_exactly_one_source(sources: dict[str, str]) -> None:
    assert problems_of("dev", {f"{SERVICE}/secrets": [{"env": "DB_PASSWORD", **sources}]}) == [ONE_SOURCE]


def test_a_variable_is_given_once() -> None:
    twice = [{"env": "A", "config_key": "b"}, {"env": "A", "config_key": "c"}]
    expected = [f"{PATH}: these variables are given more than once: A; fix: keep one of each"]
    assert problems_of("dev", {f"{SERVICE}/secrets": twice}) == expected
    beside_config = {f"{SERVICE}/secrets": twice[:1], f"{SERVICE}/config/A_FILE": "/a"}
    assert problems_of("dev", beside_config) == expected


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({f"{SERVICE}/secrets": [{"env": "A", "value": "canary-4711"}]}, "secrets[0].value: unknown key"),
        (
            {f"{SERVICE}/secrets": [{"env": "A", "config_key": "b", "secure": "canary-4711"}]},
            "secrets[0].secure: unknown key",
        ),
        ({f"{SERVICE}/secrets": {"A": "canary-4711"}}, "secrets: is"),
        ({f"{SERVICE}/config/DB_PASSWORD": {"secure": "v1:b64"}}, "config.DB_PASSWORD: is"),
    ],
)
def test_no_place_in_the_settings_takes_a_secret_value(change: dict[str, Any], where: str) -> None:
    lines = problems_of("dev", change)
    assert any(where in line for line in lines)


def test_an_unknown_key_in_a_secret_reference_does_not_show_its_value() -> None:
    lines = problems_of("dev", {f"{SERVICE}/secrets": [{"env": "A", "config_key": "b", "value": "canary-4711"}]})
    assert len(lines) == 1
    assert "canary" not in lines[0]


def test_a_service_without_consumer_needs_no_topic() -> None:
    assert (
        problems_of(
            "prod", {f"{SERVICE}/consumer": REMOVED, f"{SERVICE}/api/produces": [], "topics/payment-events": REMOVED}
        )
        == []
    )


@pytest.mark.parametrize("variable", ["KAFKA_TOPIC", "KAFKA_CONSUMER_GROUP"])
def test_config_cannot_give_what_the_consumer_sets_by_itself(variable: str) -> None:
    [said] = problems_of("dev", {f"{SERVICE}/config": {variable: "other"}})
    assert f"config gives {variable}" in said
    assert problems_of("dev", {f"{SERVICE}/config": {variable: "other"}, f"{SERVICE}/consumer": REMOVED}) == []
