"""What the services share: the database and its pooler, the brokers, the cache, the edge."""

import math
from collections.abc import Iterator, Mapping

from planning.capacity.inputs import Inputs
from planning.capacity.installed import brokers, database, proxies
from planning.capacity.model import Change, Demand, Figure, Status
from settings.capacity import PLAN_NEEDS
from settings.capacity_truth import server_connections_of_a_shard
from settings.edge import LimitBy
from settings.platform import Settings
from settings.services import Surge

_GIB = 2**30
_MEGABYTE = 1_000_000
_SECONDS_OF_DAY = 86_400
_HOURS_OF_DAY = 24
_DAYS_OF_MONTH = 30.4
POOL_ORDER, SHARED_ORDER = 20, 30
_MAX_CONNECTIONS_OF_A_NODE = 500
"""Server connections above this cost a PostgreSQL node more than they bring."""


def shared_figures(
    demand: Demand, inputs: Inputs, pods: Mapping[str, int], consumers: Mapping[str, int]
) -> Iterator[Figure]:
    """Every figure that is no pod, consumer or partition; ``pods`` and ``consumers`` are the planned ones."""
    yield _client_connections(inputs, pods, consumers)
    yield _server_connections(demand, inputs)
    yield _database_growth(demand, inputs)
    yield _brokers(demand, inputs)
    yield _broker_disk(demand, inputs)
    yield _cache_memory(demand, inputs)
    yield _proxies(demand, inputs)
    yield from _addresses(demand, inputs)


def _client_connections(inputs: Inputs, pods: Mapping[str, int], consumers: Mapping[str, int]) -> Figure:
    """Connections that the pods open to the pooler, while the APIs roll; at every maximum, as the settings check it."""
    services = inputs.settings.services
    needed, most = 0, {}
    for name, service in services.items():
        count = max(pods[name], service.api.scaling.max_replicas)
        needed += (count + Surge.api_pods(count)) * service.api.database_connections_per_pod
        most[f"pods_of_{name}"] = float(count)
        if service.consumer is not None:
            count = max(consumers[name], service.consumer.scaling.max_replicas)
            needed += count * service.consumer.database_connections_per_pod
            most[f"pods_of_{service.consumer.name}"] = float(count)
    limit = inputs.settings.capacity.database_client_connections
    return _against_limit(
        key="database/client-connections",
        needed=float(needed),
        unit="connections",
        formula="Σ (pods + surge) × connections_per_pod + Σ consumers × connections_per_consumer, at the larger of "
        "max_replicas and what is needed",
        inputs=most,
        binding="database_connections_per_pod",
        limit=float(limit),
        changes=(
            _change(POOL_ORDER, "capacity.database_client_connections", limit, needed, "what all pods open together"),
        ),
        note="they end at the pooler; PostgreSQL sees its server connections only",
    )


def _server_connections(demand: Demand, inputs: Inputs) -> Figure:
    """Little's law: what arrives in a second times how long each holds a connection."""
    settings, constants = inputs.settings, inputs.constants
    rates = [demand.peak_requests_per_second * inputs.requests_of(name) for name in settings.services]
    events = sum(service.consumer is not None for service in settings.services.values())
    rates += [demand.peak_requests_per_second * constants.events_per_entry_request] * events
    busy = sum(rates) * constants.database_hold_seconds
    limit = database(settings).server_connections
    needed = math.ceil(busy / inputs.headroom - 1e-9)
    return _against_limit(
        key="database/server-connections",
        needed=float(needed),
        unit="connections",
        formula="ceil(Σ rate × hold_seconds / (1 - headroom))",
        inputs={
            "total_rate_per_second": sum(rates),
            "hold_seconds": constants.database_hold_seconds,
            "headroom": 1 - inputs.headroom,
        },
        binding="hold_seconds",
        limit=float(limit),
        tight=busy < limit,
        changes=_more_server_connections(settings, needed),
        plan=next((float(row.database_connections) for key, row in PLAN_NEEDS.items() if key == demand.name), None),
        note=_per_node(needed, database(settings).shards),
    )


def _per_node(needed: int, shards: int) -> str:
    each = math.ceil(needed / shards)
    if each <= _MAX_CONNECTIONS_OF_A_NODE:
        return f"{each} to each shard: one primary takes them, and its replicas the reads"
    return f"{each} to each shard, and more than {_MAX_CONNECTIONS_OF_A_NODE} on one node slow it down: add shards"


