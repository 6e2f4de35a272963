"""The Lua scripts on a real Valkey say and store what the model of the coherence tests says and stores."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments_client.cache.scripts import APPLY, DROP, FILL, FLUSH, GENERATIONS, READ, RELEASE, Script, Status
from tests.client.fake_server import FakeServer
from tests.real.cache_client.servers import Server

pytestmark = pytest.mark.real

HOUR_MS = 3_600_000
KEYS = ("wallet:balance:a", "wallet:balance:b")
versions = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(1, 4), max_size=2)
tokens = st.sampled_from(["t1", "t2"])
generations = st.integers(0, 2)


def pairs(given_versions: dict[str, int]) -> tuple[str | int, ...]:
    return tuple(part for pair in given_versions.items() for part in pair)


commands = st.one_of(
    st.builds(
        lambda g, s, t, m: (READ, (g, s, t, HOUR_MS, *pairs(m))),
        generations, st.integers(1, 2), st.one_of(tokens, st.just("")), versions,
    ),
    st.builds(
        lambda t, g, s, n, p, v: (FILL, (t, g, s, HOUR_MS, 5, n, p, *pairs(v))),
        tokens, generations, st.integers(1, 2), st.integers(0, 1), st.binary(max_size=8), versions,
    ),
    st.builds(
        lambda a, v, g, at, p: (APPLY, (a, v, g, 1, HOUR_MS, p, HOUR_MS, "", "", at)),
        st.sampled_from(["a", "b"]), st.integers(1, 4), generations, st.sampled_from([0, 10**15]),
        st.binary(max_size=8),
    ),
    st.just((DROP, ("", ""))),
    st.builds(lambda t: (RELEASE, (t,)), tokens),
)  # fmt: skip


def evaluated(client: Any, script: Script, key: str, arguments: tuple[Any, ...]) -> list[Any]:
    return list(client.eval(script.source, 1, key, *arguments))


def comparable(script: Script, reply: list[Any]) -> list[Any]:
    """Texts as bytes; the milliseconds that have passed between both do not count, nor does the order of floors."""
    parts = [part if isinstance(part, bytes) else str(int(part) if isinstance(part, Status) else part).encode()
             for part in reply]  # fmt: skip
    if script in (READ, FILL):
        floors = sorted(zip(parts[4::2], parts[5::2], strict=True))
        return [parts[0], *parts[2:4], *floors]
    return parts


def stored(held: dict[Any, Any]) -> dict[bytes, bytes]:
    """Without the times of the two different clocks."""
    texts = {
        (k if isinstance(k, bytes) else k.encode()): (v if isinstance(v, bytes) else str(v).encode())
        for k, v in held.items()
    }
    return {name: value for name, value in texts.items() if name not in (b"t", b"x", b"lx")}


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(KEYS), commands), max_size=25))
def test_model_and_server_agree_on_every_reply_and_every_hash(
    l3_client: Any, steps: list[tuple[str, tuple[Script, tuple[Any, ...]]]]
) -> None:
    l3_client.flushall()
    fake = FakeServer(now_ms=lambda: int(time.time() * 1000))
    for key, (script, arguments) in steps:
        real = comparable(script, evaluated(l3_client, script, key, arguments))
        assert comparable(script, fake.evaluate(script, key, arguments)) == real, script.name
        assert stored(fake.keys.get(key, {})) == stored(l3_client.hgetall(key)), script.name


def test_everything_that_is_stored_expires(l3: Server) -> None:
    with l3.client() as client:
        evaluated(client, READ, "config:x", (0, 1, "t", 3000))
        assert 0 < client.pttl("config:x") <= 3000
        evaluated(client, FILL, "config:x", ("t", 0, 1, 60_000, 0, 0, b"{}", "x", 1))
        assert 50_000 < client.pttl("config:x") <= 60_000
        evaluated(client, APPLY, "wallet:balance:w", ("w", 1, 0, 1, 0, b"", 600_000, "", "", 0))
        assert 590_000 < client.pttl("wallet:balance:w") <= 600_000


def test_a_payload_is_not_served_after_its_time_and_a_lease_not_kept(l3: Server) -> None:
    with l3.client() as client:
        evaluated(client, APPLY, "rates:x", ("x", 1, 0, 1, 0, b"", HOUR_MS, "", "", 0))  # the key itself lives on
        assert evaluated(client, READ, "rates:x", (0, 1, "t1", 30))[0] == Status.LEASE
        time.sleep(0.05)
        assert evaluated(client, READ, "rates:x", (0, 1, "t2", HOUR_MS))[0] == Status.LEASE, "t1's lease has ended"
        assert evaluated(client, FILL, "rates:x", ("t2", 0, 1, 30, 0, 0, b"{}", "x", 1))[0] == Status.STORED
        time.sleep(0.05)
        assert evaluated(client, READ, "rates:x", (0, 1, "", HOUR_MS))[0] == Status.MISS


def test_age_travels_with_the_payload(l3: Server) -> None:
    with l3.client() as client:
        evaluated(client, READ, "rates:x", (0, 1, "t1", HOUR_MS))
        evaluated(client, FILL, "rates:x", ("t1", 0, 1, HOUR_MS, 40_000, 0, b"{}", "x", 1))
        assert 40_000 <= evaluated(client, READ, "rates:x", (0, 1, "", HOUR_MS))[1] < 60_000


def test_flush_announces_its_generation_and_never_gives_one_out_twice(l3: Server) -> None:
    with l3.client() as client, client.pubsub() as subscription:
        subscription.subscribe("cache:invalidate:rates")
        assert subscription.get_message(timeout=10)["type"] == "subscribe"
        arguments = ("rates:", "cache:invalidate:rates", json.dumps({"kind": "flush", "number": 1}))
        first = int(evaluated(client, FLUSH, "cache:generations", arguments)[1])
        message = json.loads(subscription.get_message(timeout=10)["data"])
        assert message == {"kind": "flush", "number": 1, "generation": str(first)}
        second = int(evaluated(client, FLUSH, "cache:generations", arguments)[1])
        assert second > first
        client.delete("cache:generations")
        time.sleep(0.005)
        assert int(evaluated(client, FLUSH, "cache:generations", arguments)[1]) > second
        assert int(evaluated(client, GENERATIONS, "cache:generations", ())[1]) > second


@pytest.fixture(scope="module")
def l3_client(_shared: tuple[Server, Server]) -> Any:
    with _shared[1].client() as client:
        yield client
