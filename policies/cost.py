"""What a stack may cost: the requests of every workload at its most pods, priced by this pack's own table.

Brokers and proxies count too, though operators make their pods.

The stack's settings have prices too, for its people's questions. A budget that trusted those would agree with any.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.objects import KubernetesObject, containers
from policies.quantity import bytes_of
from policies.rules import About, Config, Violation, stack_policy
from policies.values import UNKNOWN, elements, number, read, show, text

_GIB = 2**30
_MONEY = {"type": "number", "minimum": 0}
_DEFAULT_PRICES = {"cpuCoreMonth": 23.0, "memoryGibMonth": 3.1, "diskGibMonth": 0.12}
_NAMED = 3
"""Workloads that a refusal names: the costliest ones."""


def cost_budget() -> StackValidationPolicy:
    """A stack whose pods at their maximum cost more than its budget is refused."""
    about = About(
        name="cost-budget",
        display_name="Cost budget",
        description="All workloads at their most pods cost no more in a month than this pack's budget for the stack.",
        severity=Severity.MEDIUM,
        remediation="Lower maxima or requests, or have the pack's owners raise the budget in policies/config.",
        tags=("cost", "capacity"),
        schema=PolicyConfigSchema(
            properties={
                "monthlyBudget": _MONEY,
                "nodes": {"type": "integer", "minimum": 1, "default": 6},
                "prices": {
                    "type": "object",
                    "properties": dict.fromkeys(_DEFAULT_PRICES, _MONEY),
                    "additionalProperties": False,
                    "default": _DEFAULT_PRICES,
                },
            }
        ),
    )
    return stack_policy(about, _check_budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cost:
    subject: KubernetesObject
    pods: float
    monthly: float


def _check_budget(index: StackIndex, config: Config) -> Iterator[Violation]:
    budget = number(config.get("monthlyBudget"))
    if budget is None:
        return
    found = list(_costs(index, config))
    total = sum(cost.monthly for cost in found)
    if total <= budget:
        return
    largest = sorted(found, key=lambda cost: -cost.monthly)[:_NAMED]
    parts = ", ".join(f"{text(cost.subject.name)} {cost.monthly:,.0f} ({show(cost.pods)} pods)" for cost in largest)
    yield Violation(
        largest[0].subject,
        f"all workloads at their most pods cost {total:,.0f} in a month; the costliest are {parts}."
        f" Allowed: {budget:,.0f} (monthlyBudget of this pack). Fix: lower a maximum or a request, or ask the pack's"
        " owners for a higher budget.",
    )


def _costs(index: StackIndex, config: Config) -> Iterator[_Cost]:
    """What runs all the time, at its most pods; without Jobs, and without what is not known yet."""
    for subject in index.workloads:
        claims = elements(read(subject.props, "spec", "volumeClaimTemplates"))
        disk = sum(bytes_of(read(claim, "spec", "resources", "requests", "storage")) or 0.0 for claim in claims)
        specs = [each.spec for each in containers(subject.pod_spec, long_running_only=True)]
        yield from _cost(subject, _most_pods(index, subject, config), specs, disk, config)
    # Two operators make pods of objects of their own.
    for subject in index.by_kind.get("KafkaNodePool", []):
        nodes, volumes = number(read(subject.props, "spec", "replicas")), read(subject.props, "spec", "storage")
        sizes = [read(each, "size") for each in elements(read(volumes, "volumes"))] or [read(volumes, "size")]
        disk = sum(bytes_of(size) or 0.0 for size in sizes)
        yield from _cost(subject, nodes, [read(subject.props, "spec")], disk, config)
    for subject in index.by_kind.get("EnvoyProxy", []):
        provider = read(subject.props, "spec", "provider", "kubernetes")
        most = number(read(provider, "envoyHpa", "maxReplicas")) or number(
            read(provider, "envoyDeployment", "replicas")
        )
        yield from _cost(subject, most, [read(provider, "envoyDeployment", "container")], 0.0, config)


def _cost(
    subject: KubernetesObject, pods: float | None, specs: Sequence[object], disk: float, config: Config
) -> Iterator[_Cost]:
    """``specs`` hold the ``resources`` of each container of a pod, ``disk`` the bytes that a pod claims."""
    if pods is None:
        return
    prices = {**_DEFAULT_PRICES, **_given(config.get("prices"))}
    cores = sum(_requested(spec, "cpu", _cores_of) for spec in specs)
    size = sum(_requested(spec, "memory", bytes_of) for spec in specs)
    each = cores * prices["cpuCoreMonth"] + size / _GIB * prices["memoryGibMonth"]
    each += disk / _GIB * prices["diskGibMonth"]
    yield _Cost(subject=subject, pods=pods, monthly=pods * each)


def _given(prices: object) -> dict[str, float]:
    found = {str(key): number(value) for key, value in prices.items()} if isinstance(prices, Mapping) else {}
    return {key: value for key, value in found.items() if value is not None}


def _most_pods(index: StackIndex, subject: KubernetesObject, config: Config) -> float | None:
    if subject.kind == "DaemonSet":
        return number(config.get("nodes"))
    if subject.kind not in ("Deployment", "StatefulSet"):
        return None
    maxima = [scaler.maximum for scaler in index.scalers_of(subject) if scaler.maximum is not None]
    replicas = read(subject.props, "spec", "replicas")
    return max(maxima) if maxima else 1.0 if replicas is None else number(replicas)


def _requested(spec: object, resource: str, parse: Callable[[object], float | None]) -> float:
    value = read(spec, "resources", "requests", resource)
    if value is None:
        value = read(spec, "resources", "limits", resource)
    return (None if value is UNKNOWN else parse(value)) or 0.0


def _cores_of(value: object) -> float | None:
    written = text(value)
    if written is not None and written.endswith("m"):
        thousandths = number(written[:-1])
        return None if thousandths is None else thousandths / 1000
    return number(value)


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [cost_budget()]
