"""What tests ask of a fleet, and a writer and reader that notices wrong values and outages."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

from components.cache.reconciler.view import SLOTS, parse_nodes
from settings.cache import CACHE_USER
from tests.real.redis_servers import Fleet, Pod

_SOCKET_TIMEOUT_SECONDS = 1.0
_REPLICATION_MILLISECONDS = 50


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Who owns which slots and who replicates whom, as one pod tells it; by names of pods."""

    slots: dict[str, frozenset[int]]
    primary_of: dict[str, str]


def shape_of(fleet: Fleet, witness: Pod | None = None) -> Shape:
    """The cluster as a pod sees it."""
    ids = {parse_nodes(fleet.ask(pod, "CLUSTER", "NODES"))[0]: pod.name for pod in fleet.pods}
    _, known = parse_nodes(fleet.ask(witness or fleet.pods[0], "CLUSTER", "NODES"))
    return Shape(
        slots={ids.get(node.id, node.id): node.slots for node in known.values() if node.slots},
        primary_of={ids.get(n.id, n.id): ids.get(n.primary, n.primary) for n in known.values() if n.primary},
    )


def assert_whole(fleet: Fleet, *, primaries: int = 3) -> Shape:
    """Every pod agrees: each slot has one owner, each primary a replica in another zone, nobody else is known."""
    zones = {pod.name: pod.zone for pod in fleet.pods}
    shape = shape_of(fleet)
    assert all(shape_of(fleet, pod) == shape for pod in fleet.pods), "the pods disagree"
    owned = [slot for slots in shape.slots.values() for slot in slots]
    assert sorted(owned) == list(range(SLOTS))
    assert len(shape.slots) == primaries
    assert set(shape.slots) | set(shape.primary_of) == set(zones)
    assert set(shape.primary_of.values()) == set(shape.slots)
    for replica, primary in shape.primary_of.items():
        assert zones[replica] != zones[primary], f"{replica} and its primary {primary} share {zones[replica]}"
    assert all("cluster_state:ok" in fleet.ask(pod, "CLUSTER", "INFO") for pod in fleet.pods)
    return shape


def owner_of(fleet: Fleet, shape: Shape, key: str) -> Pod:
    """The pod that owns a key's slot."""
    slot = int(fleet.ask(fleet.pods[0], "CLUSTER", "KEYSLOT", key))
    [name] = [name for name, slots in shape.slots.items() if slot in slots]
    return next(pod for pod in fleet.pods if pod.name == name)


def client(fleet: Fleet) -> RedisCluster:
    """redis-py's cluster client: what services use."""
    certificates = fleet.folder / "certificates"
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(certificates / "ca.crt")} if fleet.binaries.tls else {}
    return RedisCluster(
        host=next(pod.address for pod in fleet.pods if pod.process is not None), port=fleet.port,
        username=CACHE_USER, password=fleet.passwords[CACHE_USER], socket_timeout=_SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=_SOCKET_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 1), decode_responses=True, **tls,
    )  # fmt: skip


@dataclass(kw_only=True)
class Load:
    """One writer and reader. A value that a replica has confirmed must never be followed by an older one."""

    fleet: Fleet
    keys: list[str]
    wrong: list[str] = field(default_factory=list)
    missed: int = 0
    """Reads that found nothing."""
    failed: int = 0
    succeeded: int = 0
    longest_gap_seconds: float = 0
    """Longest time during which operations on one key did not succeed."""
    _written: dict[str, int] = field(default_factory=dict)
    _confirmed: dict[str, int] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(60)

    def _run(self) -> None:
        connection = client(self.fleet)
        try:
            while not self._stop.is_set():
                for key in self.keys:
                    self._one(connection, key)
                    if self._stop.is_set():
                        break
                time.sleep(0.002)
        finally:
            connection.close()

    def _one(self, connection: RedisCluster, key: str) -> None:
        try:
            self._check(key, connection.get(key))
            number = self._written.get(key, 0) + 1
            self._written[key] = number
            connection.set(key, f"{key}={number}")
            node = connection.get_node_from_key(key)  # type: ignore[no-untyped-call]
            confirmed = connection.execute_command(  # type: ignore[no-untyped-call]
                "WAIT", 1, _REPLICATION_MILLISECONDS, target_nodes=node
            )
            if confirmed:
                self._confirmed[key] = number
        except RedisError:
            self.failed += 1
            return
        self.succeeded += 1
        now = time.monotonic()
        self.longest_gap_seconds = max(self.longest_gap_seconds, now - self._last.get(key, now))
        self._last[key] = now

    def _check(self, key: str, value: object) -> None:
        if value is None:
            self.missed += 1
            return
        name, _, number = str(value).rpartition("=")
        written, confirmed = self._written.get(key, 0), self._confirmed.get(key, 0)
        if name != key or not confirmed <= int(number) <= written:
            self.wrong.append(f"{key} is {value}: confirmed {confirmed}, written {written}")
