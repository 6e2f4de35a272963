"""What the pack says about the way in: one row per way to break a rule, with the exact message."""

from collections.abc import Mapping, Sequence

import pytest

from policies.edge_nginx import KNOWN, PREFIX
from policies.evaluate import Finding, Resource, evaluate
from tests.policy.samples import DEV, PROD, REMOVED, UNKNOWN_MARK, changed, find, kubernetes, leaves, platform

_TARGET = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "payments"}
_RULES = [{"clientSelectors": [{"sourceCIDR": {"value": "0.0.0.0/0"}}], "limit": {"requests": 1000, "unit": "Minute"}}]
_BLOCKS = ["173.245.48.0/20", "2400:cb00::/32"]


def entry() -> list[Resource]:
    """A Gateway with a redirect and one limited route, and an Ingress beside it: nothing to object to."""
    gateway_api, envoy = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"
    listeners = [
        {"name": "http", "protocol": "HTTP", "port": 80, "hostname": "api.payments.com"},
        {
            "name": "https",
            "protocol": "HTTPS",
            "port": 443,
            "hostname": "api.payments.com",
            "tls": {"certificateRefs": [{"name": "edge-tls"}]},
        },
    ]
    service = {"envoyService": {"loadBalancerSourceRanges": list(_BLOCKS)}}
    return [
        kubernetes(f"{gateway_api}:Gateway", "edge", {"spec": {"listeners": listeners}}),
        kubernetes(
            f"{gateway_api}:HTTPRoute",
            "redirect",
            {
                "spec": {
                    "parentRefs": [{"name": "edge", "sectionName": "http"}],
                    "hostnames": ["api.payments.com"],
                    "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}],
                }
            },
        ),
        kubernetes(
            f"{gateway_api}:HTTPRoute",
            "payments",
            {
                "spec": {
                    "parentRefs": [{"name": "edge", "namespace": "payments", "sectionName": "https"}],
                    "hostnames": ["api.payments.com"],
                    "rules": [
                        {
                            "matches": [{"path": {"type": "PathPrefix", "value": "/api/v1/payments"}}],
                            "backendRefs": [{"name": "payment-service-svc", "port": 8080}],
                        }
                    ],
                }
            },
        ),
        kubernetes(
            f"{envoy}:BackendTrafficPolicy",
            "payments",
            {
                "spec": {
                    "targetRefs": [_TARGET],
                    "rateLimit": {"local": {"rules": _RULES}},
                    "retry": {"numRetries": 2, "retryOn": {"triggers": ["connect-failure", "refused-stream"]}},
                }
            },
        ),
        kubernetes(
            f"{envoy}:ClientTrafficPolicy",
            "edge",
            {
                "spec": {
                    "tls": {"minVersion": "1.2"},
                    "clientIPDetection": {"xForwardedFor": {"trustedCIDRs": list(_BLOCKS)}},
                }
            },
        ),
        kubernetes(f"{envoy}:EnvoyProxy", "edge", {"spec": {"provider": {"kubernetes": service}}}),
        kubernetes("core/v1:ConfigMap", "controller", {"data": {"allow-snippet-annotations": "false"}}),
        _ingress(),
    ]


def _ingress() -> Resource:
    rules = [{"host": "api.payments.com", "http": {"paths": []}}]
    spec = {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["api.payments.com"], "secretName": "edge-tls"}],
        "rules": rules,
    }
    found = kubernetes("networking.k8s.io/v1:Ingress", "payment-api-ingress", {"spec": spec})
    notes = {f"{PREFIX}limit-rpm": "1000", f"{PREFIX}limit-burst-multiplier": "1", f"{PREFIX}load-balance": "ewma"}
    return changed(found, "metadata>annotations", notes)


def findings(
    kind: str, name: str, path: str, value: object, config: Mapping[str, object] = DEV
) -> list[tuple[str, str, str]]:
    resources = entry()
    target = find(resources, kind, name)
    return _found([changed(one, path, value) if one is target else one for one in resources], config)


def _found(resources: Sequence[Resource], config: Mapping[str, object] = DEV) -> list[tuple[str, str, str]]:
    found: list[Finding] = evaluate([*platform(), *resources], config)
    return [(finding.policy, finding.urn.rpartition("::")[2], finding.message) for finding in found]


