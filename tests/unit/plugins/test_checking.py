"""Completing a declaration: names, namespaces, complaints."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sandbox.plugins.kubernetes.checking import AUTONAMED, Naming, checked
from sandbox.plugins.kubernetes.values import UNKNOWN, Secret

BASE = {"apiVersion": "v1", "kind": "ConfigMap"}


def naming(seed: bytes = b"1", **changed: Any) -> Naming:
    return Naming(resource_name="Settings_a", seed=seed, **changed)


def name_of(inputs: dict[str, Any]) -> Any:
    return inputs["metadata"]["name"]


def check(new: dict[str, Any], old: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    naming_ = changed.pop("naming", naming())
    inputs, failures = checked(
        {**BASE, **new}, old or {}, naming=naming_, namespace=changed.pop("namespace", "payments")
    )
    assert failures == []
    return inputs


@given(st.binary(min_size=1, max_size=32))
def test_a_generated_name_follows_from_the_seed_and_is_a_name(seed: bytes) -> None:
    first, second = check({}, naming=naming(seed)), check({}, naming=naming(seed))
    assert name_of(first) == name_of(second)
    prefix, _, suffix = name_of(first).rpartition("-")
    assert prefix == "settings-a"
    assert len(suffix) == 8
    assert first[AUTONAMED] is True


def test_a_generated_name_is_kept_while_the_object_lives() -> None:
    first = check({}, naming=naming(b"1"))
    assert name_of(check({"data": {}}, first, naming=naming(b"2"))) == name_of(first)
    assert name_of(check({}, naming=naming(b"2"))) != name_of(first)


def test_a_chosen_name_stays_and_drops_the_mark() -> None:
    old = check({})
    new = check({"metadata": {"name": "mine"}}, old)
    assert name_of(new) == "mine"
    assert AUTONAMED not in new


def test_the_engine_may_propose_or_forbid_generated_names() -> None:
    assert name_of(check({}, naming=naming(proposed="proposed"))) == "proposed"
    _, failures = checked(dict(BASE), {}, naming=naming(disabled=True), namespace=None)
    assert [failure.path for failure in failures] == ["metadata.name"]


def test_the_namespace_is_filled_in_only_where_there_are_namespaces() -> None:
    assert check({})["metadata"]["namespace"] == "payments"
    assert check({"metadata": {"namespace": "other"}})["metadata"]["namespace"] == "other"
    assert "namespace" not in check({"metadata": {"namespace": "other"}}, namespace=None)["metadata"]


def test_unknown_and_secret_values_stay() -> None:
    inputs = check({"metadata": {"name": UNKNOWN, "namespace": UNKNOWN}, "data": Secret({"a": "b"})})
    assert inputs["metadata"] == {"name": UNKNOWN, "namespace": UNKNOWN}
    assert inputs["data"] == Secret({"a": "b"})
    assert check({"metadata": UNKNOWN})["metadata"] is UNKNOWN


def test_a_declaration_without_kind_or_version_is_refused() -> None:
    _, failures = checked({"kind": 5}, {}, naming=naming(), namespace=None)
    assert [failure.path for failure in failures] == ["apiVersion", "kind"]
