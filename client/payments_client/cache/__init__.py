"""Read-through caches in three tiers that keep to the platform's contract, for threads and for asyncio."""

from payments_client.cache.aio import AsyncPaymentsCache
from payments_client.cache.connections import Credentials
from payments_client.cache.display import DisplayOnly
from payments_client.cache.errors import CacheError, MoneyDecisionError, SourceBehindError, TierUnavailableError
from payments_client.cache.events import Event
from payments_client.cache.metrics import Metrics, PrometheusMetrics
from payments_client.cache.process import Options
from payments_client.cache.sync import PaymentsCache
from payments_client.cache.values import Codec, Loaded, json_codec

__all__ = [
    "AsyncPaymentsCache",
    "CacheError",
    "Codec",
    "Credentials",
    "DisplayOnly",
    "Event",
    "Loaded",
    "Metrics",
    "MoneyDecisionError",
    "Options",
    "PaymentsCache",
    "PrometheusMetrics",
    "SourceBehindError",
    "TierUnavailableError",
    "json_codec",
]
