"""Which server and which credentials a kubeconfig means, and the provider's own settings."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.plugins.kubernetes.errors import ProviderError
from sandbox.plugins.kubernetes.kubeconfig import load
from sandbox.plugins.kubernetes.options import ProviderOptions, problems
from sandbox.plugins.kubernetes.values import Secret

TOKEN = "canary-token"


def document(**user: Any) -> dict[str, Any]:
    return {
        "current-context": "one",
        "clusters": [
            {"name": "a", "cluster": {"server": "https://a.test:6443/", "certificate-authority": "ca.crt"}},
            {"name": "b", "cluster": {"server": "https://b.test", "insecure-skip-tls-verify": True}},
        ],
        "users": [{"name": "u", "user": user or {"token": TOKEN}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "a", "user": "u"}},
            {"name": "two", "context": {"cluster": "b", "user": "u", "namespace": "payments"}},
        ],
    }


def test_a_path_and_its_contents_mean_the_same_but_for_relative_files(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document()), encoding="utf-8")
    cluster = load(str(path))
    assert cluster.server == "https://a.test:6443"
    assert cluster.token == TOKEN
    assert cluster.namespace == "default"
    assert cluster.ca_file == str(tmp_path / "ca.crt")
    assert load(json.dumps(document())).server == cluster.server


def test_the_context_chooses() -> None:
    cluster = load(yaml.safe_dump(document()), "two")
    assert (cluster.server, cluster.namespace, cluster.insecure) == ("https://b.test", "payments", True)


def test_the_environment_names_it_when_the_program_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "from-environment"
    path.write_text(yaml.safe_dump(document()), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert load(None).context == "one"


@pytest.mark.parametrize(
    ("kubeconfig", "context", "says"),
    [
        ("/nowhere/at/all", None, "cannot be read"),
        ("a: [\nb", None, "is not YAML"),
        ("- a\n- b\n", None, "is not a kubeconfig"),
        (yaml.safe_dump(document()), "three", "has no context 'three'; it has: one, two"),
        (yaml.safe_dump(document(exec={"command": "x"})), None, "signs in through `exec`"),
        ("clusters: []\nusers: []\n", None, "no current-context"),
    ],
)
def test_what_cannot_be_used_is_said(kubeconfig: str, context: str | None, says: str) -> None:
    with pytest.raises(ProviderError, match=says.replace("(", r"\(")):
        load(kubeconfig, context)


def test_no_message_and_no_representation_shows_a_credential() -> None:
    broken = f"token: {TOKEN}\n  bad: ["
    with pytest.raises(ProviderError) as caught:
        load(broken)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in repr(load(yaml.safe_dump(document())))
    assert TOKEN not in repr(ProviderOptions.of({"kubeconfig": Secret(TOKEN)}))


def test_settings_are_checked_and_a_misspelt_one_is_corrected() -> None:
    assert problems({"kubeconfig": "x", "context": "y", "namespace": "z", "version": "4"}) == []
    (misspelt,) = problems({"kubeconfg": "x"})
    assert (misspelt.path, misspelt.reason.endswith("did you mean kubeconfig?")) == ("kubeconfg", True)
    assert [problem.path for problem in problems({"enableServerSideApply": False})] == ["enableServerSideApply"]
    assert [problem.path for problem in problems({"renderYamlToDirectory": "x"})] == ["renderYamlToDirectory"]
    assert [problem.path for problem in problems({"strictMode": "true", "kubeconfig": "x"})] == ["strictMode"]


def test_switches_are_read_as_the_engine_sends_them() -> None:
    options = ProviderOptions.of({"enableConfigMapMutable": "true", "upsertExistingObjects": True, "namespace": "n"})
    assert options.flags["enableConfigMapMutable"]
    assert options.flags["upsertExistingObjects"]
    assert not options.flags["enableSecretMutable"]
    assert options.namespace == "n"
