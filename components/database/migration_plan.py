"""Migrations as manifests: SQL and runner in ConfigMaps, a Job for every change of a shard, a daily CronJob.

The read model's CronJob and the pod that serves the figures run the same package.

One Job before the services roll out, not an init container in each pod: twenty pods that start at once would be twenty
runners.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from components.base.jobs import awaited
from components.base.labels import Labels, selector
from components.base.manifests import Manifest, content_hash, metadata
from components.base.network import peer_selectors
from components.cache.pods import plan_container, plan_pod_security
from components.database.metrics_plan import PORT, plan_metrics, plan_metrics_network
from settings.base import Environment
from settings.cluster import Peer
from settings.data import Data
from settings.data_migrations import Balances, Metrics, Migrations, PasswordSecret, Primary
from settings.data_roles import RoleName
from settings.quantities import parse_quantity
from settings.services import Resources

NAME = "database-migrations"
CARE_NAME = "database-care"
BALANCES_NAME = "database-balances"
COMPONENT = "database-migrations"
CODE_PATH = "/opt/migrations/code"
SQL_PATH = "/opt/migrations/sql"
SECRETS_PATH = "/var/run/secrets/database"
_ROOT = Path(__file__).parents[2]
_SQL = _ROOT / "migrations"
_PACKAGE = _ROOT / "client" / "payments_client" / "migrations"
_AROUND = "around.py"
_SECONDS_TO_END = 30
_BALANCES_RUN_SECONDS = 55
"""A run ends before the next minute starts another."""
_BALANCES_DEADLINE_SECONDS = 1800
"""After a long outage one refresh takes up all that is new, in one transaction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationContext:
    """What the Jobs need to know of their stack."""

    namespace: str
    environment: Environment
    peers: Mapping[str, Peer]
    waiting: frozenset[str] = frozenset()
    """Shards whose roles are not declared yet: nobody waits for their first Jobs, which cannot log in."""

    @property
    def labels(self) -> Labels:
        """Labels of all objects: the rows are payments, never card data."""
        return Labels(name=NAME, environment=self.environment, owner="platform", pci_scope="connected")


def plan_migrations(data: Data, context: MigrationContext) -> dict[str, Manifest]:
    """Role → manifest, in the order of declaration; nothing where no shard names its primary."""
    migrations = data.migrations
    shards = dict(migrated_shards(data))
    if migrations is None or not shards:
        return {}
    sql, code = sql_files(), runner_files()
    config_maps = (f"{NAME}-sql-{content_hash(sql)}", f"{NAME}-code-{content_hash(code)}")
    manifests: dict[str, Manifest] = {
        "account": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(NAME, labels=context.labels.of(COMPONENT), namespace=context.namespace),
            "automountServiceAccountToken": False,
        },
        "network": _network(shards, context),
        "sql": _config_map(config_maps[0], sql, context),
        "code": _config_map(config_maps[1], code, context),
    }
    where: dict[str, Any] = {"labels": context.labels, "namespace": context.namespace}
    if migrations.metrics is not None:
        # Before everything that runs, in an order that the stack file does not decide.
        for name in sorted(shards):
            manifests[f"{name}-metrics-network"] = plan_metrics_network(name, shards[name], context.peers, **where)
    for name, primary in shards.items():
        pod = _Pod(data=data, migrations=migrations, primary=primary, config_maps=config_maps, context=context)
        manifests[f"{name}-job"] = _job(name, pod)
        manifests[f"{name}-cronjob"] = _cron_job(name, pod)
        if migrations.balances is not None:
            manifests[f"{name}-balances"] = _balances(name, pod, migrations.balances)
        if migrations.metrics is not None:
            spec = pod.metrics_spec(name, migrations.metrics)
            manifests[f"{name}-metrics"] = plan_metrics(name, spec, waiting=name in context.waiting, **where)
    return manifests


def migrated_shards(data: Data) -> Iterator[tuple[str, Primary]]:
    """Shards whose primary is named."""
    for name, shard in data.shards.items():
        if shard.primary is not None:
            yield name, shard.primary


