"""Labels. Selectors are frozen: ``spec.selector`` is immutable, one more key would recreate every Deployment."""

from dataclasses import dataclass

from settings.base import Environment

PART_OF = "payments-platform"
SELECTOR_KEYS = ("app",)
"""The only keys that selectors use, for ever."""
ZONE_LABEL = "topology.kubernetes.io/zone"
HOST_LABEL = "kubernetes.io/hostname"


def selector(workload: str) -> dict[str, str]:
    """Labels that choose the pods of one workload."""
    return {SELECTOR_KEYS[0]: workload}


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The decorative labels of one service's objects; none of them is ever selected on by a controller."""

    name: str
    """Service that the object belongs to."""
    environment: Environment
    owner: str | None = None
    pci_scope: str | None = None

    def of(self, component: str) -> dict[str, str]:
        """Labels of an object with a role, for example ``api``, ``consumer``, ``network``."""
        optional = {"owner": self.owner, "pci-scope": self.pci_scope}
        return {
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": PART_OF,
            "app.kubernetes.io/managed-by": "pulumi",
            "payments.dev/environment": str(self.environment),
            **{key: value for key, value in optional.items() if value is not None},
        }

    def of_pods(self, component: str, workload: str) -> dict[str, str]:
        """Labels of a workload's pods: the decorative ones and the selector's."""
        return {**self.of(component), **selector(workload)}
