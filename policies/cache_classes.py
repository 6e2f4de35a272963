"""What may be cached, where, and for how long: the published contract against the limits of the stack."""

import json
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity

from policies.objects import KubernetesObject
from policies.rules import About, Config, object_policy
from policies.values import elements, number, read, show, text

_CONFIG_MAP = "platform-contract"
_FILE = "contract.json"
_TIERS = ("l1", "l2", "l3")


def cache_classes() -> ResourceValidationPolicy:
    """A balance that is read from a local copy can be spent twice."""
    about = About(
        name="cache-classes",
        display_name="Cache classes",
        description="Cached classes keep to the longest age of their tier; balances are only in the shared cluster.",
        severity=Severity.CRITICAL,
        remediation="Shorten the class's time in the tier; take balances out of L1 and L2.",
        tags=("cache",),
        schema=PolicyConfigSchema(
            properties={
                "maxAgeSeconds": {
                    "type": "object",
                    "default": {"l1": 600, "l2": 60, "l3": 300},
                    "properties": {tier: {"type": "integer", "minimum": 0} for tier in _TIERS},
                    "required": list(_TIERS),
                },
                "neverLocal": {"type": "array", "items": {"type": "string"}, "default": ["wallet:balance:"]},
            }
        ),
    )
    return object_policy(about, _check_classes, frozenset({"ConfigMap"}))


def _check_classes(subject: KubernetesObject, config: Config) -> Iterator[str]:
    content = text(read(subject.props, "data", _FILE))
    if subject.name != _CONFIG_MAP or content is None:
        return
    try:
        contract = json.loads(content)
    except json.JSONDecodeError as error:
        yield f"{_FILE} is no JSON (line {error.lineno}). Allowed: the platform's contract. Fix: render it."
        return
    for found in elements(read(contract, "cache", "classes")):
        yield from _check_class(found, config)


def _check_class(found: object, config: Config) -> Iterator[str]:
    prefix = text(read(found, "prefix")) or ""
    used = {tier: age for tier in _TIERS if (age := number(read(found, f"{tier}_ttl_seconds"))) is not None}
    never_local = [text(name) or "" for name in elements(read(config, "neverLocal"))]
    is_bound = read(found, "display_only") is True or any(_overlap(prefix, name) for name in never_local)
    for tier in ("l1", "l2"):
        if is_bound and tier in used:
            yield (
                f"class '{prefix}' is kept in {tier.upper()}: a process could read its own old copy. Allowed: L3 only."
                f" Fix: remove {tier}_ttl_seconds."
            )
    for tier, age in used.items():
        longest = number(read(config, "maxAgeSeconds", tier))
        if longest is not None and age > longest:
            yield (
                f"class '{prefix}' stays {show(age)} s in {tier.upper()}. Allowed: at most {show(longest)} s."
                f" Fix: lower {tier}_ttl_seconds."
            )
        if age <= 0:
            yield (
                f"class '{prefix}' has no end in {tier.upper()} ({show(age)} s). Allowed: 1 to {show(longest)} s."
                f" Fix: set {tier}_ttl_seconds."
            )


def _overlap(prefix: str, name: str) -> bool:
    """Tell whether keys of one prefix are, or include, keys of the other."""
    return bool(name) and (prefix.startswith(name) or name.startswith(prefix))


def policies() -> list[ResourceValidationPolicy]:
    """Return the policies of this theme."""
    return [cache_classes()]
