"""Everything a stateless service is made of, as manifests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.autoscaling.hpa import plan_hpa
from components.autoscaling.keda import plan_scaled_object
from components.autoscaling.policy import ScalingPolicy, plan_api_scaling, plan_consumer_scaling
from components.base.labels import Labels, selector
from components.base.manifests import Manifest, content_hash, metadata
from components.base.network import plan_workload_flows
from components.base.workload import HTTP_PORT_NAME, PodSpec, SecretFile, plan_pod
from components.cache.sidecar_plan import LocalCacheSidecar
from components.kafka.client_plan import KafkaCredentials
from payments_client.contract import CONFIG_MAP, MOUNT_PATH
from payments_client.kafka.contract import RACK_VARIABLE
from settings.autoscaling import Autoscaling
from settings.base import Environment
from settings.cluster import Peer
from settings.services import Api, Consumer, Service, Surge
from settings.topics import Topic

API = "api"
CONSUMER = "consumer"
# Kept for `kubectl rollout undo` by a person in a hurry; each costs one object.
REVISION_HISTORY = 5
PROGRESS_DEADLINE_SECONDS = 600
# The API server copies the node's zone to a pod that is bound (Kubernetes 1.35 and newer); before, this is empty.
_ZONE_FIELD = "metadata.labels['topology.kubernetes.io/zone']"
# Read at start; the kubelet brings a changed one into running pods, which nobody restarts for it.
_CONTRACT_VOLUME = {"name": "contract", "configMap": {"name": CONFIG_MAP}}
_CONTRACT_MOUNT = {"name": "contract", "mountPath": MOUNT_PATH, "readOnly": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceContext:
    """What a service needs to know of its stack."""

    namespace: str
    environment: Environment
    peers: Mapping[str, Peer]
    topics: Mapping[str, Topic]
    autoscaling: Autoscaling = field(default_factory=Autoscaling)
    local_cache: LocalCacheSidecar | None = None
    """The local cache in each pod, where it runs there."""
    kafka_credentials: Mapping[str, KafkaCredentials] = field(default_factory=dict)
    """Name of a Deployment → how its pods sign in to Kafka."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One Deployment of a service and what surrounds it."""

    name: str
    role: str
    port: int
    settings: Api | Consumer


def plan_service(name: str, service: Service, context: ServiceContext) -> dict[str, Manifest]:
    """Role → manifest of one service, in the order of declaration; Secrets with values are not among them."""
    labels = Labels(name=name, environment=context.environment, owner=service.owner, pci_scope=str(service.pci_scope))
    planner = _Planner(name, service, context, labels)
    manifests = {"account": planner.service_account()}
    if service.config:
        manifests["config"] = planner.config_map()
    for workload in workloads(name, service):
        manifests |= {f"{workload.role}-{part}": m for part, m in planner.workload(workload).items()}
    manifests["svc"] = planner.cluster_service()
    return manifests


def workloads(name: str, service: Service) -> list[Workload]:
    """The Deployments of a service: its API, and its consumers where it reads Kafka."""
    found = [Workload(name=name, role=API, port=service.api.port, settings=service.api)]
    if service.consumer is not None:
        consumer = service.consumer
        found.append(Workload(name=consumer.name, role=CONSUMER, port=_probe_port(consumer), settings=consumer))
    return found


def config_map_name(name: str, config: Mapping[str, str]) -> str:
    """Named by content: a change is a new object, so the pods roll and the old ones keep what they started with."""
    return f"{name}-config-{content_hash(dict(config))}"


def stack_secret_name(name: str) -> str:
    """The Secret that carries a service's Pulumi secrets."""
    return f"{name}-secrets"


def plan_stack_secret(
    name: str, service: Service, context: ServiceContext, values: Mapping[str, Any]
) -> Manifest | None:
    """The Secret with the stack's own secret values; ``None`` when the service uses none.

    ``values`` maps config keys to secret outputs in base64; nothing here reads them. ``data`` and not ``stringData``:
    the API server turns the latter into the former, which then belongs to nobody, and a value whose reference is
    removed would stay readable (kubernetes.io, "Secret", stringData and server-side apply).
    """
    own = {ref.env: values[ref.config_key] for ref in service.secrets if ref.config_key is not None}
    if not own:
        return None
    labels = Labels(name=name, environment=context.environment, owner=service.owner, pci_scope=str(service.pci_scope))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(stack_secret_name(name), labels=labels.of("secret"), namespace=context.namespace),
        "type": "Opaque",
        "data": own,
    }


