"""Each pod of a pooler is told by the name that its certificate has."""

import socket
from typing import Any
from unittest.mock import MagicMock

import psycopg
import pytest

from payments_client.migrations import poolers
from payments_client.migrations.poolers import Pooler

ADDRESSES = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 5432)) for address in ("10.244.1.7", "10.244.2.9")]


@pytest.mark.parametrize(
    ("host", "names"),
    [
        (
            "*.pooler-peers.database.svc",
            ["10-244-1-7.pooler-peers.database.svc", "10-244-2-9.pooler-peers.database.svc"],
        ),
        ("pooler.database.svc", ["pooler.database.svc", "pooler.database.svc"]),
    ],
)
def test_every_address_behind_a_name_is_told(monkeypatch: pytest.MonkeyPatch, host: str, names: list[str]) -> None:
    asked: list[str] = []
    told: list[dict[str, Any]] = []

    def connect(**given: Any) -> MagicMock:
        told.append(given)
        return MagicMock()

    def resolve(name: str, *_: object, **__: object) -> list[Any]:
        asked.append(name)
        return ADDRESSES

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(psycopg, "connect", connect)
    assert poolers.reconnect([Pooler(host=host, port=5432, user="payments_migrator")], "payments") == {}
    assert asked == [host.removeprefix("*.")]
    assert [given["host"] for given in told] == names
    assert [given["hostaddr"] for given in told] == ["10.244.1.7", "10.244.2.9"]
