"""Who may talk to whom: nothing by default, then named flows only, and no way in beside the edge."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies.index import StackIndex
from policies.label_selectors import is_empty
from policies.objects import KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, number, read, show, text

_NAMED_WORKLOADS = 5  # in one message
_DIRECTIONS = (("Ingress", "ingress", "from"), ("Egress", "egress", "to"))
# A public block shorter than this is "the internet": no partner owns so many addresses. By IP version.
_SHORTEST_PUBLIC_PREFIX = {4: 8, 6: 16}
_PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)


def default_deny() -> StackValidationPolicy:
    """A namespace without default deny admits every connection that nobody thought of."""
    about = About(
        name="default-deny",
        display_name="Default deny",
        description="Each namespace that the program creates or fills denies ingress and egress by default.",
        severity=Severity.CRITICAL,
        remediation=("Declare a NetworkPolicy with podSelector {}, both policyTypes and no rule in each namespace."),
        tags=("network",),
        pci="1.3.1",
        pci_text=("Inbound (and by 1.3.2 outbound) traffic is restricted to what is necessary, the rest is denied"),
    )
    return stack_policy(about, _check_default_deny)


def _isolates(policy: KubernetesObject, direction: str, rules_key: str) -> bool:
    """Tell whether the policy covers a direction, or may: it does not say, or what it says is not known yet.

    Without policyTypes a policy covers ingress always, and egress if it has an egress rule.
    """
    declared = read(policy.props, "spec", "policyTypes")
    types = elements(declared)
    if types or declared is UNKNOWN:
        return declared is UNKNOWN or direction in types or UNKNOWN in types
    return direction == "Ingress" or bool(elements(read(policy.props, "spec", rules_key)))


def _check_default_deny(index: StackIndex, _config: Config) -> Iterator[Violation]:
    if index.some_namespace_unknown("NetworkPolicy"):
        return
    policies_of: dict[object, list[KubernetesObject]] = defaultdict(list)
    for policy in index.by_kind.get("NetworkPolicy", []):
        policies_of[policy.namespace].append(policy)
    for namespace, owner in _namespaces(index).items():
        present = policies_of.get(namespace, [])
        for direction, rules_key, _ in _DIRECTIONS:
            covering = [policy for policy in present if _isolates(policy, direction, rules_key)]
            if any(_denies_all(policy, rules_key) for policy in covering):
                continue
            exposed = _not_isolated(index, namespace, covering)
            pods = f" Open today: the pods of {exposed}." if exposed else ""
            yield Violation(
                owner,
                f"namespace {show(namespace)} does not deny {direction.lower()} by default.{pods} Allowed: a"
                f" NetworkPolicy with podSelector {{}}, policyTypes [{direction}] and no {rules_key} rule."
                " Fix: declare it.",
            )


def _namespaces(index: StackIndex) -> dict[object, KubernetesObject]:
    """Return each known namespace and the object to report: the Namespace, or its first workload."""
    found = {namespace.name: namespace for namespace in index.by_kind.get("Namespace", [])}
    for workload in index.workloads:
        found.setdefault(workload.namespace, workload)
    return {name: owner for name, owner in found.items() if name is not UNKNOWN and name is not None}


def _denies_all(policy: KubernetesObject, rules_key: str) -> bool:
    selector, rules = read(policy.props, "spec", "podSelector"), read(policy.props, "spec", rules_key)
    return UNKNOWN in (selector, rules) or (is_empty(selector) and not elements(rules))


def _not_isolated(index: StackIndex, namespace: object, covering: list[KubernetesObject]) -> str:
    isolated = {
        workload.urn
        for policy in covering
        for workload, _ in index.selected(namespace, read(policy.props, "spec", "podSelector"))
    }
    exposed = [w.title for w in index.workloads if w.namespace == namespace and w.urn not in isolated]
    more = len(exposed) - _NAMED_WORKLOADS
    return ", ".join(exposed[:_NAMED_WORKLOADS]) + (f" and {more} more" if more > 0 else "")


def named_peers_only() -> ResourceValidationPolicy:
    """An empty peer list allows everyone: the most common slip in a NetworkPolicy."""
    about = About(
        name="named-peers-only",
        display_name="Named peers only",
        description=("NetworkPolicy rules name their peers; only listed workloads may reach the public internet."),
        severity=Severity.HIGH,
        remediation=("Name the peer by labels and the ports; list a workload that calls outside under internetEgress."),
        tags=("network",),
        pci="1.3.2",
        pci_text="Outbound traffic from the CDE is restricted to what is necessary",
        schema=PolicyConfigSchema(
            properties={"internetEgress": {"type": "array", "items": {"type": "string"}, "default": []}}
        ),
    )
    return object_policy(about, _check_peers, frozenset({"NetworkPolicy"}))


def _check_peers(subject: KubernetesObject, config: Config) -> Iterator[str]:
    spec = read(subject.props, "spec")
    for _, rules_key, peers_key in _DIRECTIONS:
        for position, rule in enumerate(elements(read(spec, rules_key))):
            peers = read(rule, peers_key)
            if UNKNOWN in (rule, peers):
                continue
            where = f"{rules_key} rule {position + 1}"
            if not elements(peers):
                yield (
                    f"{where} names no peer in '{peers_key}', which allows every address. Allowed: peers"
                    " named by"
                    f" labels. Fix: fill '{peers_key}'."
                )
            for peer in elements(peers):
                problem = _open_peer(peer)
                if problem is None or (
                    problem == _INTERNET and _may_reach_internet(spec, rules_key, rule, peer, config)
                ):
                    continue
                yield (
                    f"{where} allows {problem}. Allowed: peers named by labels, or a narrow ipBlock (the"
                    " internet on"
                    " named ports, without private networks, for workloads listed under internetEgress)."
                    " Fix: name the peer."
                )


_INTERNET = "every address of the internet"


def _open_peer(peer: object) -> str | None:
    block = text(read(peer, "ipBlock", "cidr"))
    if block is not None:
        network = _network(block)
        if network is None:
            return f"the address block {show(block)}, which is none"
        return _INTERNET if network.prefixlen < _SHORTEST_PUBLIC_PREFIX[network.version] else None
    selectors = [read(peer, key) for key in ("namespaceSelector", "podSelector")]
    if UNKNOWN in selectors or peer is UNKNOWN or read(peer, "ipBlock") is not None:
        return None
    namespaces, pods = selectors
    if namespaces is not None and is_empty(namespaces) and (pods is None or is_empty(pods)):
        return "every pod of every namespace"
    if namespaces is None and (pods is None or is_empty(pods)):
        return "every pod of the namespace"
    return None


def _network(block: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(block, strict=False)
    except ValueError:
        return None


def _may_reach_internet(spec: object, rules_key: str, rule: object, peer: object, config: Config) -> bool:
    """Tell whether a listed workload opens the internet narrowly, or may do so as far as it is known."""
    app = read(spec, "podSelector", "matchLabels", "app")
    listed = app is UNKNOWN or app in elements(read(config, "internetEgress"))
    return rules_key == "egress" and listed and _names_ports(rule) and _leaves_out_private_networks(peer)


def _names_ports(rule: object) -> bool:
    ports = read(rule, "ports")
    numbers = [port if port is UNKNOWN else read(port, "port") for port in elements(ports)]
    return ports is UNKNOWN or (bool(numbers) and None not in numbers)


def _leaves_out_private_networks(peer: object) -> bool:
    block = _network(text(read(peer, "ipBlock", "cidr")) or "")
    left_out = read(peer, "ipBlock", "except")
    excluded = elements(left_out)
    if left_out is UNKNOWN or UNKNOWN in excluded or block is None or block.version != _PRIVATE_NETWORKS[0].version:
        return block is not None
    return all(str(private) in excluded for private in _PRIVATE_NETWORKS)


def cluster_internal_services() -> ResourceValidationPolicy:
    """The edge is the only way in; a NodePort or LoadBalancer is a second one without its limits."""
    about = About(
        name="cluster-internal-services",
        display_name="Cluster-internal Services",
        description=("Services are reachable inside the cluster only: no NodePort, LoadBalancer or external address."),
        severity=Severity.HIGH,
        remediation="Use a ClusterIP Service and route to it from the edge.",
        tags=("network",),
        pci="1.4.1",
        pci_text="Network security controls stand between trusted and untrusted networks",
    )
    return object_policy(about, _check_exposure, frozenset({"Service"}))


def _check_exposure(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    kind = read(subject.props, "spec", "type")
    if kind in ("NodePort", "LoadBalancer"):
        yield f"is of type {show(kind)}. Allowed: ClusterIP. Fix: publish the service through the edge."
    if elements(read(subject.props, "spec", "externalIPs")):
        yield "claims external addresses. Allowed: none. Fix: remove externalIPs."
    for port in elements(read(subject.props, "spec", "ports")):
        node_port = number(read(port, "nodePort"))
        if node_port:
            yield f"opens port {show(node_port)} on every node. Allowed: none. Fix: remove nodePort."


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [default_deny(), named_peers_only(), cluster_internal_services()]
