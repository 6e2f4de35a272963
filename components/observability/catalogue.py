"""The catalogue of metrics: whatever a rule or a panel names stands here, with who exports it and what it means."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from settings.observability import ExporterKind


class MetricType(StrEnum):
    """Prometheus' types, as far as an expression has to know them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who exports a metric."""

    SERVICES = "services"
    """The platform's own pods; what they have to emit is told in docs/observability.md."""
    KUBERNETES = "kubernetes"
    """kube-state-metrics, cAdvisor and the kubelet: they belong to the cluster."""
    PROMETHEUS = "prometheus"
    """Prometheus, Alertmanager and the operator themselves."""
    REDIS = "redis"
    """redis_exporter beside each member of the cache."""
    SHARDS = "shards"
    """The pod of each shard that asks its primary for ``ops.metrics``."""
    ETCD = "etcd"
    """The members that decide who is primary; the stack's own."""
    HAPROXY = "haproxy"
    """Beside each pooler of the stack: it knows which members are up, and leads to them."""
    NGINX = "nginx"
    """ingress-nginx, where it renders the edge."""
    KAFKA = ExporterKind.KAFKA.value
    POSTGRES = ExporterKind.POSTGRES.value
    PGBOUNCER = ExporterKind.PGBOUNCER.value
    PATRONI = ExporterKind.PATRONI.value
    ENVOY = ExporterKind.ENVOY.value
    KEDA = ExporterKind.KEDA.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric as its exporter names it."""

    name: str
    source: Source
    type: MetricType
    unit: str
    """What one of it is; ``1`` for a yes or no, and for shares of one."""
    labels: tuple[str, ...]
    """Labels of the exporter; those of the target (``service``, ``namespace``, ``pod``, ``job``) come on top."""

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its time series; a histogram has three."""
        if self.type is MetricType.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Entries:
    """Builds the entries of one exporter, one line each."""

    source: Source

    def counter(self, name: str, unit: str, labels: str = "") -> Metric:
        """A number that only rises, and starts anew with its process."""
        return self._metric(name, MetricType.COUNTER, unit, labels)

    def gauge(self, name: str, unit: str, labels: str = "") -> Metric:
        """A number that rises and falls."""
        return self._metric(name, MetricType.GAUGE, unit, labels)

    def histogram(self, name: str, unit: str, labels: str = "") -> Metric:
        """Counts by upper bound, ``le``."""
        return self._metric(name, MetricType.HISTOGRAM, unit, labels)

    def _metric(self, name: str, kind: MetricType, unit: str, labels: str) -> Metric:
        return Metric(name=name, source=self.source, type=kind, unit=unit, labels=tuple(labels.split()))


def by_series(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Series name → metric. Raises ``ValueError`` when two exporters claim one name."""
    found: dict[str, Metric] = {}
    for metric in metrics:
        for name in metric.series:
            if name in found:
                message = f"{name} stands twice in the catalogue: {found[name].source} and {metric.source}"
                raise ValueError(message)
            found[name] = metric
    return found
