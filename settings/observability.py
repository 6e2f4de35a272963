"""What is promised, what is scraped, and whom an alert reaches."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from settings.base import DnsLabel, Strict
from settings.problems import RuleError

LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_./-]*$", max_length=63)]
LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=63)]
# Below 95 % the fastest burn (14.4 times the budget) would be more errors than there are requests.
ObjectivePercent = Annotated[float, Field(ge=95, le=99.999)]

LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds of the services' latency histograms: an objective between two of them could not be measured."""


class ReceiverKind(StrEnum):
    """What an alert is handed to."""

    PAGERDUTY = "pagerduty"
    """The Secret holds the routing key of the Events API v2."""
    SLACK = "slack"
    """The Secret holds the URL of an incoming webhook."""
    WEBHOOK = "webhook"
    """The Secret holds the URL that alerts are posted to."""


class Receiver(Strict):
    """Where one kind of alert goes. The credential stays in a Secret that exists in the services' namespace."""

    kind: ReceiverKind
    existing_secret: DnsLabel
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")] = "value"
    """Key inside the Secret."""


class Receivers(Strict):
    """One receiver per degree of urgency."""

    page: Receiver
    """Critical alerts: somebody is woken."""
    ticket: Receiver
    """Warnings: somebody looks at them on a working day."""
    dead_man: Receiver
    """Gets an alert that always fires, and must raise the alarm by itself when it stops coming."""


class Objective(Strict):
    """What a service promises over 30 days; alerts tell how fast the rest, the error budget, is spent."""

    availability_percent: ObjectivePercent = 99.9
    """Share of the requests that are not answered by 5xx."""
    latency_milliseconds: Annotated[int, Field(ge=5, le=10_000)] = 1000
    """What counts as fast; one of the bounds of the latency histograms."""
    latency_percent: ObjectivePercent = 99.0
    """Share of the requests that are answered that fast."""


class ExporterKind(StrEnum):
    """Exporters that run beside the platform; what is declared for one is left out where it is not scraped."""

    KAFKA = "kafka"
    """Strimzi's brokers (JMX) and its kafka-exporter."""
    POSTGRES = "postgres"
    """postgres_exporter."""
    PGBOUNCER = "pgbouncer"
    """pgbouncer_exporter."""
    PATRONI = "patroni"
    """Patroni's own ``/metrics``."""
    ENVOY = "envoy"
    """The edge's proxies."""
    KEDA = "keda"
    """KEDA's operator."""


class Scheme(StrEnum):
    """How an exporter is asked."""

    HTTP = "http"
    HTTPS = "https"


class ScrapeAuthority(Strict):
    """The certificate of the authority that signed an exporter's, in a Secret of the services' namespace."""

    existing_secret: DnsLabel
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")] = "ca.crt"


class ExporterTarget(Strict):
    """Which pods serve an exporter's metrics."""

    peer: DnsLabel
    """Name under ``cluster.peers``: its namespace and labels choose the pods."""
    port: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=15)] = "metrics"
    """Name of the container port."""
    path: Annotated[str, Field(pattern=r"^/\S*$")] = "/metrics"
    scheme: Scheme = Scheme.HTTP
    authority: ScrapeAuthority | None = None
    """Whom to trust; with ``https`` only, and then needed."""
    server_name: Annotated[str, Field(pattern=r"^[a-z0-9*]([-a-z0-9.]*[a-z0-9])?$")] | None = None
    """Name in the exporters' certificates: pods are scraped by their address, which no certificate has."""

    @model_validator(mode="after")
    def _is_verified(self) -> Self:
        given = {"authority": self.authority is not None, "server_name": self.server_name is not None}
        wanted = self.scheme is Scheme.HTTPS
        wrong = sorted(name for name, is_given in given.items() if is_given != wanted)
        if wrong:
            word = "missing" if wanted else "given"
            raise RuleError(
                why=f"scheme is {self.scheme} and {' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} {word}",
                fix="state authority and server_name: a server that is not verified may be anybody's"
                if wanted
                else "set scheme to https, or remove them",
            )
        return self


class Thresholds(Strict):
    """Where alerts begin. Those of the plan, except where it cannot be taken literally (docs/observability.md)."""

    latency_p99_milliseconds: Annotated[int, Field(ge=10)] = 1000
    lag_per_consumer_factor: Annotated[float, Field(ge=1.1, le=100)] = 2.0
    """Times ``add_above_lag_per_consumer``: up to once that, the scaler sees nothing to do."""
    event_delay_seconds: Annotated[int, Field(ge=5)] = 300
    """How far behind its topic a group may be: lag over the rate at which it works."""
    database_connections_percent: Annotated[int, Field(ge=1, le=99)] = 90
    memory_percent: Annotated[int, Field(ge=1, le=99)] = 85
    breaker_open_percent: Annotated[int, Field(ge=1, le=99)] = 10
    error_percent: Annotated[int, Field(ge=1, le=99)] = 1
    """Of events and of database queries."""
    disk_percent: Annotated[int, Field(ge=1, le=99)] = 80
    replication_lag_seconds: Annotated[int, Field(ge=1)] = 30
    backup_age_hours: Annotated[int, Field(ge=1)] = 26
    """Of a shard's newest backup; for daily ones, two hours more than a day."""
    restore_test_age_days: Annotated[int, Field(ge=1)] = 8
    """Of the last restore that was tried; for weekly ones, a day more than a week."""


class Observability(Strict):
    """Monitors, rules, routes and dashboards of a stack. The Prometheus Operator and Grafana exist already."""

    prometheus: DnsLabel = "monitoring"
    """Peer under ``cluster.peers`` that scrapes: it is admitted to the services' metrics."""
    selected_by: dict[LabelName, LabelValue] = {}
    """Labels by which the operator's Prometheus and Alertmanager choose objects, for example ``release``."""
    scrape_interval_seconds: Annotated[int, Field(ge=5, le=60)] = 15
    evaluation_interval_seconds: Annotated[int, Field(ge=5, le=60)] = 30
    metrics_path: Annotated[str, Field(pattern=r"^/\S*$")] = "/metrics"
    """Where the services serve their metrics, on the port of their API or of their probes."""
    runbooks_url: Annotated[str, Field(pattern=r"^https://\S+/$")] | None = None
    """Where this repository can be read in a browser, ending in ``/``: alerts link to its runbooks."""
    long_term_labels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], LabelValue] = {"retention": "long"}
    """Labels of the recorded key figures, by which remote write chooses what is kept for years."""
    objectives: dict[DnsLabel, Objective] = {}
    """Service → what it promises; the defaults for services that are not named."""
    receivers: Receivers
    exporters: dict[ExporterKind, ExporterTarget] = {}
    thresholds: Thresholds = Thresholds()
    dashboard_folder: Annotated[str, Field(pattern=r"^[\w -]+$")] = "Payments"
    """Folder in Grafana (annotation ``grafana_folder`` of its sidecar)."""

    def objective_of(self, service: str) -> Objective:
        """The objective of a service, whether it is named or not."""
        return self.objectives.get(service, Objective())
