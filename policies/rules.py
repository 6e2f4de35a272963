"""How a check becomes a policy: two builders that keep metadata complete and failures loud.

A check is a generator of sentences (what, value, allowed, fix); the builder adds which object it is about. A
check never sees the SDK. Everything is mandatory; a stack's config file can say otherwise by name.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pulumi_policy import (
    EnforcementLevel,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies.index import StackIndex
from policies.objects import KubernetesObject, parse_object

Config = Mapping[str, object]
Policy = ResourceValidationPolicy | StackValidationPolicy


class Subject(Protocol):
    """Something that a message can be about: a Kubernetes object, or one of another provider."""

    @property
    def title(self) -> str:
        """What the object is called in a message."""
        ...

    @property
    def urn(self) -> str:
        """The resource's URN."""
        ...


@dataclass(frozen=True, slots=True)
class Violation:
    """What a stack check found: the object at fault and a sentence about it."""

    subject: Subject
    message: str


_Subject = TypeVar("_Subject", bound=Subject)
_Index = TypeVar("_Index")
ObjectCheck = Callable[[KubernetesObject, Config], Iterator[str]]
StackCheck = Callable[[StackIndex, Config], Iterator[Violation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What every policy says of itself. `pci` is the PCI DSS 4.0.1 requirement it is evidence for."""

    name: str
    display_name: str
    description: str
    severity: Severity
    remediation: str
    tags: tuple[str, ...]
    pci: str | None = None
    pci_text: str | None = None
    schema: PolicyConfigSchema | None = None

    @property
    def framework(self) -> PolicyComplianceFramework | None:
        """Return the compliance reference, or None where the rule is about availability only."""
        if self.pci is None:
            return None
        return PolicyComplianceFramework(
            name="PCI DSS", version="4.0.1", reference=self.pci, specification=f"{self.pci}: {self.pci_text}"
        )


def object_policy(about: About, check: ObjectCheck, kinds: frozenset[str] | None) -> ResourceValidationPolicy:
    """Return a policy that runs `check` over each object of the given kinds (None: all kinds)."""

    def parse(args: ResourceValidationArgs) -> KubernetesObject | None:
        return parse_object(
            args.resource_type, args.name, args.urn, args.props, ignore_changes=tuple(args.opts.ignore_changes)
        )

    return subject_policy(about, check, kinds, parse)


def subject_policy(
    about: About,
    check: Callable[[_Subject, Config], Iterator[str]],
    kinds: frozenset[str] | None,
    parse: Callable[[ResourceValidationArgs], _Subject | None],
) -> ResourceValidationPolicy:
    """Return a policy that runs `check` over what `parse` makes of each resource of the given kinds."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if kinds is not None and args.resource_type.rpartition(":")[2] not in kinds:
            return
        try:
            subject = parse(args)
            if subject is None:
                return
            for message in check(subject, args.get_config()):
                report(f"{subject.title}: {message}", None)
        except Exception as error:  # noqa: BLE001 - a crash must refuse the resource in words, see _broken_rule
            report(_broken_rule(about.name, error), None)

    return ResourceValidationPolicy(validate=validate, **_described(about))


def stack_policy(about: About, check: StackCheck) -> StackValidationPolicy:
    """Return a policy that runs `check` once over an index of the whole stack."""
    return indexed_policy(about, check, StackIndex.of)


def indexed_policy(
    about: About,
    check: Callable[[_Index, Config], Iterator[Violation]],
    index: Callable[[Sequence[PolicyResource]], _Index],
) -> StackValidationPolicy:
    """Return a policy that runs `check` once over what `index` makes of the stack's resources."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        try:
            for found in check(index(args.resources), args.get_config()):
                report(f"{found.subject.title}: {found.message}", found.subject.urn)
        except Exception as error:  # noqa: BLE001 - a crash must refuse the stack in words, see _broken_rule
            report(_broken_rule(about.name, error), None)

    return StackValidationPolicy(validate=validate, **_described(about))


def _described(about: About) -> dict[str, Any]:
    """What every policy says of itself; all are mandatory."""
    return {
        "name": about.name,
        "display_name": about.display_name,
        "description": about.description,
        "enforcement_level": EnforcementLevel.MANDATORY,
        "config_schema": about.schema,
        "severity": about.severity,
        "framework": about.framework,
        "tags": list(about.tags),
        "remediation_steps": about.remediation,
    }


def _broken_rule(name: str, error: Exception) -> str:
    """Describe a crash inside a rule by place and type only: its text could quote a property's value.

    The SDK lets an exception end the engine's call with "UNKNOWN", and turns an unread unknown value into an
    advisory. Both are reported as violations instead: nothing is deployed because a rule could not look at
    it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    kind = "an unknown value was read unguarded" if isinstance(error, UnknownValueError) else type(error).__name__
    return (
        f"the rule '{name}' could not be evaluated ({kind} at {place}). The resource is refused because it"
        " was not"
        " checked. Fix: correct the shape of the object, or report the rule."
    )
