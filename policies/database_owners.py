"""Who owns a database: a role that nobody logs in as, and that nobody but the migrations can become."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from pulumi_policy import PolicyConfigSchema, PolicyResource, Severity, StackValidationPolicy

from policies.database_objects import DatabaseObject, parse_database
from policies.rules import About, Config, Violation, indexed_policy
from policies.values import UNKNOWN, elements, read, show, text

_OWNED = frozenset({"Database", "Schema", "Publication"})


@dataclass(slots=True)
class Databases:
    """The PostgreSQL resources of a stack."""

    objects: list[DatabaseObject]

    @classmethod
    def of(cls, resources: Sequence[PolicyResource]) -> Self:
        """Collect them."""
        return cls([subject for resource in resources if (subject := parse_database(resource)) is not None])

    def kind(self, *kinds: str) -> Iterator[DatabaseObject]:
        """Yield the resources of some kinds."""
        yield from (one for one in self.objects if one.kind in kinds)


def owner_apart() -> StackValidationPolicy:
    """An owner passes every grant on what it owns: the application must be somebody else."""
    about = About(
        name="database-owner-apart",
        display_name="The owner of a database is not its user",
        description="What owns a database never logs in, and only roles listed under `mayBecomeOwner` can become it.",
        severity=Severity.CRITICAL,
        remediation="Let a role without login own it, and give the application grants instead.",
        tags=("database",),
        pci="7.2.2",
        pci_text="Access is assigned to users based on job classification and least privileges",
        schema=PolicyConfigSchema(
            properties={
                "mayBecomeOwner": {
                    "type": "array",
                    "items": {"type": "string"},
                    "default": ["payments_migrator"],
                }
            }
        ),
    )
    return indexed_policy(about, _check_owners, Databases.of)


def _check_owners(index: Databases, config: Config) -> Iterator[Violation]:
    logins = {role.value("name"): role for role in index.kind("Role") if role.is_on("login") is True}
    owners: set[str] = set()
    for owned in index.kind(*_OWNED):
        owner = text(read(owned.props, "owner"))
        if owner is not None:
            owners.add(owner)
        if owned.value("owner") is None:
            yield Violation(owned, "has no owner of its own. Allowed: a role without login. Fix: set owner.")
        elif owner in logins:
            yield Violation(
                owned,
                f"belongs to {show(owner)}, which logs in ({logins[owner].title}). Allowed: a role without login."
                " Fix: set another owner.",
            )
    allowed = elements(read(config, "mayBecomeOwner"))
    for subject, member, role in _memberships(index):
        if role in owners and member is not UNKNOWN and member not in allowed:
            listed = ", ".join(str(one) for one in allowed)
            yield Violation(
                subject,
                f"lets {show(member)} become the owner {show(role)}. Allowed: {listed}. Fix: grant what it needs.",
            )


def _memberships(index: Databases) -> Iterator[tuple[DatabaseObject, object, object]]:
    """Yield resource, member and the role that it becomes, in each of the ways to say so."""
    for grant in index.kind("GrantRole"):
        yield grant, grant.value("role"), grant.value("grantRole")
    for role in index.kind("Role"):
        for group in elements(read(role.props, "roles")):
            yield role, role.value("name"), group
        if role.value("assumeRole") is not None:
            yield role, role.value("name"), role.value("assumeRole")


def policies() -> list[StackValidationPolicy]:
    """Return the policies of this theme."""
    return [owner_apart()]