@dataclass(frozen=True, slots=True)
class _Planner:
    name: str
    service: Service
    context: ServiceContext
    labels: Labels

    def service_account(self) -> Manifest:
        return {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self._metadata(self.name, "account"),
            "automountServiceAccountToken": False,
        }

    def config_map(self) -> Manifest:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self._metadata(config_map_name(self.name, self.service.config), "config"),
            "data": dict(sorted(self.service.config.items())),
            "immutable": True,
        }

    def cluster_service(self) -> Manifest:
        port = {
            "name": HTTP_PORT_NAME, "port": self.service.api.port, "targetPort": self.service.api.port,
            "protocol": "TCP", "appProtocol": "http",
        }  # fmt: skip
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self._metadata(f"{self.name}-svc", API),
            "spec": {"type": "ClusterIP", "selector": selector(self.name), "ports": [port]},
        }

    def workload(self, workload: Workload) -> dict[str, Manifest]:
        return {
            "deployment": self._deployment(workload),
            "pdb": self._disruption_budget(workload),
            "flows": self._flows(workload),
            "scaler": self._scaler(workload),
        }

    def _scaler(self, workload: Workload) -> Manifest:
        policy = self._scaling(workload)
        namespace, labels, keda = self.context.namespace, self.labels.of(workload.role), self.context.autoscaling.keda
        if keda is not None:
            return plan_scaled_object(policy, keda, namespace=namespace, labels=labels)
        return plan_hpa(policy, namespace=namespace, labels=labels)

    def _scaling(self, workload: Workload) -> ScalingPolicy:
        if isinstance(workload.settings, Consumer):
            topic = self.context.topics[workload.settings.topic]
            return plan_consumer_scaling(workload.settings, topic.partitions)
        return plan_api_scaling(self.name, workload.settings.scaling)

    def _deployment(self, workload: Workload) -> Manifest:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._metadata(workload.name, workload.role),
            "spec": {
                # The start value only: the scaler owns the field from then on.
                "replicas": workload.settings.scaling.min_replicas,
                "revisionHistoryLimit": REVISION_HISTORY,
                "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
                "selector": {"matchLabels": selector(workload.name)},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": _rolling_update(workload.role)},
                "template": {
                    "metadata": {"labels": self.labels.of_pods(workload.role, workload.name)},
                    "spec": plan_pod(self._pod(workload)),
                },
            },
        }

    def _pod(self, workload: Workload) -> PodSpec:
        settings, sidecar = workload.settings, self.context.local_cache
        group, image = {}, self.service.image
        if isinstance(settings, Consumer):
            image = settings.image or image
            group = {"KAFKA_CONSUMER_GROUP": settings.group, "KAFKA_TOPIC": settings.topic}
        kafka = self.context.kafka_credentials.get(workload.name)
        return PodSpec(
            workload=workload.name,
            image=image,
            service_account=self.name,
            port=workload.port,
            resources=settings.resources,
            probes=settings.probes,
            shutdown=settings.shutdown,
            sidecars=[sidecar.container] if sidecar else (),
            shared_volumes=[_CONTRACT_VOLUME, *(sidecar.volumes if sidecar else ())],
            shared_mounts=[_CONTRACT_MOUNT, *([sidecar.mount] if sidecar else ())],
            config_map=config_map_name(self.name, self.service.config) if self.service.config else None,
            environment={**group, **(kafka.environment if kafka else {})},
            environment_of_fields={RACK_VARIABLE: _ZONE_FIELD} if kafka else {},
            secret_files=[
                SecretFile(
                    variable=reference.env,
                    secret=reference.existing_secret or stack_secret_name(self.name),
                    key=reference.key if reference.existing_secret else reference.env,
                )
                for reference in self.service.secrets
            ]
            + (list(kafka.files) if kafka else []),
        )

    def _disruption_budget(self, workload: Workload) -> Manifest:
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self._metadata(workload.name, workload.role),
            "spec": {
                "maxUnavailable": 1,
                # A pod that is broken anyway must not hold up the drain of its node.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": selector(workload.name)},
            },
        }

    def _flows(self, workload: Workload) -> Manifest:
        callers = self.service.ingress_from if workload.role == API else []
        return plan_workload_flows(
            workload.name,
            self.context.namespace,
            self.labels,
            port=workload.port,
            ingress_from=[self.context.peers[peer] for peer in callers],
            egress_to={peer: self.context.peers[peer] for peer in self.service.egress_to},
        )

    def _metadata(self, name: str, component: str) -> dict[str, Any]:
        return metadata(name, labels=self.labels.of(component), namespace=self.context.namespace)


def _rolling_update(role: str) -> dict[str, Any]:
    """An API never loses capacity; consumers never surge, which would make more of them than partitions."""
    if role == CONSUMER:
        return {"maxSurge": 0, "maxUnavailable": 1}
    return {"maxSurge": f"{Surge.API_PERCENT}%", "maxUnavailable": 0}


def _probe_port(consumer: Consumer) -> int:
    return consumer.probes.port or 8081
