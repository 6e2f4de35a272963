"""Where the platform is deployed and what its pods may talk to."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from settings.base import DnsLabel, Port, Strict
from settings.problems import RuleError


def _cidr(text: str) -> str:
    network: IPv4Network | IPv6Network = ip_network(text)
    return str(network)


Cidr = Annotated[str, AfterValidator(_cidr), Field(description="a network in CIDR form, for example 10.0.0.0/8")]


def is_within(inner: str, outer: str) -> bool:
    """Whether a network is a strict part of another one; the API server asks that of an ``except`` block."""
    small, large = ip_network(inner), ip_network(outer)
    if isinstance(small, IPv4Network) and isinstance(large, IPv4Network):
        return small != large and small.subnet_of(large)
    if isinstance(small, IPv6Network) and isinstance(large, IPv6Network):
        return small != large and small.subnet_of(large)
    return False


class Peer(Strict):
    """The other end of a named network flow: pods chosen by labels, or address blocks outside the cluster.

    Exactly one of the two forms: ``pod_labels`` (with ``namespace`` when it is another one), or ``cidrs``.
    """

    ports: list[Port] = Field(min_length=1)
    """TCP ports of the receiving side."""
    namespace: DnsLabel | None = None
    """Namespace of the peer's pods; the services' own when absent."""
    pod_labels: dict[str, str] = {}
    """Labels that choose the peer's pods."""
    cidrs: list[Cidr] = []
    """Address blocks outside the cluster."""
    except_cidrs: list[Cidr] = []
    """Parts of ``cidrs`` that stay closed, for example private ranges and the cloud's metadata address."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if bool(self.pod_labels) == bool(self.cidrs):
            raise RuleError(
                why="a peer is either pods in the cluster or addresses outside",
                fix="give pod_labels or cidrs, one of the two",
            )
        if self.except_cidrs and not self.cidrs:
            raise RuleError(why="except_cidrs only means something beside cidrs", fix="remove it")
        if self.namespace is not None and self.cidrs:
            raise RuleError(why="namespace only means something beside pod_labels", fix="remove it")
        outside = [e for e in self.except_cidrs if not any(is_within(e, cidr) for cidr in self.cidrs)]
        if outside:
            raise RuleError(
                why=f"except_cidrs that are no strict part of any of cidrs: {', '.join(outside)}; "
                "the API server refuses such a policy",
                fix="remove them, or widen cidrs",
            )
        return self


class Namespaces(Strict):
    """Names of the namespaces that the program creates."""

    services: DnsLabel = "payments"
    """Where the stateless services run."""
    cache: DnsLabel = "cache"
    """Where the caches run: they keep volumes, which the services' namespace forbids."""
    kafka: DnsLabel = "kafka"
    """Where the brokers run, with their topics and users."""
    database: DnsLabel = "database"
    """Where PostgreSQL, its poolers and its etcd run."""


class Cluster(Strict):
    """The Kubernetes cluster of a stack."""

    kube_context: Annotated[str, Field(min_length=1)]
    """Context in the kubeconfig. Always named: the ambient one is how people deploy to the wrong cluster."""
    kubeconfig: str | None = None
    """Path of the kubeconfig, relative to the repository or absolute; the user's own when absent."""
    zones: Annotated[list[DnsLabel], Field(min_length=1)]
    """Availability zones that nodes are spread over (values of topology.kubernetes.io/zone)."""
    namespaces: Namespaces = Namespaces()
    peers: dict[DnsLabel, Peer] = {}
    """Named ends of network flows, which services refer to in ``egress_to`` and ``ingress_from``."""

    @model_validator(mode="after")
    def _distinct_zones(self) -> Self:
        twice = sorted({zone for zone in self.zones if self.zones.count(zone) > 1})
        if twice:
            raise RuleError(why=f"zones named more than once: {', '.join(twice)}", fix="name each zone once")
        return self
