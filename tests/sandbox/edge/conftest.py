"""egctl, built once; the edges that several tests call."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sandbox import tools
from tests.sandbox.edge import rig
from tests.sandbox.edge.rig import Rig

RunEdge = Callable[..., AbstractContextManager[Rig]]


@pytest.fixture(scope="session")
def egctl() -> Path:
    return tools.ensure(tools.EDGE, tools.progress())["egctl"]


@pytest.fixture
def run_edge(egctl: Path, tmp_path: Path) -> RunEdge:
    """Start an edge with changes to the dev stack, as a context manager."""

    def run(changes: dict[str, object] | None = None, **counts: int) -> AbstractContextManager[Rig]:
        return rig.running(egctl, tmp_path, changes or {}, **counts)

    return run


@pytest.fixture(scope="session")
def edge(egctl: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The dev stack's own edge, unchanged but for who may connect; tests use addresses of their own."""
    with rig.running(egctl, tmp_path_factory.mktemp("edge"), {}) as running:
        yield running
