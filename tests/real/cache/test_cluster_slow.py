"""Longer trials on real servers: killed under load, half lost, grown and shrunk, every step interrupted."""

import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from components.cache.reconciler import __main__ as program
from components.cache.reconciler.cluster import Cluster, Goal
from components.cache.reconciler.lock import Lock
from components.cache.reconciler.protocol import Connection
from components.cache.reconciler.view import parse_nodes
from tests.real.cache.conftest import NODE_TIMEOUT_MILLISECONDS, declared
from tests.real.cache.watching import Load, assert_whole, client, owner_of, shape_of
from tests.real.redis_servers import Fleet, wait_until

pytestmark = pytest.mark.slow
KEYS = [f"wallet:balance:{number}" for number in range(60)]
STORED = [f"user:wallets:{number}" for number in range(3000)]


class KilledError(BaseException):
    """Stands for SIGKILL at a chosen command: nothing is caught or tidied up on the way."""


def run_in_process(fleet: Fleet, *, primaries: int = 3, leaving: int = 0) -> int:
    goal = Goal(
        nodes=tuple((pod.address, fleet.port) for pod in fleet.pods),
        primaries=primaries,
        leaving=leaving,
        zone_parameter="availability-zone" if fleet.binaries.kind == "valkey" else "syslog-ident",
    )
    access = fleet.access()
    run = program.Run(cluster=Cluster(goal, access), lock=Lock(access), deadline_seconds=90, say=lambda _line: None)
    return run.run()


def kill_at(monkeypatch: pytest.MonkeyPatch, is_target: Callable[[tuple[object, ...]], bool], count: int) -> list[int]:
    """Let the ``count``-th command that matches end the run instead; returns a cell with how many were seen."""
    seen = [0]
    send = Connection.send

    def counting(self: Connection, *arguments: str | int | bytes) -> None:
        if is_target(arguments):
            seen[0] += 1
            if seen[0] == count:
                raise KilledError
        send(self, *arguments)

    monkeypatch.setattr(Connection, "send", counting)
    return seen


def is_command(word: str, arguments: tuple[object, ...]) -> bool:
    """Whether a command is, or sets a slot to, what the word says."""
    return arguments[0] == word or word in arguments[3:4]


def changes_the_cluster(arguments: tuple[object, ...]) -> bool:
    reading = ("NODES", "INFO", "GETKEYSINSLOT")
    return arguments[0] == "MIGRATE" or (arguments[0] == "CLUSTER" and arguments[1] not in reading)


def reset(fleet: Fleet) -> None:
    for pod in fleet.pods:
        if "role:master" in fleet.ask(pod, "INFO", "replication"):
            fleet.ask(pod, "FLUSHALL")
        fleet.ask(pod, "CLUSTER", "RESET", "HARD")


def store(fleet: Fleet) -> None:
    with client(fleet) as connection:
        for key in STORED:
            connection.set(key, key)


def assert_all_stored(fleet: Fleet) -> None:
    with client(fleet) as connection:
        lost = [key for key in STORED if connection.get(key) != key]
    assert lost == []


