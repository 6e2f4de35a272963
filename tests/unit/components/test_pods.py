"""Secure and available defaults, field by field, on every pod of both stacks."""

from typing import Any

import pytest

from components.base.labels import SELECTOR_KEYS, Labels, selector
from settings.base import Environment
from tests.unit.stacks import STACKS, Changes, manifest, of_kind

APIS = ("payment-service", "wallet-service", "gateway-service")
CONSUMERS = {
    "payment-processors": "payment-service",
    "wallet-processors": "wallet-service",
    "gateway-processors": "gateway-service",
}
WORKLOADS = (*APIS, *CONSUMERS)
OWNERS = {"payment-service": "payments", "wallet-service": "wallets", "gateway-service": "gateway"}
PCI_SCOPES = {"payment-service": "cde", "wallet-service": "connected", "gateway-service": "cde"}


@pytest.fixture(params=[(stack, workload) for stack in STACKS for workload in WORKLOADS], ids="-".join)
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    stack, workload = request.param
    return stack, workload


@pytest.fixture
def deployment(place: tuple[str, str]) -> dict[str, Any]:
    return manifest(place[0], "Deployment", place[1])


@pytest.fixture
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    [only] = pod["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_the_deployments_are_the_plans(stack: str) -> None:
    shards = {"dev": ("s00",), "prod": ("s00", "s01")}[stack]
    assert set(of_kind(stack, "Deployment")) == {*WORKLOADS, *(f"database-metrics-{shard}" for shard in shards)}


def test_t31_the_pod_runs_as_a_high_non_root_id_with_the_runtimes_seccomp_profile(pod: dict[str, Any]) -> None:
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_t31_the_container_gains_nothing_and_writes_nothing(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_has_its_services_account_and_no_token(pod: dict[str, Any], place: tuple[str, str]) -> None:
    account = CONSUMERS.get(place[1], place[1])
    assert pod["serviceAccountName"] == account
    assert pod["automountServiceAccountToken"] is False
    assert manifest(place[0], "ServiceAccount", account)["automountServiceAccountToken"] is False


def test_the_pod_uses_nothing_of_its_node_and_sees_no_service_variables(pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "hostAliases"} & set(pod)


def test_the_only_writable_path_is_a_small_tmp(pod: dict[str, Any], container: dict[str, Any]) -> None:
    writable = [volume for volume in pod["volumes"] if "emptyDir" in volume]
    assert writable == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    mounts = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert mounts == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 # a path inside the container


def test_s1_requests_and_limits_are_the_plans_with_bounded_local_storage(container: dict[str, Any]) -> None:
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "256Mi"},
        "limits": {"cpu": "1000m", "memory": "2Gi", "ephemeral-storage": "256Mi"},
    }


