"""Resources of the PostgreSQL provider as the engine hands them to a policy."""

import ipaddress
from dataclasses import dataclass

from pulumi_policy import PolicyResource, ResourceValidationArgs

from policies.values import UNKNOWN, Unknown, read, scalar

_PACKAGE = "postgresql:index/"
_PROVIDER = "pulumi:providers:postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseObject:
    """One resource, such as a Role or a Grant; the provider itself is of kind `Provider`."""

    kind: str
    name: str
    urn: str
    props: object
    protect: bool

    @property
    def title(self) -> str:
        """Return `Kind name`, as messages name the resource."""
        return f"{self.kind} {self.name}"

    def value(self, key: str) -> str | float | Unknown | None:
        """Return a scalar property; None for one that is not set."""
        return scalar(read(self.props, key))

    def is_on(self, key: str) -> bool | Unknown:
        """Tell whether a flag is on; a provider's flags arrive as text."""
        given = self.value(key)
        return UNKNOWN if isinstance(given, Unknown) else given in (True, "true")


def parse_database(args: ResourceValidationArgs | PolicyResource) -> DatabaseObject | None:
    """Return the PostgreSQL resource behind a resource, or None for everything else."""
    if args.resource_type == _PROVIDER:
        kind = "Provider"
    elif args.resource_type.startswith(_PACKAGE):
        kind = args.resource_type.rpartition(":")[2]
    else:
        return None
    return DatabaseObject(
        kind=kind, name=args.name, urn=args.urn, props=args.props, protect=bool(args.opts and args.opts.protect)
    )


def is_loopback(host: object) -> bool:
    """Tell whether a host is the machine of the engine."""
    try:
        return host == "localhost" or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False
