"""That a drained node, a lost zone or a new version does not take a service away."""

import math
from collections import defaultdict
from collections.abc import Iterator

from pulumi_policy import ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.label_selectors import selects
from policies.objects import REPLICATED_KINDS, KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, number, read, show, text

ZONE_KEY = "topology.kubernetes.io/zone"
_COMPONENT_LABEL = "app.kubernetes.io/component"
_DEFAULT_SHARE = "25%"  # what the API server assumes for maxSurge and maxUnavailable
# Per component: the field, whether it must be zero, and what goes wrong otherwise.
_ROLLOUT = {
    "api": (
        ("maxUnavailable", True, "capacity drops below the load"),
        ("maxSurge", False, "the rollout cannot make progress"),
    ),
    "consumer": (
        ("maxSurge", True, "surplus consumers join the group and rebalance it"),
        ("maxUnavailable", False, "the rollout cannot make progress"),
    ),
}


def disruption_budget() -> StackValidationPolicy:
    """Every replicated workload has one budget, and the budget lets one pod go even at the smallest scale."""
    about = About(
        name="disruption-budget",
        display_name="Disruption budget",
        description=("One PodDisruptionBudget covers each replicated workload and allows one eviction at its minimum."),
        severity=Severity.HIGH,
        remediation="Declare one PodDisruptionBudget per workload with maxUnavailable: 1.",
        tags=("availability",),
    )
    return stack_policy(about, _check_budgets)


def _check_budgets(index: StackIndex, _config: Config) -> Iterator[Violation]:
    budgets: dict[str, list[KubernetesObject]] = defaultdict(list)
    unclear: set[str] = set()
    for budget in index.by_kind.get("PodDisruptionBudget", []):
        for workload, answer in index.selected(budget.namespace, read(budget.props, "spec", "selector")):
            if answer is UNKNOWN:
                unclear.add(workload.urn)
            else:
                budgets[workload.urn].append(budget)
    everywhere_unclear = index.some_namespace_unknown("PodDisruptionBudget")
    for workload in index.replicated_workloads():
        minimum, reason = _smallest_scale(index, workload)
        found = budgets.get(workload.urn, [])
        unclear_here = everywhere_unclear or workload.namespace is UNKNOWN or workload.urn in unclear
        if not found and not unclear_here and _is_replicated(index, workload):
            yield Violation(
                workload,
                "no PodDisruptionBudget selects its pods: a node drain may evict all of them at once."
                " Allowed: exactly one. Fix: declare one with the workload's selector and maxUnavailable: 1.",
            )
        if len(found) > 1:
            names = ", ".join(budget.title for budget in found)
            yield Violation(
                workload,
                f"{len(found)} budgets select its pods ({names}): the API server then refuses every eviction."
                " Allowed: exactly one. Fix: keep one.",
            )
        if minimum is not None:
            for budget in found:
                yield from _check_eviction(budget, workload, minimum, reason)


def _is_replicated(index: StackIndex, workload: KubernetesObject) -> bool:
    replicas = read(workload.props, "spec", "replicas")
    count = number(replicas)
    return bool(index.scalers_of(workload)) or (count is not None and count > 1)


def _smallest_scale(index: StackIndex, workload: KubernetesObject) -> tuple[float | None, str]:
    """Return the fewest pods the workload may have, None if not known, and where that number comes from."""
    scalers = index.scalers_of(workload)
    if scalers:
        minimums = [scaler.minimum for scaler in scalers if scaler.minimum is not None]
        return (max(min(minimums), 1) if minimums else None), "the scaler's minimum"
    replicas = read(workload.props, "spec", "replicas")
    return (1.0 if replicas is None else number(replicas)), "its replicas"


