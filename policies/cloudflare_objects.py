"""Cloudflare's resources as the engine hands them to a policy, sorted by zone."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pulumi_policy import PolicyResource, ResourceValidationArgs

from policies.values import UNKNOWN, elements, plain, read, scalar

_PACKAGE = "cloudflare:index/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflareObject:
    """One resource, such as a Ruleset or a DnsRecord; `name` is the one that the program gives it."""

    kind: str
    name: str
    urn: str
    props: object

    @property
    def title(self) -> str:
        """Return `Kind name`, as messages name the resource."""
        return f"{self.kind} {self.name}"

    @property
    def zone(self) -> object:
        """Return the zone's id, `UNKNOWN`, or None for a resource of an account."""
        return scalar(read(self.props, "zoneId"))

    @property
    def phase(self) -> object:
        """Return the phase of a ruleset."""
        return scalar(read(self.props, "phase"))

    @property
    def rules(self) -> list[object] | None:
        """Return the enabled rules of a ruleset; None while any part of them is not known."""
        given = plain(read(self.props, "rules"))
        if given is UNKNOWN:
            return None
        return [rule for rule in elements(given) if read(rule, "enabled") is not False]


def parse_cloudflare(args: ResourceValidationArgs | PolicyResource) -> CloudflareObject | None:
    """Return the Cloudflare resource behind a resource, or None for everything else."""
    if not args.resource_type.startswith(_PACKAGE):
        return None
    kind = args.resource_type.rpartition(":")[2]
    return CloudflareObject(kind=kind, name=args.name, urn=args.urn, props=args.props)


@dataclass(slots=True)
class Zone:
    """The resources of one zone, by kind."""

    zone_id: object
    by_kind: dict[str, list[CloudflareObject]] = field(default_factory=lambda: defaultdict(list))

    @property
    def owner(self) -> CloudflareObject:
        """Return the resource to report where something is missing: the record, else any."""
        found = self.by_kind.get("DnsRecord") or next(iter(self.by_kind.values()))
        return found[0]

    def rulesets(self, phase: str) -> list[CloudflareObject]:
        """Return the entry points of a phase, those included whose phase is not known yet."""
        return [one for one in self.by_kind.get("Ruleset", []) if one.phase in (phase, UNKNOWN)]

    def rules(self, phase: str) -> list[object] | None:
        """Return the enabled rules of a phase; None while they are not fully known."""
        found: list[object] = []
        for ruleset in self.rulesets(phase):
            if ruleset.phase is UNKNOWN or ruleset.rules is None:
                return None
            found += ruleset.rules
        return found

    def settings(self) -> Iterator[CloudflareObject]:
        """Yield the settings of the zone."""
        yield from self.by_kind.get("ZoneSetting", [])


@dataclass(slots=True)
class Zones:
    """All zones of a stack; what belongs to a zone that is not known yet is left out, until it is."""

    zones: list[Zone]
    complete: bool
    """Whether every zone is known: otherwise something that seems to be missing may be there."""

    @classmethod
    def of(cls, resources: Sequence[PolicyResource]) -> Self:
        """Sort the resources of a stack."""
        found: dict[object, Zone] = {}
        complete = True
        for resource in resources:
            subject = parse_cloudflare(resource)
            if subject is None or subject.zone is None:
                continue
            if subject.zone is UNKNOWN:
                complete = False
                continue
            found.setdefault(subject.zone, Zone(subject.zone)).by_kind[subject.kind].append(subject)
        return cls(list(found.values()), complete)
