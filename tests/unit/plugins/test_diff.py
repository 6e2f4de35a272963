"""Differences of declarations, and which of them need a new object."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins.kubernetes.checking import AUTONAMED
from sandbox.plugins.kubernetes.diff import Kind, changes, object_diff
from sandbox.plugins.kubernetes.kinds import immutable_paths, refused
from sandbox.plugins.kubernetes.paths import show
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


def shown(old: Any, new: Any) -> dict[str, Kind]:
    return {show(change.path): change.kind for change in changes(old, new)}


@given(OBJECTS)
def test_an_object_does_not_differ_from_itself(value: dict[str, Any]) -> None:
    assert list(changes(value, value)) == []


@given(OBJECTS, OBJECTS)
def test_there_is_a_difference_exactly_when_the_values_differ(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert bool(list(changes(old, new))) == (not _same(old, new))


def _same(one: Any, other: Any) -> bool:
    """Equality in which true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(OBJECTS, OBJECTS)
def test_the_way_back_has_the_same_paths(old: dict[str, Any], new: dict[str, Any]) -> None:
    there = {change.path for change in changes(old, new)}
    assert {change.path for change in changes(new, old)} == there


def test_paths_and_kinds_of_an_ordinary_edit() -> None:
    old = {"spec": {"containers": [{"image": "a:1", "env": ["x"]}], "paused": True}, "metadata": {"labels": {}}}
    new = {"spec": {"containers": [{"image": "a:2", "env": ["x", "y"]}]}, "metadata": {"labels": {"a/b.c": "1"}}}
    assert shown(old, new) == {
        "spec.containers[0].image": Kind.UPDATE,
        "spec.containers[0].env[1]": Kind.ADD,
        "spec.paused": Kind.DELETE,
        'metadata.labels["a/b.c"]': Kind.ADD,
    }


def test_null_is_absent_and_a_secret_is_compared_by_its_value() -> None:
    assert shown({"a": None}, {}) == {}
    assert shown({"a": Secret("x")}, {"a": "x"}) == {}
    assert shown({"a": Secret("x")}, {"a": Secret("y")}) == {"a": Kind.UPDATE}


def test_what_is_not_known_yet_differs() -> None:
    assert shown({"a": 1, "b": 2}, {"a": UNKNOWN, "b": 2}) == {"a": Kind.UPDATE}


def named(**changed: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "payments"}, **changed}


@pytest.mark.parametrize(
    ("api_version", "kind", "path"),
    [
        ("apps/v1", "Deployment", "spec.selector.matchLabels.app"),
        ("apps/v1", "StatefulSet", "spec.serviceName"),
        ("apps/v1", "StatefulSet", "spec.podManagementPolicy"),
        ("apps/v1", "StatefulSet", "spec.volumeClaimTemplates"),
        ("apps/v1", "StatefulSet", "spec.revisionHistoryLimit"),
        ("batch/v1", "Job", "spec.template.spec"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "roleRef.name"),
        ("v1", "ConfigMap", "data.a"),
        ("v1", "Secret", "stringData.a"),
        ("keda.sh/v1alpha1", "ScaledObject", "metadata.name"),
        ("v1", "Service", "metadata.namespace"),
    ],
)
def test_an_immutable_field_replaces(api_version: str, kind: str, path: str) -> None:
    old, new = _at(path, "1"), _at(path, "2")
    diff = object_diff(old, new, immutable_paths(api_version, kind, {}))
    assert [change.replaces for change in diff.changes] == [True]


def _at(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return dict(value)


def test_a_mutable_field_does_not_replace() -> None:
    diff = object_diff(_at("spec.replicas", 1), _at("spec.replicas", 2), immutable_paths("apps/v1", "Deployment", {}))
    assert diff.changes
    assert not diff.replaces
    assert not diff.delete_before_replace


def test_removing_what_surrounds_an_immutable_field_replaces() -> None:
    assert object_diff(_at("spec.selector.a", 1), {}, immutable_paths("apps/v1", "Deployment", {})).replaces


def test_config_can_be_declared_mutable() -> None:
    mutable = {"enableConfigMapMutable": True}
    diff = object_diff(_at("data.a", "1"), _at("data.a", "2"), immutable_paths("v1", "ConfigMap", mutable))
    assert not diff.replaces
    still = object_diff(_at("data.a", "1"), _at("data.a", "2"), immutable_paths("v1", "Secret", mutable))
    assert still.replaces


def test_a_name_that_the_user_chose_is_freed_first() -> None:
    immutable = immutable_paths("v1", "ConfigMap", {})
    old, new = named(data={"a": "1"}), named(data={"a": "2"})
    assert object_diff(old, new, immutable).delete_before_replace
    generated = {AUTONAMED: True}
    assert not object_diff({**old, **generated}, {**new, **generated}, immutable).delete_before_replace
    renamed = {**new, "metadata": {"name": "other", "namespace": "payments"}}
    assert object_diff(old, renamed, immutable).replaces
    assert not object_diff(old, renamed, immutable).delete_before_replace


def test_what_is_not_supported_is_refused_with_a_way_out() -> None:
    for token in (
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:yaml/v2:ConfigGroup",
        "kubernetes:kustomize/v2:Directory",
    ):
        assert "Pulumi's own Kubernetes plugin" in (refused(token) or "")
    assert "does not own" in (refused("kubernetes:apps/v1:DeploymentPatch") or "")
    assert "lists" in (refused("kubernetes:core/v1:ConfigMapList") or "")
    for token in ("kubernetes:apps/v1:Deployment", "kubernetes:keda.sh/v1alpha1:ScaledObject"):
        assert refused(token) is None
