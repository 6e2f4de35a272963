"""The rules between load tests and the rest of a stack's settings."""

from collections.abc import Iterator, Mapping

from settings.base import Environment
from settings.cluster import Cluster
from settings.loadtest import LoadTest
from settings.problems import Problem
from settings.services import Service


def loadtest_problems(
    loadtest: LoadTest | None, *, environment: Environment, cluster: Cluster, services: Mapping[str, Service]
) -> Iterator[Problem]:
    """Load against prod is an exception that somebody has put their name to; and load must be let in."""
    if loadtest is None:
        return
    yield from _unknown_targets(loadtest, services)
    if loadtest.run:
        yield from _fenced_off(loadtest, cluster, services)
    if environment is Environment.PROD and loadtest.run and loadtest.prod_exception is None:
        yield Problem(
            path="loadtest.run",
            value=loadtest.run,
            allowed="nothing in prod without loadtest.prod_exception",
            fix="test another stack, or say who allowed it, why and until when",
        )
    if environment is not Environment.PROD and loadtest.prod_exception is not None:
        yield Problem(
            path="loadtest.prod_exception",
            value=loadtest.prod_exception.approved_by,
            allowed="nothing outside prod",
            fix="remove it",
        )


def _unknown_targets(loadtest: LoadTest, services: Mapping[str, Service]) -> Iterator[Problem]:
    for name in loadtest.targets:
        if name not in services:
            yield Problem.unknown_name(path=f"loadtest.targets.{name}", value=name, known=services, where="services")


def _fenced_off(loadtest: LoadTest, cluster: Cluster, services: Mapping[str, Service]) -> Iterator[Problem]:
    """A service that is loaded at its own address refuses everybody whom it does not name."""
    addresses = {loadtest.target, *loadtest.targets.values()}
    for name, service in services.items():
        own = f"//{name}-svc.{cluster.namespaces.services}"
        if not any(f"{address}:".startswith((f"http:{own}:", f"http:{own}.")) for address in addresses):
            continue
        callers = [cluster.peers[peer] for peer in service.ingress_from if peer in cluster.peers]
        if not any(caller.namespace == loadtest.namespace for caller in callers):
            yield Problem(
                path=f"services.{name}.ingress_from",
                value=service.ingress_from,
                allowed=f"a peer in the namespace {loadtest.namespace} too: loadtest sends its requests to {own[2:]}",
                fix="add such a peer to cluster.peers and name it here, or send load to the edge",
            )
