"""What every part of observability needs to know, and how a rule is written down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from components.base.labels import Labels
from components.postgres.model import DatabaseContext
from settings.base import Environment
from settings.cache import Cache
from settings.cluster import Peer
from settings.edge import EdgeRenderer
from settings.kafka import Kafka
from settings.observability import ExporterKind, Observability
from settings.services import Consumer, Service
from settings.topics import Topic


class Severity(StrEnum):
    """How urgent an alert is; it decides the receiver."""

    CRITICAL = "critical"
    """Somebody is woken."""
    WARNING = "warning"
    """Somebody looks at it on a working day."""
    NONE = "none"
    """The dead-man alert: it is its absence that matters."""


class Area(StrEnum):
    """What an alert is about; causes silence symptoms of other areas by it."""

    SERVICES = "services"
    CONSUMERS = "consumers"
    KAFKA = "kafka"
    DATABASE = "database"
    CACHE = "cache"
    EDGE = "edge"
    AUTOSCALING = "autoscaling"
    MONITORING = "monitoring"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert. ``lasts`` is how long its expression must hold, as Prometheus writes durations."""

    name: str
    expression: str
    lasts: str
    severity: Severity
    area: Area
    subject: str
    """What it is about, where the expression itself yields no label for it: a service, a group, a cluster."""
    summary: str
    action: str
    runbook: str
    """Page and heading under ``docs/runbooks``: ``latency.md#api-latency``."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """The settings that rules, monitors and dashboards are made from."""

    observability: Observability
    environment: Environment
    namespace: str
    """Where the services run; the objects are declared there."""
    cache_namespace: str | None
    """Where the caches run; ``None`` without any."""
    services: Mapping[str, Service]
    topics: Mapping[str, Topic]
    peers: Mapping[str, Peer]
    edge: EdgeRenderer | None
    """What renders the edge; ``None`` without any."""
    measured_shards: tuple[str, ...] = ()
    """Shards of the database whose figures are served by a pod of ours."""
    balances_kept: bool = False
    """Whether the stack keeps the read model of balances fresh."""
    namespaces: tuple[str, ...] = ()
    """All that the stack's workloads run in."""
    cache: Cache | None = None
    kafka: Kafka | None = None
    """The stack's own; ``None`` where others run it."""
    database: DatabaseContext | None = None
    """The stack's own; ``None`` where others run it."""

    @property
    def labels(self) -> Labels:
        """Labels of the objects, without those that the operator selects by."""
        return Labels(name="observability", environment=self.environment, owner="platform")

    def labels_of(self, component: str) -> dict[str, str]:
        """Labels of one object, with those by which the operator chooses it."""
        return {**self.labels.of(component), **self.observability.selected_by}

    @property
    def consumers(self) -> dict[str, Consumer]:
        """Name of the Deployment → consumer, in order of the services' names."""
        found = [service.consumer for _, service in sorted(self.services.items()) if service.consumer is not None]
        return {consumer.name: consumer for consumer in found}

    @property
    def workloads(self) -> list[str]:
        """Names of all Deployments: APIs, then consumers."""
        return [*sorted(self.services), *self.consumers]

    def has(self, exporter: ExporterKind) -> bool:
        """Whether an exporter is scraped."""
        return exporter in self.observability.exporters


def alert_rule(alert: Alert, around: Surroundings) -> dict[str, Any]:
    """The alert as Prometheus reads it.

    ``namespace`` is the one of the rules, whatever the expression says: the operator routes by it.
    """
    page = f"docs/runbooks/{alert.runbook}"
    base = around.observability.runbooks_url
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.lasts,
        "labels": {
            **alert.labels,
            "severity": str(alert.severity),
            "area": str(alert.area),
            "namespace": around.namespace,
            "subject": alert.subject,
        },
        "annotations": {
            "summary": alert.summary,
            "action": alert.action,
            "runbook": page,
            **({"runbook_url": f"{base}{page}"} if base is not None else {}),
        },
    }


def record_rule(name: str, expression: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A recording rule."""
    return {"record": name, "expr": expression, **({"labels": dict(labels)} if labels else {})}
