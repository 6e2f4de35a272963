"""The component that declares monitors, rules, routes and dashboards."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.autoscaling.policy import ScalingPolicy
from components.base.manifests import Manifest, child_opts, declare
from components.observability.dashboards.plan import plan_dashboards
from components.observability.model import Surroundings
from components.observability.monitors import plan_monitors, plan_scrape_flows, scraped_jobs
from components.observability.routing import plan_routing
from components.observability.rules_plan import plan_rules


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitoringArgs:
    """What is observed, and by which policies it scales."""

    around: Surroundings
    policies: Sequence[ScalingPolicy]
    requires: tuple[pulumi.Resource, ...] = ()
    """What must exist first: the namespace and its guards."""


def plan_monitoring(args: MonitoringArgs) -> dict[str, Manifest]:
    """Role → manifest of everything that observability declares."""
    around = args.around
    return {
        **plan_monitors(around),
        **plan_scrape_flows(around),
        **plan_rules(around, args.policies, scraped_jobs(around)),
        "routing": plan_routing(around),
        **plan_dashboards(around),
    }


class Monitoring(pulumi.ComponentResource):
    """Everything that tells people how the platform fares. It runs nothing of its own."""

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:observability:Monitoring", name, {}, opts)
        for role, manifest in plan_monitoring(args).items():
            declare(f"{name}-{role}", manifest, child_opts(self, depends_on=args.requires))
        self.register_outputs({})
