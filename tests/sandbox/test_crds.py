"""The operators' CRDs on the real API server: served after `up`, enforced, and put back when somebody removes one."""

import json

from sandbox import crds, tools
from sandbox.session import Session
from tests.sandbox.conftest import Cluster

_RULE = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": {"name": "crd-test", "namespace": "default"},
    "spec": {"groups": [{"name": "g", "rules": [{"record": "a:b", "expr": "vector(1)"}]}]},
}


def _dry_run(cluster: Cluster, manifest: object) -> str:
    arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    return cluster.kubectl(*arguments, standard_input=json.dumps(manifest), check=False)


def test_the_default_sets_are_served_and_a_second_call_applies_nothing(sandbox: Session, cluster: Cluster) -> None:
    assert crds.install(sandbox.layout, sandbox.kubectl, tools.progress()) == []
    served = cluster.kubectl("api-resources", "--output", "name").split()
    assert {"scaledobjects.keda.sh", "triggerauthentications.keda.sh", "prometheusrules.monitoring.coreos.com"} <= set(
        served
    )


def test_what_a_schema_forbids_is_refused(cluster: Cluster) -> None:
    assert "created (server dry run)" in _dry_run(cluster, _RULE)
    wrong = {**_RULE, "spec": {"groups": [{"name": "g", "rules": [{"record": "a:b", "expression": "vector(1)"}]}]}}
    assert 'unknown field "spec.groups[0].rules[0].expression"' in _dry_run(cluster, wrong)


def test_a_removed_or_changed_crd_is_put_back(sandbox: Session, cluster: Cluster) -> None:
    cluster.kubectl("delete", "crd", "probes.monitoring.coreos.com")
    assert crds.install(sandbox.layout, sandbox.kubectl, tools.progress()) == ["prometheus-operator"]
    cluster.kubectl("annotate", "crd", "scaledjobs.keda.sh", f"{crds.SOURCE_ANNOTATION}=keda-2.19.0", "--overwrite")
    assert crds.install(sandbox.layout, sandbox.kubectl, tools.progress()) == ["keda"]
    assert crds.install(sandbox.layout, sandbox.kubectl, tools.progress()) == []
