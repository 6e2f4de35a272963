"""A stateless service: its image, its API Deployment, and the consumers that read Kafka for it."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, EnvironmentName, PciScope, Port, Strict
from settings.problems import RuleError
from settings.quantities import Quantity, parse_quantity
from settings.scaling import ConsumerScaling, KafkaName, PoolTrigger, Scaling

Image = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$",
        description="an image with a tag or a digest: registry/name:1.2.3 or registry/name@sha256:…",
    ),
]


DatabaseConnections = Annotated[int, Field(ge=0, le=1000)]


class ResourceAmounts(Strict):
    """Requests or limits of one container."""

    cpu: Quantity
    memory: Quantity
    ephemeral_storage: Quantity = "256Mi"
    """Writable layer, logs and emptyDir volumes together; above the limit the pod is evicted."""


class Resources(Strict):
    """Requests and limits of one container; each limit is at least its request."""

    requests: ResourceAmounts
    limits: ResourceAmounts

    @model_validator(mode="after")
    def _limits_hold_requests(self) -> Self:
        for field in ("cpu", "memory", "ephemeral_storage"):
            request, limit = getattr(self.requests, field), getattr(self.limits, field)
            if parse_quantity(limit) < parse_quantity(request):
                raise RuleError(
                    why=f"limits.{field} {limit} is below requests.{field} {request}: the API server refuses it",
                    fix=f"raise limits.{field} to at least {request}, or lower the request",
                )
        return self

    def limit_to_request_percent(self, field: str) -> int:
        """How far above its request a container may go, in percent of the request, rounded down."""
        limit, request = (parse_quantity(getattr(side, field)) for side in (self.limits, self.requests))
        return int(limit / request * 100)


class Shutdown(Strict):
    """How a pod leaves: first out of the endpoints, then SIGTERM, then SIGKILL."""

    pre_stop_seconds: Annotated[int, Field(ge=0, le=300)] = 10
    """Sleep before SIGTERM, so that load balancers stop sending first."""
    grace_period_seconds: Annotated[int, Field(ge=1, le=600)] = 45
    """From the start of the preStop hook to SIGKILL."""

    @model_validator(mode="after")
    def _time_left_after_pre_stop(self) -> Self:
        if self.grace_period_seconds <= self.pre_stop_seconds:
            raise RuleError(
                why=f"grace_period_seconds {self.grace_period_seconds} is not more than pre_stop_seconds "
                f"{self.pre_stop_seconds}: the preStop sleep counts towards the grace period, so the process "
                f"would be killed before it could finish its requests",
                fix=f"set grace_period_seconds above {self.pre_stop_seconds}, by the longest request at least",
            )
        return self


class Probes(Strict):
    """HTTP paths of the three probes. They answer different questions, so they must differ."""

    port: Port | None = None
    """Port that answers the probes; the API's own port when absent."""
    startup_path: str = "/health/startup"
    """Has the process finished starting?"""
    readiness_path: str = "/health/ready"
    """Can it serve now? Dependencies may count."""
    liveness_path: str = "/health/live"
    """Is the process itself stuck? Dependencies must not count: a slow database would restart every pod."""
    startup_budget_seconds: Annotated[int, Field(ge=10, le=900)] = 120
    """Longest start before the pod is restarted."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        paths = (self.startup_path, self.readiness_path, self.liveness_path)
        if len(set(paths)) < len(paths):
            raise RuleError(
                why=f"startup_path, readiness_path and liveness_path must differ (they are {', '.join(paths)}): "
                f"one shared check restarts pods whenever a dependency is slow",
                fix="give each probe its own path",
            )
        return self


def _require_reachable_targets(scaling: Scaling, resources: Resources) -> None:
    """A container cannot use more than its limit: a target at or above limit/request never fires."""
    for field, target in (("cpu", scaling.cpu_target_percent), ("memory", scaling.memory_target_percent)):
        ceiling = resources.limit_to_request_percent(field)
        if target is not None and ceiling <= target:
            raise RuleError(
                why=f"{field}_target_percent {target} can never be exceeded: limits.{field} is {ceiling} % of "
                f"requests.{field}, and use stops at the limit",
                fix=f"raise limits.{field}, or lower the target below {ceiling}",
            )


class Api(Strict):
    """The Deployment that answers HTTP."""

    port: Port = 8080
    scaling: Scaling
    resources: Resources
    database_connections_per_pod: DatabaseConnections = 0
    """Most connections that one pod opens to the pooler; counted against ``capacity.database_client_connections``."""
    probes: Probes = Probes()
    shutdown: Shutdown = Shutdown()
    produces: list[KafkaName] = []
    """Topics that the API writes."""

    @model_validator(mode="after")
    def _targets_can_fire(self) -> Self:
        _require_reachable_targets(self.scaling, self.resources)
        on_pool = any(isinstance(trigger, PoolTrigger) for trigger in self.scaling.triggers)
        if on_pool and self.database_connections_per_pod == 0:
            raise RuleError(
                why="scaling.triggers has database-pool, but database_connections_per_pod is 0: nothing would bound "
                "the connections that scaling out opens",
                fix="set database_connections_per_pod to the size of a pod's pool",
            )
        return self


class Consumer(Strict):
    """The Deployment that reads a topic for a service."""

    name: DnsLabel
    """Name of the Deployment, for example payment-processors."""
    topic: KafkaName
    """Topic that the group reads; it must stand under ``topics``."""
    group: KafkaName
    """Kafka consumer group id."""
    image: Image | None = None
    """Image of the consumers; the service's own when absent."""
    scaling: ConsumerScaling
    resources: Resources
    database_connections_per_pod: DatabaseConnections = 0
    probes: Probes = Probes(port=8081)
    shutdown: Shutdown = Shutdown(pre_stop_seconds=0, grace_period_seconds=60)
    produces: list[KafkaName] = []
    """Topics that the consumers write, beside their group's own."""


