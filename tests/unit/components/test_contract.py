"""The ConfigMap ``platform-contract``: what the client parses is what the stack asks for, and nothing secret."""

import pytest

from components.contract import plan_contract, platform_contract
from payments_client.contract import CONFIG_MAP, CONFIG_MAP_KEY, PLAN_CLASSES, PlatformContract
from settings import load
from settings.cache import LocalMode
from settings.cache_rules import CLUSTER_NAME, LOCAL_NAME, LOCAL_SOCKET
from tests.unit.stacks import REMOVED, STACKS, of_kind, platform_of


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_rendered_is_what_the_client_parses(stack: str) -> None:
    settings = load(platform_of(stack), source=stack)
    manifest = plan_contract(settings)
    assert manifest["kind"] == "ConfigMap"
    assert manifest["metadata"]["name"] == CONFIG_MAP
    assert manifest["metadata"]["namespace"] == settings.cluster.namespaces.services
    parsed = PlatformContract.parse(manifest["data"][CONFIG_MAP_KEY])
    assert parsed == platform_contract(settings)
    assert parsed.cache is not None
    assert parsed.cache.classes == PLAN_CLASSES
    assert parsed.cache.l3.cluster
    assert parsed.cache.l3.tls


@pytest.mark.parametrize("stack", STACKS)
def test_every_pod_of_a_service_reads_it_where_the_clients_pages_say(stack: str) -> None:
    deployments = of_kind(stack, "Deployment")
    for name in (
        f"{sector}-{part}" for sector in ("gateway", "payment", "wallet") for part in ("service", "processors")
    ):
        deployment = deployments[name]
        pod = deployment["spec"]["template"]["spec"]
        assert {"name": "contract", "configMap": {"name": "platform-contract"}} in pod["volumes"]
        mounts = pod["containers"][0]["volumeMounts"]
        assert {"name": "contract", "mountPath": "/etc/platform", "readOnly": True} in mounts


def test_addresses_are_those_of_declared_services() -> None:
    settings = load(platform_of("prod"), source="prod")
    cache = platform_contract(settings).cache
    assert cache is not None
    domain = f"{settings.cluster.namespaces.cache}.svc.cluster.local"
    assert cache.l3.host == f"{CLUSTER_NAME}.{domain}"


@pytest.mark.parametrize("mode", LocalMode)
def test_the_local_tier_is_where_its_mode_puts_it(mode: LocalMode) -> None:
    settings = load(platform_of("dev", {"cache/local/mode": str(mode)}), source="dev")
    cache = platform_contract(settings).cache
    assert cache is not None
    if mode is LocalMode.NONE:
        assert cache.l2 is None
        return
    assert cache.l2 is not None
    assert not cache.l2.cluster
    if mode is LocalMode.SIDECAR:
        assert cache.l2.socket_path == LOCAL_SOCKET
    else:
        assert cache.l2.host.startswith(f"{LOCAL_NAME}.")
        assert cache.l2.tls


def test_a_stack_without_caches_publishes_none() -> None:
    settings = load(platform_of("dev", {"cache": REMOVED}), source="dev")
    assert platform_contract(settings).cache is None


def test_no_secret_is_named_or_held() -> None:
    text = plan_contract(load(platform_of("prod"), source="prod"))["data"][CONFIG_MAP_KEY]
    assert "password" not in text.lower()
    assert "secret" not in text.lower()
