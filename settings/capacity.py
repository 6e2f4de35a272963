"""The load that a stack promises to carry, and what the plan says it takes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from settings.base import DnsLabel, Strict
from settings.capacity_inputs import CacheInputs, DatabaseInputs, EdgeInputs, KafkaInputs


class Horizon(StrEnum):
    """How far ahead the stack's limits must reach."""

    NOW = "now"
    SIX_MONTHS = "6-months"
    ONE_YEAR = "1-year"


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonNeeds:
    """One row of the plan's growth projection and resource planning."""

    payments_per_day: int
    peak_requests_per_second: int
    api_pods: int
    kafka_partitions: int
    database_connections: int


# The plan's own table (growth projections and resource planning).
PLAN_NEEDS: dict[Horizon, HorizonNeeds] = {
    Horizon.NOW: HorizonNeeds(
        payments_per_day=100_000,
        peak_requests_per_second=1_000,
        api_pods=5,
        kafka_partitions=12,
        database_connections=100,
    ),
    Horizon.SIX_MONTHS: HorizonNeeds(
        payments_per_day=500_000,
        peak_requests_per_second=5_000,
        api_pods=20,
        kafka_partitions=24,
        database_connections=500,
    ),
    Horizon.ONE_YEAR: HorizonNeeds(
        payments_per_day=1_000_000,
        peak_requests_per_second=10_000,
        api_pods=50,
        kafka_partitions=48,
        database_connections=1_000,
    ),
}


class Capacity(Strict):
    """The promise: settings fail when the stack's limits cannot carry it."""

    horizon: Horizon = Horizon.NOW
    entry_service: DnsLabel = "payment-service"
    """The service that the plan's API pods and partitions are counted for."""
    database_client_connections: Annotated[int, Field(ge=10, le=100_000)] = 2000
    """Connections that the pooler accepts from all pods together (PgBouncer's ``max_client_conn``)."""
    headroom_percent: Annotated[int, Field(ge=0, le=80)] = 30
    """What stays free of everything that no autoscaler holds at a target: brokers, disks, connections, cache, edge."""
    kafka: KafkaInputs = KafkaInputs()
    database: DatabaseInputs = DatabaseInputs()
    cache: CacheInputs = CacheInputs()
    edge: EdgeInputs = EdgeInputs()
