"""What a change of the settings touches, and above all what it leaves alone."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from cli.recording import Recording, record_program
from cli.render import manifests, to_yaml
from tests.unit.stacks import (
    REMOVED,
    SERVICES,
    STACKS,
    Changes,
    manifest,
    manifests_of,
    platform_of,
    recording_of,
    stack_file_for,
    stack_file_of,
)

on_both_stacks = pytest.mark.parametrize("stack", STACKS)
# Each service once and each stack at least once: every change is a recording of its own.
on_each_service = pytest.mark.parametrize(
    ("stack", "service"), list(zip(("dev", "prod", "dev"), SERVICES, strict=True))
)
RULES = "1-payments-prometheusrule-autoscaling-inputs.yaml"
QUOTA = "1-payments-resourcequota-quota.yaml"
# Whose pods may reach the caches, and whose passwords they know.
CACHE_FLOWS = {f"1-cache-networkpolicy-{name}-flows.yaml" for name in ("redis-cluster", "redis-local")}
CACHE_WORKLOADS = {"1-cache-statefulset-redis-cluster.yaml", "1-cache-daemonset-redis-local.yaml"}
DATABASES = {"dev": ["postgres-cluster"], "prod": ["postgres-cluster", "postgres-cluster-s01"]}
FOURTH = "refund-service"
PARTS = ("deployment", "pdb", "flows", "scaler")


def changed_files(stack: str, changes: Changes) -> tuple[set[str], set[str], set[str]]:
    """Files that are new, gone, and different."""
    before, after = manifests_of(stack), manifests_of(stack, changes)
    different = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    return after.keys() - before.keys(), before.keys() - after.keys(), different


def identities(recording: Recording) -> set[str]:
    return {resource.urn for resource in recording.resources}


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(part) for key, part in reversed(value.items())}
    return [reversed_keys(part) for part in value] if isinstance(value, list) else value


def fourth(stack: str) -> dict[str, Any]:
    """One more service: the wallet's block under its own names."""
    block: dict[str, Any] = platform_of(stack)["services"]["wallet-service"]
    block["consumer"] |= {"name": "refund-processors", "group": f"{FOURTH}-group"}
    return block


def overviews(stack: str) -> set[str]:
    """Where every workload is named: who may reach the brokers, what the client knows, dashboards and alerts."""
    return {
        QUOTA,
        RULES,
        "1-kafka-kafka-kafka-cluster.yaml",  # its listener admits pods by their labels
        "1-kafka-networkpolicy-kafka-cluster-kafka-flows.yaml",
        *(["1-kafka-kafkauser-keda.yaml"] if stack == "prod" else []),  # may read the lag of each group
        "1-payments-configmap-platform-contract.yaml",
        *(f"1-payments-configmap-dashboard-{board}.yaml" for board in ("kafka", "service")),
        *(f"1-payments-prometheusrule-payments-{rules}.yaml" for rules in ("alerts", "indicators")),
    }


def poolers(stack: str) -> list[str]:
    """Whose settings name each user of the database, and whose flows each workload."""
    return [f"{cluster}-pooler-{end}" for cluster in DATABASES[stack] for end in ("rw", "ro")]


def pooler_flows(stack: str) -> set[str]:
    return {f"1-database-networkpolicy-{pooler}-flows.yaml" for pooler in poolers(stack)}


def of_workload(stack: str, name: str) -> set[str]:
    """What a Deployment brings with it in the services' namespace, and its user of Kafka."""
    kinds = (
        f"deployment-{name}",
        f"poddisruptionbudget-{name}",
        f"networkpolicy-{name}-flows",
        scaler_file(stack, name),
        f"podmonitor-{name}-pods",
        f"networkpolicy-{name}-scraped",
    )
    return {*(f"1-payments-{kind}.yaml" for kind in kinds), f"1-kafka-kafkauser-{name}.yaml"}


def of_group(service: str) -> set[str]:
    """Topics of its consumers' group."""
    return {f"1-kafka-kafkatopic-{service}-group-{role}.yaml" for role in ("retry", "dead-letter")}


def of_service(stack: str, service: str) -> set[str]:
    """All but the configuration, whose name ends with a hash."""
    consumer = f"{service.removesuffix('-service')}-processors"
    own = {f"1-payments-serviceaccount-{service}.yaml", f"1-payments-service-{service}-svc.yaml"}
    return own | of_workload(stack, service) | of_workload(stack, consumer) | of_group(service)


def without_hashes(names: Iterable[str]) -> Counter[str]:
    return Counter(re.sub(r"-[0-9a-f]{8}\.yaml$", "", name) for name in names)


def scaler_file(stack: str, workload: str) -> str:
    """Kind and name of a workload's scaler, as the rendered file is called."""
    return f"horizontalpodautoscaler-{workload}-hpa" if stack == "dev" else f"scaledobject-{workload}"


@on_both_stacks
def test_rendering_twice_gives_the_same_bytes(stack: str) -> None:
    once, again = (record_program(stack_file_of(stack)) for _ in range(2))
    assert once == again
    texts = [{name: to_yaml(m) for name, m in manifests(r.resources).items()} for r in (once, again)]
    assert list(texts[0].items()) == list(texts[1].items())


@on_both_stacks
def test_the_order_of_keys_in_the_stack_file_changes_nothing(stack: str) -> None:
    other_way_round = reversed_keys(platform_of(stack))
    assert list(other_way_round["services"]) != list(platform_of(stack)["services"])
    recording = record_program(stack_file_for(stack, other_way_round))
    assert recording == recording_of(stack)
    assert json.dumps(manifests(recording.resources), sort_keys=True) == json.dumps(manifests_of(stack), sort_keys=True)


