"""Exactly which resources each stack declares, and with which options."""

import runpy
from collections import Counter

import pulumi
import pytest

from cli.recording import ROOT, Recorded, record
from tests.unit.stacks import SERVICES, STACKS, recording_of, short_urn, stack_file_of

PLATFORM = "payments:platform:Platform::payments"
GUARDED = "payments:base:GuardedNamespace"
NAMESPACE = f"{GUARDED}::payments"
SERVICE = "payments:services:StatelessService"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SCALERS = {
    "dev": "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
    "prod": "kubernetes:keda.sh/v1alpha1:ScaledObject",
}
SOURCES = "payments:autoscaling:AutoscalingSources"
RULES = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
AUTHENTICATION = "kubernetes:keda.sh/v1alpha1:TriggerAuthentication"
FLOWS = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
PDB = "kubernetes:policy/v1:PodDisruptionBudget"
CORE = "kubernetes:core/v1"
EDGE = "payments:edge:EdgeEntry"
GATEWAY_API = "kubernetes:gateway.networking.k8s.io/v1"
ENVOY_API = "kubernetes:gateway.envoyproxy.io/v1alpha1"
STATEFUL_SET = "kubernetes:apps/v1:StatefulSet"
DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
JOB = "kubernetes:batch/v1:Job"
CRON_JOB = "kubernetes:batch/v1:CronJob"
STACK = "pulumi:pulumi:Stack"


def of_guarded_namespace(name: str, parent: str) -> list[tuple[str, str, str]]:
    kinds = [
        (f"{CORE}:Namespace", "namespace"),
        (f"{CORE}:ResourceQuota", "quota"),
        (f"{CORE}:LimitRange", "limits"),
        (FLOWS, "default-deny"),
        (FLOWS, "allow-dns"),
    ]
    return [(GUARDED, name, parent), *((kind, f"{name}-{role}", f"{GUARDED}::{name}") for kind, role in kinds)]


def of_service(name: str, stack: str) -> list[tuple[str, str, str]]:
    parent = f"{SERVICE}::{name}"
    return [
        (SERVICE, name, PLATFORM),
        (f"{CORE}:ServiceAccount", f"{name}-account", parent),
        (f"{CORE}:ConfigMap", f"{name}-config", parent),
        (f"{CORE}:Service", f"{name}-svc", parent),
        (DEPLOYMENT, f"{name}-api-deployment", parent),
        (PDB, f"{name}-api-pdb", parent),
        (FLOWS, f"{name}-api-flows", parent),
        (SCALERS[stack], f"{name}-api-scaler", parent),
        (DEPLOYMENT, f"{name}-consumer-deployment", parent),
        (PDB, f"{name}-consumer-pdb", parent),
        (FLOWS, f"{name}-consumer-flows", parent),
        (SCALERS[stack], f"{name}-consumer-scaler", parent),
    ]


def of_edge() -> list[tuple[str, str, str]]:
    parent = f"{EDGE}::edge"
    routes = ("config", "docs", "payments", "rates", "wallets")
    kinds = [
        (f"{CORE}:Namespace", "namespace"),
        (f"{CORE}:ResourceQuota", "quota"),
        (f"{CORE}:LimitRange", "limits"),
        (FLOWS, "default-deny"),
        (FLOWS, "allow-dns"),
        (FLOWS, "flows"),
        (f"{GATEWAY_API}:GatewayClass", "class"),
        (f"{CORE}:ConfigMap", "controller-config"),
        (f"{ENVOY_API}:EnvoyProxy", "proxy"),
        ("kubernetes:cert-manager.io/v1:Certificate", "certificate"),
        (f"{GATEWAY_API}:Gateway", "gateway"),
        (f"{ENVOY_API}:ClientTrafficPolicy", "clients"),
        (f"{GATEWAY_API}:HTTPRoute", "redirect"),
        *((f"{GATEWAY_API}:HTTPRoute", f"{route}-route") for route in routes),
        *((f"{ENVOY_API}:BackendTrafficPolicy", f"{route}-traffic") for route in routes),
    ]
    return [(EDGE, "edge", PLATFORM), *((kind, f"edge-{role}", parent) for kind, role in kinds)]


CACHES = "payments:cache:Caches::cache"
MEMBERS = [f"redis-cluster-{ordinal}" for ordinal in range(6)]


