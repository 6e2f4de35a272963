"""Cases of the services, their consumers and their Kafka clients."""

from tests.real.observability.case import (
    GROUP,
    NAMESPACE,
    PAYMENT,
    READER,
    Case,
    constant,
    falling,
    group,
    pair,
    rising,
)


def _retries(*, lag: str, offsets: str | None) -> dict[str, str]:
    chosen = f'consumergroup="{GROUP}-retry",topic="{GROUP}-retry",partition="0"'
    moved = {} if offsets is None else {f"kafka_consumergroup_current_offset{{{chosen}}}": offsets}
    return {f"kafka_consumergroup_lag{{{chosen}}}": lag} | moved


def _latency(fast: int, every: int) -> dict[str, str]:
    name = 'http_request_duration_seconds_bucket{service="payment-service",le="%s"}'
    return {name % "1": rising(fast), name % "2": rising(every), name % "+Inf": rising(every)}


def _outcomes(metric: str, failed: int, good: int) -> dict[str, str]:
    chosen = metric + '{service="payment-service",outcome="%s"}'
    return {chosen % "error": rising(failed), chosen % "ok": rising(good)}


def _memory(gibibytes: float) -> dict[str, str]:
    pod = f'namespace="{NAMESPACE}",pod="payment-service-1",container="payment-service"'
    return {
        f"container_memory_working_set_bytes{{{pod}}}": constant(gibibytes * 2**30),
        f'kube_pod_container_resource_limits{{{pod},resource="memory",unit="byte"}}': constant(2 * 2**30),
    }


SERVICES = [
    *pair("ApiLatencyHigh", PAYMENT, fires=_latency(90, 100), silent=_latency(100, 100)),
    *pair(
        "CircuitBreakerOpen",
        "gateway-service",
        fires={
            'circuit_breaker_rejected_total{service="gateway-service"}': rising(12),
            'circuit_breaker_calls_total{service="gateway-service"}': rising(100),
        },
        silent={
            'circuit_breaker_rejected_total{service="gateway-service"}': rising(9),
            'circuit_breaker_calls_total{service="gateway-service"}': rising(100),
        },
    ),
    *pair(
        "EventErrorsHigh",
        PAYMENT,
        fires=_outcomes("events_processed_total", 3, 97),
        silent=_outcomes("events_processed_total", 1, 199),
    ),
    *pair(
        "DatabaseErrorsHigh",
        PAYMENT,
        fires=_outcomes("database_queries_total", 3, 97),
        silent=_outcomes("database_queries_total", 0, 100),
    ),
    *pair(
        "ServiceDown",
        PAYMENT,
        fires={f'kube_deployment_status_replicas_available{{namespace="{NAMESPACE}",deployment="{PAYMENT}"}}': "0x60"},
        silent={f'kube_deployment_status_replicas_available{{namespace="{NAMESPACE}",deployment="{PAYMENT}"}}': "1x60"},
    ),
    *pair("MemoryHigh", PAYMENT, fires=_memory(1.8), silent=_memory(1.6)),
    *pair(
        "PodsRestarting",
        PAYMENT,
        fires={
            f'kube_pod_container_status_restarts_total{{namespace="{NAMESPACE}",container="{PAYMENT}",pod="a"}}': (
                "0x18 1 2 3 4 5 6 7 8 9 10 11 12 13"
            )
        },
        silent={
            f'kube_pod_container_status_restarts_total{{namespace="{NAMESPACE}",container="{PAYMENT}",pod="a"}}': (
                "0x20 1x20"
            )
        },
    ),
]