def migration_amounts(data: Data | None) -> dict[str, Decimal]:
    """What Jobs and CronJobs ask of their namespace at most; keys as in ``settings.services.peak_amounts``."""
    if data is None or data.migrations is None:
        return {}
    shards = len(dict(migrated_shards(data)))
    groups = [(2 * shards, data.migrations.resources)]
    if data.migrations.balances is not None:
        groups.append((shards, data.migrations.balances.resources))
    if data.migrations.metrics is not None:
        groups.append((shards, data.migrations.metrics.resources))
    amounts = {"pods": Decimal(sum(pods for pods, _ in groups))}
    for side in ("requests", "limits"):
        for field in ("cpu", "memory", "ephemeral_storage"):
            amounts[f"{side}.{field.replace('_', '-')}"] = sum(
                (pods * parse_quantity(getattr(getattr(resources, side), field)) for pods, resources in groups),
                Decimal(0),
            )
    return amounts


def sql_files() -> dict[str, str]:
    """File name → content of every migration."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_SQL.glob("*.sql"))}


def runner_files() -> dict[str, str]:
    """Key → content of the package that runs them, and of the empty package around it.

    Without that, one of the same name in the image would be imported instead.
    """
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(_PACKAGE.glob("*.py"))}
    return {**files, _AROUND: '"""Holds the migrations\' runner."""\n'}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pod:
    data: Data
    migrations: Migrations
    primary: Primary
    config_maps: tuple[str, str]
    context: MigrationContext

    def template(self, name: str, command: str, balances: Balances | None = None) -> dict[str, Any]:
        """Template of a pod that runs one command of the runner; with ``balances`` as the application."""
        environment, resources, password = self._environment(), self.migrations.resources, self.migrations.password
        if balances is not None:
            resources, password = balances.resources, balances.password
            environment |= {
                "DATABASE_USER": RoleName.APPLICATION,
                "BALANCES_INTERVAL_SECONDS": str(balances.interval_seconds),
                "BALANCES_RUN_SECONDS": str(_BALANCES_RUN_SECONDS),
            }
        spec = self._spec(name, command, environment, resources, password)
        return {"metadata": {"labels": self.context.labels.of_pods(COMPONENT, NAME)}, "spec": spec}

    def metrics_spec(self, shard: str, metrics: Metrics) -> dict[str, Any]:
        """The pod that serves the figures: the exporter's login, and no SQL."""
        environment = {
            **self._connection(),
            "DATABASE_USER": RoleName.EXPORTER,
            "METRICS_PORT": str(PORT),
            "METRICS_SHARD": shard,
        }
        return self._spec("metrics", "metrics", environment, metrics.resources, metrics.password, with_sql=False)

    def _spec(
        self,
        name: str,
        command: str,
        environment: Mapping[str, str],
        resources: Resources,
        password: PasswordSecret,
        *,
        with_sql: bool = True,
    ) -> dict[str, Any]:
        sql, code = self.config_maps
        files = [
            {"key": key, "path": "payments_client/" + ("__init__.py" if key == _AROUND else f"migrations/{key}")}
            for key in runner_files()
        ]
        return {
            "restartPolicy": "Never",
            "serviceAccountName": NAME,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _SECONDS_TO_END,
            "securityContext": plan_pod_security(),
            "containers": [
                plan_container(
                    name,
                    self.migrations.image,
                    resources,
                    command=["python3", "-m", "payments_client.migrations", command],
                    env=[{"name": key, "value": value} for key, value in sorted(environment.items())],
                    volumeMounts=[
                        {"name": "code", "mountPath": CODE_PATH, "readOnly": True},
                        *([{"name": "sql", "mountPath": SQL_PATH, "readOnly": True}] if with_sql else []),
                        {"name": "secrets", "mountPath": SECRETS_PATH, "readOnly": True},
                    ],
                )
            ],
            "volumes": [
                {"name": "code", "configMap": {"name": code, "defaultMode": 0o444, "items": files}},
                *([{"name": "sql", "configMap": {"name": sql, "defaultMode": 0o444}}] if with_sql else []),
                {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": self._secrets(password)}},
            ],
        }

    def _environment(self) -> dict[str, str]:
        migrations, primary = self.migrations, self.primary
        optional = {
            "IDEMPOTENCY_KEEP_DAYS": migrations.keep_idempotency_days,
            "MIGRATIONS_POOLERS": ",".join(primary.poolers) or None,
            "PARTITIONS_KEEP_MONTHS": migrations.keep_months,
        }
        return {
            **self._connection(),
            "MIGRATIONS_CONTRACT_THROUGH": str(migrations.contract_through),
            "MIGRATIONS_FOLDER": SQL_PATH,
            "PARTITIONS_MONTHS_AHEAD": str(migrations.months_ahead),
            **{key: str(value) for key, value in optional.items() if value is not None},
        }

    def _connection(self) -> dict[str, str]:
        authority = {"DATABASE_CA_FILE": f"{SECRETS_PATH}/ca.crt"} if self.migrations.authority else {}
        return {
            **authority,
            "DATABASE_HOST": self.primary.host,
            "DATABASE_NAME": self.data.database,
            "DATABASE_PASSWORD_FILE": f"{SECRETS_PATH}/password",
            "DATABASE_PORT": str(self.primary.port),
            "DATABASE_SSLMODE": "verify-full" if self.migrations.authority else "disable",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": CODE_PATH,
        }

    def _secrets(self, password: PasswordSecret) -> list[dict[str, Any]]:
        authority = self.migrations.authority
        given = [(password.existing_secret, password.key, "password")]
        if authority is not None:
            given.append((authority.existing_secret, authority.key, "ca.crt"))
        return [{"secret": {"name": name, "items": [{"key": key, "path": path}]}} for name, key, path in given]


def _job(shard: str, pod: _Pod) -> Manifest:
    waiting = shard in pod.context.waiting
    spec = {
        # A run goes on where the one before it ended.
        "backoffLimit": 5,
        "activeDeadlineSeconds": pod.migrations.deadline_seconds,
        "template": pod.template("migrate", "apply"),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(
            # A Job's template cannot be changed: other SQL is another Job, and so is the first one that can log in.
            # It stays after its end, as the record.
            f"{NAME}-{shard}-{content_hash([spec, 'waiting'] if waiting else spec)}",
            labels=pod.context.labels.of(COMPONENT),
            namespace=pod.context.namespace,
            annotations={
                **awaited(pod.migrations.deadline_seconds),
                **({"pulumi.com/skipAwait": "true"} if waiting else {}),
            },
        ),
        "spec": spec,
    }


def _cron_job(shard: str, pod: _Pod) -> Manifest:
    job = {
        "backoffLimit": 5,
        "activeDeadlineSeconds": pod.migrations.deadline_seconds,
        "template": pod.template("care", "care"),
    }
    return _scheduled(f"{CARE_NAME}-{shard}", pod.migrations.schedule, 3600, job, pod.context)


def _balances(shard: str, pod: _Pod, balances: Balances) -> Manifest:
    job = {
        # The next minute tries again.
        "backoffLimit": 0,
        "activeDeadlineSeconds": _BALANCES_DEADLINE_SECONDS,
        "template": pod.template("balances", "balances", balances),
    }
    return _scheduled(f"{BALANCES_NAME}-{shard}", "* * * * *", 30, job, pod.context)


def _scheduled(
    name: str, schedule: str, starting_deadline_seconds: int, job: dict[str, Any], context: MigrationContext
) -> Manifest:
    """A CronJob that never runs beside itself."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(name, labels=context.labels.of(COMPONENT), namespace=context.namespace),
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": starting_deadline_seconds,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": job},
        },
    }


def _config_map(name: str, files: dict[str, str], context: MigrationContext) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, labels=context.labels.of(COMPONENT), namespace=context.namespace),
        "data": files,
        "immutable": True,
    }


def _network(shards: Mapping[str, Primary], context: MigrationContext) -> Manifest:
    """Out to primaries and poolers, and nothing in."""
    names = {name for primary in shards.values() for name in (primary.peer, primary.poolers_peer) if name is not None}
    egress = [
        {"to": peer_selectors(peer), "ports": [{"port": port, "protocol": "TCP"} for port in peer.ports]}
        for peer in (context.peers[name] for name in sorted(names))
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(f"{NAME}-flows", labels=context.labels.of("network"), namespace=context.namespace),
        "spec": {
            "podSelector": {"matchLabels": selector(NAME)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": egress,
        },
    }
