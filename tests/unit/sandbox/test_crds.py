"""The operators' CRDs in the cache: fetched once, pinned by checksum, and nothing but CRDs."""

import json
import os
from pathlib import Path

import pytest
import yaml

from sandbox import crds, gobuild
from sandbox.crds import CrdSet
from sandbox.errors import SandboxError
from sandbox.progress import Progress
from tests.unit.sandbox.fakes import fake_go

_CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
_FIRST = CrdSet(name="first", requires="example.com/first", folder="crds")


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toolchain with one pinned module and a `go` that says where its sources lie."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = fake_go(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    _pin(tmp_path, "example.com/first v1.2.0 h1:abc=\n")
    monkeypatch.setattr(gobuild, "TOOLCHAIN", tmp_path / "toolchain")
    monkeypatch.setattr(crds, "TOOLCHAIN", tmp_path / "toolchain")
    return calls


def _pin(tmp_path: Path, sums: str) -> None:
    folder = tmp_path / "toolchain" / "crds"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text("module x\n\ngo 1.20\n\nrequire example.com/first v1.2.0\n", encoding="utf-8")
    (folder / "go.sum").write_text(sums, encoding="utf-8")


def _source(tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "sources" / "crds"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def _crd(name: str) -> str:
    return yaml.safe_dump({**_CRD, "metadata": {"name": name}, "status": {"conditions": None}})


def test_a_set_is_fetched_once_and_then_read_from_the_cache(tmp_path: Path, calls: Path) -> None:
    _source(tmp_path, "a.yaml", _crd("as.example.com") + "---\n" + _crd("bs.example.com"))
    first = crds._cached(_FIRST, Progress(tty=False))
    assert first.resources == ["as.example.com", "bs.example.com"]
    assert crds._cached(_FIRST, Progress(tty=False)) == first
    downloads = [line for line in calls.read_text(encoding="utf-8").splitlines() if line.startswith("mod")]
    assert downloads == ["mod download -json example.com/first@v1.2.0"]


def test_only_crds_are_taken_and_each_says_where_it_comes_from(tmp_path: Path) -> None:
    _source(tmp_path, "a.yaml", _crd("as.example.com"))
    _source(tmp_path, "policy.yaml", "kind: ValidatingAdmissionPolicy\nmetadata: {name: p}\n---\n")
    _source(tmp_path, "README.md", "no YAML: [")
    (document,) = json.loads(crds._cached(_FIRST, Progress(tty=False)).objects.read_text(encoding="utf-8"))["items"]
    assert document["metadata"]["annotations"] == {crds.SOURCE_ANNOTATION: "first-1.2.0 h1:abc="}
    assert "status" not in document


def test_a_bare_equals_sign_is_text(tmp_path: Path) -> None:
    _source(tmp_path, "a.yaml", _crd("as.example.com") + "spec: {enum: [=, '!=']}\n")
    (document,) = json.loads(crds._cached(_FIRST, Progress(tty=False)).objects.read_text(encoding="utf-8"))["items"]
    assert document["spec"]["enum"] == ["=", "!="]


def test_another_checksum_is_another_set(tmp_path: Path) -> None:
    _source(tmp_path, "a.yaml", _crd("as.example.com"))
    before = crds._cached(_FIRST, Progress(tty=False))
    _pin(tmp_path, "example.com/first v1.2.0 h1:other=\n")
    after = crds._cached(_FIRST, Progress(tty=False))
    assert after.objects != before.objects
    assert after.source != before.source


def test_a_module_without_a_checksum_is_refused(tmp_path: Path) -> None:
    _pin(tmp_path, "example.com/first v1.1.0 h1:abc=\nexample.com/first v1.2.0/go.mod h1:abc=\n")
    with pytest.raises(SandboxError, match=r"no checksum of example\.com/first v1\.2\.0"):
        crds._cached(_FIRST, Progress(tty=False))


def test_a_moved_folder_is_named_and_leaves_no_half_cache(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"no CRDs in .*sources/crds"):
        crds._cached(_FIRST, Progress(tty=False))
    _source(tmp_path, "a.yaml", _crd("as.example.com"))
    assert crds._cached(_FIRST, Progress(tty=False)).resources == ["as.example.com"]


def test_an_unknown_set_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SandboxError, match=r"unknown CRD set kafka; known are keda, prometheus-operator"):
        crds._chosen(["keda", "kafka"])


def test_every_set_is_pinned_with_its_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path(crds.__file__).parent / "toolchain"
    monkeypatch.setattr(gobuild, "TOOLCHAIN", real)
    monkeypatch.setattr(crds, "TOOLCHAIN", real)
    assert {known.name: known.source.split(" ")[0] for known in crds.SETS} == {
        "keda": "keda-2.20.2",
        "prometheus-operator": "prometheus-operator-0.93.1",
        "gateway-api": "gateway-api-1.6.1",
        "envoy-gateway": "envoy-gateway-1.9.0",
        "cert-manager": "cert-manager-1.20.0",
        "strimzi": f"strimzi-{crds.SETS[-1].version}",
    }
    assert crds.SETS[-1].version.startswith("1.2.0")
    assert all(" h1:" in known.source or " sha256:" in known.source for known in crds.SETS)
