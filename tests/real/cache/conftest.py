"""Fleets of real servers from what the program declares for the dev stack."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from settings.cache_rules import CLUSTER_NAME
from tests.real.redis_binaries import Binaries, valkey_without_tls, with_tls
from tests.real.redis_servers import Fleet, Manifest
from tests.unit.stacks import manifests_of, settings_of

NODE_TIMEOUT_MILLISECONDS = 2000
ZONES = tuple(settings_of("dev").cluster.zones)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.real)


def declared(kind: str, changes: Mapping[str, object] | None = None) -> list[Manifest]:
    """The objects of the cache's namespace, for the server that is there and a short node timeout."""
    all_changes = {
        "cache/server": kind,
        "cache/image": f"{kind}:test",
        "cache/cluster/node_timeout_milliseconds": NODE_TIMEOUT_MILLISECONDS,
        **(changes or {}),
    }
    return [m for m in manifests_of("dev", all_changes).values() if m["metadata"].get("namespace") == "cache"]


def new_fleet(folder: Path, binaries: Binaries, changes: Mapping[str, object] | None = None) -> Fleet:
    """Servers that do not run yet."""
    return Fleet(
        manifests=declared(binaries.kind, changes), name=CLUSTER_NAME, binaries=binaries, folder=folder, zones=ZONES
    )


@contextmanager
def _in_memory(name: str) -> Iterator[Path]:
    """A folder in memory where there is one: servers flush nodes.conf at every change of a slot."""
    memory = Path("/dev/shm")  # noqa: S108 # a folder of its own below it
    with TemporaryDirectory(prefix=f"{name}-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def formed() -> Iterator[Fleet]:
    """Six servers and the cluster that the reconciler made of them; shared by the tests that leave it whole."""
    with _in_memory("cache") as folder:
        fleet = new_fleet(folder, with_tls())
        try:
            fleet.start()
            fleet.reconcile()
            yield fleet
        finally:
            fleet.stop()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Six servers that know nothing of each other, of one test alone."""
    with _in_memory("cache") as folder:
        fleet = new_fleet(folder, with_tls())
        try:
            fleet.start()
            yield fleet
        finally:
            fleet.stop()


@pytest.fixture
def valkey() -> Iterator[Fleet]:
    """Six servers of the default image's version, without TLS because the wheel was built so."""
    with _in_memory("cache") as folder:
        fleet = new_fleet(folder / "fleet", valkey_without_tls(folder / "bin"))
        try:
            fleet.start()
            yield fleet
        finally:
            fleet.stop()