def _more_server_connections(settings: Settings, needed: int) -> tuple[Change, ...]:
    """The writers' poolers open more, and the servers accept as many during a rollout of all poolers."""
    postgres, why = settings.postgres, "busy connections and headroom"
    if postgres is None:
        limit = settings.capacity.database.server_connections
        return (_change(POOL_ORDER, "capacity.database.server_connections", limit, needed, why),)
    pooler, pods = postgres.pooler, postgres.pooler.read_write
    missing = math.ceil(needed / len(postgres.shards)) - server_connections_of_a_shard(postgres)
    each = pods.server_connections_per_pod + math.ceil(max(0, missing) / pods.replicas)
    larger = pods.model_copy(update={"server_connections_per_pod": each})
    accepted = pooler.model_copy(update={"read_write": larger}).peak_server_connections + postgres.reserved_connections
    path, before = "postgres.pooler.read_write.server_connections_per_pod", pods.server_connections_per_pod
    opened = _change(POOL_ORDER + 1, path, before, each, why)
    if accepted <= postgres.max_connections:
        return (opened,)
    return (
        _change(POOL_ORDER, "postgres.max_connections", postgres.max_connections, accepted, "what the poolers open"),
        opened,
    )


def _database_growth(demand: Demand, inputs: Inputs) -> Figure:
    kept, declared = inputs.settings.capacity.database, database(inputs.settings)
    each_month = demand.payments_per_day * kept.bytes_per_payment * _DAYS_OF_MONTH / _GIB / declared.shards
    held = each_month * kept.keep_months
    needed = held / inputs.headroom + declared.log_gib
    return _against_limit(
        key="database/disk",
        needed=needed,
        unit="GiB",
        formula="payments_per_day × bytes_per_payment × 30.4 × keep_months / shards / (1 - headroom) + log",
        inputs={
            "payments_per_day": demand.payments_per_day,
            "bytes_per_payment": float(kept.bytes_per_payment),
            "keep_months": float(kept.keep_months),
            "shards": float(declared.shards),
            "log_gib": declared.log_gib,
            "growth_gib_per_month": each_month,
        },
        binding="keep_months",
        limit=declared.disk_gib,
        tight=held + declared.log_gib < declared.disk_gib,
        changes=(
            _change(
                SHARED_ORDER, declared.disk_path, declared.disk_gib, needed, "each member holds all of its shard",
                unit=declared.disk_unit,
            ),
        ),
        note=f"grows by {each_month:,.1f} GiB a month on every member",
    )  # fmt: skip


def _brokers(demand: Demand, inputs: Inputs) -> Figure:
    """Written once to each replica, read once by each group and by each follower."""
    kafka, topics, declared = inputs.settings.capacity.kafka, len(inputs.settings.topics), brokers(inputs.settings)
    produced = demand.peak_requests_per_second * inputs.constants.events_per_entry_request * topics * kafka.event_bytes
    moved = produced * (2 * declared.replication)
    share = kafka.broker_megabytes_per_second * _MEGABYTE
    needed = max(math.ceil(moved / (share * inputs.headroom) - 1e-9), declared.replication)
    return _against_limit(
        key="kafka/brokers",
        needed=float(needed),
        unit="brokers",
        formula="max(ceil(rate × topics × event_bytes × 2 × replication / (per_broker × (1 - headroom))), replication)",
        inputs={
            "rate_per_second": demand.peak_requests_per_second * inputs.constants.events_per_entry_request,
            "topics": float(topics),
            "event_bytes": float(kafka.event_bytes),
            "replication": float(declared.replication),
            "broker_megabytes_per_second": float(kafka.broker_megabytes_per_second),
        },
        binding="replication" if needed == declared.replication else "broker_megabytes_per_second",
        limit=float(declared.count),
        tight=moved < share * declared.count and declared.count >= declared.replication,
        changes=(_change(SHARED_ORDER, declared.count_path, declared.count, needed, "bytes in and out"),),
    )


def _broker_disk(demand: Demand, inputs: Inputs) -> Figure:
    """Each topic keeps its own time."""
    kafka, declared = inputs.settings.capacity.kafka, brokers(inputs.settings)
    days = sum(topic.retention_hours for topic in inputs.settings.topics.values()) / _HOURS_OF_DAY
    of_a_topic = demand.payments_per_day * inputs.constants.events_per_entry_request * kafka.event_bytes
    held = of_a_topic * days * declared.replication / declared.count / _GIB
    needed = held / inputs.headroom
    each_month = of_a_topic * len(inputs.settings.topics) * declared.replication * _DAYS_OF_MONTH / _GIB
    return _against_limit(
        key="kafka/disk-per-broker",
        needed=needed,
        unit="GiB",
        formula="payments_per_day × event_bytes × Σ retention_days of the topics × replication / brokers / "
        "(1 - headroom)",
        inputs={
            "payments_per_day": demand.payments_per_day,
            "retention_days_of_all_topics": days,
            "replication": float(declared.replication),
            "brokers": float(declared.count),
            "event_bytes": float(kafka.event_bytes),
        },
        binding="retention_hours",
        limit=declared.disk_gib,
        tight=held < declared.disk_gib,
        changes=(
            _change(
                SHARED_ORDER, declared.disk_path, declared.disk_gib, needed, "retained events", unit=declared.disk_unit
            ),
        ),
        note=f"{each_month:,.1f} GiB a month are written, on all brokers",
    )


