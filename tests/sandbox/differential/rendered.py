"""The autoscalers that both stacks render, and the one change that the proof makes to all of them: faster clocks."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planning.twin.keda import hpa_from_scaled_object
from sandbox.metric_values import parse_quantity
from tests.unit.stacks import STACKS, of_kind

COMPRESSION = 15
"""Windows and periods are divided by this: the controller's 15 s between two syncs become about one second."""
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaler:
    """An autoscaler and its target, as rendered or changed from it."""

    stack: str
    hpa: Manifest
    deployment: Manifest

    @property
    def name(self) -> str:
        """``dev/payment-service``."""
        return f"{self.stack}/{self.deployment['metadata']['name']}"

    @property
    def minimum(self) -> int:
        return int(self.hpa["spec"].get("minReplicas", 1))

    @property
    def maximum(self) -> int:
        return int(self.hpa["spec"]["maxReplicas"])

    @property
    def metrics(self) -> list[Manifest]:
        found: list[Manifest] = self.hpa["spec"]["metrics"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.deployment["spec"]["template"]["metadata"]["labels"]
        return found

    @property
    def containers(self) -> list[Manifest]:
        """Containers that count: init containers that keep running count too."""
        pod = self.deployment["spec"]["template"]["spec"]
        lasting = [each for each in pod.get("initContainers", []) if each.get("restartPolicy") == "Always"]
        found: list[Manifest] = [*pod["containers"], *lasting]
        return found

    def request_milli(self, container: str, resource: str) -> int:
        (found,) = [each for each in self.containers if each["name"] == container]
        return int(parse_quantity(found["resources"]["requests"][resource]) * 1000)

    def changed(self, **spec: Any) -> "Scaler":
        """A copy with other fields in the autoscaler's spec."""
        hpa = _copy(self.hpa)
        hpa["spec"].update(_copy(spec))
        return replace(self, hpa=hpa)

    def paced(self, direction: str, **rules: Any) -> "Scaler":
        """A copy with other rules for ``scaleUp`` or ``scaleDown``."""
        hpa = _copy(self.hpa)
        hpa["spec"].setdefault("behavior", {}).setdefault(direction, {}).update(_copy(rules))
        return replace(self, hpa=hpa)

    def without_behaviour(self) -> "Scaler":
        """A copy that leaves windows and paces to the controller."""
        hpa = _copy(self.hpa)
        hpa["spec"].pop("behavior", None)
        return replace(self, hpa=hpa)

    def external(self, number: int = 0) -> str:
        """The name of an external metric, by its place among them: KEDA gives names of its own."""
        return [metric_key(metric) for metric in self.metrics if metric["type"] == "External"][number]

    def compressed(self) -> "Scaler":
        """A copy with windows and periods divided by ``COMPRESSION``."""
        hpa = _copy(self.hpa)
        for rules in hpa["spec"].get("behavior", {}).values():
            if "stabilizationWindowSeconds" in rules:
                rules["stabilizationWindowSeconds"] = _compressed(rules["stabilizationWindowSeconds"])
            for policy in rules.get("policies", []):
                policy["periodSeconds"] = _compressed(policy["periodSeconds"])
        return replace(self, hpa=hpa)


def _copy(value: Any) -> Any:
    """A copy in which no two places share anything, as in a file."""
    return json.loads(json.dumps(value))


def _compressed(seconds: int) -> int:
    assert seconds % COMPRESSION == 0, f"{seconds} s is no multiple of {COMPRESSION} s: choose another compression"
    return seconds // COMPRESSION


@functools.cache
def scalers() -> dict[str, Scaler]:
    """Name → every autoscaler of both stacks, with the clocks as rendered."""
    found = [scaler for stack in STACKS for scaler in _of_stack(stack)]
    return {scaler.name: scaler for scaler in found}


def _of_stack(stack: str) -> list[Scaler]:
    """Autoscalers as the stack declares them, and those that KEDA would create for its ScaledObjects."""
    deployments = of_kind(stack, "Deployment")
    hpas = [*of_kind(stack, "HorizontalPodAutoscaler").values()]
    hpas += [
        hpa_from_scaled_object(scaled, deployments[scaled["spec"]["scaleTargetRef"]["name"]])
        for scaled in of_kind(stack, "ScaledObject").values()
    ]
    return [Scaler(stack=stack, hpa=hpa, deployment=deployments[hpa["spec"]["scaleTargetRef"]["name"]]) for hpa in hpas]


def metric_key(metric: Manifest) -> str:
    """How traces name a metric: ``cpu``, ``payment/cpu`` for one container's, else the metric's name."""
    match metric["type"]:
        case "Resource":
            return str(metric["resource"]["name"])
        case "ContainerResource":
            return f"{metric['containerResource']['container']}/{metric['containerResource']['name']}"
        case kind:
            source = metric[kind[0].lower() + kind[1:]]
            return str(source["metric"]["name"])


def target_of(metric: Manifest) -> Manifest:
    """The ``target`` of a metric of any type."""
    kind = metric["type"]
    found: Manifest = metric[kind[0].lower() + kind[1:]]["target"]
    return found
