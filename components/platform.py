"""The order of composition, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components.autoscaling.component import AutoscalingSources, AutoscalingSourcesArgs, scaling_policies
from components.base.manifests import child_opts, declare
from components.base.namespace import GuardedNamespace, GuardedNamespaceArgs
from components.cache.component import Caches, CachesArgs
from components.cache.pods import CacheContext
from components.cache.sidecar_plan import plan_sidecar, plan_sidecar_config, sidecar_amounts
from components.contract import plan_contract
from components.database.component import Databases, DatabasesArgs, database_secret_keys
from components.database.migration_plan import MigrationContext, migration_amounts
from components.database.migrations import Migrations, MigrationsArgs
from components.database.primaries import keeps_balances, measured_shards, measuring_pods, migrating_pods, reached
from components.edge.cloudflare.component import CloudflareEdge, CloudflareEdgeArgs, cloudflare_secret_keys
from components.edge.component import EdgeEntry, EdgeEntryArgs
from components.edge.model import EdgeContext
from components.kafka.broker_config import broker_config
from components.kafka.client_plan import client_credentials
from components.kafka.component import KafkaCluster, KafkaClusterArgs
from components.kafka.model import KafkaContext
from components.loadtest.component import LoadTests, LoadTestsArgs
from components.observability.component import Monitoring, MonitoringArgs
from components.observability.model import Surroundings
from components.postgres.component import PostgresArgs, PostgresClusters
from components.postgres.model import context_of
from components.postgres.network_plan import DatabasePeers
from components.services.component import StatelessService, StatelessServiceArgs
from components.services.plan import ServiceContext, workloads
from settings.kafka_names import plan_all_users
from settings.platform import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformArgs:
    """A stack's settings and its secret values by config key."""

    settings: Settings
    secrets: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