NOTES = f"metadata>annotations>{PREFIX}"
MALFORMED: tuple[object, ...] = (UNKNOWN_MARK, 7, "text", [], {}, None)
RETRIES = "spec>retry>retryOn>triggers"


@pytest.mark.parametrize(
    ("policy", "kind", "name", "path", "value", "said"),
    [
        # T1: the plan's own annotations.
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}rate-limit", "1000",
         "Allowed: names that the controller reads. Fix: use limit-rpm or limit-rps, or remove it."),
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}rate-limit-window", "1m",
         "rate-limit-window is unknown to ingress-nginx and has no effect."),
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}limit-rmp", "9", "Fix: use limit-rp"),
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}global-rate-limit", "1000",
         "has no effect"),
        # T2: a hash beside a choice of balancing.
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}upstream-hash-by", "$request_uri",
         "upstream-hash-by overrides nginx.ingress.kubernetes.io/load-balance, which has no effect."),
        ("ingress-known-annotations", "Ingress", "payment-api-ingress", f"{NOTES}proxy-next-upstream",
         "error non_idempotent", "a POST would be carried out twice."),
        ("ingress-no-snippets", "Ingress", "payment-api-ingress", f"{NOTES}configuration-snippet", "return 200;",
         "configuration-snippet injects configuration. Allowed: no snippet. Fix: remove it."),
        ("ingress-no-snippets", "ConfigMap", "controller", "data>allow-snippet-annotations", "true",
         "allows snippet annotations."),
        ("entry-hosts-named", "Ingress", "payment-api-ingress", "spec>rules>0>host", REMOVED,
         "rules entry 1 names no host and answers for every name."),
        ("entry-hosts-named", "Gateway", "edge", "spec>listeners>1>hostname", "*.payments.com",
         "listeners entry 2 is '*.payments.com'. Allowed: full host names. Fix: name each host."),
        ("entry-hosts-named", "Gateway", "edge", "spec>listeners>0>hostname", REMOVED, "entry 1 names no host"),
        ("entry-hosts-named", "HTTPRoute", "payments", "spec>hostnames", [], "hostnames names no host"),
        ("entry-tls", "Ingress", "payment-api-ingress", "spec>tls", [], "host 'api.payments.com' has no certificate."),
        ("entry-tls", "Ingress", "payment-api-ingress", "spec>tls>0>secretName", REMOVED, "has no certificate."),
        ("entry-tls", "Ingress", "payment-api-ingress", f"{NOTES}ssl-redirect", "false", "answers plain HTTP"),
        ("entry-tls", "Gateway", "edge", "spec>listeners>1>tls", REMOVED, "listener 'https' has no certificate."),
        ("entry-tls", "HTTPRoute", "payments", "spec>parentRefs>0>sectionName", "http",
         "sends requests of plain HTTP to a service (Gateway 'edge', listener 'http')."),
        ("entry-tls", "HTTPRoute", "payments", "spec>parentRefs>0>sectionName", REMOVED, "requests of plain HTTP"),
        ("entry-tls", "ClientTrafficPolicy", "edge", "spec>tls>minVersion", "1.0", "admits TLS '1.0'."),
        ("entry-rate-limit", "Ingress", "payment-api-ingress", f"{NOTES}limit-rpm", REMOVED, "has no rate limit."),
        ("entry-rate-limit", "BackendTrafficPolicy", "payments", "spec>rateLimit", REMOVED, "no rate limit."),
        ("entry-rate-limit", "BackendTrafficPolicy", "payments", "spec>rateLimit>local>rules", [], "no rate limit."),
        ("entry-rate-limit", "BackendTrafficPolicy", "payments", "spec>targetRefs>0>name", "x", "no rate limit."),
        ("entry-retries-unseen", "BackendTrafficPolicy", "payments", RETRIES, ["connect-failure", "5xx"],
         "repeats requests of HTTPRoute payments/payments on '5xx', which an upstream may have carried out."),
        ("entry-retries-unseen", "BackendTrafficPolicy", "payments", RETRIES, ["reset"], "on 'reset'"),
        ("entry-retries-unseen", "BackendTrafficPolicy", "payments", "spec>retry>retryOn", REMOVED,
         "on the default, which includes answers of 503"),
        ("entry-retries-unseen", "BackendTrafficPolicy", "payments", "spec>retry>retryOn>httpStatusCodes", [503],
         "on 503, which an upstream may have carried out."),
        ("entry-origin-closed", "EnvoyProxy", "edge", "spec>provider>kubernetes>envoyService", {},
         "admits every address."),
        ("entry-origin-closed", "EnvoyProxy", "edge",
         "spec>provider>kubernetes>envoyService>loadBalancerSourceRanges", ["0.0.0.0/0"],
         "admits '0.0.0.0/0', which is everybody."),
        ("entry-origin-closed", "ClientTrafficPolicy", "edge", "spec>clientIPDetection",
         {"customHeader": {"name": "CF-Connecting-IP"}}, "believes 'CF-Connecting-IP' of whoever connects."),
        ("entry-origin-closed", "ClientTrafficPolicy", "edge", "spec>clientIPDetection>xForwardedFor>trustedCIDRs",
         ["::/0"], "trusts '::/0', which is everybody."),
    ],
)  # fmt: skip
def test_breaking_one_value_is_refused_with_the_reason(  # noqa: PLR0917 # a row of the table
    policy: str, kind: str, name: str, path: str, value: object, said: str
) -> None:
    found = findings(kind, name, path, value)
    assert [one for one, _, _ in found] == [policy], found
    message = found[0][2]
    assert said in message
    assert ". Allowed: " in message
    assert " Fix: " in message
    if NOTES not in path:  # the name of an annotation is known even where its value is not
        assert findings(kind, name, path, UNKNOWN_MARK) == []


