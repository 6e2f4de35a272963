"""The way in, whichever controller serves it: named hosts, TLS, limits, and retries that pay once."""

import ipaddress
from collections.abc import Iterator

from pulumi_policy import PolicyConfigSchema, ResourceValidationPolicy, Severity, StackValidationPolicy

from policies import edge_nginx
from policies.index import StackIndex
from policies.objects import KubernetesObject
from policies.rules import About, Config, Violation, object_policy, stack_policy
from policies.values import UNKNOWN, elements, read, scalar, show, text

_ROUTE, _GATEWAY = "HTTPRoute", "Gateway"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Reasons to try again that come before the upstream can have seen the request.
_UNSEEN = frozenset({"connect-failure", "refused-stream", "reset-before-request"})
_SECURE_VERSIONS = frozenset({"1.2", "1.3", "Auto"})


def named_hosts() -> ResourceValidationPolicy:
    """A wildcard or empty host answers for names that nobody thought of."""
    about = About(
        name="entry-hosts-named",
        display_name="Named hosts",
        description="Ingresses, Gateways and HTTPRoutes name their hosts in full.",
        severity=Severity.HIGH,
        remediation="Name each host.",
        tags=("edge",),
        pci="1.4.1",
        pci_text="Network security controls stand between trusted and untrusted networks",
    )
    return object_policy(about, _check_hosts, frozenset({"Ingress", _GATEWAY, _ROUTE}))


def _check_hosts(subject: KubernetesObject, _config: Config) -> Iterator[str]:
    for where, host in _hosts(subject):
        if host is None or host == "":
            yield f"{where} names no host and answers for every name. Allowed: full host names. Fix: name it."
        elif isinstance(host, str) and "*" in host:
            yield f"{where} is {show(host)}. Allowed: full host names. Fix: name each host."


def _hosts(subject: KubernetesObject) -> Iterator[tuple[str, object]]:
    spec = read(subject.props, "spec")
    if subject.kind == _ROUTE:
        names = read(spec, "hostnames")
        found = [UNKNOWN] if names is UNKNOWN else elements(names) or [None]
        yield from (("hostnames", name) for name in found)
        return
    part, field = ("rules", "host") if subject.kind == "Ingress" else ("listeners", "hostname")
    for position, entry in enumerate(elements(read(spec, part))):
        yield f"{part} entry {position + 1}", read(entry, field)


def encrypted() -> StackValidationPolicy:
    """Card data crosses the internet here."""
    about = About(
        name="entry-tls",
        display_name="TLS at the way in",
        description="Every host has a certificate, no service answers plain HTTP, and TLS is 1.2 or newer.",
        severity=Severity.CRITICAL,
        remediation="Give each host a certificate; let plain HTTP only redirect.",
        tags=("edge", "tls"),
        pci="4.2.1",
        pci_text="Strong cryptography safeguards PAN during transmission over open, public networks",
    )
    return stack_policy(about, _check_tls)