def test_formation_is_resumed_after_a_kill_at_every_command(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        seen = kill_at(patch, changes_the_cluster, 0)
        assert run_in_process(fleet) == 0
    commands = seen[0]
    assert commands >= 11  # five meetings, three assignments, three replicas
    for number in range(1, commands + 1):
        reset(fleet)
        with monkeypatch.context() as patch:
            kill_at(patch, changes_the_cluster, number)
            with pytest.raises(KilledError):
                run_in_process(fleet)
        assert run_in_process(fleet) == 0, number
        assert_whole(fleet)


def test_a_primary_killed_under_load_is_replaced_and_no_wrong_value_is_read(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.reconcile()
    victim = owner_of(fleet, assert_whole(fleet), KEYS[0])
    with Load(fleet=fleet, keys=KEYS) as load:
        wait_until(lambda: load.succeeded > 10 * len(KEYS), 60)
        load.longest_gap_seconds = 0
        fleet.stop([victim])
        wait_until(lambda: victim.name not in _owners(fleet, victim.name), 60)
        done = load.succeeded
        wait_until(lambda: load.succeeded > done + 5 * len(KEYS), 60)
        fleet.start([victim])
        fleet.reconcile()
        done = load.succeeded
        wait_until(lambda: load.succeeded > done + 5 * len(KEYS), 60)
    record_property("unavailable_seconds", load.longest_gap_seconds)
    assert load.wrong == []
    assert load.failed > 0
    assert load.longest_gap_seconds * 1000 > NODE_TIMEOUT_MILLISECONDS / 2
    assert_whole(fleet)


def _owners(fleet: Fleet, without: str) -> set[str]:
    """Names of the pods that own slots, as one that runs sees it; ids that nobody running has are the lost pod's."""
    running = [pod for pod in fleet.pods if pod.process is not None]
    ids = {parse_nodes(fleet.ask(pod, "CLUSTER", "NODES"))[0]: pod.name for pod in running}
    _, known = parse_nodes(fleet.ask(running[0], "CLUSTER", "NODES"))
    return {ids.get(node.id, without) for node in known.values() if node.slots}


def test_half_of_the_cluster_lost_answers_no_old_values_and_is_whole_when_it_is_back(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.reconcile()
    shape = assert_whole(fleet)
    lost_shard, other, _ = sorted(shape.slots)
    names = {lost_shard, other, *(r for r, p in shape.primary_of.items() if p == lost_shard)}
    lost = [pod for pod in fleet.pods if pod.name in names]
    with Load(fleet=fleet, keys=KEYS) as load:
        wait_until(lambda: load.succeeded > 5 * len(KEYS), 60)
        fleet.stop(lost)
        # Two of three primaries are gone: nobody can be elected, so nobody answers, and nothing is seized.
        left = [pod for pod in fleet.pods if pod.process is not None]
        wait_until(lambda: all("cluster_state:fail" in fleet.ask(p, "CLUSTER", "INFO") for p in left), 60)
        time.sleep(1)
        fleet.start(lost)
        start = time.monotonic()
        fleet.reconcile()
        record_property("whole_after_seconds", time.monotonic() - start)
        done = load.succeeded
        wait_until(lambda: load.succeeded > done + 5 * len(KEYS), 60)
    assert load.wrong == []
    assert_whole(fleet)


def test_grown_to_eight_and_back_to_six_under_load_every_key_is_found(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    kind = fleet.binaries.kind
    fleet.reconcile()
    store(fleet)
    with Load(fleet=fleet, keys=KEYS) as load:
        wait_until(lambda: load.succeeded > 2 * len(KEYS), 60)
        load.missed = 0
        start = time.monotonic()
        fleet.scale(declared(kind, {"cache/cluster/primaries": 4}))
        # Interrupted once at each kind of command that a move consists of, then by a real SIGKILL.
        for word in ("IMPORTING", "MIGRATING", "NODE", "MIGRATE"):
            with monkeypatch.context() as patch:
                kill_at(patch, partial(is_command, word), 5)
                with pytest.raises(KilledError):
                    run_in_process(fleet, primaries=4)
        killed = fleet.reconciler()
        time.sleep(2)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=30)
        fleet.reconcile()
        record_property("grown_after_seconds", time.monotonic() - start)
        assert_whole(fleet, primaries=4)
        assert_all_stored(fleet)
        start = time.monotonic()
        fleet.scale(declared(kind, {"cache/cluster/leaving": 2}))
        log = fleet.reconcile()
        record_property("emptied_after_seconds", time.monotonic() - start)
        assert log.count("remove: ") == 2, log
        fleet.scale(declared(kind))
        assert "nothing to do" in fleet.reconcile()
        done = load.succeeded
        wait_until(lambda: load.succeeded > done + 2 * len(KEYS), 60)
    assert_whole(fleet)
    assert_all_stored(fleet)
    assert load.wrong == []
    record_property("missed_reads", load.missed)


def test_valkey_of_the_default_image_is_formed_healed_and_grown(valkey: Fleet) -> None:
    valkey.reconcile()
    assert_whole(valkey)
    valkey.stop()
    valkey.move()
    valkey.start()
    valkey.reconcile()
    assert_whole(valkey)
    store(valkey)
    valkey.scale(declared("valkey", {"cache/cluster/primaries": 4}))
    valkey.reconcile()
    assert_whole(valkey, primaries=4)
    assert_all_stored(valkey)
    assert shape_of(valkey).primary_of
