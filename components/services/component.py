"""The component that declares a planned service."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from components.base.manifests import Manifest, child_opts, declare
from components.services.plan import ServiceContext, plan_service, plan_stack_secret, workloads
from settings.services import Service

# An autoscaler owns the count: writing the start value again at every update would undo its work
# (kubernetes/website "Migrating Deployments to horizontal autoscaling").
_OWNED_BY_SCALER = ("spec.replicas",)
# A pod cannot start without these; without the order a first deployment begins with failed pods.
_NEEDED_BY_PODS = frozenset({"Secret", "ServiceAccount", "ConfigMap"})


@dataclass(frozen=True, kw_only=True, slots=True)
class StatelessServiceArgs:
    """A service's settings, its surroundings, and the stack secrets it refers to by config key."""

    service: Service
    context: ServiceContext
    secrets: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    requires: tuple[pulumi.Resource, ...] = ()
    """What must exist first, above all the namespace's guards."""
    scalers_require: tuple[pulumi.Resource, ...] = ()
    """What KEDA's scalers refer to."""


class StatelessService(pulumi.ComponentResource):
    """One service: account, configuration, Deployments with budget, flows and autoscaler, and its Service."""

    endpoint: str
    """Host and port that other services call."""

    def __init__(self, name: str, args: StatelessServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:services:StatelessService", name, {}, opts)
        needed_by_pods: list[pulumi.Resource] = list(args.requires)
        scaled: dict[str, pulumi.Resource] = {}
        for role, manifest in _all_manifests(name, args).items():
            kind = manifest["kind"]
            ignored = _OWNED_BY_SCALER if kind == "Deployment" else ()
            needed = needed_by_pods if kind == "Deployment" else list(args.requires)
            if kind == "ScaledObject":
                # KEDA's admission refuses a scaler whose target, with its requests, does not exist yet.
                needed = [*needed, *args.scalers_require, scaled[manifest["spec"]["scaleTargetRef"]["name"]]]
            resource = declare(f"{name}-{role}", manifest, child_opts(self, ignore_changes=ignored, depends_on=needed))
            if kind == "Deployment":
                scaled[manifest["metadata"]["name"]] = resource
            if kind in _NEEDED_BY_PODS:
                needed_by_pods.append(resource)
        self.endpoint = f"{name}-svc.{args.context.namespace}:{args.service.api.port}"
        self.deployments = [workload.name for workload in workloads(name, args.service)]
        self.register_outputs({"endpoint": self.endpoint, "deployments": self.deployments})


def _all_manifests(name: str, args: StatelessServiceArgs) -> dict[str, Manifest]:
    """Secrets first: a pod that mounts one waits until it exists."""
    encoded = {key: value.apply(_in_base64) for key, value in args.secrets.items()}
    secret = plan_stack_secret(name, args.service, args.context, encoded)
    own = {"secrets": secret} if secret is not None else {}
    return {**own, **plan_service(name, args.service, args.context)}


def _in_base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
