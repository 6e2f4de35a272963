"""A Redis of one process and a clock that only moves when told: the scripts of ``payments_client`` in Python.

``tests/real/cache_client/test_scripts.py`` compares every reply and every stored hash with a real server's.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from payments_client.cache.scripts import Script, Status

Hash = dict[str, Any]
Reply = list[Any]


@dataclass(slots=True)
class FakeServer:
    """Keys are hashes with an expiry in milliseconds."""

    now_ms: Callable[[], int]
    publish: Callable[[str, str], None] = lambda _channel, _message: None
    keys: dict[str, Hash] = field(default_factory=dict)
    expiry_ms: dict[str, int] = field(default_factory=dict)

    def evaluate(self, script: Script, key: str, arguments: tuple[Any, ...]) -> Reply:
        """What the server would answer."""
        self._expire(key)
        reply: Reply = getattr(self, f"_{script.name}")(key, self.keys.setdefault(key, {}), arguments)
        if not self.keys[key]:
            self.evict(key)
        return reply

    def evict(self, key: str) -> None:
        """What a full server does."""
        self.keys.pop(key, None)
        self.expiry_ms.pop(key, None)

    def _expire(self, key: str) -> None:
        if self.expiry_ms.get(key, self.now_ms() + 1) <= self.now_ms():
            self.evict(key)

    def _live_at_least(self, key: str, milliseconds: int) -> None:
        self.expiry_ms[key] = max(self.expiry_ms.get(key, 0), self.now_ms() + milliseconds)

    def _read(self, key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        generation, schema, token, lease_ms, *minimum = arguments
        usable = (
            "d" in held
            and held["x"] > self.now_ms()
            and held["g"] >= generation
            and held["s"] == str(schema)
            and all(held.get(f"f:{a}", 0) >= v for a, v in zip(minimum[::2], minimum[1::2], strict=True))
        )
        if usable:
            return [Status.HIT, max(0, self.now_ms() - held["t"]), held["n"], held["d"], *_floors(held)]
        if token == "":
            return [Status.MISS, 0, "0", b"", *_floors(held)]
        if held.get("l") not in (None, token) and held["lx"] > self.now_ms():
            return [Status.BUSY, held["lx"] - self.now_ms(), "0", b"", *_floors(held)]
        held |= {"l": token, "lx": self.now_ms() + lease_ms}
        self._live_at_least(key, lease_ms)
        return [Status.LEASE, 0, "0", b"", *_floors(held)]

    def _fill(self, key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        token, generation, schema, ttl, age, negative, payload, *pairs = arguments
        given = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if held.get("l") != token:
            return [Status.NO_LEASE, 0, "0", b"", *_floors(held)]
        if any(given.get(name[2:], 0) < held[name] for name in held if name.startswith("f:")):
            return [Status.OLDER, 0, "0", b"", *_floors(held)]
        floors = _floors(held)
        held |= self._payload(payload, ttl, generation, schema) | {"n": str(negative), "t": self.now_ms() - age}
        held |= {f"f:{aggregate}": version for aggregate, version in given.items()}
        del held["l"], held["lx"]
        self._live_at_least(key, ttl)
        return [Status.STORED, 0, "0", b"", *floors]

    def _apply(self, key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        aggregate, version, generation, schema, ttl, payload, floor_ms, channel, message, changed = arguments
        at = min(changed, self.now_ms())
        before = held.get(f"f:{aggregate}")
        status = Status.OLDER
        if before is None or before < version:
            status = Status.APPLIED
            held[f"f:{aggregate}"] = version
            left = at + ttl - self.now_ms()
            if left > 0 and before is not None:
                held |= self._payload(payload, left, generation, schema) | {"t": at}
                self._live_at_least(key, left)
            else:
                _without_payload(held)
        self._live_at_least(key, floor_ms)
        self._say(channel, message)
        return [status, "-1" if before is None else str(before)]

    def _drop(self, _key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        _without_payload(held)
        held.pop("l", None)
        held.pop("lx", None)
        self._say(*arguments)
        return [Status.APPLIED]

    def _release(self, _key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        if held.get("l") == arguments[0]:
            del held["l"], held["lx"]
        return [Status.MISS]

    def _generations(self, _key: str, held: Hash, _arguments: tuple[Any, ...]) -> Reply:
        return [part for pair in held.items() for part in pair]

    def _flush(self, key: str, held: Hash, arguments: tuple[Any, ...]) -> Reply:
        prefix, channel, message = arguments
        held[prefix] = max(held.get(prefix, 0) + 1, self.now_ms())
        self._say(channel, json.dumps({**json.loads(message), "generation": str(held[prefix])}))
        return self._generations(key, held, ())

    def _payload(self, payload: bytes, ttl: int, generation: int, schema: object) -> Hash:
        now = self.now_ms()
        return {"d": payload, "n": "0", "t": now, "x": now + ttl, "g": generation, "s": str(schema)}

    def _say(self, channel: str, message: str) -> None:
        if channel:
            self.publish(channel, message)


def _floors(held: Hash) -> Reply:
    return [part for name in held if name.startswith("f:") for part in (name[2:], held[name])]


def _without_payload(held: Hash) -> None:
    for name in ("d", "n", "t", "x", "g", "s"):
        held.pop(name, None)