def of_the_caches() -> list[tuple[str, str, str]]:
    return [
        ("payments:cache:Caches", "cache", PLATFORM),
        *of_guarded_namespace("cache", CACHES),
        *((FLOWS, f"cache-{flows}", CACHES) for flows in ("flows", "reconciler-flows", "local-flows")),
        *((f"{CORE}:ServiceAccount", f"cache-{a}account", CACHES) for a in ("", "local-", "reconciler-")),
        *((f"{CORE}:ConfigMap", f"cache-{c}", CACHES) for c in ("config", "local-config", "reconciler-code")),
        *((f"{CORE}:Service", f"cache-{s}svc", CACHES) for s in ("", "local-", *(f"{m}-" for m in MEMBERS))),
        (PDB, "cache-pdb", CACHES),
        (STATEFUL_SET, "cache-statefulset", CACHES),
        (DAEMON_SET, "cache-local-daemonset", CACHES),
        (JOB, "cache-reconciler-job", CACHES),
        (CRON_JOB, "cache-reconciler-cronjob", CACHES),
    ]


STRIMZI = "kubernetes:kafka.strimzi.io/v1"
KAFKA = "payments:kafka:KafkaCluster::kafka"
GROUP_TOPICS = [f"{service}-group-{role}" for service in SERVICES for role in ("retry", "dead-letter")]
KAFKA_TOPICS = [f"kafka-topic-{name}" for name in ("payment-events", "wallet-events", "gateway-events", *GROUP_TOPICS)]
# Each Deployment that reads or writes a topic, and in prod what watches the consumers' lag.
CLIENTS = [*SERVICES, *(f"{service.removesuffix('-service')}-processors" for service in SERVICES)]
KAFKA_USERS = {
    "dev": [f"kafka-user-{name}" for name in CLIENTS],
    "prod": [f"kafka-user-{name}" for name in (*CLIENTS, "keda")],
}


def of_kafka(stack: str) -> list[tuple[str, str, str]]:
    return [
        ("payments:kafka:KafkaCluster", "kafka", PLATFORM),
        *of_guarded_namespace("kafka", KAFKA),
        (f"{CORE}:ConfigMap", "kafka-metrics", KAFKA),
        *((FLOWS, f"kafka-{part}-flows", KAFKA) for part in ("nodes", "entity-operator", "exporter", "cruise-control")),
        (f"{STRIMZI}:Kafka", "kafka-cluster", KAFKA),
        *((f"{STRIMZI}:KafkaNodePool", f"kafka-{pool}", KAFKA) for pool in ("brokers", "controllers")),
        *((f"{STRIMZI}:KafkaRebalance", f"kafka-rebalance-{when}-brokers", KAFKA) for when in ("add", "remove")),
        *((f"{STRIMZI}:KafkaTopic", name, KAFKA) for name in KAFKA_TOPICS),
        *((f"{STRIMZI}:KafkaUser", name, KAFKA) for name in KAFKA_USERS[stack]),
    ]


POSTGRES = "payments:postgres:PostgresClusters::postgres"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
SHARDS = {"dev": ["s00"], "prod": ["s00", "s01"]}


def of_postgres(stack: str) -> list[tuple[str, str, str]]:
    kinds = [
        *((f"{CORE}:ServiceAccount", f"{part}-account") for part in ("etcd", "etcd-operations")),
        *((FLOWS, f"{part}-flows") for part in ("etcd", "etcd-operations")),
        (f"{CORE}:ConfigMap", "operations-code"),
        (f"{CORE}:Service", "etcd-svc"),
        (STATEFUL_SET, "etcd-statefulset"),
        (PDB, "etcd-pdb"),
        (f"{CORE}:PersistentVolumeClaim", "etcd-snapshots-claim"),
        (CRON_JOB, "etcd-snapshot-cronjob"),
        (JOB, "etcd-users-job"),
        *(kind for shard in SHARDS[stack] for kind in of_shard(shard, backed_up=stack == "prod")),
    ]
    return [
        ("payments:postgres:PostgresClusters", "postgres", PLATFORM),
        *of_guarded_namespace("database", POSTGRES),
        *((kind, f"postgres-{role}", POSTGRES) for kind, role in kinds),
    ]


