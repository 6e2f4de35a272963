"""The local tier as a sidecar: the rendered container on a real Valkey, and the client over its socket."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis

from payments_client.cache import Loaded, PaymentsCache
from payments_client.cache.values import Versions
from payments_client.contract import RATES, CacheContract, PlatformContract
from settings.cache_rules import LOCAL_SOCKET
from tests.real.cache_client.servers import running
from tests.real.redis_binaries import valkey_without_tls
from tests.real.redis_servers import wait_until
from tests.unit.stacks import manifests_of

CHANGES = {"cache/local/mode": "sidecar"}


def rendered() -> dict[str, dict[str, Any]]:
    return {f"{m['kind']}/{m['metadata']['name']}": m for m in manifests_of("dev", CHANGES).values()}


def published() -> CacheContract:
    contract = PlatformContract.parse(rendered()["ConfigMap/platform-contract"]["data"]["contract.json"]).cache
    assert contract is not None
    return contract


@pytest.fixture
def socket() -> Iterator[Path]:
    """The socket of the payment service's sidecar, started by its rendered command from its rendered files."""
    objects = rendered()
    pod = objects["Deployment/payment-service"]["spec"]["template"]["spec"]
    [container] = [c for c in pod["initContainers"] if c["name"] == "cache-local"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    # A socket's path may have 107 characters; pytest's folders are longer than that on some machines.
    with TemporaryDirectory(prefix="l2-") as name:
        home = Path(name)
        paths = {mount["mountPath"]: home / mount["name"] for mount in container["volumeMounts"]}
        for mount in container["volumeMounts"]:
            paths[mount["mountPath"]].mkdir()
            config = volumes[mount["name"]].get("configMap", {"name": None})["name"]
            for file, text in objects.get(f"ConfigMap/{config}", {}).get("data", {}).items():
                (paths[mount["mountPath"]] / file).write_text(_here(text, paths), encoding="utf-8")
        binaries = valkey_without_tls(home / "bin")
        command = [_here(word, paths) for word in container["command"]]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **binaries.environment}, cwd=home, stdout=log, stderr=log
            )
        try:
            found = Path(_here(LOCAL_SOCKET, paths))
            wait_until(found.exists, 30, lambda: (home / "log").read_text(encoding="utf-8"))
            yield found
        finally:
            process.terminate()
            process.wait(30)


def _here(text: str, paths: dict[str, Path]) -> str:
    for path, folder in paths.items():
        text = text.replace(path, str(folder))
    return text


def test_it_listens_on_its_socket_only_and_forgets_at_a_stop(socket: Path) -> None:
    with redis.Redis(unix_socket_path=str(socket), decode_responses=True) as client:
        settings = client.config_get("port", "maxmemory-policy", "save", "appendonly", "unixsocketperm")
        assert settings == {
            "port": "0", "maxmemory-policy": "allkeys-lru", "save": "", "appendonly": "no", "unixsocketperm": "770",
        }  # fmt: skip
        assert int(client.config_get("maxmemory")["maxmemory"]) > 0


def test_the_client_reads_through_it_before_the_cluster(socket: Path, tmp_path: Path) -> None:
    loads = []

    def load(item_id: str, _at_least: Versions) -> Loaded[str]:
        loads.append(item_id)
        return Loaded("1.08", {item_id: 1})

    contract = published()
    assert contract.l2 is not None
    assert contract.l2.socket_path == LOCAL_SOCKET
    with running(tmp_path) as l3:
        here = contract.model_copy(
            update={
                "l2": contract.l2.model_copy(update={"socket_path": str(socket)}),
                "l3": contract.l3.model_copy(
                    update={"host": "127.0.0.1", "port": l3.port, "tls": False, "cluster": False}
                ),
            }
        )
        for _ in range(2):
            # A new process each time: nothing is in L1.
            with PaymentsCache(here) as cache:
                assert cache.reader(RATES, load).get("EUR") == "1.08"
            with redis.Redis(unix_socket_path=str(socket)) as local:
                assert local.exists("rates:EUR")
            with l3.client() as client:
                client.flushall()
    assert loads == ["EUR"], "the second process found it in the pod's own server"
