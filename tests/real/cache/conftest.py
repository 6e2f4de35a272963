"""Fleets of real servers from what the program declares for the dev stack."""

from collections.abc import Iterator, Mapping
from pathlib import Path

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


@pytest.fixture(scope="session")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Six servers and the cluster that the reconciler made of them; shared by the tests that leave it whole."""
    fleet = new_fleet(tmp_path_factory.mktemp("cache"), with_tls())
    try:
        fleet.start()
        fleet.reconcile()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Six servers that know nothing of each other, of one test alone."""
    fleet = new_fleet(tmp_path / "cache", with_tls())
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Fleet]:
    """Six servers of the default image's version, without TLS because the wheel was built so."""
    fleet = new_fleet(tmp_path / "cache", valkey_without_tls(tmp_path / "bin"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()
