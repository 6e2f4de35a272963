"""The signals that autoscalers read: the name under which each is recorded, and how it is measured.

``{service}`` stands for the service's name. Amounts are totals over all pods; the scaler divides them.
"""

from enum import StrEnum


class LatencySource(StrEnum):
    """Whose answers a latency trigger watches."""

    HTTP = "http"
    EXTERNAL = "external"


PER_POD = {
    "http_requests_per_second": 'sum(rate(http_requests_total{service="{service}"}[1m]))',
    "payment_queue_messages": 'sum(payment_queue_depth{service="{service}"})',
    "wallet_operations_per_second": 'sum(rate(wallet_operations_total{service="{service}"}[1m]))',
    "external_calls_per_second": 'sum(rate(external_calls_total{service="{service}"}[1m]))',
}
"""Amounts that more pods share: record name → PromQL of the total."""

LATENCY_RATIOS = {LatencySource.HTTP: "http_latency_ratio", LatencySource.EXTERNAL: "response_time_ratio"}
LATENCY_HISTOGRAMS = {
    LatencySource.HTTP: "http_request_duration_seconds",
    LatencySource.EXTERNAL: "external_call_duration_seconds",
}
POOL_RATIO = "database_pool_ratio"
BREAKER_HOLD = "breaker_hold"
CONSUMER_LAG = "kafka_consumer_lag"
CONSUMER_RATE_FLOOR = "kafka_consumer_rate_floor"
BUSIEST_CONSUMER_USE_PERCENT = 90
"""Highest use of the consumer that reads the most partitions: they are whole, so the average says nothing of it."""