def test_the_compliant_entry_has_no_findings() -> None:
    assert _found(entry()) == []


def test_no_route_without_its_limit() -> None:
    left = [one for one in entry() if one.type.rpartition(":")[2] != "BackendTrafficPolicy"]
    assert [(policy, name) for policy, name, _ in _found(left)] == [("entry-rate-limit", "payments")]


def test_a_limit_on_the_gateway_covers_its_routes() -> None:
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
    assert findings("BackendTrafficPolicy", "payments", "spec>targetRefs", [target]) == []


def test_reads_may_be_repeated_for_any_reason() -> None:
    resources = entry()
    route, policy = find(resources, "HTTPRoute", "payments"), find(resources, "BackendTrafficPolicy", "payments")
    reading = changed(route, "spec>rules>0>matches>0>method", "GET")
    eager = changed(policy, RETRIES, ["5xx", "reset"])
    replaced = {route.urn + route.type: reading, policy.urn + policy.type: eager}
    assert _found([replaced.get(one.urn + one.type, one) for one in resources]) == []


def test_a_retired_controller_is_refused_in_prod_only() -> None:
    def retired(config: Mapping[str, object]) -> list[tuple[str, str]]:
        found = [one for one in _found(entry(), config) if one[0].startswith("ingress-")]
        return [(policy, name) for policy, name, _ in found]

    assert retired(DEV) == []
    assert retired(PROD) == [("ingress-controller-maintained", "payment-api-ingress")]


@pytest.mark.parametrize("controller", ["k8s.io/ingress-nginx", "example.com/other"])
def test_an_ingress_class_tells_its_controller(controller: str) -> None:
    spec = {"spec": {"controller": controller}}
    resource = kubernetes("networking.k8s.io/v1:IngressClass", "class", spec, namespace=None)
    found = [policy for policy, name, _ in _found([resource], PROD) if name == "class" and policy.startswith("ingress")]
    assert found == (["ingress-controller-maintained"] if controller == "k8s.io/ingress-nginx" else [])


@pytest.mark.parametrize("resource", entry(), ids=lambda one: f"{one.type.rpartition(':')[2]}-{one.name}")
def test_no_unknown_or_malformed_value_breaks_a_rule(resource: Resource) -> None:
    """An unknown part is passed over; a value of the wrong kind never crashes a rule."""
    others = [one for one in entry() if (one.type, one.name) != (resource.type, resource.name)]
    for path in leaves(resource.props):
        if not path or path.startswith("metadata>labels"):
            continue
        for value in MALFORMED:
            found = _found([*others, changed(resource, path, value)])
            assert not [one for one in found if "could not be evaluated" in one[2]], (path, value, found)
            if value is UNKNOWN_MARK:
                assert found == [], path


def test_the_names_of_the_controller_are_known() -> None:
    assert {"limit-rpm", "limit-burst-multiplier", "upstream-hash-by", "proxy-body-size", "auth-tls-secret"} <= KNOWN
    assert not {"rate-limit", "rate-limit-window", "global-rate-limit", "enable-influxdb"} & KNOWN
