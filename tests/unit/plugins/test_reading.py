"""Live objects as inputs: drift is found, what the server merely wrote differently is not."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins.kubernetes.reading import (
    as_preview,
    hide_secret_data,
    imported_inputs,
    live_inputs,
    refreshed_inputs,
)
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_where_the_live_object_is_what_the_declaration_means_nothing_changes(
    declared: dict[str, Any], normal: dict[str, Any]
) -> None:
    assert live_inputs(declared, normal, normal) == declared


@given(OBJECTS, OBJECTS)
def test_only_declared_fields_are_looked_at(declared: dict[str, Any], live: dict[str, Any]) -> None:
    assert set(live_inputs(declared, declared, live)) <= set(declared)


def test_another_spelling_is_no_drift_and_another_value_is() -> None:
    declared = {"cpu": "1000m", "memory": "1024Mi", "labels": {}, "items": [{"a": 1}]}
    normal = {"cpu": "1", "memory": "1Gi", "items": [{"a": 1, "default": True}]}
    assert live_inputs(declared, normal, normal) == declared
    drifted = {"cpu": "2", "memory": "1Gi", "items": [{"a": 2, "default": True}]}
    assert live_inputs(declared, normal, drifted) == {**declared, "cpu": "2", "items": [{"a": 2}]}


def test_a_removed_field_is_removed_and_a_longer_list_is_taken_over() -> None:
    declared = {"a": 1, "b": [1]}
    assert live_inputs(declared, declared, {"b": [1, 2]}) == {"b": [1, 2]}


def test_a_secret_stays_one() -> None:
    assert live_inputs({"a": Secret("x")}, {"a": "x"}, {"a": "y"}) == {"a": Secret("y")}


def test_write_only_secret_data_is_no_drift_until_the_data_differs() -> None:
    declared = {"kind": "Secret", "stringData": Secret({"p": "x"})}
    normal = {"kind": "Secret", "data": {"p": "eA=="}}
    assert refreshed_inputs(declared, normal, normal) == declared
    changed = refreshed_inputs(declared, normal, {"kind": "Secret", "data": {"p": "eQ=="}})
    assert changed == {"kind": "Secret", "data": Secret({"p": "eQ=="})}


LIVE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "a", "uid": "u", "resourceVersion": "5", "managedFields": [], "labels": {"x": "y"}},
    "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"},
    "status": {"loadBalancer": {}},
}


def test_an_import_leaves_out_what_is_the_servers() -> None:
    assert imported_inputs(LIVE) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a", "labels": {"x": "y"}},
        "spec": LIVE["spec"],
    }


def test_a_preview_does_not_promise_what_only_the_real_run_knows() -> None:
    preview = as_preview(LIVE, {}, creating=True)
    assert preview["metadata"]["uid"] is UNKNOWN
    assert preview["spec"] == {"type": "ClusterIP", "clusterIP": UNKNOWN}
    assert preview["status"] is UNKNOWN
    assert as_preview(LIVE, {"spec": {"clusterIP": "10.0.0.1"}}, creating=True)["spec"] == LIVE["spec"]
    assert as_preview(LIVE, {}, creating=False)["metadata"]["uid"] == "u"


def test_the_data_of_a_secret_is_secret_wherever_it_comes_from() -> None:
    assert hide_secret_data({"apiVersion": "v1", "kind": "Secret", "data": {"a": "b"}})["data"] == Secret({"a": "b"})
    assert hide_secret_data({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}})["data"] == {"a": "b"}
