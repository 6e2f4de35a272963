"""How far a service may scale, and that exactly one scaler does it.

The limits are this pack's own: a pack that read the program's numbers would agree with all of them.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.objects import KubernetesObject, containers
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.scalers import SCALER_KINDS, Scaler, parse_scaler
from policies.values import UNKNOWN, number, read, show, text

_COUNT = {"type": "integer", "minimum": 0}
_PERCENT = {"type": "integer", "minimum": 1, "maximum": 100}
_LIMITS = {
    "minReplicas": _COUNT,
    "maxReplicas": _COUNT,
    "cpuMinPercent": _PERCENT,
    "cpuMaxPercent": _PERCENT,
}
# Held by every service that the pack's owners have not listed by name.
_CAUTIOUS_LIMITS = {"minReplicas": 2, "maxReplicas": 10, "cpuMinPercent": 50, "cpuMaxPercent": 80}


def _limits_schema() -> PolicyConfigSchema:
    limits = {"type": "object", "properties": _LIMITS, "additionalProperties": False}
    return PolicyConfigSchema(
        properties={
            "limits": {"type": "object", "additionalProperties": limits, "default": {}},
            "defaults": {**limits, "default": _CAUTIOUS_LIMITS},
        }
    )


def scaling_limits() -> ResourceValidationPolicy:
    """Every scaler stays between the floor and the ceiling that the pack's config states for its workload."""
    about = About(
        name="scaling-limits",
        display_name="Scaling limits",
        description=("A scaler stays within the replicas and the cpu target that this pack allows for its workload."),
        severity=Severity.HIGH,
        remediation=("Bring the scaler within the limits, or have the pack's owners change policies/config for it."),
        tags=("scaling", "capacity"),
        schema=_limits_schema(),
    )
    return object_policy(about, _check_limits, SCALER_KINDS)


def _check_limits(subject: KubernetesObject, config: Config) -> Iterator[str]:
    scaler = parse_scaler(subject)
    target = None if scaler is None else text(scaler.target_name)
    if scaler is None or target is None:
        return
    listed = read(config, "limits", target)
    limits = read(config, "defaults") if listed is None else listed
    source = f"the limits for '{target}'" if listed is not None else f"the default limits, as '{target}' is not listed"
    if isinstance(limits, Mapping):
        yield from _check_counts(scaler, limits, source)
        yield from _check_cpu(scaler, limits, source)


def _check_counts(scaler: Scaler, limits: Mapping[str, object], source: str) -> Iterator[str]:
    floor, ceiling = number(limits.get("minReplicas")), number(limits.get("maxReplicas"))
    minimum, maximum = scaler.minimum, scaler.maximum
    if minimum is not None and floor is not None and minimum < floor:
        yield (
            f"scales down to {show(minimum)} replicas. Allowed: {show(floor)} or more ({source})."
            f" Fix: set the minimum to at least {show(floor)}."
        )
    if maximum is not None and ceiling is not None and maximum > ceiling:
        yield (
            f"scales up to {show(maximum)} replicas. Allowed: {show(ceiling)} or fewer ({source})."
            f" Fix: set the maximum to at most {show(ceiling)}, or ask the pack's owners for a higher limit."
        )
    if minimum is not None and maximum is not None and minimum > maximum:
        yield (
            f"has a minimum of {show(minimum)} above its maximum of {show(maximum)}."
            " Allowed: minimum ≤ maximum. Fix: raise the maximum or lower the minimum."
        )


def _check_cpu(scaler: Scaler, limits: Mapping[str, object], source: str) -> Iterator[str]:
    low, high = number(limits.get("cpuMinPercent")), number(limits.get("cpuMaxPercent"))
    target = scaler.cpu_percent
    if target is None:
        return
    if (low is not None and target < low) or (high is not None and target > high):
        allowed = f"{show(1.0 if low is None else low)} to {show(100.0 if high is None else high)}"
        yield (
            f"scales at {show(target)} % cpu. Allowed: {allowed} % ({source}). Fix: choose a cpu target in that range."
        )


def one_scaler_per_workload() -> StackValidationPolicy:
    """Two scalers on one workload overwrite each other's replicas for ever."""
    about = About(
        name="one-scaler-per-workload",
        display_name="One scaler per workload",
        description="A workload is scaled by exactly one HorizontalPodAutoscaler or ScaledObject.",
        severity=Severity.HIGH,
        remediation=("Keep one scaler. A ScaledObject creates its own HorizontalPodAutoscaler: declare no second one."),
        tags=("scaling",),
    )
    return stack_policy(about, _check_single)


