"""Alerts on targets that are partly gone: what is not scraped exports no bad figure, and no other alert tells of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from components.kafka.cluster_plan import BROKER_POOL, CONTROLLER_POOL
from components.observability.model import Alert, Area, Severity, Surroundings
from components.observability.monitors import ETCD_JOB, HAPROXY_JOB
from components.postgres.model import DatabaseContext
from components.postgres.pgbouncer_files import PoolerMode, pods_of, pooler_name
from settings.cache_rules import CLUSTER_NAME as CACHE_NAME
from settings.kafka import Kafka
from settings.kafka_names import CLUSTER_NAME as KAFKA_NAME
from settings.observability import ExporterKind
from settings.postgres_rules import ETCD_NAME


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """How many targets of a job must answer."""

    job: str
    workload: str
    pods: str
    """Names of the workload's pods, as a regular expression; others of the same job are not counted."""
    count: str
    """A number, or an expression that yields one where an autoscaler decides."""


def target_alerts(around: Surroundings) -> Iterator[Alert]:
    """An alert for every job of every workload whose number of pods is known."""
    for one in expected_targets(around):
        answering = f'sum(up{{job="{one.job}",pod=~"{one.pods}"}}) or vector(0)'
        yield Alert(
            name="TargetsIncomplete",
            expression=f"({answering}) < {one.count}",
            # A member that is replaced is away for some minutes.
            lasts="10m",
            severity=Severity.WARNING,
            area=Area.MONITORING,
            subject=one.workload,
            summary=f"only {{{{ $value }}}} pods of {one.workload} answer as {one.job}: the others are gone or unseen",
            action="compare the workload's pods with Prometheus' page of targets; a pod that is not there comes first",
            runbook="monitoring.md#some-pods-are-not-scraped",
            labels={"job": one.job},
        )


def expected_targets(around: Surroundings) -> Iterator[Expected]:
    """What must answer: the services' pods that are ready, and every pod of what has a fixed size."""
    for workload in around.workloads:
        ready = f'kube_deployment_status_replicas_ready{{namespace="{around.namespace}",deployment="{workload}"}}'
        yield Expected(job=workload, workload=workload, pods=_of_deployment(workload), count=f"max({ready})")
    if around.cache is not None:
        yield _fixed(CACHE_NAME, CACHE_NAME, _of_set(CACHE_NAME), around.cache.cluster.pods)
    if around.kafka is not None and around.has(ExporterKind.KAFKA):
        yield from _of_kafka(around.kafka)
    if around.database is not None:
        yield from _of_database(around, around.database)


def _of_kafka(kafka: Kafka) -> Iterator[Expected]:
    job = str(ExporterKind.KAFKA)
    for pool, nodes in ((BROKER_POOL, kafka.brokers.nodes), (CONTROLLER_POOL, kafka.controllers.nodes)):
        name = f"{KAFKA_NAME}-{pool}"
        yield _fixed(job, name, _of_set(name), nodes)
    exporter = f"{KAFKA_NAME}-kafka-exporter"
    yield _fixed(job, exporter, _of_deployment(exporter), 1)


def _of_database(around: Surroundings, database: DatabaseContext) -> Iterator[Expected]:
    if database.postgres.exporters.scraped_by is not None:
        yield _fixed(ETCD_JOB, ETCD_NAME, _of_set(ETCD_NAME), database.postgres.etcd.members)
    for shard in database.postgres.shards:
        name = database.cluster(shard)
        for kind in (ExporterKind.PATRONI, ExporterKind.POSTGRES):
            if around.has(kind):
                yield _fixed(str(kind), name, _of_set(name), database.postgres.nodes)
        jobs = [str(ExporterKind.PGBOUNCER)] if around.has(ExporterKind.PGBOUNCER) else []
        jobs += [HAPROXY_JOB] if database.postgres.exporters.scraped_by is not None else []
        for mode in PoolerMode:
            pooler, replicas = pooler_name(shard, mode), pods_of(database, mode).replicas
            for job in jobs:
                yield _fixed(job, pooler, _of_deployment(pooler), replicas)


def _fixed(job: str, workload: str, pods: str, count: int) -> Expected:
    return Expected(job=job, workload=workload, pods=pods, count=str(count))


def _of_set(name: str) -> str:
    """Pods with ordinals, as StatefulSets and Strimzi number them."""
    return f"{name}-[0-9]+"


def _of_deployment(name: str) -> str:
    """Pods of a Deployment: its name, a hash of the template and one of the pod, neither with a hyphen."""
    return f"{name}-[a-z0-9]+-[a-z0-9]+"