def _check_tls(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for ingress in index.by_kind.get("Ingress", []):
        yield from (Violation(ingress, message) for message in _plain_ingress(ingress))
    plain: set[tuple[object, object, object]] = set()
    for gateway in index.by_kind.get(_GATEWAY, []):
        for listener in elements(read(gateway.props, "spec", "listeners")):
            name, protocol = scalar(read(listener, "name")), read(listener, "protocol")
            if protocol == "HTTP":
                plain.add((gateway.namespace, gateway.name, name))
            elif protocol == "HTTPS" and read(listener, "tls", "certificateRefs") in (None, []):
                yield Violation(
                    gateway, f"listener {show(name)} has no certificate. Allowed: certificateRefs. Fix: name one."
                )
    for route in index.by_kind.get(_ROUTE, []):
        for gateway_name, section in _plain_parents(route, plain):
            yield Violation(
                route,
                f"sends requests of plain HTTP to a service (Gateway {show(gateway_name)}, listener {show(section)})."
                " Allowed: a redirect to https. Fix: attach the route to the HTTPS listener by sectionName.",
            )
    for policy in index.by_kind.get("ClientTrafficPolicy", []):
        version = read(policy.props, "spec", "tls", "minVersion")
        if isinstance(version, str) and version not in _SECURE_VERSIONS:
            yield Violation(policy, f"admits TLS {show(version)}. Allowed: 1.2 or 1.3. Fix: raise tls.minVersion.")


def _plain_ingress(ingress: KubernetesObject) -> Iterator[str]:
    blocks = elements(read(ingress.props, "spec", "tls"))
    if read(ingress.props, "spec", "tls") is UNKNOWN or UNKNOWN in blocks:
        return
    lists = [read(block, "hosts") for block in blocks if read(block, "secretName")]
    covered = [host for hosts in lists for host in elements(hosts)]
    if UNKNOWN in lists or UNKNOWN in covered:
        return
    for rule in elements(read(ingress.props, "spec", "rules")):
        host = text(read(rule, "host"))
        if host and host not in covered:
            yield f"host {show(host)} has no certificate. Allowed: each host under tls. Fix: add it with a secretName."
    if edge_nginx.annotations(ingress).get("ssl-redirect") == "false":
        yield "answers plain HTTP (ssl-redirect is 'false'). Allowed: a redirect to https. Fix: remove it."


def _plain_parents(
    route: KubernetesObject, plain: set[tuple[object, object, object]]
) -> Iterator[tuple[object, object]]:
    if not _has_backends(route):
        return
    for parent in elements(read(route.props, "spec", "parentRefs")):
        namespace, section = read(parent, "namespace"), read(parent, "sectionName")
        home = route.namespace if namespace is None else namespace
        if UNKNOWN in (home, section, read(parent, "name")):
            continue
        for gateway_namespace, gateway, listener in plain:
            if (gateway_namespace, gateway) == (home, read(parent, "name")) and section in (None, listener):
                yield gateway, listener


def limited() -> StackValidationPolicy:
    """Without a limit one client takes what all others need."""
    about = About(
        name="entry-rate-limit",
        display_name="Rate limit at the way in",
        description="Each route to a service has a rate limit.",
        severity=Severity.HIGH,
        remediation="Declare a BackendTrafficPolicy with rateLimit for the route, or limit-rpm on the Ingress.",
        tags=("edge", "availability"),
        pci="6.4.2",
        pci_text="An automated technical solution detects and prevents web-based attacks",
    )
    return stack_policy(about, _check_limits)


def _check_limits(index: StackIndex, _config: Config) -> Iterator[Violation]:
    for ingress in index.by_kind.get("Ingress", []):
        notes = read(ingress.props, "metadata", "annotations")
        if notes is not UNKNOWN and not {"limit-rpm", "limit-rps"} & edge_nginx.annotations(ingress).keys():
            yield Violation(
                ingress, "has no rate limit. Allowed: limit-rpm or limit-rps. Fix: set one of the annotations."
            )
    policies = [p for p in index.by_kind.get("BackendTrafficPolicy", []) if _limits(p)]
    for route in index.by_kind.get(_ROUTE, []):
        if _has_backends(route) and not any(_targets(policy, route) for policy in policies):
            yield Violation(
                route,
                "has no rate limit. Allowed: a BackendTrafficPolicy with rules under rateLimit that targets it."
                " Fix: declare one.",
            )


def _limits(policy: KubernetesObject) -> bool:
    limit = read(policy.props, "spec", "rateLimit")
    rules = [read(limit, scope, "rules") for scope in ("local", "global")]
    return UNKNOWN in rules or any(elements(found) for found in rules)


def _targets(policy: KubernetesObject, route: KubernetesObject) -> bool:
    """Whether a policy applies to a route, by itself or by its Gateway; what is not known may apply."""
    references = read(policy.props, "spec", "targetRefs")
    if references is UNKNOWN or UNKNOWN in (policy.namespace, route.namespace, route.name):
        return True
    parents = elements(read(route.props, "spec", "parentRefs"))
    for reference in elements(references):
        kind, name = read(reference, "kind"), read(reference, "name")
        if UNKNOWN in (reference, kind, name):
            return True
        if kind == _ROUTE and (policy.namespace, name) == (route.namespace, route.name):
            return True
        if kind == _GATEWAY and any(
            name == read(parent, "name") and policy.namespace == (read(parent, "namespace") or route.namespace)
            for parent in parents
        ):
            return True
    return False


def _has_backends(route: KubernetesObject) -> bool:
    return any(elements(read(rule, "backendRefs")) for rule in elements(read(route.props, "spec", "rules")))


def safe_retries() -> StackValidationPolicy:
    """A payment that is repeated by the edge is a payment made twice."""
    about = About(
        name="entry-retries-unseen",
        display_name="Retries of unseen requests only",
        description="Routes that accept writes are only tried again where no upstream can have seen the request.",
        severity=Severity.CRITICAL,
        remediation=f"Name retryOn.triggers among {', '.join(sorted(_UNSEEN))}.",
        tags=("edge", "payments"),
    )
    return stack_policy(about, _check_retries)


def _check_retries(index: StackIndex, _config: Config) -> Iterator[Violation]:
    routes = index.by_kind.get(_ROUTE, [])
    for policy in index.by_kind.get("BackendTrafficPolicy", []):
        retry = read(policy.props, "spec", "retry")
        if retry is None or retry is UNKNOWN or read(retry, "numRetries") == 0:
            continue
        reasons = [scalar(reason) for reason in elements(read(retry, "retryOn", "triggers"))]
        codes = elements(read(retry, "retryOn", "httpStatusCodes"))
        named = [show(reason) for reason in reasons if reason is not UNKNOWN and reason not in _UNSEEN]
        named += [show(code) for code in codes if code is not UNKNOWN]
        if read(retry, "retryOn") is None:
            named = ["the default, which includes answers of 503"]
        writes = [route for route in routes if _accepts_writes(route) and _targets(policy, route)]
        if named and writes:
            yield Violation(
                policy,
                f"repeats requests of {writes[0].title} on {', '.join(named)}, which an upstream may have carried"
                f" out. Allowed: {', '.join(sorted(_UNSEEN))}. Fix: remove the others, or restrict the route to GET.",
            )


def _accepts_writes(route: KubernetesObject) -> bool:
    for rule in elements(read(route.props, "spec", "rules")):
        matches = elements(read(rule, "matches"))
        methods = [read(match, "method") for match in matches] or [None]
        if any(method is not UNKNOWN and scalar(method) not in _READS for method in methods):
            return True
    return False


def closed_origin() -> ResourceValidationPolicy:
    """Who reaches the origin past the CDN meets none of its rules, and can write any client address."""
    about = About(
        name="entry-origin-closed",
        display_name="Origin closed to everybody but the CDN",
        description="The load balancer admits named blocks only; a client header counts only behind certificates.",
        severity=Severity.HIGH,
        remediation="Name the CDN's blocks under edge.accept_from; set edge.tls.client_ca.",
        tags=("edge",),
        pci="1.3.1",
        pci_text="Inbound traffic is restricted to what is necessary, the rest is denied",
        schema=PolicyConfigSchema(properties={"required": {"type": "boolean", "default": True}}),
    )
    return object_policy(about, _check_origin, frozenset({"EnvoyProxy", "ClientTrafficPolicy"}))


def _check_origin(subject: KubernetesObject, config: Config) -> Iterator[str]:
    if read(config, "required") is not True:
        return
    spec = read(subject.props, "spec")
    if subject.kind == "EnvoyProxy":
        blocks = read(spec, "provider", "kubernetes", "envoyService", "loadBalancerSourceRanges")
        if blocks is UNKNOWN:
            return
        if not elements(blocks):
            yield "admits every address. Allowed: loadBalancerSourceRanges of the CDN. Fix: name its blocks."
        for block in elements(blocks):
            if isinstance(block, str) and _is_everybody(block):
                yield f"admits {show(block)}, which is everybody. Allowed: the CDN's blocks. Fix: name them."
        return
    header = read(spec, "clientIPDetection", "customHeader", "name")
    if isinstance(header, str) and read(spec, "tls", "clientValidation") is None:
        yield (
            f"believes {show(header)} of whoever connects. Allowed: such a header behind client certificates only."
            " Fix: set tls.clientValidation, or read xForwardedFor with trustedCIDRs."
        )
    for block in elements(read(spec, "clientIPDetection", "xForwardedFor", "trustedCIDRs")):
        if isinstance(block, str) and _is_everybody(block):
            yield f"trusts {show(block)}, which is everybody. Allowed: the CDN's blocks. Fix: name them."


def _is_everybody(block: str) -> bool:
    try:
        return ipaddress.ip_network(block, strict=False).prefixlen == 0
    except ValueError:
        return False


def policies() -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """Return the policies of this theme."""
    return [
        named_hosts(),
        encrypted(),
        limited(),
        safe_retries(),
        closed_origin(),
        *edge_nginx.policies(),
    ]
