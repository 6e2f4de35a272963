"""From a finding to a change of settings within every bound, or to the reason why nothing can be done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from planning.actions.edit import Edit
from planning.actions.windows import WINDOW_SECONDS
from planning.bottlenecks.findings import MISSING_DATA, Finding, Severity, Values
from settings.platform import Settings
from settings.postgres_rules import outlives_a_zone
from settings.quantities import format_bytes, parse_quantity
from settings.scaling import LatencyTrigger
from settings.services import Service, peak_database_connections
from settings.signals import LatencySource

# The plan's own steps.
API_PODS_ADDED = 2
CONSUMERS_ADDED = 3
READ_REPLICAS_ADDED = 1
MEMORY_LIMIT = "4Gi"


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """A change of settings that answers a finding."""

    finding: Finding
    edits: tuple[Edit, ...]
    summary: str
    bounds: tuple[str, ...]
    """What was looked at, with its numbers."""

    @property
    def window_seconds(self) -> int:
        """How long it has to end its finding; it is judged then, and not before."""
        return WINDOW_SECONDS[self.finding.kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a finding is not answered by a change, and what to do instead."""

    finding: Finding
    reason: str
    instead: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What is known when an action is chosen."""

    settings: Settings
    findings: Sequence[Finding]
    """Everything that holds now."""
    latest: Values
    """Newest sample of each series."""
    platform: Mapping[str, object]
    """The stack file's own ``payments:platform``: parts that other rooms describe are looked up in it."""

    def active(self, kind: str, service: str | None = None) -> Finding | None:
        """An open finding of a kind, of a service when one is named."""
        found = (each for each in self.findings if each.kind == kind and service in (None, each.service))
        return next(found, None)


Answer = Action | Refusal
_Proposer = Callable[[Finding, Situation], Answer]


def propose(situation: Situation) -> list[Answer]:
    """An answer to each finding; at most one change for each service and each setting, for the worst finding first.

    Two changes of one service at once could not be told apart afterwards, and one of them may undo the other. Findings
    of two services may be answered by the same setting: it changes once.
    """
    answers: list[Answer] = []
    taken: list[Action] = []
    for finding in sorted(situation.findings, key=_urgency):
        answer = _PROPOSERS.get(finding.kind, _unknown)(finding, situation)
        if isinstance(answer, Action):
            answer = _unless_taken(answer, taken)
        if isinstance(answer, Action):
            taken.append(answer)
        answers.append(answer)
    return answers


def _unless_taken(action: Action, taken: Sequence[Action]) -> Answer:
    finding, paths = action.finding, {edit.path: edit.dotted for edit in action.edits}
    for first in taken:
        shared = [paths[edit.path] for edit in first.edits if edit.path in paths]
        what = ", ".join(shared) or (finding.service if first.finding.service == finding.service else None)
        if what is not None:
            return Refusal(
                finding=finding,
                reason=f"{first.finding.kind} of {first.finding.subject} is answered first ({first.summary}): two "
                f"changes of {what} at once could not be judged apart",
                instead="act again when that change is verified",
            )
    return action


# A dependency or a full pool explains the latency above it, never the other way round.
_ORDER = (
    MISSING_DATA,
    "CIRCUIT_BREAKER",
    "DB_WRITE_CONNECTIONS",
    "DB_CONNECTIONS",
    "MEMORY_PRESSURE",
    "CONSUMER_LAG",
    "API_LATENCY",
)
_WRITES = "database_write_pool_use"
_FULL_POOLS = ("DB_WRITE_CONNECTIONS", "DB_CONNECTIONS")


def _urgency(finding: Finding) -> tuple[int, bool, float]:
    rank = _ORDER.index(finding.kind) if finding.kind in _ORDER else len(_ORDER)
    return rank, finding.severity is Severity.WARNING, finding.since_seconds


def _api_latency(finding: Finding, situation: Situation) -> Answer:
    name, service = finding.service, situation.settings.services[finding.service]
    cause = _not_pods(finding, service, situation)
    if cause is not None:
        return cause
    scaling = service.api.scaling
    return _raised_minimum(
        finding,
        situation,
        path=("services", name, "api", "scaling", "min_replicas"),
        minimum=scaling.min_replicas,
        maximum=scaling.max_replicas,
        added=API_PODS_ADDED,
        bounds=(_pool_bound(situation.settings), f"maximum {scaling.max_replicas} pods"),
    )


