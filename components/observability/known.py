"""The whole catalogue: what exporters export."""

from components.observability.catalogue import Metric, by_series
from components.observability.catalogue_backends import (
    CACHE_METRICS,
    EDGE_METRICS,
    KAFKA_METRICS,
    KEDA_METRICS,
    POSTGRES_METRICS,
    SHARD_METRICS,
)
from components.observability.catalogue_platform import CLUSTER_METRICS, PROMETHEUS_METRICS, SERVICE_METRICS

METRICS: tuple[Metric, ...] = (
    *SERVICE_METRICS,
    *CLUSTER_METRICS,
    *PROMETHEUS_METRICS,
    *KAFKA_METRICS,
    *POSTGRES_METRICS,
    *SHARD_METRICS,
    *CACHE_METRICS,
    *EDGE_METRICS,
    *KEDA_METRICS,
)
EXPORTED: dict[str, Metric] = by_series(METRICS)
"""Series name → metric."""
