"""A namespace that is closed, bounded and restricted before anything runs in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import pulumi

from components.base.labels import Labels
from components.base.manifests import Manifest, child_opts, declare, metadata
from components.base.network import plan_allow_dns, plan_default_deny
from settings.base import Environment
from settings.quantities import format_bytes, format_cpu
from settings.services import Service, peak_amounts

# Above what the declared services need at their maximum: room for one-off Jobs, not for a runaway.
QUOTA_HEADROOM_PERCENT = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardedNamespaceArgs:
    """A namespace's name and the services that its quota must hold at their maximum."""

    namespace: str
    environment: Environment
    services: tuple[Service, ...] = ()
    other_amounts: tuple[Mapping[str, Decimal], ...] = ()
    """Peaks of what is no service; keys as in ``settings.services.peak_amounts``."""
    volume_claims: int = 0
    """Claims that may exist; most namespaces keep no state."""
    kept: bool = False
    """Never deleted by the program: with a namespace go its claims, and with them the data."""

    @property
    def labels(self) -> Labels:
        """Labels of the namespace's own objects."""
        return Labels(name=self.namespace, environment=self.environment, owner="platform", pci_scope="cde")


def plan_namespace(args: GuardedNamespaceArgs) -> dict[str, Manifest]:
    """Role → manifest: the namespace, its quota and limits, and the two policies that close it."""
    return {
        "namespace": _namespace(args),
        "quota": _quota(args),
        "limits": _limit_range(args),
        "default-deny": plan_default_deny(args.namespace, args.labels),
        "allow-dns": plan_allow_dns(args.namespace, args.labels),
    }


class GuardedNamespace(pulumi.ComponentResource):
    """Namespace with Pod Security ``restricted``, quota, limit range and default-deny in both directions."""

    def __init__(self, name: str, args: GuardedNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:base:GuardedNamespace", name, {}, opts)
        manifests = plan_namespace(args)
        keeps = True if args.kept else None
        namespace = declare(
            f"{name}-namespace", manifests.pop("namespace"), child_opts(self, protect=keeps, retain_on_delete=keeps)
        )
        guards = [
            declare(f"{name}-{role}", manifest, child_opts(self, depends_on=[namespace]))
            for role, manifest in manifests.items()
        ]
        self.ready: list[pulumi.Resource] = [namespace, *guards]
        """What must exist before a workload does: a pod created before the policies would be open."""
        self.namespace = args.namespace
        self.register_outputs({"namespace": args.namespace})


def quota_amounts(services: Iterable[Service], others: Iterable[Mapping[str, Decimal]] = ()) -> dict[str, str]:
    """``spec.hard``: what everything needs at its maximum while each service rolls, plus the headroom."""
    totals: dict[str, Decimal] = {}
    for peak in (*map(peak_amounts, services), *others):
        for key, amount in peak.items():
            totals[key] = totals.get(key, Decimal(0)) + amount
    factor = Decimal(100 + QUOTA_HEADROOM_PERCENT) / 100
    hard = {}
    for key, amount in totals.items():
        with_headroom = amount * factor
        if key == "pods":
            hard[key] = str(-(-int(with_headroom * 100) // 100))
        elif key.endswith(".cpu"):
            hard[key] = format_cpu(with_headroom)
        else:
            hard[key] = format_bytes(with_headroom)
    return hard


def _namespace(args: GuardedNamespaceArgs) -> Manifest:
    pod_security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(args.namespace, labels={**args.labels.of("namespace"), **pod_security}),
    }


def _quota(args: GuardedNamespaceArgs) -> Manifest:
    # Nothing in this namespace may open a port on the nodes or buy a load balancer, and state is counted.
    closed = {
        "services.nodeports": "0",
        "services.loadbalancers": "0",
        "persistentvolumeclaims": str(args.volume_claims),
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata("quota", labels=args.labels.of("quota"), namespace=args.namespace),
        "spec": {"hard": {**quota_amounts(args.services, args.other_amounts), **closed}},
    }


def _limit_range(args: GuardedNamespaceArgs) -> Manifest:
    # For containers that state nothing (injected sidecars, one-off Jobs): small, and never without a bound.
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata("limits", labels=args.labels.of("quota"), namespace=args.namespace),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "defaultRequest": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
                    "default": {"cpu": "200m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
                }
            ]
        },
    }
