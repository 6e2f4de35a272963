"""The two renderers of the edge: what each makes of a wish, without any daemon."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from components.edge.gateway import controller_config
from components.edge.model import error_bodies, rate_limit_policy, retry_after_seconds
from components.edge.namespace import quota
from policies.edge_nginx import KNOWN
from settings.edge import Edge, LimitBy, LimitScope, RateLimit, RatePeriod
from settings.quantities import parse_quantity
from tests.unit.components.edge_stacks import nginx_form
from tests.unit.stacks import manifest, manifests_of, of_kind, settings_of

PREFIX = "nginx.ingress.kubernetes.io/"


def edge_with(*limits: RateLimit) -> Edge:
    edge = settings_of("dev").edge
    assert edge is not None
    return edge.model_copy(update={"rate_limits": {f"limit-{n}": limit for n, limit in enumerate(limits)}})


def address_limit(requests: int, per: RatePeriod, scope: LimitScope = LimitScope.LOCAL) -> RateLimit:
    return RateLimit(by=LimitBy.CLIENT_ADDRESS, requests=requests, per=per, scope=scope)


def annotations(name: str = "payment-api-ingress", **changes: object) -> dict[str, str]:
    found = manifest("dev", "Ingress", name, nginx_form(changes))["metadata"]["annotations"]
    return {key.removeprefix(PREFIX): value for key, value in found.items()}


def test_t1_the_plans_limit_becomes_annotations_that_exist() -> None:
    found = annotations()
    assert (found["limit-rpm"], found["limit-burst-multiplier"]) == ("1000", "1")
    assert found.keys() <= KNOWN


def test_t2_balancing_is_one_annotation() -> None:
    hashed = {"policy": "hash", "hash_on": "uri"}
    form = nginx_form({"edge/routes/docs/balancing": hashed})
    (docs,) = [i for name, i in of_kind("dev", "Ingress", form).items() if name != "payment-api-ingress"]
    notes = docs["metadata"]["annotations"]
    assert notes[f"{PREFIX}upstream-hash-by"] == "$request_uri"
    assert f"{PREFIX}load-balance" not in notes
    assert (annotations()["load-balance"], "upstream-hash-by" in annotations()) == ("round_robin", False)


def test_the_plans_ingress_holds_every_route_that_has_its_annotations() -> None:
    ingress = manifest("dev", "Ingress", "payment-api-ingress", nginx_form())
    (rule,) = ingress["spec"]["rules"]
    assert {path["path"] for path in rule["http"]["paths"]} == {
        "/api/v1/payments",
        "/api/v1/wallets",
        "/api/v1/config",
        "/api/v1/rates",
        "/docs",
    }
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "edge-tls"}]


def test_the_nginx_form_declares_no_gateway_and_the_other_no_ingress() -> None:
    kinds = {m["kind"] for m in manifests_of("dev", nginx_form()).values()}
    assert not kinds & {"Gateway", "HTTPRoute", "BackendTrafficPolicy"}
    assert "Ingress" not in {m["kind"] for m in manifests_of("dev").values()}


@given(requests=st.integers(1, 1_000_000), period=st.sampled_from(RatePeriod))
def test_after_retry_after_a_local_bucket_holds_a_request_again(requests: int, period: RatePeriod) -> None:
    wait = retry_after_seconds(edge_with(address_limit(requests, period)))
    assert wait * requests >= period.seconds
    assert (wait - 1) * requests < period.seconds


@given(requests=st.integers(1, 10_000), period=st.sampled_from(RatePeriod))
def test_the_longest_wait_of_all_limits_is_told(requests: int, period: RatePeriod) -> None:
    local = address_limit(requests, RatePeriod.MINUTE)
    shared = address_limit(1, period, LimitScope.GLOBAL)
    assert retry_after_seconds(edge_with(local, shared)) == max(ceil(60 / requests), period.seconds)


def test_a_refusal_names_every_limit() -> None:
    edge = edge_with(address_limit(10, RatePeriod.SECOND), address_limit(1000, RatePeriod.MINUTE))
    assert rate_limit_policy(edge) == '"limit-0";q=10;w=1, "limit-1";q=1000;w=60'
    assert all(headers["Cache-Control"] == "no-store" for _, headers in error_bodies(edge).values())


@given(replicas=st.integers(1, 100))
def test_the_namespaces_quota_holds_the_proxies_while_they_roll(replicas: int) -> None:
    edge = edge_with(address_limit(1, RatePeriod.SECOND))
    proxies = edge.proxies.model_copy(update={"min_replicas": 1, "max_replicas": replicas})
    hard = quota(edge.model_copy(update={"proxies": proxies}))
    surged = ceil(replicas * 1.25)
    assert int(hard["pods"]) >= surged
    assert parse_quantity(hard["requests.cpu"]) >= surged * parse_quantity("500m")
    assert parse_quantity(hard["limits.memory"]) >= surged * parse_quantity("1Gi")


def test_the_controllers_configuration_names_redis_only_where_it_is_asked() -> None:
    texts = {}
    for stack in ("dev", "prod"):
        edge = settings_of(stack).edge
        assert edge is not None
        texts[stack] = controller_config(edge)["envoy-gateway.yaml"]
    assert "GatewayNamespace" in texts["dev"]
    assert "redis" not in texts["dev"]
    assert "url: redis-ratelimit.edge.svc:6379" in texts["prod"]
