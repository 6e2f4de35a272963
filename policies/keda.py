"""What KEDA accepts without a word and users pay for: silence read as zero, formulas that drop metrics, no fallback.

Read in the source of KEDA 2.20 (pkg/fallback, pkg/scalers, pkg/scaling/modifiers).
"""

import re
from collections.abc import Iterator

from pulumi_policy import ResourceValidationPolicy, Severity

from policies.objects import KubernetesObject
from policies.rules import About, Config, object_policy
from policies.scaler_metrics import RESOURCE_TRIGGERS
from policies.values import UNKNOWN, elements, read, show, text

_SCALED_OBJECT = frozenset({"ScaledObject"})
_KEEPING = ("currentReplicasIfHigher", "scalingModifiers")
# Functions and words of the formula's language: a trigger of that name cannot be referred to.
_RESERVED = frozenset(
    """
    abs all any bool ceil concat count date duration false filter find first flatten float floor fromJSON get groupBy
    hasPrefix hasSuffix in indexOf int join keys last len let lower map matches max mean median min mod nil none not now
    one or and replace reduce repeat reverse round sort split string sum take toJSON trim true type uniq upper values
    """.split()  # noqa: SIM905 # one word a line would be forty lines
)


def scaler_survives_outages() -> ResourceValidationPolicy:
    """Without these a metrics outage reads as no load, in the middle of a peak."""
    about = About(
        name="scaler-survives-outages",
        display_name="A scaler survives the loss of its metrics",
        description="A ScaledObject falls back to what there is, and no trigger of it takes silence for zero.",
        severity=Severity.CRITICAL,
        remediation="Set fallback to keep the present replicas, ignoreNullValues to 'false', and no cached metrics.",
        tags=("scaling", "availability"),
    )
    return object_policy(about, _check_outages, _SCALED_OBJECT)


def _check_outages(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    spec = read(subject.props, "spec")
    external = [t for t in elements(read(spec, "triggers")) if text(read(t, "type")) not in (*RESOURCE_TRIGGERS, None)]
    fallback = read(spec, "fallback")
    if external and fallback is not UNKNOWN:
        yield from _check_fallback(fallback)
    for trigger in external:
        name = show(text(read(trigger, "name")) or text(read(trigger, "type")))
        ignores = read(trigger, "metadata", "ignoreNullValues")
        if read(trigger, "type") == "prometheus" and ignores not in ("false", UNKNOWN):
            yield (
                f"trigger {name} counts an empty answer as zero (ignoreNullValues is {show(ignores)}). Allowed:"
                " 'false'. Fix: set it; the fallback then holds the replicas."
            )
        if read(trigger, "useCachedMetrics") is True and fallback is not None:
            yield (
                f"trigger {name} uses cached metrics beside a fallback: the cached fallback reads as a success and ends"
                " it. Allowed: one of the two. Fix: remove useCachedMetrics."
            )


def _check_fallback(fallback: object) -> Iterator[str]:
    if fallback is None:
        yield (
            "has no fallback: while its metrics are away nothing holds the replicas. Allowed: a fallback that keeps"
            f" them ({', '.join(_KEEPING)}). Fix: set spec.fallback."
        )
        return
    behavior = read(fallback, "behavior")
    if behavior is not UNKNOWN and behavior not in _KEEPING:
        yield (
            f"falls back to {show(behavior or 'static')}, which may remove pods in an outage. Allowed:"
            f" {', '.join(_KEEPING)}. Fix: set spec.fallback.behavior."
        )


def formula_is_complete() -> ResourceValidationPolicy:
    """A formula swallows what it does not name, and an odd target silently disables the fallback."""
    about = About(
        name="formula-is-complete",
        display_name="A scaling formula uses every trigger",
        description="With a formula each trigger has a name that the formula uses, and the target is a whole number.",
        severity=Severity.HIGH,
        remediation="Name every trigger, avoid the language's own words, and set a whole number as target.",
        tags=("scaling",),
    )
    return object_policy(about, _check_formula, _SCALED_OBJECT)


def _check_formula(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    spec = read(subject.props, "spec")
    modifiers = read(spec, "advanced", "scalingModifiers")
    formula, target = text(read(modifiers, "formula")), text(read(modifiers, "target"))
    if formula is None:
        return
    if target is not None and not target.isdigit():
        yield (
            f"has the formula's target {show(target)}, with which KEDA drops the fallback. Allowed: a whole number."
            " Fix: scale the formula so that its target is whole."
        )
    for trigger in elements(read(spec, "triggers")):
        yield from _check_trigger(trigger, formula)


def _check_trigger(trigger: object, formula: str) -> Iterator[str]:
    kind, name = text(read(trigger, "type")), read(trigger, "name")
    if kind in RESOURCE_TRIGGERS:
        if read(trigger, "metadata", "containerName") not in (None, UNKNOWN):
            yield (
                f"scales on {kind} of one container beside a formula: KEDA drops that metric. Allowed: {kind} of the"
                " whole pod, or no formula. Fix: remove containerName."
            )
    elif name is None and kind is not None:
        yield f"has a {kind} trigger without a name beside a formula. Allowed: a name on each. Fix: name it."
    elif isinstance(name, str) and name in _RESERVED:
        yield (
            f"names a trigger {show(name)}, a word of the formula's language. Allowed: any other name. Fix: rename it."
        )
    elif isinstance(name, str) and re.search(rf"\b{re.escape(name)}\b", formula) is None:
        yield (
            f"has a trigger {show(name)} that its formula does not use: its value is lost. Allowed: a formula that"
            " names every trigger. Fix: use it, or remove it."
        )


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [scaler_survives_outages(), formula_is_complete()]