def _check_eviction(
    budget: KubernetesObject, workload: KubernetesObject, minimum: float, reason: str
) -> Iterator[Violation]:
    field, value = "maxUnavailable", read(budget.props, "spec", "maxUnavailable")
    if value is None:
        field, value = "minAvailable", read(budget.props, "spec", "minAvailable")
    amount = _pods(value, minimum)
    if value is UNKNOWN or (amount is None and value is not None):
        return
    if amount is None:
        amount = 1.0  # neither field: the API server assumes minAvailable 1
    allowed = amount if field == "maxUnavailable" else minimum - amount
    if allowed < 1 and minimum > 0:
        yield Violation(
            budget,
            f"{field} {show(value)} allows no eviction of {workload.title} at {show(minimum)} pods"
            f" ({reason}): a node"
            " drain would hang. Allowed: at least one eviction at the minimum. Fix: use maxUnavailable: 1.",
        )


def _pods(value: object, total: float) -> float | None:
    """Return a count of pods from a number or a percentage of `total`; both fields round a percentage up."""
    written = text(value)
    if written is not None and written.endswith("%"):
        share = number(written[:-1])
        return None if share is None else math.ceil(share * total / 100)
    return number(value)


def zone_spread() -> ResourceValidationPolicy:
    """Pods that may all land in one zone are lost together with it."""
    about = About(
        name="zone-spread",
        display_name="Zone spread",
        description=("The pods of a Deployment or StatefulSet are spread over zones by a topology spread constraint."),
        severity=Severity.MEDIUM,
        remediation=(f"Add a topologySpreadConstraint with topologyKey {ZONE_KEY} and the workload's own selector."),
        tags=("availability",),
    )
    return object_policy(about, _check_spread, REPLICATED_KINDS)


def _check_spread(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    constraints = read(subject.pod_spec, "topologySpreadConstraints")
    if UNKNOWN in (constraints, subject.pod_spec):
        return
    by_zone = []
    for constraint in elements(constraints):
        key = read(constraint, "topologyKey")
        if key is UNKNOWN:
            return
        if key == ZONE_KEY:
            by_zone.append(constraint)
    if not by_zone:
        yield (
            f"its pods are not spread over zones. Allowed: a topologySpreadConstraint on {ZONE_KEY}."
            " Fix: add one that selects the workload's own pods."
        )
    for constraint in by_zone:
        selector = read(constraint, "labelSelector")
        if selector is None or selects(selector, subject.pod_labels) is False:
            yield (
                f"its spread over {ZONE_KEY} does not select its own pods, so it spreads nothing."
                " Allowed: a labelSelector that matches the pod template. Fix: use the workload's selector."
            )


def rolling_update_keeps_capacity() -> ResourceValidationPolicy:
    """An API loses no capacity while it rolls; a consumer group is never larger than its partitions."""
    about = About(
        name="rolling-update-keeps-capacity",
        display_name="Rolling update keeps capacity",
        description="API workloads roll with maxUnavailable 0, consumers with maxSurge 0.",
        severity=Severity.HIGH,
        remediation="api: maxUnavailable 0, maxSurge 1 or more. consumer: the other way round.",
        tags=("availability",),
    )
    return object_policy(about, _check_rollout, frozenset({"Deployment"}))


def _check_rollout(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    component = text(read(subject.labels, _COMPONENT_LABEL))
    if component not in _ROLLOUT:
        return
    strategy = read(subject.props, "spec", "strategy")
    kind = read(strategy, "type")
    if kind not in (None, UNKNOWN, "RollingUpdate"):
        yield (
            f"is updated by {show(kind)}, which stops every pod first. Allowed: RollingUpdate."
            " Fix: set spec.strategy.type to RollingUpdate."
        )
        return
    for field, must_be_zero, reason in _ROLLOUT[component]:
        value = read(strategy, "rollingUpdate", field)
        amount = _share(_DEFAULT_SHARE if value is None else value)
        if amount is not None and (amount == 0) != must_be_zero:
            default = f" ({_DEFAULT_SHARE} by default)" if value is None else ""
            yield (
                f"rolls with {field} {show(value)}{default}: {reason}. Allowed for component {component}:"
                f" {'0' if must_be_zero else '1 or more'}. Fix: set spec.strategy.rollingUpdate.{field}."
            )


def _share(value: object) -> float | None:
    written = text(value)
    return number(written[:-1]) if written is not None and written.endswith("%") else number(value)


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [disruption_budget(), zone_spread(), rolling_update_keeps_capacity()]
