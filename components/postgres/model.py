"""Names, ports and paths that the files and the manifests of the database share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.base.labels import Labels
from components.services.plan import workloads
from settings.base import Environment
from settings.platform import Settings
from settings.postgres import Postgres
from settings.postgres_rules import ETCD_NAME, cluster_name

POSTGRES_PORT = 5432
PATRONI_PORT = 8008
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD_METRICS_PORT = 8080
BACKUP_PORT = 8432
POOLER_PORT = 5432
HAPROXY_WRITE_PORT = 5000
HAPROXY_READ_PORT = 5001
HAPROXY_HEALTH_PORT = 8404

CONFIG_PATH = "/etc/postgres/config"
TLS_PATH = "/etc/postgres/tls"
ETCD_TLS_PATH = "/etc/postgres/etcd-tls"
PASSWORDS_PATH = "/etc/postgres/passwords"
RUN_PATH = "/run/postgresql"
DATA_PATH = "/var/lib/postgresql"
DATA_DIRECTORY = f"{DATA_PATH}/pgdata"

SUPERUSER = "postgres"
REPLICATION_USER = "replicator"
REWIND_USER = "rewind"
AUTH_USER = "pgbouncer_auth"
MONITORING_USER = "monitoring"
REST_USER = "patroni"
OPERATIONS_NAME = "postgres-operations"
"""Common name of the Jobs' certificate, which members admit for backups."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseContext:
    """The database's settings and what they need to know of their stack."""

    postgres: Postgres
    namespace: str
    services_namespace: str
    environment: Environment
    workloads_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service → names of its Deployments."""

    def labels(self, name: str) -> Labels:
        """Labels of the database's objects. Payments are here: it is inside the cardholder environment."""
        return Labels(name=name, environment=self.environment, owner=self.postgres.owner, pci_scope="cde")

    def cluster(self, shard: str) -> str:
        """Name of a shard's StatefulSet and of its Service for writes."""
        return cluster_name(shard)

    def scope(self, shard: str) -> str:
        """Name of a shard for Patroni, for its user in etcd and for its backups."""
        return f"payments-{shard}"

    def pods_service(self, shard: str) -> str:
        """Headless Service of a shard's members."""
        return f"{cluster_name(shard)}-pods"

    def pods_domain(self, shard: str) -> str:
        """Domain of the members' names; itself a name in their certificate, which poolers verify."""
        return f"{self.pods_service(shard)}.{self.namespace}.svc.cluster.local"

    def member_hosts(self, shard: str) -> list[str]:
        """Names of the members in order of their ordinals."""
        return [f"{self.cluster(shard)}-{ordinal}.{self.pods_domain(shard)}" for ordinal in range(self.postgres.nodes)]

    def etcd_hosts(self) -> list[str]:
        """Names of etcd's members."""
        return [
            f"{ETCD_NAME}-{ordinal}.{ETCD_NAME}.{self.namespace}.svc.cluster.local"
            for ordinal in range(self.postgres.etcd.members)
        ]


def context_of(settings: Settings) -> DatabaseContext | None:
    """The context of a stack; ``None`` where it declares no database."""
    if settings.postgres is None:
        return None
    return DatabaseContext(
        postgres=settings.postgres,
        namespace=settings.cluster.namespaces.database,
        services_namespace=settings.cluster.namespaces.services,
        environment=settings.environment,
        workloads_of={
            key: tuple(workload.name for workload in workloads(key, service))
            for key, service in settings.services.items()
        },
    )
