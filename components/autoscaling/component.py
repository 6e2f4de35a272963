"""What all scalers of a stack read: the recorded metrics, and KEDA's way into Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from components.autoscaling.keda import plan_trigger_authentication
from components.autoscaling.policy import ScalingPolicy, plan_api_scaling, plan_consumer_scaling
from components.autoscaling.rules import plan_rules
from components.base.labels import Labels
from components.base.manifests import Manifest, child_opts, declare
from settings.autoscaling import Autoscaling
from settings.base import Environment
from settings.services import Service
from settings.topics import Topic


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoscalingSourcesArgs:
    """The services whose scalers read the sources, and where."""

    namespace: str
    environment: Environment
    autoscaling: Autoscaling
    services: Mapping[str, Service]
    topics: Mapping[str, Topic]
    requires: tuple[pulumi.Resource, ...] = ()
    """What must exist first: the namespace and its guards."""
    rule_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels by which the Prometheus Operator chooses rules."""


def plan_sources(args: AutoscalingSourcesArgs) -> dict[str, Manifest]:
    """Role → manifest: the rules, and the authentication where KEDA signs in to Kafka."""
    labels = Labels(name="autoscaling", environment=args.environment, owner="platform")
    policies = [
        policy for name, service in args.services.items() for policy in scaling_policies(name, service, args.topics)
    ]
    of_rules = {**labels.of("rules"), **args.rule_labels}
    manifests = {"rules": plan_rules(policies, args.services, namespace=args.namespace, labels=of_rules)}
    if args.autoscaling.keda is not None:
        authentication = plan_trigger_authentication(
            args.autoscaling.keda.kafka, namespace=args.namespace, labels=labels.of("scaler")
        )
        if authentication is not None:
            manifests["kafka"] = authentication
    return manifests


def scaling_policies(name: str, service: Service, topics: Mapping[str, Topic]) -> list[ScalingPolicy]:
    """The policies of a service: its API's, and its consumers' where it reads Kafka."""
    policies = [plan_api_scaling(name, service.api.scaling)]
    if service.consumer is not None:
        policies.append(plan_consumer_scaling(service.consumer, topics[service.consumer.topic].partitions))
    return policies


class AutoscalingSources(pulumi.ComponentResource):
    """The recorded inputs of all autoscalers, the alerts on them, and KEDA's credentials by reference."""

    def __init__(self, name: str, args: AutoscalingSourcesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:autoscaling:AutoscalingSources", name, {}, opts)
        self.ready: list[pulumi.Resource] = [
            declare(f"{name}-{role}", manifest, child_opts(self, depends_on=args.requires))
            for role, manifest in plan_sources(args).items()
        ]
        """What a ScaledObject refers to."""
        self.register_outputs({})