CONSUMER_VARIABLES = frozenset({"KAFKA_CONSUMER_GROUP", "KAFKA_TOPIC"})
"""Variables that consumer pods get from ``consumer.group`` and ``consumer.topic``."""


class SecretReference(Strict):
    """One secret value, mounted as a read-only file; the variable ``<env>_FILE`` names the file.

    Exactly one source: ``existing_secret`` (a Secret that somebody else keeps in the namespace), or
    ``config_key`` (a Pulumi secret of this stack: ``pulumi config set --secret <config_key>``).
    """

    env: EnvironmentName
    """Variable name without the suffix ``_FILE``, for example DB_PASSWORD."""
    existing_secret: DnsLabel | None = None
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")] = "value"
    """Key inside the existing Secret."""
    config_key: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.existing_secret is None) == (self.config_key is None):
            raise RuleError(
                why="a secret has exactly one source",
                fix="give either existing_secret (a Secret in the cluster) or config_key (a Pulumi secret)",
            )
        return self


class Service(Strict):
    """One stateless service of the platform. A fourth service is one more of these and no code."""

    owner: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """Team that answers for it; becomes a label."""
    pci_scope: PciScope
    image: Image
    config: dict[EnvironmentName, str] = {}
    """Externalised configuration: a ConfigMap whose change rolls the pods. No secrets here."""
    secrets: list[SecretReference] = []
    ingress_from: list[DnsLabel] = []
    """Peers that may call the API."""
    egress_to: list[DnsLabel] = []
    """Peers that the pods may call; DNS is always open."""
    api: Api
    consumer: Consumer | None = None

    @model_validator(mode="after")
    def _consumer_variables_are_its_own(self) -> Self:
        taken = sorted(CONSUMER_VARIABLES & self.config.keys()) if self.consumer is not None else []
        if taken:
            raise RuleError(
                why=f"config gives {', '.join(taken)}, which the consumer's topic and group set by themselves",
                fix="remove it from config; set consumer.topic and consumer.group",
            )
        return self

    @model_validator(mode="after")
    def _secrets_have_own_names(self) -> Self:
        names = [secret.env for secret in self.secrets]
        doubled = sorted({name for name in names if names.count(name) > 1 or f"{name}_FILE" in self.config})
        if doubled:
            raise RuleError(
                why=f"these variables are given more than once: {', '.join(doubled)}", fix="keep one of each"
            )
        return self


class Surge:
    """Pods beyond ``replicas`` during a rollout; one number for quota and manifests."""

    API_PERCENT = 25
    """``maxSurge`` of an API Deployment, with ``maxUnavailable`` 0: no capacity is lost."""

    @staticmethod
    def api_pods(replicas: int) -> int:
        """Pods that the surge adds at most; Kubernetes rounds ``maxSurge`` up."""
        return -(-replicas * Surge.API_PERCENT // 100)


def peak_amounts(service: Service) -> dict[str, Decimal]:
    """What a service asks of its namespace at its maximum, with every rollout's surge.

    Keys: ``pods``, and ``requests.`` / ``limits.`` of ``cpu`` (cores), ``memory`` and ``ephemeral-storage`` (bytes).
    """
    api_pods = service.api.scaling.max_replicas + Surge.api_pods(service.api.scaling.max_replicas)
    groups = [(api_pods, service.api.resources)]
    if service.consumer is not None:
        groups.append((service.consumer.scaling.max_replicas, service.consumer.resources))
    amounts: dict[str, Decimal] = {"pods": Decimal(sum(pods for pods, _ in groups))}
    for side in ("requests", "limits"):
        for field in ("cpu", "memory", "ephemeral_storage"):
            amounts[f"{side}.{field.replace('_', '-')}"] = sum(
                (pods * parse_quantity(getattr(getattr(resources, side), field)) for pods, resources in groups),
                Decimal(0),
            )
    return amounts


def peak_database_connections(service: Service) -> int:
    """Connections to the pooler that a service opens at its maximum, while its API rolls."""
    api, consumer = service.api, service.consumer
    pods = api.scaling.max_replicas + Surge.api_pods(api.scaling.max_replicas)
    of_consumers = consumer.scaling.max_replicas * consumer.database_connections_per_pod if consumer else 0
    return pods * api.database_connections_per_pod + of_consumers