def _check_single(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for (_, kind, name), scalers in index.scalers_by_target.items():
        if name is UNKNOWN or len(scalers) < 2:  # noqa: PLR2004 - a pair is the smallest conflict
            continue
        first, *others = scalers
        for other in others:
            yield Violation(
                other.subject,
                f"scales {kind} {show(name)}, which {first.subject.title} already scales. Allowed: one"
                " scaler per"
                " workload. Fix: remove one of the two.",
            )


def scaler_target_is_ready() -> StackValidationPolicy:
    """A utilization target divides by the request: without one the scaler never scales."""
    about = About(
        name="scaler-target-ready",
        display_name="Scaler target exists and declares requests",
        description=("A scaler's target is declared, and each container requests the resources that it is scaled on."),
        severity=Severity.HIGH,
        remediation=("Name an existing workload, and set resources.requests for cpu and memory on its containers."),
        tags=("scaling",),
    )
    return stack_policy(about, _check_targets)


def _check_targets(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for scaler in index.scalers:
        subject = scaler.subject
        if scaler.target_name is UNKNOWN:
            continue
        target = index.by_identity.get((subject.namespace, scaler.target_kind, scaler.target_name))
        if target is not None:
            yield from _check_requests(scaler, target)
        elif not index.might_be_target(subject.namespace, scaler.target_kind):
            yield Violation(
                subject,
                f"scales {scaler.target_kind} {show(scaler.target_name)}, which this program does not"
                " declare in"
                " the scaler's namespace. Allowed: a declared workload. Fix: correct scaleTargetRef.",
            )


def _check_requests(scaler: Scaler, target: KubernetesObject) -> Iterator[Violation]:
    for resource, only in scaler.resources:
        for container in containers(target.pod_spec, long_running_only=True):
            if only is not None and text(read(container.spec, "name")) != only:
                continue
            if read(container.spec, "resources", "requests", resource) is None:
                yield Violation(
                    scaler.subject,
                    f"scales {target.title} on {resource}, but its {container.title} requests no {resource}."
                    f" Allowed: a request on every container. Fix: set resources.requests.{resource}.",
                )


def no_static_replicas_beside_scaler() -> StackValidationPolicy:
    """A fixed count beside a scaler resets the scale at every deployment, in the middle of a peak."""
    about = About(
        name="no-static-replicas-beside-scaler",
        display_name="No static replicas beside a scaler",
        description=("Where a scaler owns a workload, `replicas` is only the start value: its minimum, then ignored."),
        severity=Severity.HIGH,
        remediation=(
            "Leave spec.replicas out, or start at the scaler's minimum with ignore_changes=['spec.replicas']."
        ),
        tags=("scaling",),
    )
    return stack_policy(about, _check_static)


def _check_static(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for workload in index.replicated_workloads():
        scalers = index.scalers_of(workload)
        replicas = number(read(workload.props, "spec", "replicas"))
        if not scalers or replicas is None:
            continue
        owner = scalers[0]
        if "spec.replicas" not in workload.ignore_changes:
            yield Violation(
                workload,
                f"fixes {show(replicas)} replicas beside {owner.subject.title}: each deployment would reset"
                " the"
                " scale. Allowed: no replicas, or the scaler's minimum with ignore_changes=['spec.replicas']."
                " Fix: add that option.",
            )
        elif not workload.stored and owner.minimum is not None and replicas != max(owner.minimum, 1):
            # A stored object carries what the scaler last set; the engine keeps it, so it says nothing of the
            # program.
            yield Violation(
                workload,
                f"starts with {show(replicas)} replicas. Allowed beside {owner.subject.title}: its minimum,"
                f" {show(max(owner.minimum, 1))}. Fix: start at the minimum.",
            )


def zones_covered_at_minimum() -> ResourceValidationPolicy:
    """Fewer pods than zones cannot stand in every zone: losing the wrong one loses all of them."""
    exception = {
        "type": "object",
        "properties": {"until": {"type": "string", "format": "date"}, "reason": {"type": "string", "minLength": 1}},
        "required": ["until", "reason"],
        "additionalProperties": False,
    }
    about = About(
        name="zones-covered-at-minimum",
        display_name="The minimum covers every zone",
        description="A scaler's minimum is at least the number of zones, unless excepted by name until a date.",
        severity=Severity.MEDIUM,
        remediation="Raise the minimum, or have the pack's owners except the workload, with a reason and a last day.",
        tags=("scaling", "availability"),
        schema=PolicyConfigSchema(
            properties={
                "zones": {"type": "integer", "minimum": 1, "default": 1},
                "exceptions": {"type": "object", "additionalProperties": exception, "default": {}},
            }
        ),
    )
    return object_policy(about, _check_zones, SCALER_KINDS)


def _check_zones(subject: KubernetesObject, config: Config) -> Iterator[str]:
    scaler, zones = parse_scaler(subject), number(read(config, "zones"))
    if scaler is None or zones is None or scaler.minimum is None or scaler.minimum >= zones:
        return
    target = text(scaler.target_name)
    until = None if target is None else text(read(config, "exceptions", target, "until"))
    if until is None:
        yield (
            f"scales down to {show(scaler.minimum)} replicas. Allowed: {show(zones)} or more, one for each zone."
            f" Fix: set the minimum to {show(zones)}, or have the pack's owners except '{target}' until a date."
        )
    elif date.fromisoformat(until) < today():
        yield (
            f"scales down to {show(scaler.minimum)} replicas, and the exception for '{target}' ended on {until}."
            f" Allowed: {show(zones)} or more. Fix: set the minimum to {show(zones)}, or renew the exception."
        )


def today() -> date:
    """Return the day that exceptions are compared with, in UTC."""
    return datetime.now(UTC).date()


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [
        scaling_limits(),
        one_scaler_per_workload(),
        scaler_target_is_ready(),
        no_static_replicas_beside_scaler(),
        zones_covered_at_minimum(),
    ]
