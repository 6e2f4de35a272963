"""Both committed stack files against the plan's own numbers, written out."""

import pytest

from settings import Settings
from settings.capacity import PLAN_NEEDS, Horizon
from settings.scaling import Scaling
from settings.signals import LatencySource
from tests.unit.stacks import STACKS, settings_of

pytestmark = pytest.mark.parametrize("stack", STACKS)

# S3: name → minimum, maximum, cpu %, memory %.
API_SCALING = {
    "payment-service": (3, 20, 70, 80),
    "wallet-service": (5, 15, 60, None),
    "gateway-service": (2, 10, 80, None),
}
# S6 and S7: service → Deployment, topic, group, partitions, key.
CONSUMERS = {
    "payment-service": ("payment-processors", "payment-events", "payment-service-group", 24, "user_id"),
    "wallet-service": ("wallet-processors", "wallet-events", "wallet-service-group", 16, "wallet_id"),
    "gateway-service": ("gateway-processors", "gateway-events", "gateway-service-group", 12, "payment_id"),
}
# S3: triggers of each API: amounts per pod, p99 in ms, pool use and breaker in percent.
API_TRIGGERS: dict[str, dict[str, object]] = {
    "payment-service": {
        "http_requests_per_second": 1000,
        "payment_queue_messages": 5000,
        "http_latency_ratio": (LatencySource.HTTP, 500, 150),
    },
    "wallet-service": {"wallet_operations_per_second": 2000, "database_pool_ratio": (80, 150)},
    "gateway-service": {
        "external_calls_per_second": 500,
        "response_time_ratio": (LatencySource.EXTERNAL, 2000, 150),
        "breaker_hold": 5,
    },
}
LITERAL_LAG: dict[str, dict[str, object]] = {
    "payment-service": {"kafka_consumer_lag": ("payment-events", "payment-service-group", 1000)},
    "wallet-service": {"kafka_consumer_lag": ("wallet-events", "wallet-service-group", 2000)},
    "gateway-service": {},
}
LAG_PER_CONSUMER = {"payment-service": 1000, "wallet-service": 2000, "gateway-service": 1000}


@pytest.fixture
def settings(stack: str) -> Settings:
    return settings_of(stack)


def triggers(scaling: Scaling) -> dict[str, object]:
    """Metric → the numbers of its trigger."""
    found: dict[str, object] = {}
    for trigger in scaling.triggers:
        match trigger.kind:
            case "per-pod":
                found[trigger.metric] = trigger.target_per_pod
            case "latency":
                found[trigger.metric] = (trigger.source, trigger.objective_milliseconds, trigger.cap_percent)
            case "database-pool":
                found[trigger.metric] = (trigger.use_percent, trigger.cap_percent)
            case "breaker-hold":
                found[trigger.metric] = trigger.open_percent
            case "lag":
                found[trigger.metric] = (trigger.topic, trigger.group, trigger.target_per_pod)
    return found


def test_the_environment_is_the_stack(settings: Settings, stack: str) -> None:
    assert settings.environment == stack


def test_the_three_services_of_the_plan_stand_in_it(settings: Settings) -> None:
    assert sorted(settings.services) == ["gateway-service", "payment-service", "wallet-service"]
    assert settings.cluster.namespaces.services == "payments"


def test_s1_ports_and_resources(settings: Settings) -> None:
    for service in settings.services.values():
        assert service.consumer is not None
        assert service.api.port == 8080
        for resources in (service.api.resources, service.consumer.resources):
            assert (resources.requests.cpu, resources.requests.memory) == ("500m", "1Gi")
            assert (resources.limits.cpu, resources.limits.memory) == ("1000m", "2Gi")


def test_s1_configuration_is_outside_the_image(settings: Settings) -> None:
    for service in settings.services.values():
        assert service.config == {
            "KAFKA_BROKERS": "kafka-cluster-kafka-bootstrap.kafka.svc:9093",
            "DB_HOST": "postgres-cluster",
            "LOG_LEVEL": "info",
        }


def test_s3_bounds_and_targets_of_the_apis(settings: Settings) -> None:
    found = {
        name: (s.min_replicas, s.max_replicas, s.cpu_target_percent, s.memory_target_percent)
        for name, service in settings.services.items()
        for s in [service.api.scaling]
    }
    assert found == API_SCALING


def test_s3_metrics_of_the_apis(settings: Settings, stack: str) -> None:
    # S2 in its literal form, lag on the API too, stands in dev; in prod only the consumers follow the lag.
    expected = {
        name: {**(LITERAL_LAG[name] if stack == "dev" else {}), **amounts} for name, amounts in API_TRIGGERS.items()
    }
    assert {name: triggers(service.api.scaling) for name, service in settings.services.items()} == expected


def test_s6_topics(settings: Settings) -> None:
    assert {name: (topic.partitions, topic.key) for name, topic in settings.topics.items()} == {
        topic: (partitions, key) for _, topic, _, partitions, key in CONSUMERS.values()
    }


def test_s7_consumers_and_their_lag(settings: Settings) -> None:
    for name, service in settings.services.items():
        deployment, topic, group, partitions, _ = CONSUMERS[name]
        consumer = service.consumer
        assert consumer is not None
        assert (consumer.name, consumer.topic, consumer.group) == (deployment, topic, group)
        assert consumer.scaling.max_replicas == partitions
        threshold = consumer.scaling.add_above_lag_per_consumer
        assert threshold == LAG_PER_CONSUMER[name]
        # S4: one is removed below half of it.
        assert consumer.scaling.remove_below_lag_per_consumer * 2 == threshold


def test_t06_memory_is_a_target_of_the_payment_api_only(settings: Settings) -> None:
    targets = {name: service.api.scaling.memory_target_percent for name, service in settings.services.items()}
    assert {name for name, target in targets.items() if target is not None} == {"payment-service"}


def test_the_scaler_is_the_plans_in_dev_and_keda_in_prod(settings: Settings, stack: str) -> None:
    assert settings.autoscaling.scaler == {"dev": "hpa", "prod": "keda"}[stack]


def test_t31_images_are_versions_in_dev_and_digests_in_prod(settings: Settings, stack: str) -> None:
    for service in settings.services.values():
        assert not service.image.endswith(":latest")
        assert ("@sha256:" in service.image) == (stack == "prod")


def test_secrets_are_references_to_secrets_that_somebody_else_keeps(settings: Settings, stack: str) -> None:
    for name, service in settings.services.items():
        found = [(secret.env, secret.existing_secret, secret.key) for secret in service.secrets]
        assert found == ([("DB_PASSWORD", f"{name}-database", "password")] if stack == "prod" else [])


def test_s16_the_table_of_the_plan(settings: Settings, stack: str) -> None:
    rows = {
        horizon: (needs.payments_per_day, needs.peak_requests_per_second, needs.api_pods, needs.kafka_partitions)
        for horizon, needs in PLAN_NEEDS.items()
    }
    assert rows == {
        Horizon.NOW: (100_000, 1_000, 5, 12),
        Horizon.SIX_MONTHS: (500_000, 5_000, 20, 24),
        Horizon.ONE_YEAR: (1_000_000, 10_000, 50, 48),
    }
    assert settings.capacity.horizon == {"dev": "now", "prod": "6-months"}[stack]
    assert settings.capacity.entry_service == "payment-service"
