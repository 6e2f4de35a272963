"""Rendering: one file per object, in the order to apply them, and never a secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.render import SECRET_PLACEHOLDER, file_name, manifests, plain, to_yaml, write
from tests.unit.stacks import REMOVED, STACKS, manifests_of, recording_of

SIGNATURE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def secret(value: Any) -> dict[str, Any]:
    """A value as the wire wraps it."""
    return {**SIGNATURE, "value": value}


@pytest.mark.parametrize(
    ("kind", "metadata", "name"),
    [
        ("Namespace", {"name": "payments"}, "0-cluster-namespace-payments.yaml"),
        ("Deployment", {"name": "a", "namespace": "n"}, "1-n-deployment-a.yaml"),
        ("ClusterRole", {"name": "a"}, "1-cluster-clusterrole-a.yaml"),
        ("HorizontalPodAutoscaler", {"name": "a-hpa", "namespace": "n"}, "1-n-horizontalpodautoscaler-a-hpa.yaml"),
    ],
)
def test_a_file_is_named_after_its_object(kind: str, metadata: dict[str, str], name: str) -> None:
    assert file_name({"kind": kind, "metadata": metadata}) == name


@pytest.mark.parametrize("stack", STACKS)
def test_the_namespace_comes_first_and_the_rest_is_sorted(stack: str) -> None:
    names = list(manifests_of(stack))
    assert names[:5] == [
        "0-cluster-namespace-cache.yaml",
        "0-cluster-namespace-database.yaml",
        "0-cluster-namespace-edge.yaml",
        "0-cluster-namespace-kafka.yaml",
        "0-cluster-namespace-payments.yaml",
    ]
    assert names == sorted(names)
    assert len(names) == {"dev": 209, "prod": 274}[stack]


@pytest.mark.parametrize("stack", STACKS)
def test_every_object_is_one_file_and_components_and_providers_are_none(stack: str) -> None:
    resources = recording_of(stack).resources
    objects = [resource for resource in resources if resource.type.startswith("kubernetes:")]
    assert len(manifests(resources)) == len(objects)
    assert len(objects) < len(resources)


@pytest.mark.parametrize("stack", STACKS)
def test_every_file_is_a_complete_manifest(stack: str) -> None:
    for name, manifest in manifests_of(stack).items():
        assert manifest["apiVersion"], name
        assert manifest["kind"], name
        assert manifest["metadata"]["name"], name
        assert file_name(manifest) == name
        assert yaml.safe_load(to_yaml(manifest)) == manifest


@pytest.mark.parametrize("stack", STACKS)
def test_numbers_are_whole_in_the_files(stack: str) -> None:
    def floats(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [found for part in value.values() for found in floats(part)]
        if isinstance(value, list):
            return [found for part in value for found in floats(part)]
        return [value] if isinstance(value, float) else []

    assert [name for name, manifest in manifests_of(stack).items() if floats(manifest)] == []
    assert "replicas: 3\n" in to_yaml(manifests_of(stack)["1-payments-deployment-payment-service.yaml"])


def test_whole_numbers_lose_their_fraction_and_nothing_else_changes() -> None:
    given = {"a": 3.0, "b": 0.5, "c": True, "d": "3.0", "e": [1.0, {"f": -2.0}], "g": None}
    found = plain(given)
    assert repr(found) == "{'a': 3, 'b': 0.5, 'c': True, 'd': '3.0', 'e': [1, {'f': -2}], 'g': None}"


def test_a_secret_is_a_placeholder_wherever_it_stands() -> None:
    given = {"a": secret("canary"), "b": secret({"c": "canary", "d": {"e": "canary"}}), "f": [secret(["canary"])]}
    assert plain(given) == {
        "a": SECRET_PLACEHOLDER,
        "b": {"c": SECRET_PLACEHOLDER, "d": {"e": SECRET_PLACEHOLDER}},
        "f": [SECRET_PLACEHOLDER],
    }


def test_yaml_has_sorted_keys_no_aliases_and_no_folded_lines() -> None:
    shared = {"z": 1, "a": "word " * 100}
    assert to_yaml({"two": shared, "one": shared}) == (
        f"one:\n  a: '{'word ' * 100}'\n  z: 1\ntwo:\n  a: '{'word ' * 100}'\n  z: 1\n"
    )


def test_writing_gives_every_file_in_order(tmp_path: Path) -> None:
    resources = recording_of("dev").resources
    files = write(resources, tmp_path / "new" / "folder")
    assert [path.name for path in files] == list(manifests(resources))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [path.name for path in files]
    for path in files:
        assert path.read_text(encoding="utf-8") == to_yaml(manifests(resources)[path.name])


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    resources = recording_of("prod").resources
    first = {path.name: path.read_bytes() for path in write(resources, tmp_path)}
    assert {path.name: path.read_bytes() for path in write(resources, tmp_path)} == first


def test_files_of_objects_that_are_gone_are_removed_and_no_others(tmp_path: Path) -> None:
    services_only = dict.fromkeys(("cache", "kafka", "postgres", "data", "observability", "loadtest"), REMOVED)
    write(recording_of("dev", services_only).resources, tmp_path)
    foreign = ["README.md", "values.yaml", "kustomization.yaml", "2-other.yaml", "1-notes.txt"]
    for name in foreign:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = {path.name for path in tmp_path.iterdir()}
    write(recording_of("dev", {"services/gateway-service": REMOVED, **services_only}).resources, tmp_path)
    after = {path.name for path in tmp_path.iterdir()}
    assert len(before - after) == 11
    assert all("gateway-" in name for name in before - after)
    assert set(foreign) <= after