CONSUMERS = [
    *pair(
        "ConsumerLagGrowing",
        GROUP,
        fires=group(rising(400), consumers=3),
        # T17: 19,000 at 20 consumers is less than the scaler's own target of 1000 each, even while it grows.
        silent=group(rising(100, start=16_000), consumers=20),
    ),
    # A large lag that shrinks is work being done.
    Case(alert="ConsumerLagGrowing", subject=GROUP, fires=False, series=group(falling(500, start=60_000), consumers=3)),
    *pair(
        "ConsumerDelayHigh",
        GROUP,
        fires=group(constant(40_000), offsets=rising(6_000)),
        silent=group(constant(20_000), offsets=rising(6_000)),
    ),
    *pair(
        "ConsumerStandsStill",
        GROUP,
        fires=group(constant(5), offsets=constant(1_000)),
        silent=group(constant(5), offsets=rising(1)),
    ),
    *pair(
        "AtMaximumAndGrowing",
        "payment-processors",
        fires=group(rising(100, start=30_000), consumers=24),
        silent=group(rising(100, start=30_000), consumers=23),
    ),
    *pair(
        "DeadLetters",
        GROUP,
        fires={f'kafka_topic_partition_current_offset{{topic="{GROUP}-dead-letter",partition="0"}}': rising(1)},
        # What was given up long ago still waits there; a retry is no dead letter.
        silent={
            f'kafka_topic_partition_current_offset{{topic="{GROUP}-dead-letter",partition="0"}}': constant(7),
            f'kafka_topic_partition_current_offset{{topic="{GROUP}-retry",partition="0"}}': rising(1),
        },
    ),
    *pair(
        "RetriesPileUp",
        GROUP,
        fires=_retries(lag=constant(3), offsets=constant(40)),
        # One message a second waits for its 30 seconds: as it should.
        silent=_retries(lag=constant(30), offsets=rising(60)),
    ),
    Case(alert="RetriesPileUp", subject=GROUP, fires=True, series=_retries(lag=rising(60), offsets=rising(1))),
    # Nobody has committed anything there yet.
    Case(alert="RetriesPileUp", subject=GROUP, fires=True, series=_retries(lag=constant(3), offsets=None)),
]


def _counted(event: str, values: str, *, service: str = READER, topic: str = "payment-events") -> dict[str, str]:
    return {f'payments_kafka_events_total{{service="{service}",pod="a",event="{event}",topic="{topic}"}}': values}


def _rise_by_one(alert: str, event: str, subject: str, *, service: str = READER) -> list[Case]:
    """One event, of a counter that was there with 0, fires; the same number of long ago does not."""
    fires = _counted(event, "0x27 1x30", service=service)
    return pair(alert, subject, fires=fires, silent=_counted(event, constant(1), service=service))


def _inside(seconds: str) -> dict[str, str]:
    return {f'payments_kafka_seconds_in_handler{{service="{READER}",pod="a",topic="payment-events"}}': seconds}


def _attempts(failed: float, handled: float) -> dict[str, str]:
    return _counted("failed", rising(failed)) | _counted("handled", rising(handled))


_READY = f'kube_deployment_status_replicas_ready{{namespace="{NAMESPACE}",deployment="{READER}"}}'

CLIENTS = [
    *pair("KafkaClientUnseen", GROUP, fires={_READY: constant(3)}, silent={_READY: constant(3)} | _inside(constant(0))),
    # No pod is there whose metrics could be missing.
    Case(alert="KafkaClientUnseen", subject=GROUP, fires=False, series={_READY: constant(0)}),
    *pair("HandlerHangs", GROUP, fires=_inside("0x20 0+60x20"), silent=_inside("0x20 50x20")),
    *pair(
        "HandlersWait",
        GROUP,
        fires=_counted("unavailable", rising(2)),
        # A failover: over within minutes.
        silent=_counted("unavailable", "0x18 4 8 8x30"),
    ),
    *pair("HandlersFail", GROUP, fires=_attempts(3, 97), silent=_attempts(0.1, 100)),
    *pair(
        "FailedMessageStays",
        GROUP,
        fires=_counted("park_failed", rising(2)),
        silent=_counted("park_failed", constant(7)),
    ),
    *_rise_by_one("BrokersRefuseConsumer", "refused", GROUP),
    *_rise_by_one("ConsumerGivenUp", "lost", GROUP),
    *pair(
        "CommitsFail",
        GROUP,
        fires=_counted("commit_failed", rising(24)),
        # What a rebalance does: refused for now, and once for good.
        silent=_counted("commit_deferred", rising(24)) | _counted("commit_failed", "0x20 1x30"),
    ),
    *pair(
        "RebalancesWithoutEnd",
        GROUP,
        fires=_counted("revoked", rising(8)),
        # A rollout, each partition twice; the retry topic's group has a measure of its own.
        silent=_counted("revoked", "0x10 0+8x6 48x30") | _counted("revoked", rising(8), topic=f"{GROUP}-retry"),
    ),
    *_rise_by_one("EventsNotAcknowledged", "not_acknowledged", PAYMENT, service=PAYMENT),
    *_rise_by_one("EventsNotAcknowledged", "not_acknowledged", READER),
    *_rise_by_one("ProducerBroken", "producer_broken", PAYMENT, service=PAYMENT),
    *_rise_by_one("ProducerBroken", "producer_broken", READER),
]