def _not_pods(finding: Finding, service: Service, situation: Situation) -> Refusal | None:
    """Latency or a backlog whose cause more pods make worse."""
    breaker = situation.active("CIRCUIT_BREAKER", finding.service)
    waits = any(
        isinstance(t, LatencyTrigger) and t.source is LatencySource.EXTERNAL for t in service.api.scaling.triggers
    )
    if breaker is not None or (waits and situation.active("CIRCUIT_BREAKER") is not None):
        return Refusal(
            finding=finding,
            reason="the circuit breaker is open: what the service calls is slow, and more pods press it harder",
            instead="wait for the dependency, or shed load; the breaker's hold keeps the pods that there are",
        )
    full = next((kind for kind in _FULL_POOLS if situation.active(kind, finding.service) is not None), None)
    if full is not None:
        return Refusal(
            finding=finding,
            reason=f"the database pool of {finding.service} is full: more pods open more connections and wait for the "
            "same database",
            instead=f"answer {full} first",
        )
    return None


def _consumer_lag(finding: Finding, situation: Situation) -> Answer:
    settings = situation.settings
    consumer = settings.services[finding.service].consumer
    assert consumer is not None  # noqa: S101 # the rule's subjects are consumers
    cause = _not_pods(finding, settings.services[finding.service], situation)
    if cause is not None:
        return cause
    partitions = settings.topics[consumer.topic].partitions
    return _raised_minimum(
        finding,
        situation,
        path=("services", finding.service, "consumer", "scaling", "min_replicas"),
        minimum=consumer.scaling.min_replicas,
        maximum=min(consumer.scaling.max_replicas, partitions),
        added=CONSUMERS_ADDED,
        bounds=(
            f"maximum {consumer.scaling.max_replicas} consumers",
            f"{partitions} partitions of {consumer.topic}",
            _pool_bound(settings),
        ),
    )


def _raised_minimum(
    finding: Finding,
    situation: Situation,
    *,
    path: tuple[str, ...],
    minimum: int,
    maximum: int,
    added: int,
    bounds: tuple[str, ...],
) -> Answer:
    """A minimum above what runs now: one below it would change nothing."""
    share = situation.latest.get(("replicas_of_maximum", finding.subject))
    scaling = ".".join(path[:-1])
    declared_maximum = maximum if share is None else _declared_maximum(situation.settings, path)
    running = minimum if share is None else max(minimum, round(share * declared_maximum))
    wanted = min(running + added, maximum)
    if wanted <= running:
        return Refusal(
            finding=finding,
            reason=f"{finding.subject} runs {running} of at most {maximum}: a higher minimum adds nothing",
            instead=f"`payctl plan` says what the load needs; {scaling}.max_replicas is bounded by the partitions, the "
            "pool budget and the policy pack",
        )
    return Action(
        finding=finding,
        edits=(Edit(path=path, before=minimum, after=wanted),),
        summary=f"{finding.subject}: at least {wanted} instead of {minimum} (runs {running}; the plan adds {added})",
        bounds=(*bounds, "the namespace's quota, which holds the maximum"),
    )


def _declared_maximum(settings: Settings, path: tuple[str, ...]) -> int:
    service = settings.services[path[1]]
    if path[2] == "api" or service.consumer is None:
        return service.api.scaling.max_replicas
    return service.consumer.scaling.max_replicas


def _pool_bound(settings: Settings) -> str:
    most = sum(peak_database_connections(service) for service in settings.services.values())
    return f"{most} of {settings.capacity.database_client_connections} database connections at every maximum"


def _writes(finding: Finding, situation: Situation) -> Refusal:
    per_pod = situation.settings.services[finding.service].api.database_connections_per_pod
    return Refusal(
        finding=finding,
        reason=f"the pool of writes of {finding.subject} is full: all of them go to one primary, and no replica "
        "takes any",
        instead="look for long transactions first (docs/runbooks/database-health.md); then a larger pool "
        f"(services.{finding.service}.api.database_connections_per_pod is {per_pod}; "
        f"{_pool_bound(situation.settings)}), or one more shard (`payctl shards plan --add`)",
    )