def of_shard(shard: str, *, backed_up: bool) -> list[tuple[str, str]]:
    poolers = (f"{shard}-pooler-rw", f"{shard}-pooler-ro")
    parts = (shard, *poolers, f"{shard}-operations")
    backup = [
        *((f"{CORE}:ServiceAccount", f"{shard}-{what}-account") for what in ("backup", "restore", "restore-in-place")),
        *((FLOWS, f"{shard}-{what}-flows") for what in ("backup", "restore", "restore-in-place")),
        (f"{CORE}:ConfigMap", f"{shard}-backup-config"),
        (JOB, f"{shard}-backup-stanza-job"),
        *(
            (CRON_JOB, f"{shard}-{what}-cronjob")
            for what in ("backup-full", "backup-differential", "restore-test", "restore-in-place")
        ),
    ]
    return [
        *((f"{CORE}:ServiceAccount", f"{part}-account") for part in parts),
        *((FLOWS, f"{part}-flows") for part in parts),
        *((f"{CORE}:ConfigMap", f"{part}-config") for part in parts),
        (f"{CORE}:ConfigMap", f"{shard}-bootstrap"),
        *((PDB, f"{part}-pdb") for part in (shard, *poolers)),
        *((f"{CORE}:Service", f"{shard}-{name}") for name in ("pods-svc", "alias-rw", "alias-ro")),
        *((f"{CORE}:Service", f"{pooler}-{name}") for pooler in poolers for name in ("svc", "peers-svc")),
        (STATEFUL_SET, f"{shard}-statefulset"),
        *((DEPLOYMENT, f"{pooler}-deployment") for pooler in poolers),
        (f"{RBAC}:Role", f"{shard}-operations-role"),
        (f"{RBAC}:RoleBinding", f"{shard}-operations-role-binding"),
        *((JOB, f"{shard}-{what}-job") for what in ("configure", "rollout")),
        (CRON_JOB, f"{shard}-keep-cronjob"),
        *(backup if backed_up else []),
    ]


MIGRATIONS = "payments:database:Migrations::migrations"


def of_the_database(stack: str) -> list[tuple[str, str, str]]:
    """Shards without an endpoint have no roles yet; every cluster of the stack's own is migrated."""
    components = [("payments:database:Databases", "database"), ("payments:database:Migrations", "migrations")]
    kinds = [
        (f"{CORE}:ServiceAccount", "account"),
        (FLOWS, "network"),
        (f"{CORE}:ConfigMap", "sql"),
        (f"{CORE}:ConfigMap", "code"),
        *(
            (kind, f"{shard}-{role}")
            for shard in SHARDS[stack]
            for kind, role in (
                (JOB, "job"),
                (CRON_JOB, "cronjob"),
                (CRON_JOB, "balances"),
                (FLOWS, "metrics-network"),
                (DEPLOYMENT, "metrics"),
            )
        ),
    ]
    return [
        *((kind, name, PLATFORM) for kind, name in components),
        *((kind, f"migrations-{role}", MIGRATIONS) for kind, role in kinds),
    ]


def of_monitoring(stack: str) -> list[tuple[str, str, str]]:
    parent = "payments:observability:Monitoring::monitoring"
    workloads = [*SERVICES, *(f"{name.removesuffix('-service')}-processors" for name in SERVICES)]
    shards = [f"database-metrics-{shard}" for shard in SHARDS[stack]]
    exporters = ["kafka", "postgres", "pgbouncer", "patroni", "envoy", *(["keda"] if stack == "prod" else [])]
    boards = ("overview", "service", "kafka", "postgresql", "cache", "edge", "autoscaling", "capacity")
    api = "kubernetes:monitoring.coreos.com"
    return [
        ("payments:observability:Monitoring", "monitoring", PLATFORM),
        *(
            (f"{api}/v1:PodMonitor", f"monitoring-monitor-{n}", parent)
            for n in (*workloads, *shards, "redis-cluster", "etcd", "haproxy", *exporters)
        ),
        *((FLOWS, f"monitoring-scrape-{name}", parent) for name in (*workloads, *shards)),
        (RULES, "monitoring-indicators", parent),
        (RULES, "monitoring-alerts", parent),
        (f"{api}/v1alpha1:AlertmanagerConfig", "monitoring-routing", parent),
        *((f"{CORE}:ConfigMap", f"monitoring-dashboard-{board}", parent) for board in boards),
    ]