def test_t31_three_probes_ask_three_questions(container: dict[str, Any]) -> None:
    def probe(path: str, failures: int) -> dict[str, Any]:
        get = {"path": path, "port": "http"}
        return {"httpGet": get, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": failures}

    # 24 failures at 5 s are the 120 s that a start may take; liveness needs three times as long as readiness.
    assert container["startupProbe"] == probe("/health/startup", 24)
    assert container["readinessProbe"] == probe("/health/ready", 2)
    assert container["livenessProbe"] == probe("/health/live", 6)


def test_s1_the_port_is_open_under_its_name(container: dict[str, Any], place: tuple[str, str]) -> None:
    port = 8081 if place[1] in CONSUMERS else 8080
    assert container["ports"] == [{"name": "http", "containerPort": port, "protocol": "TCP"}]


def test_t31_no_image_is_latest_and_prod_names_digests(container: dict[str, Any], place: tuple[str, str]) -> None:
    service = CONSUMERS.get(place[1], place[1])
    if place[0] == "dev":
        assert container["image"] == f"{service}:1.0.0"
    else:
        assert container["image"].startswith(f"registry.example.com/payments/{service}@sha256:")
    assert container["imagePullPolicy"] == "IfNotPresent"


def test_pods_spread_over_zones_and_hosts_per_revision(pod: dict[str, Any], place: tuple[str, str]) -> None:
    common = {
        "maxSkew": 1,
        "labelSelector": {"matchLabels": {"app": place[1]}},
        "matchLabelKeys": ["pod-template-hash"],
    }
    assert pod["topologySpreadConstraints"] == [
        {
            **common,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
        },
        {**common, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
    ]


def test_an_api_leaves_the_endpoints_before_it_stops(
    pod: dict[str, Any], container: dict[str, Any], place: tuple[str, str]
) -> None:
    if place[1] in CONSUMERS:
        assert "lifecycle" not in container
        assert pod["terminationGracePeriodSeconds"] == 60
    else:
        assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
        assert pod["terminationGracePeriodSeconds"] == 45


def test_the_rollout_loses_no_api_capacity_and_adds_no_consumer(
    deployment: dict[str, Any], place: tuple[str, str]
) -> None:
    api, consumer = {"maxSurge": "25%", "maxUnavailable": 0}, {"maxSurge": 0, "maxUnavailable": 1}
    wanted = consumer if place[1] in CONSUMERS else api
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": wanted}
    assert deployment["spec"]["revisionHistoryLimit"] == 5
    assert deployment["spec"]["progressDeadlineSeconds"] == 600


def test_selectors_are_frozen(deployment: dict[str, Any], place: tuple[str, str]) -> None:
    # spec.selector is immutable: one more key would delete and recreate every Deployment.
    assert SELECTOR_KEYS == ("app",)
    assert selector(place[1]) == {"app": place[1]}
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": place[1]}}
    assert deployment["spec"]["template"]["metadata"]["labels"]["app"] == place[1]


def test_every_selector_of_an_object_is_the_frozen_one(place: tuple[str, str]) -> None:
    stack, workload = place
    assert manifest(stack, "PodDisruptionBudget", workload)["spec"]["selector"] == {"matchLabels": {"app": workload}}
    flows = manifest(stack, "NetworkPolicy", f"{workload}-flows")
    assert flows["spec"]["podSelector"] == {"matchLabels": {"app": workload}}
    if workload in APIS:
        assert manifest(stack, "Service", f"{workload}-svc")["spec"]["selector"] == {"app": workload}


def test_pods_carry_the_labels_of_their_object_and_the_selector(
    deployment: dict[str, Any], place: tuple[str, str]
) -> None:
    stack, workload = place
    service = CONSUMERS.get(workload, workload)
    labels = {
        "app.kubernetes.io/name": service,
        "app.kubernetes.io/component": "consumer" if workload in CONSUMERS else "api",
        "app.kubernetes.io/part-of": "payments-platform",
        "app.kubernetes.io/managed-by": "pulumi",
        "payments.dev/environment": stack,
        "owner": OWNERS[service],
        "pci-scope": PCI_SCOPES[service],
    }
    assert deployment["metadata"]["labels"] == labels
    assert deployment["spec"]["template"]["metadata"]["labels"] == {**labels, "app": workload}


def test_labels_without_owner_are_left_out_rather_than_empty() -> None:
    labels = Labels(name="x", environment=Environment.DEV).of("api")
    assert "owner" not in labels
    assert "pci-scope" not in labels


def test_s1_configuration_comes_from_the_config_map(container: dict[str, Any], place: tuple[str, str]) -> None:
    service = CONSUMERS.get(place[1], place[1])
    [source] = container["envFrom"]
    name = source["configMapRef"]["name"]
    config = manifest(place[0], "ConfigMap", name)
    assert name.startswith(f"{service}-config-")
    assert config["immutable"] is True
    assert set(config["data"]) == {"KAFKA_BROKERS", "DB_HOST", "LOG_LEVEL"}


def test_s7_a_consumer_knows_its_group_and_topic(container: dict[str, Any], place: tuple[str, str]) -> None:
    entries = [entry for entry in container.get("env", []) if not entry["name"].endswith("_FILE")]
    plain = {entry["name"]: entry.get("value") for entry in entries}
    brokers = {
        "KAFKA_BROKERS": "kafka-cluster-kafka-bootstrap.kafka.svc:9093",
        "KAFKA_RACK": None,
        "KAFKA_USERNAME": place[1],
    }
    zone = {"fieldRef": {"fieldPath": "metadata.labels['topology.kubernetes.io/zone']"}}
    assert [entry["valueFrom"] for entry in entries if "valueFrom" in entry] == [zone]
    if place[1] in APIS:
        assert plain == brokers
    else:
        service = CONSUMERS[place[1]]
        topic = f"{service.removesuffix('-service')}-events"
        assert plain == {**brokers, "KAFKA_CONSUMER_GROUP": f"{service}-group", "KAFKA_TOPIC": topic}


def test_a_probe_port_of_its_own_is_opened_and_asked() -> None:
    changes = {"services/payment-service/api/probes": {"port": 9000}}
    [container] = manifest("dev", "Deployment", "payment-service", changes)["spec"]["template"]["spec"]["containers"]
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("http", 8080), ("health", 9000)]
    probes = [container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")]
    assert probes == ["health"] * 3


def test_a_service_without_configuration_has_no_config_map() -> None:
    changes: Changes = {"services/payment-service/config": {}}
    names = of_kind("dev", "ConfigMap", changes)
    assert not [name for name in names if name.startswith("payment-service")]
    [container] = manifest("dev", "Deployment", "payment-service", changes)["spec"]["template"]["spec"]["containers"]
    assert "envFrom" not in container
    given = {"KAFKA_BROKERS", "KAFKA_RACK", "KAFKA_USERNAME", "KAFKA_PASSWORD_FILE", "KAFKA_CA_FILE"}
    assert {entry["name"] for entry in container["env"]} == given
    alone = manifest("dev", "Deployment", "payment-service", {**changes, "kafka": None})
    [container] = alone["spec"]["template"]["spec"]["containers"]
    assert not {"envFrom", "env"} & set(container)


@pytest.mark.parametrize("stack", STACKS)
def test_s1_each_service_is_reached_inside_the_cluster_at_its_port(stack: str) -> None:
    services = of_kind(stack, "Service")
    # The others are the names of the database's shards, which lead into its own namespace.
    shards = {"dev": ["postgres-cluster"], "prod": ["postgres-cluster", "postgres-cluster-s01"]}[stack]
    names = {name for shard in shards for name in (shard, f"{shard}-ro")}
    assert set(services) == {*(f"{name}-svc" for name in APIS), *names}
    for name in APIS:
        spec = services[f"{name}-svc"]["spec"]
        port = {"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}
        assert spec == {"type": "ClusterIP", "selector": {"app": name}, "ports": [port]}