def _database(finding: Finding, situation: Situation) -> Answer:
    if situation.active("DB_WRITE_CONNECTIONS", finding.service) is not None:
        return Refusal(
            finding=finding,
            reason=f"the pool of writes of {finding.subject} is full: a read replica takes none of them",
            instead="answer DB_WRITE_CONNECTIONS first",
        )
    missing = {(each.metric, each.subject) for each in situation.findings if each.kind == MISSING_DATA}
    if (_WRITES, finding.subject) in missing:
        return Refusal(
            finding=finding,
            reason=f"{_WRITES} of {finding.subject} has no samples: it may be the pool of writes that is full",
            instead='label the pool to the primary role="write" (docs/observability.md)',
        )
    database = situation.platform.get("postgres")
    nodes = database.get("nodes") if isinstance(database, Mapping) else None
    if not isinstance(nodes, int):
        return Refusal(
            finding=finding,
            reason="this stack does not state how many database nodes there are (postgres.nodes): there is nothing "
            "to add a read replica to",
            instead="add one where the database is declared; more pods would only open more connections",
        )
    after, zones = nodes + READ_REPLICAS_ADDED, len(situation.settings.cluster.zones)
    if situation.settings.environment == "prod" and not outlives_a_zone(after, zones):
        after += 1  # an even number would lose half of itself with a zone
    added = "one more read replica" if after == nodes + 1 else f"{after - nodes} more read replicas"
    return Action(
        finding=finding,
        edits=(Edit(path=("postgres", "nodes"), before=nodes, after=after),),
        summary=f"{added}: {after} database nodes instead of {nodes}",
        bounds=(_pool_bound(situation.settings), "writes still go to one primary"),
    )


def _memory(finding: Finding, situation: Situation) -> Answer:
    resources = situation.settings.services[finding.service].api.resources
    limit, request = parse_quantity(resources.limits.memory), parse_quantity(resources.requests.memory)
    target = parse_quantity(MEMORY_LIMIT)
    if limit >= target:
        return Refusal(
            finding=finding,
            reason=f"{finding.subject} has a memory limit of {resources.limits.memory} already, the plan's "
            f"{MEMORY_LIMIT} or more: use that grows with any limit is a leak or a cache without a bound",
            instead="look at the heap of a pod before giving it more",
        )
    scaled = format_bytes(Decimal(request * target / limit))
    path = ("services", finding.service, "api", "resources")
    return Action(
        finding=finding,
        edits=(
            Edit(path=(*path, "requests", "memory"), before=resources.requests.memory, after=scaled),
            Edit(path=(*path, "limits", "memory"), before=resources.limits.memory, after=MEMORY_LIMIT),
        ),
        summary=f"{finding.subject}: memory limit {MEMORY_LIMIT} instead of {resources.limits.memory}, request "
        f"{scaled} in the same ratio; every pod is replaced",
        bounds=("the namespace's quota follows the settings", "the node must have room for the request"),
    )


def _breaker(finding: Finding, _situation: Situation) -> Refusal:
    return Refusal(
        finding=finding,
        reason=f"the breaker of {finding.subject} is open because what it calls fails: more pods send it more load",
        instead="the autoscaler holds the pods that there are; look at the dependency, or shed load before the service",
    )


def _missing(finding: Finding, _situation: Situation) -> Refusal:
    return Refusal(
        finding=finding,
        reason=f"{finding.metric} of {finding.subject} has no samples: a change could not be judged",
        instead="restore the exporter or the rule first",
    )


def _at_maximum(finding: Finding, situation: Situation) -> Refusal:
    return Refusal(
        finding=finding,
        reason=f"{finding.subject} has run at its maximum for a while: a higher one is a promise, not a repair",
        instead=f"`payctl plan` lists what capacity.horizon {situation.settings.capacity.horizon} needs; the policy "
        "pack's owners raise the limit",
    )


def _unknown(finding: Finding, _situation: Situation) -> Refusal:
    return Refusal(
        finding=finding,
        reason=f"no action is known for {finding.kind}",
        instead=finding.recommendation,
    )


_PROPOSERS: Mapping[str, _Proposer] = {
    "API_LATENCY": _api_latency,
    "CONSUMER_LAG": _consumer_lag,
    "DB_WRITE_CONNECTIONS": _writes,
    "DB_CONNECTIONS": _database,
    "MEMORY_PRESSURE": _memory,
    "CIRCUIT_BREAKER": _breaker,
    "AT_MAXIMUM": _at_maximum,
    MISSING_DATA: _missing,
}
