"""Ignored fields: left to their owner, or kept at the live value when the owner is us."""

import json
from typing import Any

from sandbox.plugins.kubernetes.ownership import applied_by, conflict_message, owners, settle_ignored
from sandbox.plugins.kubernetes.paths import get, parse

US, SCALER = "pulumi-kubernetes-1", "kube-controller-manager"


def live(*, scaler: bool, replicas: int = 7) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "f:spec": {
            "f:template": {
                "f:spec": {"f:containers": {'k:{"name":"app"}': {".": {}, "f:name": {}, "f:image": {}}}},
            },
        }
    }
    managed = [{"manager": US, "operation": "Apply", "fieldsV1": ours}]
    if scaler:
        managed.append({"manager": SCALER, "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
    else:
        ours["f:spec"]["f:replicas"] = {}
    return {
        "metadata": {"managedFields": managed},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "image": "live:1"}]}}},
    }


def desired() -> dict[str, Any]:
    containers = [{"name": "app", "image": "new:2"}]
    return {"spec": {"replicas": 3, "paused": False, "template": {"spec": {"containers": containers}}}}


def settled(current: dict[str, Any], *ignored: str) -> dict[str, Any]:
    return settle_ignored(desired(), current, [parse(path) for path in ignored], US)


def test_the_scalers_field_is_left_out() -> None:
    applied = settled(live(scaler=True), "spec.replicas")
    assert "replicas" not in applied["spec"]
    assert applied["spec"]["template"] == desired()["spec"]["template"]


def test_our_own_field_keeps_the_live_value() -> None:
    assert settled(live(scaler=False, replicas=7), "spec.replicas")["spec"]["replicas"] == 7


def test_a_field_owned_by_nobody_is_left_out() -> None:
    assert "paused" not in settled(live(scaler=False), "spec.paused")["spec"]


def test_an_element_of_a_list_is_found_by_its_key() -> None:
    image = "spec.template.spec.containers[*].image"
    assert get(settled(live(scaler=True), image), parse("spec.template.spec.containers[0].image")) == "live:1"


def test_without_ignored_paths_nothing_changes() -> None:
    assert settled(live(scaler=True)) == desired()


def test_owners_of_values_and_of_whole_fields() -> None:
    current = {
        "metadata": {
            "managedFields": [
                {"manager": "a", "fieldsV1": {"f:metadata": {"f:finalizers": {'v:"x"': {}}}}},
                {"manager": "b", "fieldsV1": {"f:spec": {}}},
            ],
            "finalizers": ["x", "y"],
        },
        "spec": {"deep": {"er": 1}},
    }
    assert owners(current, ("metadata", "finalizers", 0)) == {"a"}
    assert owners(current, ("metadata", "finalizers", 1)) == set()
    assert owners(current, ("spec", "deep", "er")) == {"b"}


def test_only_an_apply_makes_an_object_ours() -> None:
    assert applied_by(live(scaler=True), US)
    assert not applied_by(live(scaler=True), SCALER)
    assert not applied_by({"metadata": {}}, US)


def test_a_conflict_message_names_field_owner_and_way_out() -> None:
    text = conflict_message("Deployment", "web", [(".spec.replicas", 'conflict with "kubectl"')], US)
    for word in ("Deployment web", ".spec.replicas", "kubectl", "pulumi.com/patchForce", "ignore_changes"):
        assert word in text
    json.dumps(text)
