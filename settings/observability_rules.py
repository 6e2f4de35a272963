"""The rules between observability and the rest of a stack's settings."""

from collections.abc import Iterator, Mapping

from settings.autoscaling import Autoscaling, ScalerKind
from settings.cluster import Cluster
from settings.observability import LATENCY_BUCKETS_SECONDS, ExporterKind, Observability
from settings.problems import Problem
from settings.services import Service


def observability_problems(
    observability: Observability | None,
    *,
    cluster: Cluster,
    services: Mapping[str, Service],
    autoscaling: Autoscaling,
) -> Iterator[Problem]:
    """Everything that is wrong between observability and its surroundings."""
    if observability is None:
        return
    peers = {"observability.prometheus": observability.prometheus}
    peers |= {f"observability.exporters.{kind}.peer": target.peer for kind, target in observability.exporters.items()}
    for path, name in peers.items():
        if name not in cluster.peers:
            yield Problem.unknown_name(path=path, value=name, known=cluster.peers, where="cluster.peers")
        elif not cluster.peers[name].pod_labels:
            yield Problem(
                path=path, value=name, allowed="a peer with pod_labels: addresses have no pods to scrape",
                fix="name another peer, or give it pod_labels",
            )  # fmt: skip
    yield from _objectives_can_be_measured(observability, services)
    yield from _autoscaler_inputs_are_scraped(observability, services, autoscaling)


def _objectives_can_be_measured(observability: Observability, services: Mapping[str, Service]) -> Iterator[Problem]:
    bounds = [round(1000 * bound) for bound in LATENCY_BUCKETS_SECONDS]
    for name, objective in observability.objectives.items():
        if name not in services:
            yield Problem.unknown_name(
                path=f"observability.objectives.{name}", value=name, known=services, where="services"
            )
        if objective.latency_milliseconds not in bounds:
            yield Problem(
                path=f"observability.objectives.{name}.latency_milliseconds",
                value=objective.latency_milliseconds,
                allowed=f"one of {', '.join(map(str, bounds))}: the bounds of the services' histograms",
                fix="take the next one; between two bounds nothing is counted",
            )


def _autoscaler_inputs_are_scraped(
    observability: Observability, services: Mapping[str, Service], autoscaling: Autoscaling
) -> Iterator[Problem]:
    """The inputs that ``components.autoscaling`` records come from these exporters."""
    if ExporterKind.KAFKA not in observability.exporters and any(s.consumer is not None for s in services.values()):
        yield Problem(
            path="observability.exporters",
            has_value=False,
            allowed="kafka among them: consumers scale on the lag that its exporter tells",
            fix="add kafka with its peer and the port's name (Strimzi: tcp-prometheus)",
        )
    if autoscaling.scaler is ScalerKind.KEDA and ExporterKind.KEDA not in observability.exporters:
        yield Problem(
            path="observability.exporters",
            has_value=False,
            allowed="keda among them: nobody would hear of scalers that fail",
            fix="add keda with its peer",
        )
