"""The operator's own schemas on the real API server accept every rule, monitor and route of both stacks."""

import json
from typing import Any

import pytest

from tests.sandbox.conftest import Cluster
from tests.unit.stacks import STACKS, of_kind

_KINDS = ("PrometheusRule", "PodMonitor", "AlertmanagerConfig")


def _dry_run(cluster: Cluster, manifests: list[dict[str, Any]]) -> str:
    """Strict validation by the server; the namespace is one that exists."""
    items = [{**one, "metadata": {**one["metadata"], "namespace": "default"}} for one in manifests]
    document = {"apiVersion": "v1", "kind": "List", "items": items}
    arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
    return cluster.kubectl(*arguments, standard_input=json.dumps(document), check=False)


@pytest.mark.parametrize("stack", STACKS)
def test_the_server_accepts_every_object_of_the_operator(cluster: Cluster, stack: str) -> None:
    for kind in _KINDS:
        manifests = list(of_kind(stack, kind).values())
        said = _dry_run(cluster, manifests)
        assert said.count("created (server dry run)") == len(manifests) > 0, said


def test_an_unknown_field_and_a_wrong_route_are_refused(cluster: Cluster) -> None:
    [routing] = of_kind("prod", "AlertmanagerConfig").values()
    unknown = {**routing, "spec": {**routing["spec"], "inhibitions": []}}
    said = _dry_run(cluster, [unknown])
    assert "unknown field" in said
    assert "inhibitions" in said
    route = {**routing["spec"]["route"], "repeatInterval": "soon"}
    assert "spec.route.repeatInterval" in _dry_run(cluster, [{**routing, "spec": {**routing["spec"], "route": route}}])
