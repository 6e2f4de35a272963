"""TestRuns on the real API server: by the k6 operator's fields, and their pods by Kubernetes' own.

The operator's module is in no registry that this repository builds from. What stands here describes the fields of
``k6.io/v1alpha1`` TestRun that one may set; its values that are Kubernetes' own types are tried as a Pod.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.session import Session
from tests.sandbox.conftest import Cluster
from tests.unit.stacks import of_kind

_TEXT, _YES, _COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "format": "int32"}
_KUBERNETES = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_KUBERNETES_LIST = {"type": "array", "items": _KUBERNETES}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_POD = _object(
    automountServiceAccountToken=_TEXT, image=_TEXT, imagePullPolicy=_TEXT, serviceAccountName=_TEXT,
    env=_KUBERNETES_LIST, envFrom=_KUBERNETES_LIST, resources=_KUBERNETES, securityContext=_KUBERNETES,
    containerSecurityContext=_KUBERNETES, nodeSelector=_TEXTS, tolerations=_KUBERNETES_LIST, volumes=_KUBERNETES_LIST,
    volumeMounts=_KUBERNETES_LIST, metadata=_object(labels=_TEXTS, annotations=_TEXTS),
)  # fmt: skip
_SPEC = _object(
    ("parallelism", "script"),
    parallelism=_COUNT, separate=_YES, arguments=_TEXT, quiet=_TEXT, paused=_TEXT,
    cleanup={"type": "string", "enum": ["post"]},
    script=_object(configMap=_object(("name",), name=_TEXT, file=_TEXT), localFile=_TEXT),
    initializer=_POD, starter=_POD, runner=_POD,
)  # fmt: skip
_NAME = "testruns.k6.io"
_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": _NAME},
    "spec": {
        "group": "k6.io",
        "names": {"kind": "TestRun", "plural": "testruns", "singular": "testrun", "listKind": "TestRunList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": _object(spec=_SPEC)},
            }
        ],
    },
}  # fmt: skip
_CHANGES: dict[str, object] = {
    "loadtest/run": ["normal", "peak"],
    "loadtest/max_requests_per_second": 5000,
    "loadtest/remote_write": {"url": "https://prometheus.test/api/v1/write", "existing_secret": "k6-writer"},
}


@pytest.fixture(scope="module")
def k6(sandbox: Session) -> Iterator[Cluster]:
    cluster = Cluster(sandbox=sandbox)
    cluster.kubectl("apply", "-f", "-", standard_input=json.dumps(_CRD))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{_NAME}", "--timeout=60s")
    yield cluster
    cluster.kubectl("delete", f"crd/{_NAME}", "--wait=false")


def _declared() -> list[dict[str, Any]]:
    runs = of_kind("dev", "TestRun", _CHANGES, namespace="loadtest").values()
    return [{**run, "metadata": {**run["metadata"], "namespace": "default"}} for run in runs]


def _dry_run(cluster: Cluster, *manifests: dict[str, Any]) -> str:
    document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    return cluster.kubectl(*arguments, standard_input=json.dumps(document), check=False)


def test_the_server_accepts_every_test_run(k6: Cluster) -> None:
    runs = _declared()
    assert len(runs) == 2
    said = _dry_run(k6, *runs)
    assert said.count("created (server dry run)") == 2, said


@pytest.mark.parametrize("field", ["args", "envs"])
def test_a_field_that_the_operator_does_not_know_is_refused(k6: Cluster, field: str) -> None:
    [run, _] = _declared()
    said = _dry_run(k6, {**run, "spec": {**run["spec"], field: ["--out"]}})
    assert "unknown field" in said
    assert field in said


@pytest.mark.parametrize("role", ["runner", "initializer", "starter"])
def test_the_pods_of_a_test_are_pods_of_the_restricted_standard(k6: Cluster, role: str) -> None:
    namespace = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": f"k6-{role}", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }  # fmt: skip
    k6.kubectl("apply", "-f", "-", standard_input=json.dumps(namespace))
    try:
        for run in _declared():
            said = _dry_run(k6, _pod(run["spec"][role], f"k6-{role}"))
            assert "created (server dry run)" in said, said
    finally:
        k6.kubectl("delete", "namespace", f"k6-{role}", "--wait=false")


def _pod(spec: dict[str, Any], namespace: str) -> dict[str, Any]:
    """As the operator makes it: one container with the values of the role."""
    container = {
        "name": "k6",
        "image": spec.get("image", "operators-own"),
        "resources": spec["resources"],
        "env": spec.get("env", []),
        "volumeMounts": spec["volumeMounts"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "k6", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": spec["automountServiceAccountToken"] == "true",
            "securityContext": spec["securityContext"],
            "volumes": spec["volumes"],
            "containers": [{**container, "securityContext": spec["containerSecurityContext"]}],
        },
    }
