"""Every object of the database, of both stacks, as the real API server takes it: no unknown field, no refused value."""

import json

import pytest

from tests.sandbox.conftest import Cluster
from tests.unit.stacks import STACKS, manifests_of


@pytest.mark.parametrize("stack", STACKS)
def test_the_database_is_accepted_by_the_api_server(cluster: Cluster, stack: str) -> None:
    found = [
        manifest
        for manifest in manifests_of(stack).values()
        if "database" in (manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
    ]
    kinds = {manifest["kind"] for manifest in found}
    assert {"StatefulSet", "Deployment", "Job", "CronJob", "Role", "PodDisruptionBudget"} <= kinds
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"database-{stack}"}}
    cluster.kubectl("apply", "-f", "-", standard_input=json.dumps(namespace))
    try:
        for manifest in found:
            if manifest["kind"] == "Namespace":
                continue
            manifest["metadata"]["namespace"] = f"database-{stack}"
            arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
            answer = cluster.kubectl(*arguments, standard_input=json.dumps(manifest), check=False)
            assert "(server dry run)" in answer, f"{manifest['kind']} {manifest['metadata']['name']}: {answer}"
    finally:
        cluster.kubectl("delete", "namespace", f"database-{stack}", "--wait=false")