def _cache_memory(demand: Demand, inputs: Inputs) -> Figure:
    """Entries that are alive at the peak: what arrives during the longest life."""
    use, cache = inputs.settings.capacity.cache, inputs.settings.cache
    held = demand.peak_requests_per_second * use.entries_per_request * use.ttl_seconds * use.entry_bytes / _GIB
    needed = held / inputs.headroom
    limit = None if cache is None else cache.cluster.primaries * cache.cluster.max_memory_bytes / _GIB
    primaries = cache.cluster.primaries if cache is not None else 0
    each = limit / primaries if limit else 0.0
    return _against_limit(
        key="cache/memory",
        needed=needed,
        unit="GiB",
        formula="peak × entries_per_request × ttl_seconds × entry_bytes / (1 - headroom)",
        inputs={
            "peak_requests_per_second": demand.peak_requests_per_second,
            "entries_per_request": float(use.entries_per_request),
            "ttl_seconds": float(use.ttl_seconds),
            "entry_bytes": float(use.entry_bytes),
        },
        binding="ttl_seconds",
        limit=limit,
        tight=limit is not None and held < limit,
        changes=(_change(SHARED_ORDER, "cache.cluster.primaries", primaries, needed / each, "memory of the primaries"),)
        if each
        else (),
        note="no balance is ever read from it: a cache that is too small is slow, not wrong",
    )


def _proxies(demand: Demand, inputs: Inputs) -> Figure:
    edge = inputs.settings.capacity.edge
    rate, each = demand.peak_requests_per_second, edge.requests_per_second_per_proxy
    needed = math.ceil(rate / (each * inputs.headroom) - 1e-9)
    limit, path = proxies(inputs.settings)
    return _against_limit(
        key="edge/proxies",
        needed=float(needed),
        unit="proxies",
        formula="ceil(peak / (requests_per_second_per_proxy × (1 - headroom)))",
        inputs={"peak_requests_per_second": rate, "requests_per_second_per_proxy": float(each)},
        binding="requests_per_second_per_proxy",
        limit=float(limit),
        tight=rate < each * limit,
        changes=(_change(SHARED_ORDER, path, limit, needed, "requests at the entry"),),
        note=f"{rate * _SECONDS_OF_DAY / 1e6:,.0f} million requests if the peak lasted a day",
    )


def _addresses(demand: Demand, inputs: Inputs) -> Iterator[Figure]:
    """A limit for each client: fewer clients than this cannot make the load at all."""
    edge = inputs.settings.edge
    for name, limit in ({} if edge is None else edge.rate_limits).items():
        each = limit.requests / limit.per.seconds
        who = "addresses" if limit.by is LimitBy.CLIENT_ADDRESS else "clients"
        yield Figure(
            key=f"edge/{name}",
            needed=float(math.ceil(demand.peak_requests_per_second / each - 1e-9)),
            unit=who,
            formula="ceil(peak / requests_per_second_of_one)",
            inputs={"peak_requests_per_second": demand.peak_requests_per_second, "requests_per_second_of_one": each},
            binding=f"edge.rate_limits.{name}",
            status=Status.OPEN,
            note=f"the load must come from at least so many {who}: a load test from fewer gets 429",
        )


def _change(order: int, path: str, before: float, needed: float, why: str, *, unit: str = "") -> Change:
    after = float(math.ceil(needed - 1e-9))
    return Change(order=order, path=path, before=float(before), after=after, why=why, unit=unit)


def _against_limit(
    *,
    key: str,
    needed: float,
    unit: str,
    formula: str,
    inputs: Mapping[str, float],
    binding: str,
    limit: float | None,
    changes: tuple[Change, ...],
    tight: bool = False,
    plan: float | None = None,
    note: str = "",
) -> Figure:
    """A figure against one limit: carried within it, tight when only the headroom is missing, else short."""
    if limit is None:
        status = Status.OPEN
    elif needed <= limit:
        status = Status.CARRIED
    else:
        status = Status.TIGHT if tight else Status.SHORT
    if status not in (Status.TIGHT, Status.SHORT):
        changes = ()
    return Figure(
        key=key, needed=needed, unit=unit, formula=formula, inputs=inputs, binding=binding, available=limit,
        plan=plan, status=status, note=note, changes=changes,
    )  # fmt: skip