def expected(stack: str) -> list[tuple[str, str, str]]:
    root = f"{STACK}::payments-{stack}"
    return [
        ("pulumi:providers:kubernetes", "kubernetes", root),
        ("payments:platform:Platform", "payments", root),
        *of_guarded_namespace("payments", PLATFORM),
        (SOURCES, "autoscaling", PLATFORM),
        (RULES, "autoscaling-rules", f"{SOURCES}::autoscaling"),
        *([(AUTHENTICATION, "autoscaling-kafka", f"{SOURCES}::autoscaling")] if stack == "prod" else []),
        (f"{CORE}:ConfigMap", "platform-contract", PLATFORM),
        *of_the_caches(),
        *of_service("payment-service", stack),
        *of_service("wallet-service", stack),
        *of_service("gateway-service", stack),
        *of_edge(),
        *of_kafka(stack),
        *of_postgres(stack),
        *of_the_database(stack),
        *of_monitoring(stack),
    ]


GUARDS = {
    f"{CORE}:Namespace::payments-namespace",
    f"{CORE}:ResourceQuota::payments-quota",
    f"{CORE}:LimitRange::payments-limits",
    f"{FLOWS}::payments-default-deny",
    f"{FLOWS}::payments-allow-dns",
}


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def resources(stack: str) -> tuple[Recorded, ...]:
    """Without Cloudflare's, which test_cloudflare_zone.py knows one by one."""
    return tuple(r for r in recording_of(stack).resources if "cloudflare" not in r.urn.lower())


def children(resources: tuple[Recorded, ...]) -> list[Recorded]:
    return [resource for resource in resources if resource.type.startswith("kubernetes:")]


def test_the_stack_declares_exactly_these_resources(stack: str, resources: tuple[Recorded, ...]) -> None:
    found = Counter((resource.type, resource.name, short_urn(resource.parent)) for resource in resources)
    assert found == Counter(expected(stack))


def test_urns_are_unique(resources: tuple[Recorded, ...]) -> None:
    assert [urn for urn, count in Counter(resource.urn for resource in resources).items() if count > 1] == []


def test_every_object_uses_the_explicit_provider(resources: tuple[Recorded, ...]) -> None:
    [provider] = [resource for resource in resources if resource.type == "pulumi:providers:kubernetes"]
    assert {resource.provider for resource in children(resources)} == {f"{provider.urn}::kubernetes-id"}


def test_the_provider_names_its_context_and_rolls_secrets_in_place(stack: str, resources: tuple[Recorded, ...]) -> None:
    [provider] = [resource for resource in resources if resource.type == "pulumi:providers:kubernetes"]
    wanted = {
        "dev": {"context": "payments-sandbox", "kubeconfig": ".sandbox/kubeconfig", "enableSecretMutable": "true"},
        "prod": {"context": "payments-prod", "enableSecretMutable": "true"},
    }
    assert dict(provider.inputs) == wanted[stack]


def test_t05_changes_are_ignored_for_replicas_of_deployments_and_nowhere_else(resources: tuple[Recorded, ...]) -> None:
    ignored = {resource.name: resource.ignore_changes for resource in resources if resource.ignore_changes}
    assert ignored == {
        f"{service}-{part}-deployment": ("spec.replicas",) for service in SERVICES for part in ("api", "consumer")
    }


def test_nothing_stateless_is_protected_retained_or_deleted_first(stack: str, resources: tuple[Recorded, ...]) -> None:
    # What is gone with one of these is gone: messages, rows, or who leads and with which settings.
    lasting = {
        *(f"{STRIMZI}:KafkaNodePool::kafka-{pool}" for pool in ("brokers", "controllers")),
        f"{STRIMZI}:Kafka::kafka-cluster",
        *(f"{STRIMZI}:KafkaTopic::{name}" for name in KAFKA_TOPICS),
        f"{STATEFUL_SET}::postgres-etcd-statefulset",
        *(f"{STATEFUL_SET}::postgres-{shard}-statefulset" for shard in SHARDS["prod"]),
        f"{CORE}:PersistentVolumeClaim::postgres-etcd-snapshots-claim",
        f"{CORE}:Namespace::database-namespace",
    }
    # A namespace that goes takes every topic with it; its guards belong to it.
    with_topics = {f"{kind}::{name}" for kind, name, _ in of_guarded_namespace("kafka", KAFKA)}
    # A replaced cluster is a cold cache: every read of the platform would reach the database.
    warm = {f"{STATEFUL_SET}::cache-statefulset"}
    production = stack == "prod"
    protected = {short_urn(resource.urn) for resource in resources if resource.protect}
    retained = {short_urn(resource.urn) for resource in resources if resource.retain_on_delete}
    assert protected == (lasting | with_topics | warm if production else set())
    assert retained == (lasting if production else set())
    assert not any(resource.delete_before_replace for resource in resources)


