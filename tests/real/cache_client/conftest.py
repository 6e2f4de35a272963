"""One Valkey for the tests of a worker that need no particular one; its keys are dropped before each test."""

from collections.abc import Iterator

import pytest

from tests.real.cache_client.servers import Server, running


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("valkey")
    with running(folder) as l2, running(folder) as l3:
        yield l2, l3


@pytest.fixture
def l2(_shared: tuple[Server, Server]) -> Server:
    """The local server, empty."""
    return _emptied(_shared[0])


@pytest.fixture
def l3(_shared: tuple[Server, Server]) -> Server:
    """The server in the place of the cluster, empty."""
    return _emptied(_shared[1])


def _emptied(server: Server) -> Server:
    with server.client() as client:
        client.flushall()
    return server