class Platform(pulumi.ComponentResource):
    """Everything that a stack declares."""

    endpoints: dict[str, str]
    """Service name → host and port inside the cluster."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:platform:Platform", name, {}, opts)
        settings = args.settings
        namespace = GuardedNamespace(
            settings.cluster.namespaces.services,
            GuardedNamespaceArgs(
                namespace=settings.cluster.namespaces.services,
                environment=settings.environment,
                services=tuple(settings.services.values()),
                other_amounts=(
                    sidecar_amounts(settings.cache, settings.services.values()),
                    migration_amounts(found.data if (found := reached(settings)) is not None else None),
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        contract = declare("platform-contract", plan_contract(settings), child_opts(self, depends_on=namespace.ready))
        database = self._postgres(settings, namespace)
        requires = (
            *namespace.ready,
            contract,
            *self._caches(settings, namespace),
            *self._kafka(args, namespace),
            *database,
            *self._migrations(args, namespace, database),
        )
        services = self._services(args, namespace, requires)
        self._edge(args, namespace)
        self._monitoring(settings, namespace)
        self._loadtest(settings)
        self.endpoints = {key: service.endpoint for key, service in services.items()}
        self.namespace = namespace.namespace
        self.register_outputs({"endpoints": self.endpoints, "namespace": self.namespace})

    def _services(
        self, args: PlatformArgs, namespace: GuardedNamespace, requires: Sequence[pulumi.Resource]
    ) -> dict[str, StatelessService]:
        settings = args.settings
        context = ServiceContext(
            namespace=namespace.namespace,
            environment=settings.environment,
            peers=settings.cluster.peers,
            autoscaling=settings.autoscaling,
            topics=settings.topics,
            local_cache=plan_sidecar(settings.cache),
            kafka_credentials=client_credentials(settings.kafka, settings.services, settings.cluster.namespaces.kafka),
        )
        sources = AutoscalingSources(
            "autoscaling",
            AutoscalingSourcesArgs(
                namespace=namespace.namespace,
                environment=settings.environment,
                autoscaling=settings.autoscaling,
                services=settings.services,
                topics=settings.topics,
                requires=tuple(namespace.ready),
                rule_labels=settings.observability.selected_by if settings.observability is not None else {},
            ),
            pulumi.ResourceOptions(parent=self),
        )
        return {
            key: StatelessService(
                key,
                StatelessServiceArgs(
                    service=service,
                    context=context,
                    secrets=args.secrets,
                    requires=tuple(requires),
                    scalers_require=tuple(sources.ready),
                ),
                pulumi.ResourceOptions(parent=self),
            )
            for key, service in settings.services.items()
        }

    def _edge(self, args: PlatformArgs, namespace: GuardedNamespace) -> None:
        settings = args.settings
        if settings.edge is None:
            return
        EdgeEntry(
            "edge",
            EdgeEntryArgs(
                context=EdgeContext(
                    edge=settings.edge,
                    environment=settings.environment,
                    services_namespace=namespace.namespace,
                    peer=settings.cluster.peers[settings.edge.peer],
                    service_ports={key: service.api.port for key, service in settings.services.items()},
                ),
                requires=tuple(namespace.ready),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        if settings.edge.cloudflare is not None:
            CloudflareEdge(
                "cloudflare",
                CloudflareEdgeArgs(host=settings.edge.host, cloudflare=settings.edge.cloudflare, secrets=args.secrets),
                pulumi.ResourceOptions(parent=self),
            )

    def _loadtest(self, settings: Settings) -> None:
        if settings.loadtest is None or not settings.loadtest.run:
            return
        LoadTests(
            "loadtest",
            LoadTestsArgs(
                loadtest=settings.loadtest,
                environment=settings.environment,
                objectives=settings.observability.objectives if settings.observability is not None else {},
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _caches(self, settings: Settings, namespace: GuardedNamespace) -> list[pulumi.Resource]:
        """Declare the cache tiers; what of them the services' own pods cannot start without."""
        cache = settings.cache
        if cache is None:
            return []
        peer = cache.exporter.scraped_by
        context = CacheContext(
            namespace=settings.cluster.namespaces.cache,
            services_namespace=namespace.namespace,
            environment=settings.environment,
            workloads_of={
                key: tuple(workload.name for workload in workloads(key, service))
                for key, service in settings.services.items()
            },
        )
        Caches(
            context.namespace,
            CachesArgs(
                cache=cache, context=context, monitoring=settings.cluster.peers[peer] if peer is not None else None
            ),
            pulumi.ResourceOptions(parent=self),
        )
        if plan_sidecar(cache) is None:
            return []
        config = plan_sidecar_config(cache, namespace=namespace.namespace, environment=settings.environment)
        return [declare("cache-local-config", config, child_opts(self, depends_on=namespace.ready))]

    def _kafka(self, args: PlatformArgs, namespace: GuardedNamespace) -> list[pulumi.Resource]:
        """Declare Kafka; what of it the services' pods cannot work without."""
        settings = args.settings
        if settings.kafka is None:
            return []
        return KafkaCluster(
            "kafka",
            KafkaClusterArgs(
                context=KafkaContext.of(settings),
                config=broker_config(settings),
                secrets=args.secrets,
                services_ready=tuple(namespace.ready),
            ),
            pulumi.ResourceOptions(parent=self),
        ).ready

    def _migrations(
        self, given: PlatformArgs, namespace: GuardedNamespace, database: list[pulumi.Resource]
    ) -> list[pulumi.Resource]:
        """Declare the roles and the migrations; the Jobs that must end before services of this release start."""
        settings, found = given.settings, reached(given.settings)
        if settings.data is None or found is None:
            return []
        databases = Databases(
            "database",
            DatabasesArgs(data=settings.data, environment=settings.environment, secrets=given.secrets),
            pulumi.ResourceOptions(parent=self),
        )
        context = MigrationContext(
            namespace=namespace.namespace,
            environment=settings.environment,
            peers=found.peers,
            waiting=found.waiting,
        )
        args = MigrationsArgs(
            data=found.data, context=context, requires=(*namespace.ready, *database, *databases.ready)
        )
        return Migrations("migrations", args, pulumi.ResourceOptions(parent=self)).done

    def _monitoring(self, settings: Settings, namespace: GuardedNamespace) -> None:
        if settings.observability is None:
            return
        around = Surroundings(
            observability=settings.observability,
            environment=settings.environment,
            namespace=namespace.namespace,
            cache_namespace=settings.cluster.namespaces.cache if settings.cache is not None else None,
            services=settings.services,
            topics=settings.topics,
            peers=settings.cluster.peers,
            edge=settings.edge.renderer if settings.edge is not None else None,
            measured_shards=measured_shards(settings),
            balances_kept=keeps_balances(settings.data),
            namespaces=tuple(dict(settings.cluster.namespaces).values()),
            cache=settings.cache,
            kafka=settings.kafka,
            database=context_of(settings),
        )
        policies = [
            policy for key, one in settings.services.items() for policy in scaling_policies(key, one, settings.topics)
        ]
        Monitoring(
            "monitoring",
            MonitoringArgs(around=around, policies=policies, requires=tuple(namespace.ready)),
            pulumi.ResourceOptions(parent=self),
        )

    def _postgres(self, settings: Settings, namespace: GuardedNamespace) -> list[pulumi.Resource]:
        """Declare the database; what of it the services' pods cannot start without."""
        context = context_of(settings)
        if context is None:
            return []
        postgres, peers = context.postgres, settings.cluster.peers
        scraper = postgres.exporters.scraped_by
        args = PostgresArgs(
            context=context,
            peers=DatabasePeers(
                api_server=peers[postgres.operations.api_server],
                monitoring=peers[scraper] if scraper is not None else None,
                store=peers[postgres.backup.store] if postgres.backup is not None else None,
                direct={name: peers[name] for name in postgres.direct_from},
                migrations=migrating_pods(settings),
                metrics=measuring_pods(settings),
            ),
            services_ready=tuple(namespace.ready),
        )
        return PostgresClusters("postgres", args, pulumi.ResourceOptions(parent=self)).ready


def secret_keys(settings: Settings) -> list[str]:
    """Config keys of the stack's own secrets, each once, in order of first use."""
    references = (ref for service in settings.services.values() for ref in service.secrets)
    keys = [ref.config_key for ref in references if ref.config_key is not None]
    if settings.edge is not None:
        keys += cloudflare_secret_keys(settings.edge.cloudflare)
    if settings.kafka is not None:
        users = plan_all_users(settings.kafka, settings.services).values()
        keys += [user.password.config_key for user in users if user.password.config_key is not None]
    keys += database_secret_keys(settings.data)
    return list(dict.fromkeys(keys))