def test_no_aliases_but_those_of_the_sdk_itself(resources: tuple[Recorded, ...]) -> None:
    # The SDK's classes alias the older API versions of their kinds; more would be a component's alias on a child.
    of_the_sdk = {
        DEPLOYMENT: 3, STATEFUL_SET: 2, DAEMON_SET: 2, CRON_JOB: 2, SCALERS["dev"]: 3, FLOWS: 1, PDB: 1,
        f"{RBAC}:Role": 2, f"{RBAC}:RoleBinding": 2,
    }  # fmt: skip
    assert {r.urn: r.aliases for r in resources} == {r.urn: of_the_sdk.get(r.type, 0) for r in resources}


def test_options_of_the_caller_do_not_reach_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {r.name: r for r in recording_of("dev").resources if r.custom}
    register = pulumi.ComponentResource.__init__

    def with_more(self: pulumi.ComponentResource, t: str, name: str, _props: object, opts: object) -> None:
        more = pulumi.ResourceOptions(ignore_changes=["x"], aliases=[pulumi.Alias(name="old")], retain_on_delete=True)
        register(self, t, name, {}, pulumi.ResourceOptions.merge(opts, more))  # type: ignore[arg-type]

    monkeypatch.setattr(pulumi.ComponentResource, "__init__", with_more)
    decorated = record(lambda: runpy.run_path(str(ROOT / "__main__.py")), stack_file_of("dev"))
    components = [r for r in decorated.resources if not r.custom]
    assert all(r.ignore_changes == ("x",) and r.retain_on_delete for r in components)
    for child in (r for r in decorated.resources if r.custom):
        same = plain[child.name]
        assert (child.ignore_changes, child.retain_on_delete) == (same.ignore_changes, same.retain_on_delete)


def test_the_namespaces_guards_wait_for_the_namespace(resources: tuple[Recorded, ...]) -> None:
    for guard in (r for r in resources if r.custom and short_urn(r.parent) == NAMESPACE):
        wanted = set() if guard.type.endswith(":Namespace") else {f"{CORE}:Namespace::payments-namespace"}
        assert {short_urn(urn) for urn in guard.dependencies} == wanted


@pytest.mark.parametrize("service", SERVICES)
def test_every_object_of_a_service_waits_for_the_guards(
    stack: str, resources: tuple[Recorded, ...], service: str
) -> None:
    parts = {"account": ":ServiceAccount", "config": ":ConfigMap"}
    # Topics, credentials, the database's names and its schema are there before the code that needs them.
    before = GUARDS | {f"{STRIMZI}:KafkaTopic::{name}" for name in KAFKA_TOPICS}
    before |= {f"{STRIMZI}:KafkaUser::{name}" for name in KAFKA_USERS[stack]}
    before |= {f"{CORE}:Service::postgres-{shard}-alias-{end}" for shard in SHARDS[stack] for end in ("rw", "ro")}
    before |= {f"{JOB}::migrations-{shard}-job" for shard in SHARDS[stack]} | {f"{CORE}:ConfigMap::platform-contract"}
    needed_by_pods = {f"{CORE}{kind}::{service}-{part}" for part, kind in parts.items()}
    found = [r for r in resources if short_urn(r.parent) == f"{SERVICE}::{service}"]
    assert len(found) == 11
    for resource in found:
        wanted = before | needed_by_pods if resource.type == DEPLOYMENT else before
        if resource.type == SCALERS["prod"]:
            # KEDA's admission asks for the target; its triggers refer to the rules and to the credentials.
            target = resource.name.replace("-scaler", "-deployment")
            wanted = wanted | {f"{DEPLOYMENT}::{target}", f"{RULES}::autoscaling-rules"}
            wanted |= {f"{AUTHENTICATION}::autoscaling-kafka"}
        assert {short_urn(urn) for urn in resource.dependencies} == wanted, resource.name


def test_the_stack_exports_where_things_are_and_nothing_else(stack: str) -> None:
    assert recording_of(stack).exports == {
        "environment": stack,
        "namespace": "payments",
        "endpoints": {service: f"{service}-svc.payments:8080" for service in SERVICES},
    }