@on_both_stacks
def test_a_fourth_service_is_a_block_and_gives_exactly_its_own_objects(stack: str) -> None:
    added = {f"services/{FOURTH}": fourth(stack)}
    new, gone, different = changed_files(stack, added)
    [config] = [name for name in new if "-configmap-" in name]
    assert config.startswith(f"1-payments-configmap-{FOURTH}-config-")
    assert new - {config} == of_service(stack, FOURTH)
    assert gone == set()
    assert different == overviews(stack)


@on_both_stacks
def test_a_fourth_service_gives_twenty_new_resources_and_keeps_every_urn(stack: str) -> None:
    before, after = (identities(recording_of(stack, c)) for c in (None, {f"services/{FOURTH}": fourth(stack)}))
    assert before <= after
    workloads = (FOURTH, "refund-processors")
    assert Counter(urn.split("::")[-1] for urn in after - before) == Counter(
        [
            *(f"{FOURTH}{part}" for part in ("", "-account", "-config", "-svc")),
            *(f"{FOURTH}-{part}-{kind}" for part in ("api", "consumer") for kind in PARTS),
            *(f"kafka-user-{name}" for name in workloads),
            *(f"kafka-topic-{FOURTH}-group-{role}" for role in ("retry", "dead-letter")),
            *(f"monitoring-{what}-{name}" for what in ("monitor", "scrape") for name in workloads),
        ]
    )


@on_both_stacks
def test_a_removed_consumer_removes_exactly_its_own_objects(stack: str) -> None:
    new, gone, different = changed_files(stack, {"services/wallet-service/consumer": REMOVED})
    assert new == set()
    assert gone == of_workload(stack, "wallet-processors") | of_group("wallet-service")
    assert different == overviews(stack) | CACHE_FLOWS | pooler_flows(stack)


@on_both_stacks
def test_a_removed_service_removes_exactly_its_own_objects(stack: str) -> None:
    blocks = ("services", "cache/users", "postgres/users", "observability/objectives")
    new, gone, different = changed_files(stack, {f"{block}/gateway-service": REMOVED for block in blocks})
    # They list the users of the caches: other contents are another ConfigMap. The poolers' users are roles.
    replaced = without_hashes(f"1-cache-configmap-{name}-config" for name in ("redis-cluster", "redis-local"))
    own = gone - {name for name in gone if without_hashes([name]) <= replaced}
    assert without_hashes(new) == without_hashes(gone - own) == replaced
    [config] = [name for name in own if "-configmap-" in name]
    assert config.startswith("1-payments-configmap-gateway-service-config-")
    assert own - {config} == of_service(stack, "gateway-service")
    assert different == {
        *overviews(stack),
        "1-payments-configmap-dashboard-autoscaling.yaml",  # inputs that only it scales by
        *CACHE_FLOWS,
        *CACHE_WORKLOADS,
        *pooler_flows(stack),
    }


@on_each_service
def test_changed_configuration_is_a_new_config_map_and_rolls_that_service_only(stack: str, service: str) -> None:
    changes = {f"services/{service}/config/LOG_LEVEL": "debug"}
    new, gone, different = changed_files(stack, changes)
    [created], [removed] = new, gone
    assert created.startswith(f"1-payments-configmap-{service}-config-")
    assert removed.startswith(f"1-payments-configmap-{service}-config-")
    consumer = f"{service.removesuffix('-service')}-processors"
    assert different == {f"1-payments-deployment-{name}.yaml" for name in (service, consumer)}
    for workload in (service, consumer):
        before, after = (manifest(stack, "Deployment", workload, c)["spec"]["template"] for c in (None, changes))
        references = [pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] for pod in (before, after)]
        assert references[0] != references[1]
        assert f"1-payments-configmap-{references[1]}.yaml" == created
        after["spec"]["containers"][0]["envFrom"] = before["spec"]["containers"][0]["envFrom"]
        assert before == after


@on_both_stacks
def test_the_config_map_is_another_object_under_the_same_urn(stack: str) -> None:
    """The engine replaces it, creating the new one first: running pods keep what they started with."""
    changes = {"services/wallet-service/config/LOG_LEVEL": "debug"}
    assert identities(recording_of(stack)) == identities(recording_of(stack, changes))


@on_each_service
def test_a_changed_image_touches_one_pair_of_deployments_and_nothing_else(stack: str, service: str) -> None:
    image = f"registry.example.com/x@sha256:{'0' * 64}"
    changes = {f"services/{service}/image": image}
    consumer = f"{service.removesuffix('-service')}-processors"
    pair = {f"1-payments-deployment-{name}.yaml" for name in (service, consumer)}
    assert changed_files(stack, changes) == (set(), set(), pair)
    for workload in (service, consumer):
        before, after = (manifest(stack, "Deployment", workload, c) for c in (None, changes))
        assert after["spec"]["template"]["spec"]["containers"][0]["image"] == image
        before["spec"]["template"]["spec"]["containers"][0]["image"] = image
        assert before == after


@on_both_stacks
def test_a_changed_maximum_touches_the_autoscaler_and_the_quota(stack: str) -> None:
    changes = {"services/wallet-service/api/scaling/max_replicas": 14}
    hpa = f"1-payments-{scaler_file(stack, 'wallet-service')}.yaml"
    assert changed_files(stack, changes) == (set(), set(), {hpa, QUOTA})
